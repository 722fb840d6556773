// SPDX-License-Identifier: GPL-2.0-or-later
// The queue of a volume's metadata jobs, and the loss of its disk (volume.h).
#include "core/api/volume.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/metadata/superblock_content.h"

namespace drbd {

// Design section 6, "Drain": while the guest has something in flight, metadata
// I/O goes on, because that request may wait for it.
bool Volume::may_hand_out() const {
    if (job_out_)
        return false;
    const bool urgent = operation_.kind == OperationKind::Leave || operation_.kind == OperationKind::Inactivate ||
                        operation_.kind == OperationKind::Activate;
    return drained_ == 0 || io_.in_flight() > 0 || urgent;
}

bool Volume::has_job() const {
    if (!may_hand_out())
        return false;
    return job_ready_ || (operation_.pending() && operation_.phase == OperationPhase::Queued) || generation_due_ ||
           (is_attached() && io_.wants_transaction());
}

// What is next: what an administrator waits for, then what completions wait
// for, then what submissions wait for.
Activity* Volume::choose_activity() {
    if (operation_.pending() && operation_.phase == OperationPhase::Queued) {
        operation_.phase = OperationPhase::Running;
        switch (operation_.kind) {
        case OperationKind::Attach:
        case OperationKind::Activate:
            return &attach_;
        case OperationKind::CreateMd:
            return &create_;
        case OperationKind::Detach:
        case OperationKind::Leave:
        case OperationKind::Inactivate:
        case OperationKind::Invalidate:
        case OperationKind::Outdate:
        case OperationKind::SetRole:
            return &settle_;
        case OperationKind::None:
            break;
        }
        assertion_failed("operation kind", __FILE__, __LINE__);
    }
    if (generation_due_) {
        SettlePlan plan;
        plan.after = superblock_of(disk_, state_, Cleanness::InUse);
        generation_write_.start(plan);
        generation_due_ = false;
        return &generation_write_;
    }
    if (is_attached() && io_.wants_transaction()) {
        io_.reserve_for_transaction();
        if (!disk_.activity_log.is_prepared()) {
            // Other requests made every extent hot meanwhile, or nothing can
            // be evicted yet.
            io_.transaction_committed();
            return nullptr;
        }
        transaction_.start();
        return &transaction_;
    }
    return nullptr;
}

const DrbdJob* Volume::next_job() {
    while (may_hand_out()) {
        if (job_ready_) {
            job_ready_ = false;
            job_out_ = true;
            jobs_++;
            return &job_;
        }
        current_ = choose_activity();
        if (!current_)
            return nullptr;
        advance();
    }
    return nullptr;
}

// The activity's next job is made as soon as the one before is done, so that
// its end is noticed even where no job may be handed out.
void Volume::advance() {
    if (current_->next(job_))
        job_ready_ = true;
    else
        activity_ended();
    pump();
}

void Volume::job_done(int result) {
    DRBD_ASSERT(job_out_ && result <= 0);
    job_out_ = false;
    if (!current_) {
        pump();  // the disk was lost meanwhile
    } else if (result == 0) {
        advance();
    } else {
        current_->failed(result);
        activity_ended();
        pump();
    }
}

void Volume::drain_end() {
    DRBD_ASSERT(drained_ > 0);
    drained_--;
}

void Volume::pump() {
    if (state_.disk == DiskState::Failed) {
        if (io_.in_flight() == 0 && !job_out_)
            disk_is_gone(nullptr);
        return;
    }
    if (!operation_.pending() || operation_.phase != OperationPhase::WaitRequests) [[likely]]
        return;
    // A change of role need not wait for reads.
    const unsigned in_the_way =
        operation_.kind == OperationKind::SetRole ? io_.writes_in_flight() : io_.in_flight();
    if (in_the_way == 0 && !current_)
        start_settling();
}

void Volume::on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) {
    if (!is_attached())
        return;
    // No space is the guest's business (design D17), and a layer that cannot
    // discard is not broken.
    if (error == -ENOSPC || kind == DRBD_REQUEST_DISCARD)
        return;
    static constexpr const char* kNames[] = {"read", "write", "write zeroes", "discard", "flush"};
    char reason[DRBD_ERROR_SIZE];
    std::snprintf(reason, sizeof reason, "the image failed a %s of %llu bytes at %llu: %s", kNames[kind],
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                  std::strerror(-error));
    if (disk_.config.on_io_error == DRBD_ON_IO_ERROR_PASS_ON) {
        // Without an UpToDate peer there is nothing better than this disk: it
        // stays as it is, and the guest has the error.
        owner_.notices().warning(static_cast<int>(number_), "%s (on-io-error pass-on)", reason);
        return;
    }
    lose_disk(reason);
}

void Volume::on_generation_wanted() {
    disk_.uuids = with_role(with_new_generation(disk_.uuids, owner_.random()), true);
    generation_due_ = true;
}

// The disk cannot be trusted any more.  Nothing is written to it from here on;
// what it holds is what a crash would leave, and an attach recovers it.
void Volume::lose_disk(const char* reason) {
    if (state_.disk == DiskState::Failed || state_.disk == DiskState::Diskless)
        return;
    State wanted = state_;
    wanted.disk = DiskState::Failed;
    change_state(ChangeKind::Hard, wanted, reason, 0);
    generation_due_ = false;
    current_ = nullptr;
    job_ready_ = false;
    io_.disk_went(false);
    io_.fail_waiting(-EIO);
}

// Nobody uses the disk any more.  A null reason keeps the one that it failed for.
void Volume::disk_is_gone(const char* reason) {
    DRBD_ASSERT(io_.in_flight() == 0 && !job_out_);
    // An attach that failed and a node without a disk have flushed nothing.
    const bool orderly = reason && operation_.pending() && !operation_.forced && is_attached();
    io_.disk_went(orderly);
    io_.want_generation(false);
    generation_due_ = false;
    disk_with_role_.reset();
    char why[DRBD_ERROR_SIZE];
    std::snprintf(why, sizeof why, "%s", reason ? reason : disk_reason_);
    State wanted = state_;
    wanted.disk = DiskState::Diskless;
    change_state(ChangeKind::Hard, wanted, why, operation_.number);
    disk_.release();
    primary_recorded_ = false;
    bool left = false;
    if (operation_.pending()) {
        const OperationKind kind = operation_.kind;
        const bool wanted_it = reason && (kind == OperationKind::Detach || kind == OperationKind::Leave ||
                                          kind == OperationKind::Inactivate);
        if (wanted_it)
            end_operation({});
        else
            end_operation(Error::of(ErrorCode::Io, "%s", why));
        left = wanted_it && kind != OperationKind::Detach;
    }
    leaving_ = demoting_ = false;
    refresh_access();
    if (left) {
        // Whoever uses the image next may write it; that is no other data.
        exposed_uuid_ = 0;
        owner_.on_left();
    }
}

void Volume::fill_status(DrbdVolumeStatus& status) const {
    const GuestIoCounters& c = io_.counters();
    status.open = true;
    status.disk = name_of(state_.disk);
    status.peer_disk = name_of(state_.peer_disk);
    std::memcpy(status.disk_reason, disk_reason_, sizeof status.disk_reason);
    status.bytes = bytes();
    status.image_bytes = disk_.config.image_bytes;
    status.metadata_bytes = disk_.config.metadata_bytes;
    status.current_uuid = disk_.uuids.current;
    status.bitmap_uuid = disk_.uuids.bitmap;
    status.history_uuid[0] = disk_.uuids.history[0];
    status.history_uuid[1] = disk_.uuids.history[1];
    if (is_attached())
        status.metadata_flags = superblock_of(disk_, state_, Cleanness::InUse).flags.bits;
    status.out_of_sync_bytes = disk_.bitmap.count() * kBlockSize;
    status.busy = operation_.pending();
    status.al_extents = disk_.activity_log.nr_slots();
    status.al_used = disk_.activity_log.used();
    status.al_referenced = disk_.activity_log.referenced();
    status.al_waiting = io_.waiting_for_activity_log();
    status.al_transactions = disk_.activity_log.transactions();
    status.al_updates = disk_.activity_log.updates_written();
    status.bitmap_pages_written = disk_.bitmap.pages_written();
    status.superblock_writes = settle_.superblock_writes() + generation_write_.superblock_writes();
    status.metadata_jobs = jobs_;
    status.reads = c.reads;
    status.read_bytes = c.read_bytes;
    status.writes = c.writes;
    status.written_bytes = c.written_bytes;
    status.zeroes = c.zeroes;
    status.zeroed_bytes = c.zeroed_bytes;
    status.flushes = c.flushes;
    status.flushes_saved = c.flushes_saved;
    status.overlaps_waited = c.overlaps_waited;
    status.read_errors = c.read_errors;
    status.write_errors = c.write_errors;
    status.in_flight = io_.in_flight();
    status.writes_in_flight = io_.writes_in_flight();
    status.drained = drained_;
    status.memory_bytes = disk_.memory().value;
}

}  // namespace drbd
