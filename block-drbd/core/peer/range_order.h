// SPDX-License-Identifier: GPL-2.0-or-later
// Who may write where, on one volume's image: the peer's writes, its reads and
// the writes of a resync, in the order in which they came.
//
// In: a write came; one has ended; writes of one more epoch may begin.  Out:
// those whose turn it is.
// Rules: a write of the peer begins when its epoch is the oldest; of two that
// overlap the earlier goes first, also if it still waits for its epoch; those
// that do not overlap pass each other.
// Invariants: what was granted and has not left never overlaps; a write that
// waits is in the list, in arrival order, and nowhere else.
#pragma once

#include "core/peer/peer_request.h"

namespace drbd {

class RangeOrder {
  public:
    // True: it is its turn already.  Else a later grant() will name it.
    bool enter(PeerRequest& request, uint64_t oldest_epoch);
    // It is done, or given up while it waited.
    void leave(PeerRequest& request);
    // Something that waits could be granted now that somebody left.
    bool has_blocked() const { return blocked_ != 0; }
    // Appends those whose turn it is to `granted`.
    void grant(uint64_t oldest_epoch, PeerRequestList& granted);
    // Takes the peer's writes that wait out; resync's stay.
    void take_waiting_writes(PeerRequestList& taken);

    bool empty() const { return waiting_.empty() && tree_.empty(); }

  private:
    static bool has_turn(const PeerRequest& request, uint64_t oldest_epoch) {
        return request.work != PeerWork::Write || request.epoch <= oldest_epoch;
    }
    bool overlaps_earlier(const PeerRequest& request) const;

    OverlapTree tree_;
    PeerRequestList waiting_;
    unsigned nr_resync_ = 0;  // of those waiting: resync's
    unsigned blocked_ = 0;    // of those waiting: only an overlap is in their way
};

}  // namespace drbd
