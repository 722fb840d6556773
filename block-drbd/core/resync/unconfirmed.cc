// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/unconfirmed.h"

#include <algorithm>
#include <bit>

namespace drbd {

Result<void> Unconfirmed::prepare(Sector size) {
    if (map_bytes_ != 0 && size.value == sectors_)
        return {};
    forget(0);
    forget(1);
    waits_for_epoch_ = 0;
    sectors_ = 0;
    map_bytes_ = 0;
    const uint64_t bytes = divide_up(divide_up(to_bytes(size).value, kExtentSize), 8);
    if (auto made = maps_.allocate(Bytes(2 * bytes), "ranges of a resync that are not confirmed"); !made)
        return made;
    map_bytes_ = bytes;
    sectors_ = size.value;
    return {};
}

void Unconfirmed::on_acknowledged(uint64_t first_byte, uint64_t end_byte, uint64_t now_ms) {
    end_byte = std::min(end_byte, sectors_ * kSectorSize);
    if (first_byte >= end_byte)
        return;
    if (extents_[current_] == 0)
        oldest_ms_ = now_ms;
    for (uint64_t extent = first_byte / kExtentSize; extent * kExtentSize < end_byte; extent++) {
        uint8_t& byte = map(current_)[extent / 8];
        const uint8_t bit = static_cast<uint8_t>(1u << extent % 8);
        extents_[current_] += !(byte & bit);
        byte |= bit;
    }
}

void Unconfirmed::on_barrier_sent(uint64_t epoch) {
    if (waits_for_epoch_ != 0 || extents_[current_] == 0)
        return;
    waits_for_epoch_ = epoch;
    current_ ^= 1;
    oldest_ms_ = UINT64_MAX;
}

void Unconfirmed::on_barrier_acknowledged(uint64_t epoch) {
    if (waits_for_epoch_ == 0 || epoch < waits_for_epoch_)
        return;
    forget(current_ ^ 1);
    waits_for_epoch_ = 0;
}

void Unconfirmed::mark_again(Bitmap& bitmap) {
    for (unsigned generation = 0; generation < 2; generation++) {
        if (extents_[generation] == 0)
            continue;
        const auto bytes = map(generation);
        for (uint64_t i = 0; i < bytes.size(); i++)
            for (unsigned rest = bytes[i]; rest != 0; rest &= rest - 1)
                bitmap.set_extent_out_of_sync(static_cast<uint32_t>(i * 8 + static_cast<unsigned>(std::countr_zero(rest))));
        forget(generation);
    }
    waits_for_epoch_ = 0;
    oldest_ms_ = UINT64_MAX;
}

void Unconfirmed::forget(unsigned generation) {
    if (extents_[generation] == 0)
        return;
    const auto bytes = map(generation);
    std::fill(bytes.begin(), bytes.end(), uint8_t{0});
    extents_[generation] = 0;
}

}  // namespace drbd
