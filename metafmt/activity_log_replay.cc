// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/activity_log_replay.h"

#include <algorithm>
#include <cstring>

#include "core/base/assert.h"

namespace drbd::metafmt {
namespace {

ConstBlock block_at(std::span<const uint8_t> ring, uint64_t index) {
    return ConstBlock(ring.subspan(index * kBlockSize, kBlockSize));
}

// Numbers wrap; only their distance counts.
bool is_older(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

// The ring of versions before 8.4: 64 sectors of 512 bytes.
constexpr uint32_t kPre84Magic = 0x83740267;
constexpr unsigned kPre84Sectors = 64;
constexpr unsigned kPre84Entries = 62;
constexpr unsigned kPre84ContextPerSector = 61;  // entry 0 is the update

struct RawPre84Sector {
    be32 magic;
    be32 tr_number;
    struct {
        be32 slot;
        be32 extent;
    } entry[kPre84Entries];
    be32 xor_sum;
    be32 pad;
};
static_assert(sizeof(RawPre84Sector) == kSectorSize);
static_assert(offsetof(RawPre84Sector, entry) == 8);
static_assert(offsetof(RawPre84Sector, xor_sum) == 504);

bool read_pre84_sector(std::span<const uint8_t> ring, unsigned index, RawPre84Sector& sector) {
    std::memcpy(&sector, ring.data() + index * kSectorSize, sizeof sector);
    if (sector.magic != kPre84Magic)
        return false;
    uint32_t sum = 0;
    for (const auto& entry : sector.entry)
        sum ^= entry.extent;
    return sum == sector.xor_sum;
}

// A ring nobody has written since 8.4 came: neither of the first two blocks
// has today's magic, and it has the one shape older versions knew.
bool is_pre84(std::span<const uint8_t> ring, const Superblock& superblock) {
    return superblock.magic == SuperblockMagic::Clean && superblock.al == ActivityLogGeometry{} &&
           !has_activity_log_magic(block_at(ring, 0)) && !has_activity_log_magic(block_at(ring, 1));
}

}  // namespace

void ActivityLogReplay::read(std::span<const uint8_t> ring, const Superblock& superblock) {
    DRBD_ASSERT(ring.size() == superblock.al.blocks() * kBlockSize);
    state_ = RingState::NoValidBlock;
    newest_tr_number_ = 0;
    slots_.fill(kExtentFree);
    if (is_pre84(ring, superblock))
        read_pre84(ring, superblock.al_nr_extents);
    else
        read_ring(ring, superblock.al);
}

void ActivityLogReplay::read_ring(std::span<const uint8_t> ring, ActivityLogGeometry al) {
    const uint64_t blocks = al.blocks();
    uint64_t valid = 0;
    uint64_t updates = 0;
    bool first_is_valid = false;
    uint64_t oldest_position = 0;
    uint32_t oldest = 0;
    uint32_t newest = 0;
    bool numbers_are_zero = true;
    for (uint64_t position = 0; position < blocks; position++) {
        auto block = decode_activity_log_block(block_at(ring, al.block_at(position)));
        if (!block)
            continue;
        valid++;
        first_is_valid |= position == 0;
        const uint32_t number = block.value().tr_number();
        if (!block.value().is_update()) {
            numbers_are_zero &= number == 0;
            continue;
        }
        if (updates == 0 || is_older(number, oldest)) {
            oldest = number;
            oldest_position = position;
        }
        if (updates == 0 || is_older(newest, number))
            newest = number;
        updates++;
    }

    if (valid == 0) {
        state_ = RingState::NoValidBlock;
        return;
    }
    if (updates == 0) {
        if (valid == blocks)
            state_ = numbers_are_zero ? RingState::Initialized : RingState::Clean;
        else
            state_ = valid == blocks - 1 && !first_is_valid ? RingState::Clean : RingState::Inconsistent;
        return;
    }
    state_ = RingState::HasTransactions;
    newest_tr_number_ = newest;
    for (uint64_t step = 0; step < blocks; step++) {
        const uint64_t position = (oldest_position + step) % blocks;
        auto block = decode_activity_log_block(block_at(ring, al.block_at(position)));
        if (block && block.value().is_update())
            apply(block.value());
    }
}

// Context first: it is what the slots held before the updates.
void ActivityLogReplay::apply(const ActivityLogBlockView& block) {
    for (uint32_t i = 0; i < kActivityLogContextPerBlock; i++) {
        const uint32_t slot = block.context_start_slot() + i;
        const uint32_t extent = block.context(i);
        if (extent == kExtentFree && slot >= block.context_size())
            continue;
        set_slot(slot, extent);
    }
    for (uint32_t i = 0; i < kActivityLogUpdatesPerBlock; i++) {
        const ActivityLogUpdate update = block.update(i);
        set_slot(update.slot, update.extent);
    }
}

void ActivityLogReplay::set_slot(uint32_t slot, uint32_t extent) {
    if (slot < kActivityLogSlotsMax)
        slots_[slot] = extent;
}

void ActivityLogReplay::read_pre84(std::span<const uint8_t> ring, uint32_t al_nr_extents) {
    state_ = RingState::Pre84;
    const uint64_t wanted = 1 + divide_up(al_nr_extents, kPre84ContextPerSector);
    const unsigned sectors = static_cast<unsigned>(std::min<uint64_t>(wanted, kPre84Sectors));
    RawPre84Sector sector;
    bool found = false;
    unsigned oldest_index = 0;
    uint32_t oldest = 0;
    for (unsigned i = 0; i < sectors; i++) {
        if (!read_pre84_sector(ring, i, sector))
            continue;
        if (!found || is_older(sector.tr_number, oldest)) {
            oldest = sector.tr_number;
            oldest_index = i;
        }
        if (!found || is_older(newest_tr_number_, sector.tr_number))
            newest_tr_number_ = sector.tr_number;
        found = true;
    }
    for (unsigned step = 0; found && step < sectors; step++) {
        if (!read_pre84_sector(ring, (oldest_index + step) % sectors, sector))
            continue;
        for (unsigned i = kPre84Entries; i-- > 0;)
            set_slot(sector.entry[i].slot, sector.entry[i].extent);
    }
}

Result<void> ActivityLogReplay::check_usable(const Superblock& superblock) const {
    if (!superblock.needs_replay())
        return {};
    switch (state_) {
    case RingState::Initialized:
    case RingState::Clean:
    case RingState::HasTransactions:
    case RingState::Pre84:
        return {};
    case RingState::Inconsistent:
        return Error::of(ErrorCode::Corrupt,
                         "activity log is inconsistent: no transaction, yet more than its first block is unreadable; "
                         "invalidate the disk and sync it from its peer");
    case RingState::NoValidBlock:
        return Error::of(ErrorCode::Corrupt,
                         "activity log has no readable block; invalidate the disk and sync it from its peer");
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

}  // namespace drbd::metafmt
