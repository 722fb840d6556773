// SPDX-License-Identifier: GPL-2.0-or-later
// Every bound of the core.  Memory is sized from these when a resource is made
// or a disk is attached; nothing is allocated for a request after that.
#pragma once

#include <cstdint>

#include "core/base/units.h"

namespace drbd {

// Guest requests of a resource, all volumes.  When all are taken, callers wait.
constexpr unsigned kRequestsDefault = 2048;
constexpr unsigned kRequestsMax = 16384;

// One guest write carries at most this much; zeroes and discards the other.
// The block layer above splits what is larger (bdrv_refresh_limits).
constexpr Bytes kWriteMax{1ull << 20};
constexpr Bytes kZeroesMax{128ull << 20};

// Extents that one request can touch: the larger of the two, not aligned.
constexpr unsigned kExtentsPerRequestMax = static_cast<unsigned>(kZeroesMax.value / kExtentSize) + 1;

// al-extents (drbd.conf): 1237 is kernel DRBD's default.
constexpr unsigned kAlExtentsDefault = 1237;

// The ring of the activity log is read whole at attach; a larger one is legal
// on the disk, but has no use for 65534 slots.
constexpr uint64_t kAlRingBlocksMax = 16384;

// Buffers of one metadata job: pages of the bitmap, or blocks of the ring.
constexpr unsigned kJobPagesMax = 64;
// A bitmap is read straight into its memory, in pieces of this size.
constexpr Bytes kBitmapReadPiece{1ull << 20};

constexpr unsigned kNoticesMax = 256;
constexpr unsigned kPastOperationsMax = 16;

}  // namespace drbd
