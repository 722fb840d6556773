// SPDX-License-Identifier: GPL-2.0-or-later
// Guest flushes (guest_io.h, design D6): what has completed is stable on both
// copies afterwards.
// Image: writes that have completed are counted, and a flush must cover the
// count that stood when it came.  One flush at a time is at the image; those
// that come meanwhile wait, and the next one covers them all.  A flush whose
// writes are already covered needs none.
// Peer, under C: the confirmation of every epoch, of all volumes, with a write
// that had completed.  Where the image cannot do its half, the peer's is enough
// if it has every write; where the peer is lost, the image's is, once the new
// generation is stable.
#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::begin_flush(Request& request) {
    request.flush_generation = written_generation_;
    rhythm_.flush_came();
    if (confirms_flushes()) {
        request.flush_epoch = log_.epoch_to_flush();
    } else {
        log_.close_epoch();
        request.flush_epoch = 0;
    }
    if (request.flush_generation <= flushed_generation_) {
        counters_.flushes_saved += request.flush_epoch == 0;
        return flush_covered(request);
    }
    if (!has_disk_)
        return flush_without_image(request, -EIO);
    if (running_flush_) {
        request.stage = Stage::WaitFlush;
        wait_flush_.push_back(request);
        return request.step = DRBD_STEP_WAIT;
    }
    running_flush_ = &request;
    return submit(request);
}

DrbdStep GuestIo::flush_done(Request& request) {
    DRBD_ASSERT(running_flush_ == &request);
    running_flush_ = nullptr;
    const int result = request.result;
    if (result == 0) {
        image_flushed(request.flush_generation);
    } else {
        counters_.write_errors++;
        // Before anybody is judged: what completes by the peer's word may have to wait for a handover now.
        listener_.on_disk_error(request.kind, 0, 0, result);
    }

    // Those that wanted no more than this one have its result too.
    Request* next = wait_flush_.first();
    while (next && next->flush_generation <= request.flush_generation) {
        Request* covered = next;
        next = RequestQueue::next(*covered);
        wait_flush_.erase(*covered);
        counters_.flushes_saved++;
        wake_unless_waiting(*covered, result == 0 ? flush_covered(*covered) : flush_without_image(*covered, result));
    }
    if (next) {
        wait_flush_.erase(*next);
        next->flush_generation = written_generation_;
        running_flush_ = next;
        submit(*next);
        pool_.wake(*next);
    }
    return result == 0 ? flush_covered(request) : flush_without_image(request, result);
}

// The image cannot make stable what it has.  That is no loss if the peer has
// all of it, keeps it stable, and is a copy that the guest can go on with.
DrbdStep GuestIo::flush_without_image(Request& request, int error) {
    const bool peer_has_all = access_.peer_reads && local_only_generation_ <= flushed_generation_ && !lost_writes_;
    if (!peer_has_all) {
        forget_reported_loss();
        return finish(request, error);
    }
    // A failed flush under A or B asked for no confirmation.
    if (request.flush_epoch == 0 && log_.unconfirmed() != 0)
        request.flush_epoch = log_.close_epoch();
    request.flush_waived = true;
    return flush_covered(request);
}

// The image's half is done or waived.
DrbdStep GuestIo::flush_covered(Request& request) {
    if (!log_.is_confirmed(request.flush_epoch)) {
        request.stage = Stage::WaitConfirm;
        wait_confirm_.push_back(request);
        return request.step = DRBD_STEP_WAIT;
    }
    return flush_confirmed(request);
}

// So is the peer's, or the peer is lost.
DrbdStep GuestIo::flush_confirmed(Request& request) {
    const bool peer_was_needed = request.flush_waived && request.flush_epoch != 0;
    if (lost_writes_ || owes_loss_ || (peer_was_needed && request.flush_epoch <= log_.lost_through() &&
                         request.flush_epoch > log_.confirmed_through())) {
        forget_reported_loss();
        return finish(request, -EIO);
    }
    // What the peer was lost with is on an image that will follow it.
    if (!access_.image_alone && log_.lost_through() > log_.confirmed_through())
        return finish(request, -EIO);
    request.result = 0;
    if (generation_pending_)
        return wait_for_generation(request);
    // An image that failed one flush may have dropped what the next one was to bring to the disk.
    return request.flush_waived || !access_.image_alone ? finish_on_peer(request) : finish(request, 0);
}

// The guest has been told that something is lost.  While there is a copy to go
// on with, flushes speak of what came after.
void GuestIo::forget_reported_loss() {
    owes_loss_ = false;
    if (!access_.replicate)
        return;
    lost_writes_ = false;
    if (!has_disk_)
        local_only_generation_ = flushed_generation_;
}

void GuestIo::on_epochs_confirmed() {
    for (Request* r = wait_confirm_.first(); r;) {
        Request* request = r;
        r = RequestQueue::next(*r);
        if (log_.is_confirmed(request->flush_epoch)) {
            wait_confirm_.erase(*request);
            wake_unless_waiting(*request, flush_confirmed(*request));
        }
    }
    listener_.on_writes_confirmed();
}

// A disk that comes back may take what the peer has: a loss there is still owed
// to the guest.
void GuestIo::disk_came() {
    has_disk_ = true;
    attachment_++;
    generation_failed_ = lost_writes_ = false;
    activity_log_starves_ = false;
    eviction_possible_ = true;
    flushed_generation_ = local_only_generation_ = written_generation_;
}

void GuestIo::disk_went(bool flushed) {
    has_disk_ = false;
    if (flushed)
        flushed_generation_ = local_only_generation_ = written_generation_;
    else if (local_only_generation_ > flushed_generation_)
        lost_writes_ = true;
}

}  // namespace drbd
