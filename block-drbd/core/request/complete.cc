// SPDX-License-Identifier: GPL-2.0-or-later
// What happens to a guest request once the image has answered, or the disk is
// lost (guest_io.h).
#include <cerrno>

#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::local_done(Request& request, int result) {
    DRBD_ASSERT(request.stage == Stage::Local && result <= 0);
    request.result = result;
    switch (request.kind) {
    case DRBD_REQUEST_READ:
        return read_done(request);
    case DRBD_REQUEST_WRITE:
    case DRBD_REQUEST_ZEROES:
    case DRBD_REQUEST_DISCARD:
        return write_done(request);
    case DRBD_REQUEST_FLUSH:
        return flush_done(request);
    }
    assertion_failed("request kind", __FILE__, __LINE__);
}

DrbdStep GuestIo::read_done(Request& request) {
    if (request.result != 0) {
        counters_.read_errors++;
        // The peer's copy may be good where this one is not (spec 6.9).
        if (has_disk_) {
            const Sector start(request.range.start / kSectorSize);
            disk_.bitmap.set_out_of_sync(start, Sector(request.range.end / kSectorSize) - start);
        }
        listener_.on_disk_error(request.kind, request.range.start, request.range.end - request.range.start,
                                request.result);
    }
    return finish(request, request.result);
}

DrbdStep GuestIo::write_done(Request& request) {
    if (request.cold) {
        DRBD_ASSERT(cold_in_flight_ > 0);
        cold_in_flight_--;
    }
    // A failed write may have changed anything in its range; one that worked
    // has reached no peer.  Either way the copies may differ.
    const Sector start(request.range.start / kSectorSize);
    disk_.bitmap.set_out_of_sync(start, Sector(request.range.end / kSectorSize) - start);
    if (!request.fua || request.result != 0)
        written_generation_++;
    if (request.result != 0) {
        counters_.write_errors++;
        listener_.on_disk_error(request.kind, request.range.start, request.range.end - request.range.start,
                                request.result);
    } else if (generation_failed_) {
        request.result = -EIO;  // design D14: it would complete under the old generation
    } else if (generation_pending_) {
        request.stage = Stage::WaitGeneration;
        wait_generation_.push_back(request);
        return request.step = DRBD_STEP_WAIT;
    }
    return finish(request, request.result);
}

void GuestIo::generation_stable() {
    generation_wanted_ = generation_pending_ = false;
    while (Request* request = wait_generation_.pop_front())
        finish_and_wake(*request, request->result);
}

// Whatever the request holds is given back; its owner learns the result.
DrbdStep GuestIo::finish(Request& request, int result) {
    request.result = result;
    request.stage = Stage::Done;
    request.step = DRBD_STEP_COMPLETE;
    if (request.holds_extents) {
        request.holds_extents = false;
        eviction_possible_ = true;
        if (has_disk_)
            disk_.activity_log.drop(request.extents);
    }
    DRBD_ASSERT(in_flight_ > 0);
    in_flight_--;
    if (request.changes_data()) {
        DRBD_ASSERT(writes_in_flight_ > 0);
        writes_in_flight_--;
    }
    if (request.range.in_tree) {
        tree_.erase(request.range);
        release_overlapping();
    }
    return request.step;
}

void GuestIo::finish_and_wake(Request& request, int result) {
    finish(request, result);
    pool_.wake(request);
}

// Those that waited for a range that is free now, in the order they came.
void GuestIo::release_overlapping() {
    while (Request* request = wait_overlap_.first()) {
        if (tree_.overlaps(request->range))
            return;
        wait_overlap_.erase(*request);
        if (write_error_ != 0) {
            finish_and_wake(*request, write_error_);
        } else if (enter_tree(*request) != DRBD_STEP_WAIT) {
            pool_.wake(*request);
        }
    }
}

int GuestIo::end(Request& request) {
    DRBD_ASSERT(request.stage == Stage::Done && request.step == DRBD_STEP_COMPLETE);
    const int result = request.result;
    pool_.give_back(request);
    return result;
}

void GuestIo::fail_waiting(int error) {
    activity_log_starves_ = false;
    eviction_possible_ = true;
    generation_failed_ |= generation_pending_;
    generation_pending_ = generation_wanted_ = false;
    for (RequestQueue* queue : {&wait_activity_log_, &reserved_, &wait_generation_, &wait_flush_})
        while (Request* request = queue->pop_front())
            finish_and_wake(*request, error);
    // Those behind an overlapping write that is still at the image fail when it
    // ends, in release_overlapping().
    release_overlapping();
}

}  // namespace drbd
