// SPDX-License-Identifier: GPL-2.0-or-later
// The end of a guest request: when the image has answered, when the peer has,
// or when one of them is lost (guest_io.h; spec 6.3, design D14).  A write
// completes when image and peer have done what its protocol asks; it leaves the
// tree when its place in the order is certain; it gives its extents back when
// its epoch is confirmed; and it goes back to the pool when all that is over.
#include <algorithm>
#include <utility>

#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::local_done(Request& request, int result) {
    DRBD_ASSERT(request.stage == Stage::Local && result <= 0);
    request.result = result;
    DRBD_ASSERT(at_image_ > 0);
    at_image_--;
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

DrbdStep GuestIo::write_done(Request& request) {
    if (request.cold) {
        DRBD_ASSERT(cold_in_flight_ > 0);
        cold_in_flight_--;
    }
    request.local_over = true;
    request.local_ok = request.result == 0;
    if (!request.fua || !request.local_ok)
        written_generation_++;
    if (!request.local_ok) {
        // It may have changed anything in its range.
        mark_out_of_sync(request.range);
        request.peer.may_clear = false;
        counters_.write_errors++;
        listener_.on_disk_error(request.kind, request.range.start, request.bytes(), request.result);
    }
    late_blocks_ -= std::exchange(request.peer.late_blocks, 0);
    request.stage = Stage::WaitPeer;
    clear_bits_if_earned(request);
    return try_complete(request);
}

// The peer has it, as far as it was asked to say so.
bool GuestIo::remote_ok(const Request& request) const {
    const PeerSide& peer = request.peer;
    if (!peer.replicated || peer.failed)
        return false;
    if (peer.confirmed)
        return true;
    if (peer.unsent || peer.needs_confirmation)
        return false;
    if (peer.asks_write_ack && peer.write_acks_due == 0)
        return true;
    return peer.asks_receive_ack && peer.receive_acks_due == 0;
}

bool GuestIo::may_complete(const Request& request) const {
    const PeerSide& peer = request.peer;
    DRBD_ASSERT(request.local_over);
    if (!peer.replicated)
        return true;
    if (peer.in_outbox != 0)
        return false;  // the payload is still to be read
    if (peer.confirmed || peer.lost)
        return true;
    if (peer.needs_confirmation || peer.unsent)
        return false;
    // What the peer alone has must be written there.
    if (!request.local_ok)
        return peer.asks_write_ack && peer.write_acks_due == 0;
    return (!peer.completes_on_write_ack || peer.write_acks_due == 0) && peer.receive_acks_due == 0;
}

DrbdStep GuestIo::try_complete(Request& request) {
    const PeerSide& peer = request.peer;
    if (!may_complete(request)) {
        if (!request.local_ok && !peer.asks_write_ack && !log_.is_closed(peer.epoch))
            log_.close_epoch();
        return request.step = DRBD_STEP_WAIT;
    }
    const bool remote = remote_ok(request);
    if (peer.replicated) [[unlikely]]
        log_.completing(request);
    if (!request.local_ok) {
        // No space is the guest's business (design D17), a discard that the
        // image cannot do as well.
        const bool guests = request.result == -ENOSPC || (request.kind == DRBD_REQUEST_DISCARD && request.result != 0);
        // A target of a resync is no copy that the guest could go on with; and where the
        // disk is kept (pass-on), this one is the copy, and lacks the write.
        if (remote && !guests && access_.peer_reads && rests_on_peer())
            return finish_on_peer(request);
        return finish(request, request.result != 0 ? request.result : -EIO);
    }
    if (!remote) {
        if (!access_.image_alone && (peer.over() || peer.failed))
            return finish(request, -EIO);  // it is on no copy that could be used
        begin_wanted_generation();  // it may be older than the want: the disk was attached again since
        if (generation_failed_)
            return finish(request, -EIO);  // design D14: it would complete under the old generation
        if (generation_pending_)
            return wait_for_generation(request);
        if (peer.over() || peer.failed) {
            local_only_generation_ = written_generation_;
            lost_writes_ |= !has_disk_;
        }
    }
    return finish(request, 0);
}

void GuestIo::advance(Request& request) {
    if (request.stage == Stage::WaitPeer && request.changes_data())
        wake_unless_waiting(request, try_complete(request));
}

DrbdStep GuestIo::wait_for_generation(Request& request) {
    request.stage = Stage::WaitGeneration;
    wait_generation_.push_back(request);
    return request.step = DRBD_STEP_WAIT;
}

DrbdStep GuestIo::finish_on_peer(Request& request) {
    if (!handover_pending_)
        return finish(request, 0);
    request.stage = Stage::WaitHandover;
    wait_handover_.push_back(request);
    return request.step = DRBD_STEP_WAIT;
}

void GuestIo::end_handover(int error) {
    handover_pending_ = false;
    while (Request* request = wait_handover_.pop_front())
        finish_and_wake(*request, error);
}

void GuestIo::generation_stable() {
    generation_wanted_ = generation_pending_ = false;
    while (Request* request = wait_generation_.pop_front()) {
        if (request->changes_data()) {
            local_only_generation_ = written_generation_;
            lost_writes_ |= !has_disk_;
        }
        finish_and_wake(*request, request->result);
    }
}

bool GuestIo::place_is_certain(const Request& request) const {
    const PeerSide& peer = request.peer;
    if (peer.over())
        return true;
    return peer.receive_acks_due + peer.write_acks_due == 0 && !peer.unsent && !peer.place_needs_confirmation;
}

// Both copies have it, stable on the peer's: the peer has cleared its bits.  It did so
// for each packet, so a block that lies in two of them keeps its bit on both.
void GuestIo::clear_bits_if_earned(Request& request) {
    if (!request.peer.replicated || !request.peer.confirmed || !request.peer.may_clear || request.peer.failed ||
        !request.local_over || !request.local_ok || !holds_current(request))
        return;
    const uint64_t piece = request.peer.pieces > 1 ? request.peer.piece_bytes : request.bytes();
    for (uint64_t at = request.range.start; at < request.range.end; at += piece) {
        const Sector start(at / kSectorSize);
        disk_.bitmap.set_in_sync(start, Sector(std::min(at + piece, request.range.end) / kSectorSize) - start);
    }
}

// The guest's part is over; its owner learns the result.
DrbdStep GuestIo::finish(Request& request, int result) {
    request.result = result;
    request.stage = Stage::Done;
    request.step = DRBD_STEP_COMPLETE;
    DRBD_ASSERT(in_flight_ > 0);
    in_flight_--;
    if (request.changes_data()) {
        DRBD_ASSERT(writes_in_flight_ > 0);
        writes_in_flight_--;
        settle(request);
    }
    return DRBD_STEP_COMPLETE;
}

void GuestIo::finish_and_wake(Request& request, int result) {
    finish(request, result);
    pool_.wake(request);
}

// Gives back what a request holds as soon as nothing needs it.
void GuestIo::settle(Request& request) {
    if (request.stage != Stage::Done)
        return;
    if (request.peer.over())
        drop_extents(request);
    if (request.range.in_tree && place_is_certain(request)) {
        tree_.erase(request.range);
        release_overlapping();
    }
    if (request.ended && request.peer.over() && request.peer.in_outbox == 0) {
        outstanding_--;
        pool_.give_back(request);
    }
}

int GuestIo::end(Request& request) {
    DRBD_ASSERT(request.stage == Stage::Done && request.step == DRBD_STEP_COMPLETE && !request.ended);
    const int result = request.result;
    request.ended = true;
    settle(request);
    return result;
}

void GuestIo::fail_waiting(int error) {
    activity_log_starves_ = false;
    eviction_possible_ = true;
    generation_failed_ |= generation_pending_;
    generation_pending_ = generation_wanted_ = false;
    while (Request* request = wait_generation_.pop_front())
        finish_and_wake(*request, error);
    for (RequestQueue* queue : {&reserved_, &wait_activity_log_})
        while (Request* request = queue->pop_front()) {
            request->holds_extents = false;  // they went with the disk
            if (may_replicate())
                wake_unless_waiting(*request, launch(*request));
            else
                finish_and_wake(*request, error);
        }
    while (Request* request = wait_flush_.pop_front())
        wake_unless_waiting(*request, flush_without_image(*request, error));
    // Those behind an overlapping write that is still at the image fail when it
    // ends, in release_overlapping().
    release_overlapping();
}

}  // namespace drbd
