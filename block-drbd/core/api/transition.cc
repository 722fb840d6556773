// SPDX-License-Identifier: GPL-2.0-or-later
// The steps of a resync that must be on the disk before the state says so
// (design D15, spec 5.10, 7.1, 7.6).  In: bitmaps exchanged, the sync identifier
// came, everything answered.  Out: one metadata activity each, and when it is
// stable the change of state and the packet that follows.  If the connection is
// lost meanwhile the activity goes on, because memory has changed already, and
// the state is what the disk says.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

using enum ConnectionState;

void Volume::on_bitmaps_exchanged() {
    if (state_.connection == WFBitMapS) {
        begin_transition(Transition::BecomeSource);
    } else if (state_.connection == WFBitMapT) {
        State wanted = state_;
        wanted.connection = WFSyncUUID;
        change_state(ChangeKind::Hard, wanted, "bitmaps are exchanged", 0);
        try_to_become_target();
    }
}

void Volume::try_to_become_target() {
    if (state_.connection != WFSyncUUID || !early_sync_uuid_ || transition_ != Transition::None)
        return;
    if (resync_.owed_since_ms() != UINT64_MAX)
        return;  // answers to the resync before are on their way, or never come
    // What the guest wrote here must be on the source's image before that is
    // asked for (protocols A and B).
    if (io_.unconfirmed() != 0) {
        owner_.transfer_log().close_epoch();
        return;
    }
    begin_transition(Transition::BecomeTarget);
}

// What the guest wrote here must be on the peer's image before this copy is
// given up for that one (protocols A and B); writes are held meanwhile.
bool Volume::waits_to_invalidate() const {
    return transition_queued_ && transition_ == Transition::InvalidateSelf && io_.unconfirmed() != 0;
}

// The source is gone before anything of it was in memory: the only copy with all of the guest's writes.
bool Volume::spare_this_copy() {
    if (transition_queued_ && transition_ == Transition::InvalidateSelf) {
        transition_ = Transition::None;
        transition_queued_ = false;
    } else if (next_transition_ == Transition::InvalidateSelf) {
        next_transition_ = Transition::None;
    } else {
        return false;
    }
    return state_.disk == DiskState::Outdated;
}

void Volume::begin_transition(Transition transition) {
    DRBD_ASSERT(is_attached());
    if (transition == Transition::FinishTarget)
        lacks_at_end_ = failed_at_end_ = false;
    next_transition_ = transition;
    start_next_transition();
}

// One after the other: the one before may still be at the disk although its
// connection is gone.
void Volume::start_next_transition() {
    if (transition_ != Transition::None || next_transition_ == Transition::None)
        return;
    transition_ = next_transition_;
    next_transition_ = Transition::None;
    transition_of_ = link().times_up();
    transition_queued_ = true;
}

// The resync that was about to start is given up.
void Volume::forget_start() {
    early_sync_uuid_.reset();
    if (transition_queued_ && transition_ == Transition::BecomeTarget) {
        transition_ = Transition::None;  // nothing of it is in memory yet
        transition_queued_ = false;
    }
    if (next_transition_ != Transition::FinishTarget)
        next_transition_ = Transition::None;
}

void Volume::fill_transition(SettlePlan& plan) {
    State after = recorded_state();
    plan.bitmap = true;
    switch (transition_) {
    case Transition::BecomeSource:
        disk_.uuids = with_resync_begun(disk_.uuids, owner_.random());
        break;
    case Transition::BecomeTarget:
        disk_.uuids = with_sync_uuid(disk_.uuids, early_sync_uuid_.value_or(0), state_.role);
        early_sync_uuid_.reset();
        after.disk = DiskState::Inconsistent;
        break;
    case Transition::FinishTarget:
        disk_.uuids = with_resync_finished_as_target(disk_.uuids, peer_.generations.uuids, state_.role);
        after.disk = DiskState::UpToDate;
        break;
    case Transition::InvalidateSelf:
        after.disk = DiskState::Inconsistent;
        plan.before = superblock_of(disk_, after, Cleanness::InUse);
        plan.before->flags.set(metafmt::MdFlag::FullSync);
        disk_.bitmap.set_all_out_of_sync();
        break;
    case Transition::None:
        assertion_failed("transition", __FILE__, __LINE__);
    }
    plan.after = superblock_of(disk_, after, Cleanness::InUse);
}

void Volume::transition_is_done() {
    const Transition done = transition_;
    transition_ = Transition::None;
    exposed_uuid_ = disk_.uuids.current;
    const bool same_link = link_is_up() && link().times_up() == transition_of_;
    switch (done) {
    case Transition::BecomeSource:
        if (same_link && (state_.connection == WFBitMapS || state_.connection == StartingSyncS))
            start_as_source();
        break;
    case Transition::BecomeTarget:
    case Transition::InvalidateSelf: {
        State wanted = state_;
        if (same_link && done == Transition::BecomeTarget && state_.connection == WFSyncUUID)
            wanted.connection = SyncTarget;
        else if (same_link && done == Transition::InvalidateSelf && state_.connection == StartingSyncT)
            wanted.connection = WFSyncUUID;
        // No resync may follow: the source is gone, or its disk, or it never hears that this disk was invalidated.
        if (wanted.connection == state_.connection || done == Transition::InvalidateSelf)
            wanted.disk = DiskState::Inconsistent;
        if (done == Transition::InvalidateSelf)
            explain_resync("this node's data was invalidated");
        change_state(ChangeKind::Hard, wanted,
                     done == Transition::BecomeTarget ? "a resync from the peer has begun" : "invalidated", 0);
        if ((state_.connection == SyncTarget || state_.connection == PausedSyncT) && same_link) {
            resync_lacks_space_ = false;
            resync_.begin(Direction::Target);
            resync_.set_paused(state_.connection == PausedSyncT);  // the source may have said so before it began
            notify_resync(DRBD_RESYNC_STARTED, decision_.reason);
        }
        try_to_become_target();
        break;
    }
    case Transition::FinishTarget:
        // A write that failed meanwhile is missing here, whatever the superblock says.  What was marked because the peer
        // is lost is no such block.
        failed_blocks_ = same_link || lacks_at_end_ ? disk_.bitmap.count() : 0;
        if (failed_at_end_)
            failed_blocks_ = std::max<uint64_t>(failed_blocks_, 1);  // of a flush nobody knows which
        if (std::exchange(peer_may_lack_, false))
            bits_due_ |= resync_.on_peer_disk_lost();
        if (same_link && (state_.connection == SyncTarget || state_.connection == PausedSyncT)) {
            finish_as_target();
        } else {
            State wanted = state_;
            wanted.disk = failed_blocks_ == 0 ? DiskState::UpToDate : DiskState::Inconsistent;
            change_state(ChangeKind::Hard, wanted, "the resync was complete when the peer was lost", 0);
            want_superblock();
        }
        break;
    case Transition::None:
        assertion_failed("transition", __FILE__, __LINE__);
    }
    start_next_transition();
}

// What the peer may have lost of an earlier resync from here is marked again.  A copy that is just being called good has it:
// those bits are no blocks that it lacks, and come after that.
void Volume::resync_link_lost() {
    if (!is_being_called_good()) {
        bits_due_ |= resync_.on_link_lost() && is_attached();
        return;
    }
    resync_.abort();
    peer_may_lack_ = true;
}

void Volume::explain_resync(const char* reason) {
    std::snprintf(decision_.reason, sizeof decision_.reason, "%s", reason);
}

void Volume::start_as_source() {
    if (state_.connection == StartingSyncS)
        explain_resync("the peer's data was invalidated");
    Link& link = this->link();
    sync_uuid_ = disk_.uuids.bitmap;
    link.send_data(wire::encode_sync_uuid(link.room(), link.to(number_), sync_uuid_));
    State wanted = state_;
    wanted.connection = SyncSource;
    target_may_not_know();
    target_is_done_ = false;
    target_refused_ = false;
    wanted.peer_disk = DiskState::Inconsistent;
    change_state(ChangeKind::Hard, wanted, decision_.reason, 0);
    resync_.begin(Direction::Source);
    notify_resync(DRBD_RESYNC_STARTED, decision_.reason);
    if (policy_.agreed_version < 95 && disk_.bitmap.count() == 0) {
        peer_.generations.uuids = with_resync_finished_as_source(disk_.uuids);
        finish_as_source(true, 0);
    }
}

// The target has nothing left to ask for, and all of it is stable.
void Volume::on_resync_answered(uint64_t failed_blocks) {
    if (state_.connection != SyncTarget && state_.connection != PausedSyncT)
        return;
    failed_blocks_ = failed_blocks;
    // Every acknowledgement of ours must be there before this node calls its
    // data good (trap 34): a source that still has bits set knows by that that
    // it is not, and a generation of its own is due only where it may be.
    waits_for_ping_ = true;
    link().request_ping();
}

void Volume::ping_answered() {
    if (!waits_for_ping_)
        return;
    waits_for_ping_ = false;
    if (state_.connection != SyncTarget && state_.connection != PausedSyncT)
        return;
    // The source may have agreed to the detach already, and not have heard that nothing is left.
    if (operation_.kind == OperationKind::Detach) {
        waits_for_ping_ = true;
        return;
    }
    failed_blocks_ = std::max(failed_blocks_, disk_.bitmap.count());  // a write may have failed since
    if (failed_blocks_ == 0)
        begin_transition(Transition::FinishTarget);
    else
        finish_as_target();
}

void Volume::finish_as_target() {
    const ResyncProgress progress = resync_.progress(owner_.now_ms());
    resync_.abort();  // over, and nothing is outstanding
    State wanted = state_;
    wanted.connection = Connected;
    wanted.peer_disk = DiskState::UpToDate;
    wanted.disk = failed_blocks_ == 0 ? DiskState::UpToDate : DiskState::Inconsistent;
    wanted.paused_after_dependency = wanted.paused_by_peer = wanted.paused_by_user = false;
    // Unless the source has told of a newer one meanwhile.
    if (failed_blocks_ == 0 && same_generation(peer_.generations.uuids.current, disk_.uuids.current))
        peer_.generations.uuids = disk_.uuids;
    finishing_ = true;
    change_state(ChangeKind::Hard, wanted, failed_blocks_ == 0 ? "the resync is finished" : "the resync ended with errors",
                 0);
    finishing_ = false;
    notify_resync(DRBD_RESYNC_FINISHED, progress, failed_blocks_ == 0 ? "" : "some blocks could not be read or written");
    bits_due_ = true;
    want_superblock();
}

// Spec 4.5, step 3: the target says that it has everything.
bool Volume::resync_is_finished_by(const State& announced, DiskState real) {
    const State& s = state_;
    const bool source = s.connection == SyncSource || s.connection == PausedSyncS;
    const bool was_done = std::exchange(target_is_done_, false);  // it may have thought better of it
    if (source && real == DiskState::Inconsistent && announced.connection > Connected)
        target_may_be_done_ = false;
    if (!source || announced.connection != Connected || s.disk != DiskState::UpToDate)
        return false;
    // An Inconsistent one that has asked for nothing yet speaks of the time before this resync.
    if (real != DiskState::UpToDate && (real != DiskState::Inconsistent || !resync_.was_asked()))
        return false;
    target_is_done_ = true;
    target_is_good_ = real == DiskState::UpToDate;
    // What it tells after this is newer than what it has from here.
    if (target_is_good_ && !was_done)
        peer_.generations.uuids = with_resync_finished_as_source(disk_.uuids);
    // It has this generation, whatever is marked here; in one that was begun since it is not.
    if (target_is_good_ && same_generation(disk_.uuids.bitmap, sync_uuid_))
        target_may_be_done_ = nothing_was_left_ = true;
    resync_.hurry_confirmation();
    finish_if_target_is_done();
    return true;
}

// Bits of the guest's writes wait for the barrier acknowledgement of their epoch,
// and what a target acknowledged in a resync for a confirmation (design D15): the
// resync is over when both are there.  Until then the bitmap identifier stays, by
// which a target that lost power now is resynced.  A bit that nothing will clear is
// of a block that failed: what a good target lacks not is this node's own matter.
void Volume::finish_if_target_is_done() {
    if (!target_is_done_)
        return;
    if (state_.connection != SyncSource && state_.connection != PausedSyncS) {
        target_is_done_ = false;
        return;
    }
    const uint64_t left = disk_.bitmap.count();
    if (resync_.waits_for_confirmation() || (left != 0 && bits_are_to_clear()))
        return;
    target_is_done_ = false;
    finish_as_source(target_is_good_, left);
    // It refused a write: before it was good, or after it had said so.
    if (target_is_good_ && left != 0 && target_refused_ && state_.connection == Connected)
        make_generation();
}

// Confirmations that are still to come will clear bits that are set now.
bool Volume::bits_are_to_clear() const {
    return owner_.transfer_log().blocks_to_clear(number_, disk_.bitmap) != 0;
}

// What is left beside a good target is not its failure; a bad one may be bad by a write that it refused, of which this node
// has not heard, and leave no block here.
void Volume::finish_as_source(bool target_is_good, uint64_t left_blocks) {
    failed_blocks_ = target_is_good ? 0 : left_blocks;
    const ResyncProgress progress = resync_.progress(owner_.now_ms());
    resync_.abort();
    if (target_is_good)
        disk_.uuids = with_resync_finished_as_source(disk_.uuids);
    State wanted = state_;
    wanted.connection = Connected;
    wanted.peer_disk = target_is_good ? DiskState::UpToDate : DiskState::Inconsistent;
    wanted.paused_after_dependency = wanted.paused_by_peer = wanted.paused_by_user = false;
    finishing_ = true;
    change_state(ChangeKind::Hard, wanted, target_is_good ? "the resync is finished" : "the resync ended with errors", 0);
    finishing_ = false;
    notify_resync(DRBD_RESYNC_FINISHED, progress, target_is_good ? "" : "some blocks could not be read or written");
    bits_due_ = true;
    want_superblock();
    if (disk_.bitmap.count() == 0)
        failed_here_ = 0;
    // A Primary that was demoted meanwhile left the rest to this end (decision 0024).
    if (is_ahead_in_blocks(Role::Secondary) && !(target_refused_ && state_.peer == Role::Primary)) {
        disk_.crashed_primary = true;
        resync_failed_blocks();
    }
}

void Volume::on_resync_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) {
    if (error == -ENOSPC && !resync_lacks_space_)
        owner_.notices().warning(static_cast<int>(number_),
                                 "the image has no space for what the resync brings (at %llu): those blocks are left; make "
                                 "room, then disconnect and connect",
                                 static_cast<unsigned long long>(offset));
    resync_lacks_space_ |= error == -ENOSPC;
    on_disk_error(kind, offset, bytes, error);
    // What the peer's guest wrote meanwhile may be lost with it, and a later flush would call that stable.
    if (kind == DRBD_REQUEST_FLUSH && state_.disk >= DiskState::Inconsistent && owner_.peer_io().has_unflushed(number_))
        link().drop(NetworkFailure, "the disk of volume %u could not be flushed (%s): what the peer wrote last must be resynced",
                    number_, std::strerror(-error));
}

// ---- time ----

namespace {

constexpr uint64_t kProgressEveryMs = 1000;

}  // namespace

void Volume::on_time(uint64_t now_ms) {
    resync_.on_time(now_ms);
    // One stream may be dead, and an answer lost with it, while pings are answered on the other.
    if (now_ms >= comparison_deadline_ms())
        link().drop(Timeout, "volume %u: the peer did not answer within %llu ms to a disk that was attached", number_,
                    static_cast<unsigned long long>(comparison_deadline_ms() - negotiating_since_ms_));
    if (now_ms >= owed_deadline_ms())
        link().drop(Timeout, "volume %u: the source has not answered what the resync before asked for: the nodes meet anew", number_);
    if (now_ms >= source_deadline_ms())
        link().drop(Timeout,
                    "volume %u: the guest waits for the resync, and the peer has not answered it within ko-count x timeout "
                    "(see there whether its disk hangs)",
                    number_);
    if (io_.in_handover() && now_ms >= handover_deadline_ms()) {
        peer_has_newer_ = true;  // what completes now is there alone, and nothing says so
        end_handover(0, "the peer went on without this node's disk and made no new data generation within timeout: if "
                        "both hosts lose power now, writes that only the peer has could be lost");
    }
    if (resync_.is_running() && now_ms >= last_progress_ms_ + kProgressEveryMs) {
        last_progress_ms_ = now_ms;
        notify_resync(DRBD_RESYNC_PROGRESS, "");
    }
}

uint64_t Volume::handover_deadline_ms() const {
    return handover_since_ms_ + owner_.connection().timeout_ms();
}

// The guest's requests wait for the comparison: the peer has the time that it has for one of them.
uint64_t Volume::comparison_deadline_ms() const {
    if (state_.disk != DiskState::Negotiating || !is_connected())
        return UINT64_MAX;
    return negotiating_since_ms_ + owner_.connection().answer_ms();
}

// The same where they wait for the source of a resync: for its identifier, or for a range that was asked for.
uint64_t Volume::source_deadline_ms() const {
    if (!owner_.connection().gives_requests_up() || !is_connected())
        return UINT64_MAX;
    const uint64_t give_up_ms = owner_.connection().answer_ms();
    if (state_.connection == WFSyncUUID)
        return io_.held() != 0 && !early_sync_uuid_ ? sync_uuid_since_ms_ + give_up_ms : UINT64_MAX;
    // Of the time in which nobody waited nobody complains: the source may have other volumes to serve.
    const uint64_t since_ms = std::max(resync_.oldest_asked_ms(), io_.waiting_since_ms());
    return since_ms == UINT64_MAX ? UINT64_MAX : since_ms + give_up_ms;
}

// And where the next resync waits for what the last one has asked for.
uint64_t Volume::owed_deadline_ms() const {
    const uint64_t since_ms = state_.connection == WFSyncUUID && early_sync_uuid_ ? resync_.owed_since_ms() : UINT64_MAX;
    return since_ms == UINT64_MAX ? UINT64_MAX : since_ms + owner_.connection().answer_ms();
}

uint64_t Volume::next_deadline_ms() const {
    uint64_t deadline =
        std::min({resync_.next_deadline_ms(), comparison_deadline_ms(), source_deadline_ms(), owed_deadline_ms()});
    if (io_.in_handover())
        deadline = std::min(deadline, handover_deadline_ms());
    if (resync_.is_running())
        deadline = std::min(deadline, last_progress_ms_ + kProgressEveryMs);
    return deadline;
}

void Volume::settle_down() {
    if (is_being_left() && !operation_.peer_agreed && peer_serves())
        give_up_at_once(operation_.number);  // the peer's disk is good only now
    compare_held_state();
    resync_.pump();
    note_progress();
    finish_if_target_is_done();
    try_to_become_target();
    if (waits_to_invalidate())
        owner_.transfer_log().close_epoch();
    pump();
}

// Whoever has this generation may call its data good until it says that it is the target.
void Volume::target_may_not_know() {
    target_may_be_done_ = peer_has_generation();
    nothing_was_left_ = false;
}

void Volume::note_progress(uint64_t unheard_blocks) {
    if (state_.connection != SyncSource && state_.connection != PausedSyncS)
        return;
    // It asks when its superblock says that it is the target.
    if (target_may_be_done_ && !nothing_was_left_ && resync_.was_asked())
        target_may_be_done_ = false;
    // In a generation that it has not been told of the target is not done: of writes that
    // it refuses meanwhile one is enough, and what it is known by stays in the history.
    if (target_may_be_done_ || generation_is_unstable())
        return;
    // Bits of the guest's writes are cleared with their epoch: they say nothing
    // of the resync.
    const TransferLog& log = owner_.transfer_log();
    const uint64_t most = uint64_t{log.unconfirmed()} * (kZeroesMax.value / kBlockSize + 1);
    const uint64_t left = disk_.bitmap.count() - std::min(disk_.bitmap.count(), unheard_blocks);
    // Nor do those of blocks that failed on either disk: the target may be done without them.
    const uint64_t failed = resync_.progress(owner_.now_ms()).failed_blocks + failed_here_;
    // Nor those that it has cleared with writes that this node's own disk has not yet, or beside one that failed,
    // or that were marked while the answer was under way.
    const uint64_t no_bits = failed + io_.uncleared_blocks() + resync_.kept_blocks();
    if (left > most + no_bits)
        return;
    nothing_was_left_ = left <= log.blocks_to_clear(number_, disk_.bitmap) + no_bits;
    target_may_be_done_ = nothing_was_left_;
}

void Volume::notify_resync(DrbdResyncPhase phase, const char* text) {
    notify_resync(phase, resync_.progress(link().now_ms()), text);
}

void Volume::notify_resync(DrbdResyncPhase phase, const ResyncProgress& progress, const char* text) {
    DrbdResyncNotice notice{};
    notice.phase = phase;
    notice.source = progress.source;
    notice.total_bytes = progress.total_blocks * kBlockSize;
    notice.left_bytes = progress.left_blocks * kBlockSize;
    notice.failed_bytes = failed_blocks_ * kBlockSize;
    owner_.notices().resync(static_cast<int>(number_), notice, text);
}

}  // namespace drbd
