// SPDX-License-Identifier: GPL-2.0-or-later
// Arithmetic of the on-disk bitmap: bit n stands for 4 KiB block n, byte n / 8,
// lowest bit first; 1 means out of sync.  In memory it is a run of 64-bit
// little-endian words.  Bits past the end of the device are 0.  A last block
// that is only partly on the device has a bit too.  docs/METADATA.md, "Bitmap".
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "core/base/assert.h"
#include "core/base/units.h"

namespace drbd::metafmt {

constexpr uint64_t kBitsPerWord = 64;
constexpr uint64_t kBitmapBytesPerExtent = kBlocksPerExtent / 8;                          // 128
constexpr uint64_t kBitsPerBitmapSector = kSectorSize * 8;                                // 4096, 16 MiB of data
constexpr uint64_t kSectorsPerBitmapSector = kBitsPerBitmapSector * kSectorsPerBlock;     // 32768

constexpr uint64_t bitmap_bits(Sector size) { return divide_up(size.value, kSectorsPerBlock); }
constexpr uint64_t bitmap_words(Sector size) { return divide_up(bitmap_bits(size), kBitsPerWord); }
constexpr Bytes bitmap_bytes(Sector size) { return Bytes(bitmap_words(size) * (kBitsPerWord / 8)); }

// What the bitmap of `size` takes on the disk: whole 4 KiB blocks.
constexpr Sector bitmap_sectors_on_disk(Sector size) {
    return Sector(round_up(divide_up(size.value, kSectorsPerBitmapSector), kSectorsPerBlock));
}

// The largest device that `bitmap` sectors can describe.
constexpr Sector bitmap_covers(Sector bitmap) { return Sector(bitmap.value * kSectorsPerBitmapSector); }

constexpr uint64_t extents(Sector size) { return divide_up(bitmap_bits(size), kBlocksPerExtent); }

// Where the bits of an activity-log extent begin; they are 128 bytes.
constexpr Bytes bitmap_position_of_extent(uint32_t extent) { return Bytes(extent * kBitmapBytesPerExtent); }

// Clears what lies behind the last of `bits` in a little-endian bitmap.
inline void clear_bits_past_end(std::span<uint8_t> bitmap, uint64_t bits) {
    DRBD_ASSERT(bitmap.size() * 8 >= bits);
    uint64_t byte = bits / 8;
    if (bits % 8 != 0) {
        bitmap[byte] = static_cast<uint8_t>(bitmap[byte] & ((1u << (bits % 8)) - 1));
        byte++;
    }
    for (; byte < bitmap.size(); byte++)
        bitmap[byte] = 0;
}

// Marks one extent out of sync.  `bitmap` begins at byte `first` of the whole
// bitmap and may be a part of it; bits at or past `bits` stay clear.  Returns
// how many bits became set.
inline uint64_t set_extent(std::span<uint8_t> bitmap, Bytes first, uint32_t extent, uint64_t bits) {
    const uint64_t begin = bitmap_position_of_extent(extent).value;
    uint64_t newly_set = 0;
    for (uint64_t byte = begin; byte < begin + kBitmapBytesPerExtent; byte++) {
        if (byte < first.value || byte - first.value >= bitmap.size() || byte * 8 >= bits)
            continue;
        const uint64_t left = bits - byte * 8;
        const uint8_t mask = static_cast<uint8_t>(left >= 8 ? 0xffu : (1u << left) - 1);
        uint8_t& at = bitmap[byte - first.value];
        newly_set += static_cast<unsigned>(std::popcount(static_cast<uint8_t>(mask & ~at)));
        at = static_cast<uint8_t>(at | mask);
    }
    return newly_set;
}

}  // namespace drbd::metafmt
