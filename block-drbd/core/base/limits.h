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

// Requests of the peer that are being done here, resync included.  When all are
// taken, or their payload is, the data stream is not read on.
constexpr unsigned kPeerRequestsMax = 1024;
// Payload that they hold (max-buffers, in pages of 4 KiB) unless configured.
constexpr unsigned kPeerPagesDefault = 8192;

// Packets that wait to be sent and belong to no request: parameters, states,
// pings, acknowledgements.  A peer that lets more of them pile up is dropped.
constexpr unsigned kControlPacketsMax = 1024;
// Bytes of a packet that are kept with it; what is longer is payload.
constexpr unsigned kInlinePacketMax = 192;

// A resync of one volume.  As target: how far ahead it asks, in requests and in
// bytes that are not on the disk yet; how much is written before it is flushed,
// and how long a write waits for that at most; when ranges that the source
// could not serve are asked for again.  The window is well below the pool of
// peer requests, which the data stream waits for.
constexpr unsigned kResyncRequestsMax = 128;
constexpr Bytes kResyncWindow{16ull << 20};
constexpr Bytes kResyncWindowBegin{1ull << 20};
constexpr Bytes kResyncWindowMin{64ull << 10};
constexpr unsigned kResyncQueueMs = 100;
constexpr Bytes kResyncFlushBytes{8ull << 20};
constexpr unsigned kResyncFlushMs = 100;
constexpr unsigned kResyncRetryMs = 1000;
// As source: requests that are not acknowledged yet (with more the data stream
// is not read on), and how many are read at a time.
constexpr unsigned kResyncUnansweredMax = 4096;
constexpr unsigned kResyncReadsMax = 64;
// What a target acknowledged is taken for lost until a barrier confirms it;
// without writes of the guest one is asked for after this long.
constexpr unsigned kResyncConfirmMs = 1000;
// Packets of a bitmap that wait to be sent; words of a bitmap (8 bytes) that
// one event looks at.
constexpr unsigned kBitmapPacketsMax = 8;
constexpr uint64_t kBitmapWordsPerEvent = 1ull << 20;

constexpr unsigned kNoticesMax = 256;
constexpr unsigned kPastOperationsMax = 16;

}  // namespace drbd
