// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/peer/range_order.h"

namespace drbd {

namespace {

bool is_resync(const PeerRequest& request) { return request.work != PeerWork::Write; }

}  // namespace

// Does one that came before it wait, or is one of those at the image in its
// way?  A flush without data has no range and is in nobody's way.
bool RangeOrder::overlaps_earlier(const PeerRequest& request) const {
    if (request.bytes() == 0)
        return false;
    const PeerRequest* earlier = PeerRequestList::is_linked(request) ? PeerRequestList::previous(request)
                                                                     : waiting_.last();
    for (; earlier; earlier = PeerRequestList::previous(*earlier))
        if (earlier->bytes() != 0 && earlier->range.overlaps(request.range))
            return true;
    return tree_.overlaps(request.range);
}

bool RangeOrder::enter(PeerRequest& request, uint64_t oldest_epoch) {
    const bool turn = has_turn(request, oldest_epoch);
    if (turn && !overlaps_earlier(request)) {
        if (request.bytes() != 0)
            tree_.insert(request.range);
        return true;
    }
    waiting_.push_back(request);
    nr_resync_ += is_resync(request);
    blocked_ += turn;
    return false;
}

void RangeOrder::leave(PeerRequest& request) {
    if (request.range.in_tree) {
        tree_.erase(request.range);
    } else if (request.bytes() != 0) {
        waiting_.erase(request);
        nr_resync_ -= is_resync(request);
    }
}

void RangeOrder::grant(uint64_t oldest_epoch, PeerRequestList& granted) {
    blocked_ = 0;
    unsigned resync_left = nr_resync_;
    for (PeerRequest* request = waiting_.first(); request;) {
        PeerRequest* following = PeerRequestList::next(*request);
        const bool turn = has_turn(*request, oldest_epoch);
        resync_left -= is_resync(*request);
        if (turn && !overlaps_earlier(*request)) {
            waiting_.erase(*request);
            nr_resync_ -= is_resync(*request);
            if (request->bytes() != 0)
                tree_.insert(request->range);
            granted.push_back(*request);
        } else {
            blocked_ += turn;
            // Behind the first write of a later epoch are only such.
            if (!turn && resync_left == 0)
                return;
        }
        request = following;
    }
}

void RangeOrder::take_waiting_writes(PeerRequestList& taken) {
    for (PeerRequest* request = waiting_.first(); request;) {
        PeerRequest* following = PeerRequestList::next(*request);
        if (!is_resync(*request)) {
            waiting_.erase(*request);
            taken.push_back(*request);
        }
        request = following;
    }
    blocked_ = waiting_.size();
}

}  // namespace drbd
