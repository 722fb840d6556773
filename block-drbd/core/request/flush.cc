// SPDX-License-Identifier: GPL-2.0-or-later
// Guest flushes (guest_io.h, design D6).  Writes that have completed are
// counted; a flush must cover the count that stood when it came.  One flush at
// a time is at the image; those that come meanwhile wait, and the next one
// covers them all.  A flush whose writes are already covered returns at once.
#include <cerrno>

#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::begin_flush(Request& request) {
    request.flush_generation = written_generation_;
    if (request.flush_generation == flushed_generation_) {
        counters_.flushes_saved++;
        return finish(request, 0);
    }
    if (!has_disk_)
        return finish(request, -EIO);  // writes were acknowledged, and lost with the disk
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
    if (request.result == 0)
        flushed_generation_ = request.flush_generation;
    else
        counters_.write_errors++;

    // Those that wanted no more than this one have its result too.
    Request* next = wait_flush_.first();
    while (next && next->flush_generation <= request.flush_generation) {
        Request* covered = next;
        next = RequestQueue::next(*covered);
        wait_flush_.erase(*covered);
        counters_.flushes_saved++;
        finish_and_wake(*covered, request.result);
    }
    if (next) {
        wait_flush_.erase(*next);
        next->flush_generation = written_generation_;
        running_flush_ = next;
        submit(*next);
        pool_.wake(*next);
    }
    if (request.result != 0)
        listener_.on_disk_error(request.kind, 0, 0, request.result);
    return finish(request, request.result);
}

}  // namespace drbd
