// SPDX-License-Identifier: GPL-2.0-or-later
// What a target acknowledged and may lose.  A kernel target flushes its disk
// neither during nor at the end of a resync (spec row 102); only a barrier
// acknowledgement says that what it acknowledged before the barrier was sent is
// stable.  Until then this source remembers the ranges, by extents of 4 MiB,
// and marks them again if the peer is lost (design D15).
// In: acknowledged ranges, barriers sent and acknowledged, by the numbers of
// their epochs.  Out: bits set again.
// Two generations: acknowledged since the barrier that is waited for was sent,
// and before.  A barrier that is sent while one is waited for is not waited for.
#pragma once

#include "core/bitmap/bitmap.h"

namespace drbd {

class Unconfirmed {
  public:
    // Room for a volume of this size; what was remembered is kept if it has it
    // already.
    Result<void> prepare(Sector size);

    void on_acknowledged(uint64_t first_byte, uint64_t end_byte, uint64_t now_ms);
    void on_barrier_sent(uint64_t epoch);
    // Of this epoch, and so of all before it.
    void on_barrier_acknowledged(uint64_t epoch);
    // The peer is lost: sets the bits of everything remembered and forgets it.
    void mark_again(Bitmap& bitmap);

    // The oldest that no barrier was sent for came at this time; UINT64_MAX: none.
    uint64_t oldest_ms() const { return waits_for_epoch_ == 0 ? oldest_ms_ : UINT64_MAX; }
    bool empty() const { return extents_[0] == 0 && extents_[1] == 0; }

  private:
    std::span<uint8_t> map(unsigned generation) { return maps_.data().subspan(generation * map_bytes_, map_bytes_); }
    void forget(unsigned generation);

    AlignedBuffer maps_;           // both, a bit for each extent
    uint64_t map_bytes_ = 0;
    uint64_t sectors_ = 0;
    uint64_t extents_[2] = {};     // bits set in each
    unsigned current_ = 0;         // the generation that grows
    uint64_t waits_for_epoch_ = 0; // of the other; 0: it is empty
    uint64_t oldest_ms_ = UINT64_MAX;
};

}  // namespace drbd
