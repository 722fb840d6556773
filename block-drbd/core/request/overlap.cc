// SPDX-License-Identifier: GPL-2.0-or-later
// Who waits for a range: writes that overlap, and range locks of a resync
// (guest_io.h, range_lock.h).  First come, first served: a waiter lets nobody
// pass who wants a part of what it wants.
#include "core/request/guest_io.h"

namespace drbd {

namespace {
// So many waiters are looked at when something becomes free; those behind them
// are looked at when these have gone.
constexpr unsigned kWaitersLookedAt = 64;
}  // namespace

// A waiter counts as well, or a stream of newcomers could pass it for ever.
bool GuestIo::must_wait_for_range(const Interval& range) const {
    for (const Request* r = wait_overlap_.first(); r; r = RequestQueue::next(*r))
        if (r->range.overlaps(range))
            return true;
    for (const RangeLock* lock = wait_lock_.first(); lock; lock = RangeLockQueue::next(*lock))
        if (lock->range.overlaps(range))
            return true;
    return tree_.overlaps(range);
}

uint64_t GuestIo::waiting_since_ms() const { return wait_overlap_.empty() ? UINT64_MAX : wait_overlap_.first()->waits_since_ms; }

DrbdStep GuestIo::enter_tree(Request& request) {
    tree_.insert(request.range);
    if (has_image()) [[likely]]
        return hold_extents(request);
    return launch(request);
}

bool GuestIo::lock_range(RangeLock& lock) {
    DRBD_ASSERT(!lock.held && !RangeLockQueue::is_linked(lock));
    if (must_wait_for_range(lock.range)) {
        lock.ticket = tickets_++;
        wait_lock_.push_back(lock);
        return false;
    }
    tree_.insert(lock.range);
    lock.held = true;
    return true;
}

void GuestIo::unlock_range(RangeLock& lock) {
    if (lock.held) {
        lock.held = false;
        tree_.erase(lock.range);
    } else if (RangeLockQueue::is_linked(lock)) {
        wait_lock_.erase(lock);
    } else {
        return;
    }
    release_overlapping();
}

// Those that waited for a range that is free now, in the order they came.  What
// is let go may free another range at once: then it is looked again.
void GuestIo::release_overlapping() {
    if (releasing_) {
        release_again_ = true;
        return;
    }
    releasing_ = true;
    do {
        release_again_ = false;
        while (release_one()) {
        }
    } while (release_again_);
    releasing_ = false;
}

// The first that overlaps neither what is under way nor who waits before it.
bool GuestIo::release_one() {
    const Interval* before[kWaitersLookedAt];
    unsigned nr_before = 0;
    Request* request = wait_overlap_.first();
    RangeLock* lock = wait_lock_.first();
    while ((request || lock) && nr_before < kWaitersLookedAt) {
        const bool is_lock = !request || (lock && lock->ticket < request->ticket);
        const Interval& range = is_lock ? lock->range : request->range;
        bool blocked = tree_.overlaps(range);
        for (unsigned i = 0; i < nr_before && !blocked; i++)
            blocked = before[i]->overlaps(range);
        if (blocked) {
            before[nr_before++] = &range;
            if (is_lock)
                lock = RangeLockQueue::next(*lock);
            else
                request = RequestQueue::next(*request);
        } else if (is_lock) {
            wait_lock_.erase(*lock);
            tree_.insert(lock->range);
            lock->held = true;
            lock->listener->on_range_locked(*lock);
            return true;
        } else {
            wait_overlap_.erase(*request);
            if (access_.write_error != 0)
                finish_and_wake(*request, access_.write_error);
            else
                wake_unless_waiting(*request, enter_tree(*request));
            return true;
        }
    }
    return false;
}

}  // namespace drbd
