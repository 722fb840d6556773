// SPDX-License-Identifier: GPL-2.0-or-later
// Units of length.  Offsets and lengths on a disk are Sector (512 bytes) or
// Bytes, never a bare integer in an interface, so that one cannot be taken for
// the other.  Both are plain 64-bit values; arithmetic stays inside one unit
// and conversions are spelled out.
#pragma once

#include <compare>
#include <cstdint>

#include "core/base/assert.h"

namespace drbd {

struct Bytes {
    uint64_t value = 0;

    constexpr Bytes() = default;
    constexpr explicit Bytes(uint64_t v) : value(v) {}
    constexpr auto operator<=>(const Bytes&) const = default;
    constexpr Bytes operator+(Bytes o) const { return Bytes(value + o.value); }
    constexpr Bytes operator-(Bytes o) const { return Bytes(value - o.value); }
    constexpr Bytes operator*(uint64_t n) const { return Bytes(value * n); }
};

struct Sector {
    uint64_t value = 0;

    constexpr Sector() = default;
    constexpr explicit Sector(uint64_t v) : value(v) {}
    constexpr auto operator<=>(const Sector&) const = default;
    constexpr Sector operator+(Sector o) const { return Sector(value + o.value); }
    constexpr Sector operator-(Sector o) const { return Sector(value - o.value); }
    constexpr Sector operator*(uint64_t n) const { return Sector(value * n); }
};

constexpr uint64_t kSectorSize = 512;
constexpr uint64_t kBlockSize = 4096;        // one bit of the bitmap
constexpr uint64_t kSectorsPerBlock = kBlockSize / kSectorSize;
constexpr uint64_t kExtentSize = 4ull << 20;  // one extent of the activity log
constexpr uint64_t kBlocksPerExtent = kExtentSize / kBlockSize;

constexpr Bytes to_bytes(Sector s) { return Bytes(s.value * kSectorSize); }

// The whole sectors in `b`; a rest is dropped.
constexpr Sector whole_sectors(Bytes b) { return Sector(b.value / kSectorSize); }

constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value / unit * unit; }
constexpr uint64_t divide_up(uint64_t value, uint64_t unit) { return value / unit + (value % unit != 0); }

}  // namespace drbd
