// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/activity_log/activity_log.h"

#include <algorithm>
#include <bit>
#include <new>

namespace drbd {

Result<void> ActivityLog::allocate(uint32_t nr_slots, metafmt::ActivityLogGeometry geometry) {
    DRBD_ASSERT(nr_slots >= metafmt::kActivityLogSlotsMin && nr_slots <= geometry.slots_max());
    release();
    const uint32_t index_size = std::bit_ceil(nr_slots * 2);
    slots_.reset(new (std::nothrow) Slot[nr_slots]);
    on_disk_.reset(new (std::nothrow) uint32_t[nr_slots]);
    index_.reset(new (std::nothrow) uint32_t[index_size]);
    if (!slots_ || !on_disk_ || !index_) {
        release();
        return Error::of(ErrorCode::Exhausted, "not enough memory for an activity log of %u extents", nr_slots);
    }
    nr_slots_ = nr_slots;
    geometry_ = geometry;
    index_size_ = index_size;
    index_shift_ = 32 - static_cast<uint32_t>(std::countr_zero(index_size));
    for (uint32_t i = 0; i < nr_slots; i++)
        on_disk_[i] = metafmt::kExtentFree;
    for (uint32_t i = 0; i < index_size; i++)
        index_[i] = kNone;
    return {};
}

void ActivityLog::release() {
    slots_.reset();
    on_disk_.reset();
    index_.reset();
    nr_slots_ = index_size_ = 0;
    idle_first_ = idle_last_ = kNone;
    idle_count_ = used_ = referenced_ = 0;
    nr_updates_ = nr_evicted_ = 0;
    tr_number_ = context_start_ = 0;
    transactions_ = updates_written_ = 0;
}

Bytes ActivityLog::memory() const {
    return Bytes(nr_slots_ * (sizeof(Slot) + sizeof(uint32_t)) + index_size_ * sizeof(uint32_t));
}

bool ActivityLog::try_hold(ExtentRange range) {
    uint32_t slots[kExtentsPerRequestMax];
    DRBD_ASSERT(range.count() <= kExtentsPerRequestMax);
    for (uint32_t i = 0; i < range.count(); i++) {
        slots[i] = find(range.first + i);
        if (slots[i] == kNone || slots_[slots[i]].pending)
            return false;
    }
    for (uint32_t i = 0; i < range.count(); i++)
        reference(slots[i]);
    return true;
}

void ActivityLog::drop(ExtentRange range, uint64_t written) {
    for (uint32_t extent = range.first; extent <= range.last; extent++) {
        const uint32_t slot = find(extent);
        DRBD_ASSERT(slot != kNone && slots_[slot].references > 0);
        slots_[slot].written = written;
        if (--slots_[slot].references == 0) {
            referenced_--;
            idle_push(slot);
        }
    }
}

bool ActivityLog::reserve(ExtentRange range) {
    DRBD_ASSERT(range.count() <= kExtentsPerRequestMax);
    // Look first, so that a range that does not fit changes nothing.  An idle
    // slot that the range itself wants cannot be evicted for it.
    uint32_t missing = 0, wanted_idle = 0;
    for (uint32_t extent = range.first; extent <= range.last; extent++) {
        const uint32_t slot = find(extent);
        if (slot == kNone)
            missing++;
        else if (slots_[slot].idle)
            wanted_idle++;
    }
    const uint32_t free_slots = nr_slots_ - used_;
    if (nr_updates_ + missing > metafmt::kActivityLogUpdatesPerBlock ||
        missing > free_slots + idle_count_ - wanted_idle)
        return false;

    // Those that have a slot are referenced before any is evicted.
    for (uint32_t extent = range.first; extent <= range.last; extent++)
        if (const uint32_t slot = find(extent); slot != kNone)
            reference(slot);
    for (uint32_t extent = range.first; extent <= range.last; extent++) {
        if (find(extent) != kNone)
            continue;
        uint32_t slot, replaced = metafmt::kExtentFree;
        if (used_ < nr_slots_) {
            slot = used_++;
        } else {
            slot = idle_first_;
            idle_erase(slot);
            replaced = slots_[slot].extent;
            evicted_[nr_evicted_++] = replaced;
            index_erase(replaced);
        }
        slots_[slot].extent = extent;
        slots_[slot].pending = true;
        index_insert(extent, slot);
        reference(slot);
        replaced_[nr_updates_] = replaced;
        updates_[nr_updates_++] = {static_cast<uint16_t>(slot), extent};
    }
    return true;
}

uint64_t ActivityLog::evicted_written() const {
    uint64_t written = 0;
    for (unsigned i = 0; i < nr_updates_; i++)
        if (replaced_[i] != metafmt::kExtentFree)
            written = std::max(written, slots_[updates_[i].slot].written);
    return written;
}

uint64_t ActivityLog::encode(metafmt::Block block) {
    DRBD_ASSERT(nr_updates_ != 0);
    const uint32_t length = metafmt::context_length(context_start_, nr_slots_);
    metafmt::encode_activity_log_transaction(
        {.tr_number = tr_number_,
         .updates = {updates_, nr_updates_},
         .context_size = static_cast<uint16_t>(nr_slots_),
         .context_start_slot = static_cast<uint16_t>(context_start_),
         .context = {on_disk_.get() + context_start_, length}},
        block);
    return geometry_.block_at(geometry_.position_of(tr_number_));
}

void ActivityLog::commit() {
    for (unsigned i = 0; i < nr_updates_; i++) {
        slots_[updates_[i].slot].pending = false;
        on_disk_[updates_[i].slot] = updates_[i].extent;
    }
    updates_written_ += nr_updates_;
    transactions_++;
    nr_updates_ = nr_evicted_ = 0;
    tr_number_++;
    context_start_ = metafmt::next_context_start(context_start_, nr_slots_);
}

void ActivityLog::withdraw(ExtentRange range) {
    for (uint32_t extent = range.first; extent <= range.last; extent++) {
        const uint32_t slot = find(extent);
        DRBD_ASSERT(slot != kNone && slots_[slot].references > 0);
        if (--slots_[slot].references == 0) {
            referenced_--;
            if (!slots_[slot].pending)
                idle_push(slot);
        }
    }
}

// Backwards, because an extent may have lost one slot and been given another.
void ActivityLog::abandon() {
    while (nr_updates_ > 0) {
        const auto [number, extent] = updates_[--nr_updates_];
        Slot& slot = slots_[number];
        DRBD_ASSERT(slot.pending && slot.references == 0);
        index_erase(extent);
        slot.pending = false;
        slot.extent = replaced_[nr_updates_];
        if (slot.extent == metafmt::kExtentFree) {
            DRBD_ASSERT(number == used_ - 1);
            used_--;
        } else {
            index_insert(slot.extent, number);
            idle_push(number);
        }
    }
    nr_evicted_ = 0;
}

void ActivityLog::reference(uint32_t slot) {
    if (slots_[slot].references++ == 0) {
        referenced_++;
        if (slots_[slot].idle)
            idle_erase(slot);
    }
}

void ActivityLog::idle_push(uint32_t slot) {
    Slot& s = slots_[slot];
    DRBD_ASSERT(!s.idle && !s.pending);
    s.previous = idle_last_;
    s.next = kNone;
    s.idle = true;
    (idle_last_ == kNone ? idle_first_ : slots_[idle_last_].next) = slot;
    idle_last_ = slot;
    idle_count_++;
}

void ActivityLog::idle_erase(uint32_t slot) {
    Slot& s = slots_[slot];
    DRBD_ASSERT(s.idle);
    (s.previous == kNone ? idle_first_ : slots_[s.previous].next) = s.next;
    (s.next == kNone ? idle_last_ : slots_[s.next].previous) = s.previous;
    s.idle = false;
    idle_count_--;
}

uint32_t ActivityLog::find(uint32_t extent) const {
    for (uint32_t b = bucket_of(extent);; b = (b + 1) & (index_size_ - 1)) {
        const uint32_t slot = index_[b];
        if (slot == kNone || slots_[slot].extent == extent)
            return slot;
    }
}

void ActivityLog::index_insert(uint32_t extent, uint32_t slot) {
    uint32_t b = bucket_of(extent);
    while (index_[b] != kNone)
        b = (b + 1) & (index_size_ - 1);
    index_[b] = slot;
}

// Closes the gap behind the erased entry, so that no search stops early.
void ActivityLog::index_erase(uint32_t extent) {
    const uint32_t wrap = index_size_ - 1;
    uint32_t gap = bucket_of(extent);
    while (slots_[index_[gap]].extent != extent)
        gap = (gap + 1) & wrap;
    for (uint32_t b = (gap + 1) & wrap; index_[b] != kNone; b = (b + 1) & wrap) {
        const uint32_t home = bucket_of(slots_[index_[b]].extent);
        if (((b - home) & wrap) >= ((b - gap) & wrap)) {
            index_[gap] = index_[b];
            gap = b;
        }
    }
    index_[gap] = kNone;
}

}  // namespace drbd
