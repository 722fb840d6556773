// SPDX-License-Identifier: GPL-2.0-or-later
// The queue of a volume's metadata jobs, and the loss of its disk (volume.h).
#include "core/api/volume.h"

#include <algorithm>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/metadata/superblock_content.h"

namespace drbd {

Volume::Volume(VolumeOwner& owner, unsigned number, ConnectionState phase)
    : owner_(owner),
      number_(number),
      io_(owner.pool(), disk_, *this, owner.transfer_log(), owner.connection().link(), owner.peer_requests(), number),
      resync_(number, owner.connection().link(), owner.peer_requests(), owner.peer_io(), io_, disk_, *this, *this) {
    state_.connection = phase;
    owner.peer_requests().set_resync(number, &resync_);
    owner.peer_io().set_volume(number, this);
    refresh_access();
}

Volume::~Volume() {
    owner_.peer_io().set_volume(number_, nullptr);
    owner_.peer_requests().set_resync(number_, nullptr);
}

// Design section 6, "Drain": while the guest has something in flight, metadata
// I/O goes on, because that request may wait for it.
bool Volume::may_hand_out() const {
    if (job_out_ || state_.disk == DiskState::Failed)  // an operation may be queued still
        return false;
    const bool urgent = operation_.kind == OperationKind::Leave || operation_.kind == OperationKind::Inactivate ||
                        operation_.kind == OperationKind::Activate;
    if (drained_ == 0 || io_.in_flight() > 0 || urgent)
        return true;
    // Until it is a target nothing is read from the peer, for no volume.
    return holds_peer_writes() && owner_.drained_guest_waits();
}

bool Volume::has_job() const {
    if (!may_hand_out())
        return false;
    return job_ready_ || (operation_.pending() && operation_.phase == OperationPhase::Queued) ||
           (transition_queued_ && !waits_to_invalidate()) || superblock_due_ || bits_due_ || (is_attached() && io_.wants_transaction());
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
        case OperationKind::InvalidateRemote:
        case OperationKind::NewCurrentUuid:
        case OperationKind::Outdate:
        case OperationKind::SetRole:
            return &settle_;
        case OperationKind::None:
            break;
        }
        assertion_failed("operation kind", __FILE__, __LINE__);
    }
    if (Activity* keeping_up = choose_keeping_up())
        return keeping_up;
    if (is_attached() && io_.wants_transaction()) {
        io_.reserve_for_transaction();
        if (!disk_.activity_log.is_prepared()) {
            // Other requests made every extent hot meanwhile, or nothing can
            // be evicted yet.
            io_.transaction_committed();
            return nullptr;
        }
        flushed_by_transaction_ = 0;
        if (disk_.activity_log.evicted_written() > io_.flushed_generation())
            flushed_by_transaction_ = io_.written_generation();
        transaction_.start(flushed_by_transaction_ != 0);
        return &transaction_;
    }
    return nullptr;
}

// What the superblock says: a role that is being taken or left, and a disk that
// is still being compared, stand in it as they are meant.
State Volume::recorded_state() const {
    State recorded = state_;
    if (primary_recorded_)
        recorded.role = Role::Primary;
    if (recorded.disk == DiskState::Negotiating)
        recorded.disk = intended_disk_;
    if (declared_good_ && recorded.disk >= DiskState::Inconsistent)
        recorded.disk = DiskState::UpToDate;  // recorded, and not taken yet: another volume is still at it
    if (waits_to_invalidate() && recorded.disk == DiskState::Outdated)
        recorded.disk = DiskState::UpToDate;
    return recorded;
}

// If it would say something else than what was written last.
void Volume::want_superblock() {
    if (!is_attached())
        return;
    const metafmt::Superblock wanted = superblock_of(disk_, recorded_state(), Cleanness::InUse);
    const metafmt::Superblock& written = disk_.written;
    const bool same = wanted.flags.bits == written.flags.bits && wanted.la_size == written.la_size &&
                      wanted.uuids.current == written.uuids.current && wanted.uuids.bitmap == written.uuids.bitmap &&
                      wanted.uuids.history[0] == written.uuids.history[0] &&
                      wanted.uuids.history[1] == written.uuids.history[1];
    superblock_due_ |= generation_new_ || !same;
}

// The disk follows what the connection did to memory.
Activity* Volume::choose_keeping_up() {
    SettlePlan plan;
    if (transition_queued_ && !waits_to_invalidate()) {
        transition_queued_ = false;
        fill_transition(plan);
        transition_write_.start(plan);
        return &transition_write_;
    }
    if (superblock_due_) {
        superblock_due_ = false;
        superblock_out_ = true;
        generation_out_ |= generation_new_;
        generation_new_ = false;
        handover_out_ |= handover_due_;
        handover_due_ = false;
        plan.after = superblock_of(disk_, recorded_state(), Cleanness::InUse);
        superblock_write_.start(plan);
        return &superblock_write_;
    }
    if (bits_due_) {
        bits_due_ = false;
        bits_out_ = true;
        plan.bitmap = true;
        bits_write_.start(plan);
        return &bits_write_;
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
        if (io_.at_image() == 0 && !job_out_ && owner_.peer_requests().in_use(number_) == 0)
            disk_is_gone(nullptr);
        return;
    }
    if (!operation_.pending() || operation_.phase != OperationPhase::WaitRequests) [[likely]]
        return;
    if (!current_ && !is_in_the_way())
        start_settling();
}

// What an operation waits for: the guest's requests at the image (a change of
// role need not wait for reads), and what the nodes owe each other.
bool Volume::is_in_the_way() {
    switch (operation_.kind) {
    case OperationKind::SetRole:
        if (operation_.role == Role::Primary)
            return io_.writes_in_flight() != 0 || owner_.peer_io().writes_pending(number_) != 0 || resync_.is_writing_on();
        [[fallthrough]];
    case OperationKind::Leave:
    case OperationKind::Inactivate:
        // Spec row 104: PRIMARY_IND goes only after all barrier acknowledgements.
        if (io_.unconfirmed() != 0)
            owner_.transfer_log().close_epoch();
        return (operation_.kind == OperationKind::SetRole ? io_.writes_in_flight() : io_.outstanding()) != 0 ||
               io_.unconfirmed() != 0 || peer_uses_disk() ||
               (operation_.kind != OperationKind::SetRole && resync_.has_packets_queued());
    case OperationKind::Detach:
        return io_.at_image() != 0 || peer_uses_disk();
    case OperationKind::InvalidateRemote:
        return false;  // bits are set, and that is all
    case OperationKind::NewCurrentUuid:
        return io_.in_flight() != 0 || resync_.is_writing_on();
    default:
        return io_.in_flight() != 0;
    }
}

// Requests of the peer or of a resync are at the image.
bool Volume::peer_uses_disk() const {
    return operation_.kind != OperationKind::SetRole && owner_.peer_requests().in_use(number_) != 0;
}

// No space is the guest's business (design D17), and a layer that cannot
// discard is not broken.
void Volume::on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) {
    if (kind == DRBD_REQUEST_WRITE || kind == DRBD_REQUEST_ZEROES || kind == DRBD_REQUEST_DISCARD) {
        failed_here_ += divide_up(offset + bytes, kBlockSize) - offset / kBlockSize;
        lacks_at_end_ = true;
    }
    if (error != -ENOSPC && kind != DRBD_REQUEST_DISCARD)
        image_failed(kind, offset, bytes, error);
}

void Volume::image_failed(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) {
    if (!is_attached())
        return;
    static constexpr const char* kNames[] = {"read", "write", "write zeroes", "discard", "flush"};
    char reason[DRBD_ERROR_SIZE];
    std::snprintf(reason, sizeof reason, "the image failed a %s of %llu bytes at %llu: %s", kNames[kind],
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                  std::strerror(-error));
    if (disk_.config.on_io_error == DRBD_ON_IO_ERROR_PASS_ON) {
        // Spec 6.10.  Without an UpToDate peer there is nothing better than this
        // disk: it stays as it is, and the guest has the error.  A peer that has refused
        // this guest's writes is none, whatever it has told of its disk so far.
        const bool peer_lacks_writes = state_.role == Role::Primary && is_ahead_of_peer();
        if (peer_serves() && !peer_lacks_writes && state_.disk == DiskState::UpToDate) {
            State wanted = state_;
            wanted.disk = DiskState::Inconsistent;
            change_state(ChangeKind::Hard, wanted, reason, 0);
            begin_handover();
        } else if (is_being_called_good() && kind != DRBD_REQUEST_READ) {
            failed_at_end_ = true;
            begin_handover();  // until its superblock says again that it is not
        }
        owner_.notices().warning(static_cast<int>(number_), "%s (on-io-error pass-on)", reason);
        return;
    }
    lose_disk(reason);
}

void Volume::on_generation_wanted() {
    disk_.uuids = with_role(with_new_generation(disk_.uuids, owner_.random()), true);
    disk_.generation_shared = false;
    generation_new_ = true;
    want_superblock();
}

// The disk cannot be trusted any more.  Nothing is written to it from here on;
// what it holds is what a crash would leave, and an attach recovers it.
void Volume::lose_disk(const char* reason) {
    if (state_.disk == DiskState::Failed || state_.disk == DiskState::Diskless)
        return;
    // Its superblock may say so already, in the generation of the source: the one that the guest goes on in.
    const bool is_called_good = is_being_called_good();
    if (is_called_good && state_.role == Role::Primary && peer_.has_generations)
        exposed_uuid_ = peer_.generations.uuids.current;
    const bool was_good = state_.disk == DiskState::UpToDate || is_called_good;
    State wanted = state_;
    wanted.disk = DiskState::Failed;
    change_state(ChangeKind::Hard, wanted, reason, 0);
    if (was_good || io_.in_handover())
        begin_handover();
    give_up_disk();
}

// The state is Failed: nothing goes to the disk any more.
void Volume::give_up_disk() {
    forget_writes();
    current_ = nullptr;
    job_ready_ = false;
    io_.disk_went(false);
    io_.fail_waiting(-EIO);
}

// What was to be written, and what waited for it.
void Volume::forget_writes() {
    superblock_due_ = superblock_out_ = generation_new_ = generation_out_ = false;
    bits_due_ = bits_out_ = false;
    transition_ = next_transition_ = Transition::None;
    transition_queued_ = waits_for_ping_ = peer_may_lack_ = false;
    if (bits_wanted_) {
        bits_wanted_ = false;
        owner_.peer_io().disk_lost(number_);
    }
}

// Nobody uses the disk any more.  A null reason keeps the one that it failed for.
void Volume::disk_is_gone(const char* reason) {
    DRBD_ASSERT(io_.at_image() == 0 && !job_out_);
    // An attach that failed and a node without a disk have flushed nothing.
    const bool orderly = reason && operation_.pending() && !operation_.forced && is_attached();
    io_.disk_went(orderly);
    if (orderly)
        owner_.peer_io().disk_flushed(number_);
    io_.want_generation(false);
    forget_writes();
    declared_good_ = false;
    char why[DRBD_ERROR_SIZE];
    std::snprintf(why, sizeof why, "%s", reason ? reason : disk_reason_);
    const bool never_came = state_.disk == DiskState::Attaching;
    State wanted = state_;
    wanted.disk = DiskState::Diskless;
    // Closed or handed over, no guest here has the volume: the peer must not take it for one whose guest goes on
    // by its disk, and begin a generation, which whoever has this disk next would not know.
    const bool leaves = reason && (operation_.kind == OperationKind::Leave || operation_.kind == OperationKind::Inactivate);
    if (leaves)
        wanted.role = Role::Secondary;
    const bool is_news = state_.role != wanted.role && state_.disk == wanted.disk;
    change_state(ChangeKind::Hard, wanted, why, operation_.number);
    if (is_news && is_connected() && link_is_up())
        send_state();  // a change of the role alone is not told by itself
    disk_.release();
    primary_recorded_ = false;
    // From here on the guest writes there.  The peer may have said so already
    // that it goes on with a new generation.
    if (!never_came && is_connected() && peer_.has_generations && state_.peer_disk == DiskState::UpToDate) {
        if (peer_went_on()) {
            expose_peers_data();
            end_handover(0, nullptr);
        } else {
            go_on_at_peer();
        }
    }
    bool left = false;
    // A demotion waits for writes at the peer without the disk, too.
    const bool demotes = operation_.kind == OperationKind::SetRole && operation_.role == Role::Secondary;
    if (demotes) {
        operation_.phase = OperationPhase::WaitRequests;
    } else if (operation_.pending()) {
        const OperationKind kind = operation_.kind;
        const bool wanted_it = (reason && (kind == OperationKind::Detach || kind == OperationKind::Leave ||
                                           kind == OperationKind::Inactivate)) || operation_.at_once;
        if (wanted_it)
            end_operation({});
        else
            end_operation(Error::of(ErrorCode::Io, "%s", why));
        left = wanted_it && kind != OperationKind::Detach;
    }
    leaving_ = false;
    demoting_ = demotes;
    refresh_access();
    io_.fail_waiting(-EIO);  // a Primary's disk that is detached by force goes while requests wait for its metadata
    if (demotes)
        pump();
    if (left) {
        // Whoever uses the image next may write it; that is no other data.
        exposed_uuid_ = 0;
        exposed_elsewhere_ = peer_has_newer_ = false;
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
    status.superblock_writes = settle_.superblock_writes() + superblock_write_.superblock_writes() + transition_write_.superblock_writes();
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
    fill_link_status(status);
}

void Volume::fill_link_status(DrbdVolumeStatus& status) const {
    const GuestIoCounters& c = io_.counters();
    status.connection = name_of(state_.connection);
    status.peer_role = name_of(state_.peer);
    if (peer_.has_generations) {
        const Uuids& uuids = peer_.generations.uuids;
        status.peer_uuid[0] = uuids.current;
        status.peer_uuid[1] = uuids.bitmap;
        status.peer_uuid[2] = uuids.history[0];
        status.peer_uuid[3] = uuids.history[1];
    }
    std::snprintf(status.sync_reason, sizeof status.sync_reason, "%.*s", DRBD_ERROR_SIZE - 1, decision_.reason);
    status.sent_writes = c.sent_writes;
    status.sent_bytes = c.sent_bytes;
    status.received_writes = received_writes_;
    status.received_bytes = received_bytes_;
    status.remote_reads = c.remote_reads;
    status.peer_reads = peer_reads_;
    status.negative_acks = c.negative_acks;
    const uint64_t now = owner_.now_ms();
    const ResyncProgress progress = resync_.progress(now);
    status.resync_running = progress.running;
    status.resync_total_bytes = progress.total_blocks * kBlockSize;
    status.resync_left_bytes = progress.left_blocks * kBlockSize;
    status.resync_failed_bytes = progress.failed_blocks * kBlockSize;
    status.resync_rate_bytes = progress.rate_bytes;
    status.resync_ms = progress.running ? now - progress.started_ms : 0;
    status.resync_eta_ms = progress.eta_ms;
}

}  // namespace drbd
