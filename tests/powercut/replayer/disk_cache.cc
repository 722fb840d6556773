// SPDX-License-Identifier: GPL-2.0-or-later
// Volatile caches and legal crash states.  Contract: disk_cache.h.

#include "disk_cache.h"

#include <algorithm>
#include <cstring>

namespace powercut {

uint64_t draw_of(uint64_t seed, uint64_t index) {
    uint64_t value = seed * 0x9e3779b97f4a7c15 + index * 0xd1b54a32d192ed03 + 0x632be59bd9b4e019;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

DiskCache::DiskCache(const SequenceLog& log, const Geometry& geometry, Content base)
    : log_(log), geometry_(geometry), stable_(std::move(base)), state_(stable_) {}

void DiskCache::on_event(uint64_t number) {
    const Event& event = log_.events[number];
    now_ = number + 1;
    if (event.channel == Channel::Guest)
        return;
    const Request& request = log_.requests[event.request];
    if (event.phase == Phase::Submit) {
        if (event.kind != Kind::Flush)
            pending_.push_back({event.request, false});
        return;
    }
    if (event.phase == Phase::Fail)
        return;
    if (event.kind != Kind::Flush && !request.fua)
        return;
    if (event.kind == Kind::Flush)
        complete_flush(request);
    else
        for (Change& change : pending_)
            if (change.request == event.request)
                change.stable = true;
    fold();
}

void DiskCache::complete_flush(const Request& flush) {
    for (Change& change : pending_) {
        const Request& request = log_.requests[change.request];
        if (request.channel == flush.channel && request.complete < flush.submit)
            change.stable = true;
    }
}

// A stable change is folded unless an unstable one that was submitted before
// it lies under it: applied later, that one would cover it.
bool DiskCache::may_fold(size_t index) const {
    const Request& change = log_.requests[pending_[index].request];
    for (size_t i = 0; i < index; i++) {
        const Request& other = log_.requests[pending_[i].request];
        if (other.channel == change.channel && other.offset < change.offset + change.length &&
            change.offset < other.offset + other.length)
            return false;
    }
    return true;
}

void DiskCache::fold() {
    restore();
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < pending_.size(); i++) {
            if (!pending_[i].stable || !may_fold(i))
                continue;
            const Request& request = log_.requests[pending_[i].request];
            apply(stable_, request, request.id, false);
            apply(state_, request, request.id, false);
            pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(i));
            again = true;
            break;
        }
    }
    touched_.clear();
}

void DiskCache::restore() {
    for (uint32_t sector : touched_)
        state_.sectors[sector] = stable_.sectors[sector];
    touched_.clear();
    state_.metadata = stable_.metadata;
}

size_t DiskCache::unstable() const {
    return static_cast<size_t>(std::count_if(pending_.begin(), pending_.end(),
                                             [](const Change& change) { return !change.stable; }));
}

const Content& DiskCache::build(Mode mode, uint64_t seed) {
    restore();
    std::vector<Change> order = pending_;
    if (draw_of(seed, 1) & 1)
        std::stable_sort(order.begin(), order.end(), [&](const Change& a, const Change& b) {
            auto when = [&](const Change& change) {
                const uint64_t complete = log_.requests[change.request].complete;
                return complete < now_ ? complete : kNever;
            };
            return when(a) < when(b);
        });
    const size_t count = unstable();
    const size_t chosen = count ? draw_of(seed, 2) % count : 0;
    size_t index = 0;
    for (const Change& change : order) {
        const Request& request = log_.requests[change.request];
        const uint64_t draw = draw_of(seed, 16 + request.id);
        bool survives = true, torn = false;
        if (!change.stable) {
            const size_t position = index++;
            switch (mode) {
            case Mode::None: survives = false; break;
            case Mode::All: break;
            case Mode::Random: survives = draw & 1; break;
            case Mode::OnlyLast: survives = position + 1 == count; break;
            case Mode::AllButOne: survives = position != chosen; break;
            case Mode::Torn: survives = draw % 4 != 0; torn = draw % 4 != 1; break;
            case Mode::TornLast: torn = position + 1 == count; break;
            }
        }
        if (survives)
            apply(state_, request, change.stable ? request.id : draw, torn);
    }
    return state_;
}

void DiskCache::apply(Content& target, const Request& request, uint64_t sector_seed, bool torn) {
    for (uint64_t done = 0; done < request.length; done += kSectorSize) {
        const uint64_t draw = draw_of(sector_seed, done / kSectorSize);
        if (!torn || (draw & 1))
            apply_sector(target, request, done, draw);
    }
}

void DiskCache::apply_sector(Content& target, const Request& request, uint64_t byte, uint64_t draw) {
    // A trimmed sector keeps its bytes or becomes zero, as the disk likes.
    if (request.kind == Kind::Trim && (draw & 2))
        return;
    const uint64_t position = request.offset + byte;
    const unsigned char* bytes = request.kind == Kind::Write ? request.payload + byte : nullptr;
    const uint64_t sector = position / kSectorSize;
    if (request.channel == Channel::Data && sector < geometry_.data_sectors) {
        target.sectors[sector] = bytes ? identify(bytes, sector) : kZero;
        if (&target == &state_)
            touched_.push_back(static_cast<uint32_t>(sector));
        return;
    }
    if (!geometry_.has_metadata || request.channel != geometry_.metadata_channel() ||
        position < geometry_.metadata_begin ||
        position + kSectorSize > geometry_.metadata_begin + geometry_.metadata_bytes)
        return;  // the gap of at most seven sectors behind internal metadata
    unsigned char* place = &target.metadata[position - geometry_.metadata_begin];
    if (bytes)
        std::memcpy(place, bytes, kSectorSize);
    else
        std::memset(place, 0, kSectorSize);
}

}  // namespace powercut
