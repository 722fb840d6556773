// SPDX-License-Identifier: GPL-2.0-or-later
// The way of a guest request down to the image (guest_io.h).
#include <cerrno>

#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags,
                        void* owner, DrbdWaiter& waiter, Request** out) {
    DRBD_ASSERT(owner);
    Request* request = pool_.take(waiter, owner);
    if (!request)
        return DRBD_STEP_RETRY;
    *out = request;
    request->kind = kind;
    request->fua = flags & DRBD_REQUEST_FUA;
    request->cold = false;
    request->result = 0;
    request->range.start = offset;
    request->range.end = offset + bytes;
    in_flight_++;
    if (bytes == 0 && kind != DRBD_REQUEST_FLUSH)
        return refuse(*request, 0);  // nothing to do is no error

    switch (kind) {
    case DRBD_REQUEST_READ:
        counters_.reads++;
        counters_.read_bytes += bytes;
        if (read_error_ != 0)
            return refuse(*request, read_error_);
        return submit(*request);
    case DRBD_REQUEST_WRITE:
        counters_.writes++;
        counters_.written_bytes += bytes;
        return begin_write(*request);
    case DRBD_REQUEST_ZEROES:
    case DRBD_REQUEST_DISCARD:
        counters_.zeroes++;
        counters_.zeroed_bytes += bytes;
        return begin_write(*request);
    case DRBD_REQUEST_FLUSH:
        counters_.flushes++;
        return begin_flush(*request);
    }
    assertion_failed("request kind", __FILE__, __LINE__);
}

DrbdStep GuestIo::refuse(Request& request, int error) {
    request.result = error;
    request.stage = Stage::Done;
    DRBD_ASSERT(in_flight_ > 0);
    in_flight_--;
    return request.step = DRBD_STEP_COMPLETE;
}

DrbdStep GuestIo::begin_write(Request& request) {
    if (write_error_ != 0)
        return refuse(request, write_error_);
    const uint64_t bytes = request.range.end - request.range.start;
    DRBD_ASSERT(request.range.start % kSectorSize == 0 && bytes % kSectorSize == 0 && bytes > 0);
    DRBD_ASSERT(request.range.end <= to_bytes(disk_.size).value);
    DRBD_ASSERT(bytes <= (request.kind == DRBD_REQUEST_WRITE ? kWriteMax : kZeroesMax).value);
    request.extents = {static_cast<uint32_t>(request.range.start / kExtentSize),
                       static_cast<uint32_t>((request.range.end - 1) / kExtentSize)};
    writes_in_flight_++;
    if (generation_wanted_) {
        generation_wanted_ = false;
        generation_pending_ = true;
        listener_.on_generation_wanted();
    }
    if (must_wait_for_overlap(request)) {
        counters_.overlaps_waited++;
        request.stage = Stage::WaitOverlap;
        wait_overlap_.push_back(request);
        return request.step = DRBD_STEP_WAIT;
    }
    return enter_tree(request);
}

// A waiter counts as well, or a stream of newcomers could pass it for ever.
bool GuestIo::must_wait_for_overlap(const Request& request) const {
    for (const Request* r = wait_overlap_.first(); r; r = RequestQueue::next(*r))
        if (r->range.overlaps(request.range))
            return true;
    return tree_.overlaps(request.range);
}

DrbdStep GuestIo::enter_tree(Request& request) {
    tree_.insert(request.range);
    if (!activity_log_starves_ && disk_.activity_log.try_hold(request.extents)) {
        request.holds_extents = true;
        return submit(request);
    }
    request.cold = true;
    request.stage = Stage::WaitActivityLog;
    wait_activity_log_.push_back(request);
    return request.step = DRBD_STEP_WAIT;
}

DrbdStep GuestIo::submit(Request& request) {
    request.stage = Stage::Local;
    cold_in_flight_ += request.cold;
    return request.step = DRBD_STEP_SUBMIT;
}

// First come, first served, as many as one transaction takes.
void GuestIo::reserve_for_transaction() {
    while (Request* request = wait_activity_log_.first()) {
        if (!disk_.activity_log.reserve(request->extents)) {
            // With nothing else in the transaction, all slots are in use: keep
            // newcomers from taking them again before the first in line.
            activity_log_starves_ = reserved_.empty();
            eviction_possible_ = !reserved_.empty();
            return;
        }
        wait_activity_log_.erase(*request);
        request->holds_extents = true;
        request->stage = Stage::Reserved;
        reserved_.push_back(*request);
    }
    activity_log_starves_ = false;
}

void GuestIo::transaction_committed() {
    while (Request* request = reserved_.pop_front()) {
        submit(*request);
        pool_.wake(*request);
    }
}

void GuestIo::transaction_abandoned(int error) {
    for (Request* request = reserved_.first(); request; request = RequestQueue::next(*request)) {
        disk_.activity_log.withdraw(request->extents);
        request->holds_extents = false;
    }
    disk_.activity_log.abandon();
    while (Request* request = reserved_.pop_front())
        finish_and_wake(*request, error);
}

}  // namespace drbd
