// SPDX-License-Identifier: GPL-2.0-or-later
// The way of a guest request down to the image and the network (guest_io.h).
#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags,
                        void* owner, DrbdWaiter& waiter, Request** out) {
    DRBD_ASSERT(owner);
    Request* request = pool_.take(waiter, owner);
    if (!request) {
        log_.close_epoch();  // what is confirmed is free again
        return DRBD_STEP_RETRY;
    }
    *out = request;
    request->io = this;
    request->kind = kind;
    request->fua = flags & DRBD_REQUEST_FUA;
    request->may_unmap = flags & DRBD_REQUEST_MAY_UNMAP;
    request->cold = request->local_over = request->local_ok = request->ended = request->retried = false;
    request->flush_waived = false;
    request->result = 0;
    request->range.start = offset;
    request->range.end = offset + bytes;
    request->payload = request->digest = nullptr;
    request->peer.replicated = false;
    request->peer.digest_piece = 0;
    in_flight_++;
    outstanding_++;
    writes_in_flight_ += request->changes_data();
    if (bytes == 0 && kind != DRBD_REQUEST_FLUSH)
        return finish(*request, 0);  // nothing to do is no error
    // While this waited to be asked again a smaller peer may have come, and gone.
    if (has_image() && request->range.end > to_bytes(disk_.size).value) [[unlikely]]
        return finish(*request, -EIO);

    switch (kind) {
    case DRBD_REQUEST_READ:
        counters_.reads++;
        counters_.read_bytes += bytes;
        break;
    case DRBD_REQUEST_WRITE:
        counters_.writes++;
        counters_.written_bytes += bytes;
        break;
    case DRBD_REQUEST_ZEROES:
    case DRBD_REQUEST_DISCARD:
        counters_.zeroes++;
        counters_.zeroed_bytes += bytes;
        break;
    case DRBD_REQUEST_FLUSH:
        counters_.flushes++;
        break;
    }
    return admit(*request);
}

DrbdStep GuestIo::admit(Request& request) {
    if (request.changes_data()) {
        if (access_.write_error != 0)
            return finish(request, access_.write_error);
    } else if (request.kind == DRBD_REQUEST_READ && access_.read_error != 0) {
        return finish(request, access_.read_error);
    }
    if (access_.hold) [[unlikely]]
        return hold(request);
    switch (request.kind) {
    case DRBD_REQUEST_READ:
        return route_read(request, true);
    case DRBD_REQUEST_FLUSH:
        return begin_flush(request);
    default:
        return begin_write(request);
    }
}

DrbdStep GuestIo::hold(Request& request) {
    request.stage = Stage::WaitState;
    wait_state_.push_back(request);
    return request.step = DRBD_STEP_WAIT;
}

void GuestIo::change_access(const Access& access) {
    access_ = access;
    if (access.write_error == -EROFS)
        owes_loss_ = false;  // a Secondary; the next guest was promised nothing
}

void GuestIo::go_on() {
    // Each at most once: one that must wait again comes behind the others.
    for (unsigned left = wait_state_.size(); left > 0 && !access_.hold; left--) {
        Request* request = wait_state_.pop_front();
        wake_unless_waiting(*request, request->range.in_tree ? launch(*request) : admit(*request));
    }
}

void GuestIo::begin_wanted_generation() {
    if (!generation_wanted_)
        return;
    generation_wanted_ = false;
    generation_pending_ = true;
    listener_.on_generation_wanted();
}

DrbdStep GuestIo::begin_write(Request& request) {
    DRBD_ASSERT(request.range.start % kSectorSize == 0 && request.bytes() % kSectorSize == 0);
    DRBD_ASSERT(!has_image() || request.range.end <= to_bytes(disk_.size).value);
    DRBD_ASSERT(request.bytes() <= (request.kind == DRBD_REQUEST_WRITE ? kWriteMax : kZeroesMax).value);
    request.extents = {static_cast<uint32_t>(request.range.start / kExtentSize),
                       static_cast<uint32_t>((request.range.end - 1) / kExtentSize)};
    begin_wanted_generation();
    if (must_wait_for_range(request.range)) {
        counters_.overlaps_waited++;
        request.stage = Stage::WaitOverlap;
        request.ticket = tickets_++;
        request.waits_since_ms = link_.now_ms();
        wait_overlap_.push_back(request);
        return request.step = DRBD_STEP_WAIT;
    }
    return enter_tree(request);
}

// The activity log covers the image; a write to the peer alone needs none.
DrbdStep GuestIo::hold_extents(Request& request) {
    if (!activity_log_starves_ && disk_.activity_log.try_hold(request.extents)) {
        request.holds_extents = true;
        request.attachment = attachment_;
        return launch(request);
    }
    request.cold = true;
    request.stage = Stage::WaitActivityLog;
    if (wait_activity_log_.empty())
        cold_since_ms_ = link_.now_ms();
    wait_activity_log_.push_back(request);
    return request.step = DRBD_STEP_WAIT;
}

// Everything that a write waits for before it begins is there.  What the state
// allows now decides where it goes, once.
DrbdStep GuestIo::launch(Request& request) {
    if (access_.hold) [[unlikely]]
        return hold(request);
    // The last good copy was lost while it waited: a disk that is Outdated is to stay what it was.
    if (!access_.image_alone && !access_.peer_reads) [[unlikely]]
        return finish(request, -EIO);
    if (has_image() && !holds_current(request)) [[unlikely]] {
        request.holds_extents = false;
        return hold_extents(request);
    }
    if (may_replicate()) {
        const Shape shape = shape_of(request);
        if (!shape.possible())
            return finish(request, -ENOTSUP);
        if (request.kind == DRBD_REQUEST_WRITE && !request.payload)
            return ask_for_copy(request, shape);
        if (!log_.has_room(shape.pieces)) {
            request.peer.pieces = static_cast<uint16_t>(shape.pieces);
            request.stage = Stage::WaitSend;
            log_.wait_for_room(request);
            return request.step = DRBD_STEP_WAIT;
        }
        send_write(request, shape);
        if (!has_image() && has_disk_)
            mark_out_of_sync(request.range);
    } else if (!has_image()) {
        return finish(request, access_.write_error != 0 ? access_.write_error : -EIO);
    } else {
        // No peer will have it.  Marked before it begins, so that a resync that
        // begins meanwhile knows of it.
        const Sector start(request.range.start / kSectorSize);
        if (clearable_ != 0) [[unlikely]]
            log_.forbid_clearing(*this, request.range, disk_.bitmap, false);
        const uint64_t newly_set =
            disk_.bitmap.set_out_of_sync(start, Sector(request.range.end / kSectorSize) - start);
        if (newly_set != 0 && access_.send_out_of_sync)
            send_out_of_sync(request);
    }
    if (has_image()) [[likely]]
        return submit(request);
    request.local_over = true;
    request.stage = Stage::WaitPeer;
    return try_complete(request);
}

DrbdStep GuestIo::copied(Request& request, const void* payload, const uint8_t* digest) {
    DRBD_ASSERT(request.stage == Stage::Copy && payload);
    request.payload = static_cast<const uint8_t*>(payload);
    request.digest = digest;
    return launch(request);
}

void GuestIo::on_room(Request& request) {
    if (request.kind == DRBD_REQUEST_READ)
        retry_read(request, true);
    else
        wake_unless_waiting(request, launch(request));
}

DrbdStep GuestIo::submit(Request& request) {
    request.stage = Stage::Local;
    cold_in_flight_ += request.cold;
    at_image_++;
    return request.step = DRBD_STEP_SUBMIT;
}

// First come, first served, as many as one transaction takes.
void GuestIo::reserve_for_transaction() {
    cold_since_ms_ = link_.now_ms();
    while (Request* request = wait_activity_log_.first()) {
        if (!disk_.activity_log.reserve(request->extents)) {
            // Extents are free again when the peer has confirmed their writes.
            if (disk_.activity_log.referenced() == disk_.activity_log.nr_slots() || reserved_.empty())
                log_.close_epoch();
            // With nothing else in the transaction, all slots are in use: keep
            // newcomers from taking them again before the first in line.
            activity_log_starves_ = reserved_.empty();
            eviction_possible_ = !reserved_.empty();
            return;
        }
        wait_activity_log_.erase(*request);
        request->holds_extents = true;
        request->attachment = attachment_;
        request->stage = Stage::Reserved;
        reserved_.push_back(*request);
    }
    activity_log_starves_ = false;
}

void GuestIo::transaction_committed() {
    while (Request* request = reserved_.pop_front())
        wake_unless_waiting(*request, launch(*request));
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

void GuestIo::drop_extents(Request& request) {
    if (!request.holds_extents)
        return;
    if (holds_current(request)) {
        eviction_possible_ = true;
        disk_.activity_log.drop(request.extents, written_generation_);
    }
    request.holds_extents = false;
}

}  // namespace drbd
