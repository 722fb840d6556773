// SPDX-License-Identifier: GPL-2.0-or-later
// What administrators ask of a volume: each operation is checked, perhaps
// waits for requests in flight, writes metadata by one activity, and changes
// the state when that is stable (volume.h).
#include <cerrno>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

const char* name_of(OperationKind kind) {
    switch (kind) {
    case OperationKind::None:
        return "none";
    case OperationKind::Attach:
        return "attach";
    case OperationKind::Activate:
        return "activate";
    case OperationKind::Detach:
        return "detach";
    case OperationKind::Leave:
        return "leave";
    case OperationKind::Inactivate:
        return "inactivate";
    case OperationKind::CreateMd:
        return "create-md";
    case OperationKind::Invalidate:
        return "invalidate";
    case OperationKind::InvalidateRemote:
        return "invalidate-remote";
    case OperationKind::NewCurrentUuid:
        return "new-current-uuid";
    case OperationKind::Outdate:
        return "outdate";
    case OperationKind::SetRole:
        return "set-role";
    }
    assertion_failed("operation kind", __FILE__, __LINE__);
}

namespace {

Error refused(const char* what, const char* why) {
    return Error::of(ErrorCode::Refused, "%s is refused: %s", what, why);
}

}  // namespace

Result<void> Volume::check_free() const {
    if (operation_.pending())
        return Error::of(ErrorCode::InUse, "operation %llu (%s) is pending on volume %u: wait for its end",
                         static_cast<unsigned long long>(operation_.number), name_of(operation_.kind), number_);
    if (owner_.role_operation() != 0)
        return Error::of(ErrorCode::InUse, "operation %llu (set-role) is pending: wait for its end",
                         static_cast<unsigned long long>(owner_.role_operation()));
    return {};
}

uint64_t Volume::begin_operation(OperationKind kind, OperationPhase phase) {
    DRBD_ASSERT(!operation_.pending());
    operation_ = {.kind = kind, .phase = phase, .number = owner_.new_operation_number()};
    return operation_.number;
}

// The state to be in when the operation has succeeded, as things are now: the
// connection goes its own way meanwhile.
State Volume::target_of(const Operation& operation) const {
    State target = state_;
    switch (operation.kind) {
    case OperationKind::Detach:
    case OperationKind::Leave:
    case OperationKind::Inactivate:
        target.disk = DiskState::Diskless;
        break;
    case OperationKind::Invalidate:
        target.disk = DiskState::Inconsistent;
        break;
    case OperationKind::InvalidateRemote:
        target.peer_disk = DiskState::Inconsistent;
        break;
    case OperationKind::Outdate:
        target.disk = DiskState::Outdated;
        break;
    case OperationKind::SetRole:
        target.role = operation.role;
        if (operation.forced && target.disk >= DiskState::Inconsistent)
            target.disk = DiskState::UpToDate;
        break;
    case OperationKind::None:
    case OperationKind::Attach:
    case OperationKind::Activate:
    case OperationKind::CreateMd:
    case OperationKind::NewCurrentUuid:
        break;
    }
    return target;
}

void Volume::end_operation(const Result<void>& result) {
    const Operation ended = operation_;
    operation_ = {};
    if (ended.kind == OperationKind::SetRole)
        owner_.on_role_recorded(number_, result);
    else
        owner_.notices().operation(static_cast<int>(number_), ended.number, name_of(ended.kind), result.ok(),
                                   result.ok() ? "" : result.error().text);
}

Result<uint64_t> Volume::attach(const DrbdDiskConfig& config) {
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk != DiskState::Diskless)
        return refused("attach", "a disk is attached already; detach it first");
    const uint64_t number = begin_operation(OperationKind::Attach, OperationPhase::Queued);
    operation_.role = owner_.role();
    start_attach(config);
    return number;
}

Result<uint64_t> Volume::activate(const DrbdDiskConfig& config, bool primary) {
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk != DiskState::Diskless)
        return refused("activate", "a disk is attached already");
    const uint64_t number = begin_operation(OperationKind::Activate, OperationPhase::Queued);
    operation_.role = primary ? Role::Primary : owner_.role();
    start_attach(config);
    return number;
}

void Volume::start_attach(const DrbdDiskConfig& config) {
    disk_.config = config;
    State wanted = state_;
    wanted.disk = DiskState::Attaching;
    change_state(ChangeKind::Hard, wanted, "the metadata is being read", operation_.number);
    attach_.start({.role = operation_.role,
                   .exposed_uuid = exposed_uuid_,
                   .peer_has_newer = peer_has_newer_,
                   .peer_serves = is_connected() && state_.peer_disk == DiskState::UpToDate});
}

// Nobody serves the guest from another disk.
bool Volume::is_last_data() const {
    State without = state_;
    without.disk = DiskState::Diskless;
    return state_.role == Role::Primary && !valid_state(without, policy_).ok();
}

Result<uint64_t> Volume::detach(bool force) {
    if (force && is_being_left() && peer_serves())
        return give_up_at_once(operation_.number);
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk == DiskState::Diskless)
        return refused("detach", "no disk is attached");
    if (state_.disk == DiskState::Failed)
        return refused("detach", "the disk has failed and is being given up already");
    if (!force && is_last_data())
        return Error::of(ErrorCode::Refused,
                         "detach is refused: this node is Primary and has no other UpToDate disk to serve "
                         "the guest from; make it Secondary first, or force it and let the guest have I/O errors");
    const bool ask = is_connected() && !force && state_.disk >= DiskState::Inconsistent;
    const uint64_t number =
        begin_operation(OperationKind::Detach, ask ? OperationPhase::AskPeer : OperationPhase::WaitRequests);
    // A Primary's disk is left as a crash would leave it (spec row 104).
    operation_.forced = state_.role == Role::Primary;
    if (force && operation_.forced && is_attached() && peer_serves())
        return give_up_at_once(number);
    if (ask) {
        wire::StateChange change;
        change.disk = DiskState::Failed;
        return ask_peer_for(number, change);
    }
    begin_to_leave();
    return number;
}

// A Primary's disk that waits for the last I/O.
bool Volume::is_being_left() const {
    return state_.role == Role::Primary && is_attached() && operation_.kind == OperationKind::Detach &&
           operation_.phase == OperationPhase::WaitRequests;
}

bool Volume::peer_serves() const { return is_connected() && state_.peer_disk == DiskState::UpToDate; }

// I/O that is at the image may never come back.  The peer hears at once that this disk is
// given up, so that its copy is in a generation of its own when the guest goes on there
// (decision 0018); the disk is gone when nothing is at the image any more.
uint64_t Volume::give_up_at_once(uint64_t number) {
    operation_.forced = operation_.at_once = true;
    lose_disk("detached by force, without a word on the disk");
    pump();
    return number;
}

// The operation waits for the peer's consent; without a peer any more it needs none.
Result<uint64_t> Volume::ask_peer_for(uint64_t number, const wire::StateChange& change) {
    if (!owner_.ask_peer(number_, change)) {
        operation_ = {};
        return Error::of(ErrorCode::InUse, "the peer is being asked something else: try again");
    }
    return number;
}

// From here on the guest of a Primary writes to the peer alone, which hears of it only when
// the disk is gone; until then both superblocks say the same.
void Volume::begin_to_leave() {
    if (state_.disk == DiskState::UpToDate)
        begin_handover();
    leaving_ = true;
    refresh_access();
    pump();
}

Result<uint64_t> Volume::leave(bool inactivate) {
    if (auto free = check_free(); !free)
        return free.error();
    const uint64_t number = begin_operation(inactivate ? OperationKind::Inactivate : OperationKind::Leave,
                                            OperationPhase::WaitRequests);
    leaving_ = true;
    refresh_access();
    pump();
    return number;
}

Result<uint64_t> Volume::create_md(const DrbdDiskConfig& config, const DrbdCreateMd& options) {
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk != DiskState::Diskless)
        return refused("create-md", "a disk is attached; detach it first");
    const DrbdDiskConfig before = disk_.config;
    disk_.config = config;
    if (auto good = create_.start(options); !good) {
        disk_.release();
        disk_.config = before;
        return good.error();
    }
    return begin_operation(OperationKind::CreateMd, OperationPhase::Queued);
}

Result<uint64_t> Volume::invalidate() {
    if (auto free = check_free(); !free)
        return free.error();
    if (!is_attached())
        return refused("invalidate", "no disk is attached");
    if (is_connected()) {
        if (state_.connection != ConnectionState::Connected)
            return refused("invalidate", "a resync is running");
        if (state_.peer_disk != DiskState::UpToDate)
            return refused("invalidate", "the peer's disk is not UpToDate: nothing could replace this data");
        const uint64_t number = begin_operation(OperationKind::Invalidate, OperationPhase::AskPeer);
        wire::StateChange change;
        change.connection = ConnectionState::StartingSyncT;
        return ask_peer_for(number, change);
    }
    if (state_.role == Role::Primary)
        return refused("invalidate", "this node is Primary and its data is in use; make it Secondary first");
    const uint64_t number = begin_operation(OperationKind::Invalidate, OperationPhase::WaitRequests);
    pump();
    return number;
}

Result<uint64_t> Volume::invalidate_remote() {
    if (auto free = check_free(); !free)
        return free.error();
    if (!is_attached() || state_.disk != DiskState::UpToDate)
        return refused("invalidate-remote", "this node's disk is not UpToDate: it has nothing to give");
    if (is_connected()) {
        if (state_.connection != ConnectionState::Connected)
            return refused("invalidate-remote", "a resync is running");
        if (state_.peer_disk < DiskState::Inconsistent)
            return refused("invalidate-remote", "the peer has no disk");
        const uint64_t number = begin_operation(OperationKind::InvalidateRemote, OperationPhase::AskPeer);
        wire::StateChange change;
        change.connection = ConnectionState::StartingSyncS;
        return ask_peer_for(number, change);
    }
    if (state_.role != Role::Primary)
        return refused("invalidate-remote", "without a connection only a Primary may do that");
    const uint64_t number = begin_operation(OperationKind::InvalidateRemote, OperationPhase::WaitRequests);
    pump();
    return number;
}

// Spec 5.10; design D16: whether both images hold the same bytes nobody checks.
Result<uint64_t> Volume::new_current_uuid(bool clear_bitmap, bool force) {
    if (auto free = check_free(); !free)
        return free.error();
    if (!is_attached())
        return refused("new-current-uuid", "no disk is attached");
    if (clear_bitmap) {
        if (state_.connection != ConnectionState::Connected || policy_.agreed_version < 90 ||
            !may_skip_initial_sync(disk_.uuids) || !peer_.has_generations ||
            !may_skip_initial_sync(peer_.generations.uuids))
            return refused("new-current-uuid", "to skip the first sync both nodes must be connected (protocol 90 or later) "
                                               "with metadata that was just created");
        if (!force)
            return refused("new-current-uuid", "it declares both images equal without a look at them; if you know that "
                                               "they are (both read as zero, or one is a copy of the other), force it");
    } else if (state_.connection != ConnectionState::StandAlone) {
        return refused("new-current-uuid", "without clear-bitmap it is for a StandAlone node");
    }
    const uint64_t number = begin_operation(OperationKind::NewCurrentUuid, OperationPhase::WaitRequests);
    operation_.forced = clear_bitmap;
    pump();
    return number;
}

Result<uint64_t> Volume::outdate() {
    if (auto free = check_free(); !free)
        return free.error();
    State target = state_, result;
    target.disk = DiskState::Outdated;
    if (!is_attached())
        return refused("outdate", "no disk is attached");
    if (state_.disk < DiskState::Outdated)
        return refused("outdate", "the disk is already worse than Outdated");
    if (state_.role == Role::Primary)
        return refused("outdate", "this node is Primary and its data is in use; make it Secondary first");
    if (is_connected())
        return refused("outdate", "the nodes are connected, and the peer keeps this disk up to date; disconnect first");
    if (auto verdict = decide_change(state_, target, ChangeKind::Soft, policy_, result); !verdict.ok())
        return refused("outdate", verdict.reason);
    const uint64_t number = begin_operation(OperationKind::Outdate, OperationPhase::WaitRequests);
    pump();
    return number;
}

StateVerdict Volume::may_change_role(Role role, bool force) const {
    State wanted = state_, result;
    wanted.role = role;
    StateVerdict verdict = decide_change(state_, wanted, ChangeKind::Soft, policy_, result);
    // Spec 5.8: forcing declares the local data good.
    if (verdict.code == StateCode::NoUpToDateDisk && force && state_.disk >= DiskState::Inconsistent) {
        wanted.disk = DiskState::UpToDate;
        verdict = decide_change(state_, wanted, ChangeKind::Soft, policy_, result);
    }
    return verdict;
}

void Volume::record_role(uint64_t operation, Role role, bool force) {
    DRBD_ASSERT(!operation_.pending());
    operation_ = {.kind = OperationKind::SetRole, .phase = OperationPhase::WaitRequests, .number = operation,
                  .role = role};
    // Only where nothing else helps: a target is Primary with its source's data.
    operation_.forced = force && may_change_role(role, false).code == StateCode::NoUpToDateDisk &&
                        may_change_role(role, true).ok();
    demoting_ = role == Role::Secondary;
    refresh_access();
    pump();
}

void Volume::take_role(uint64_t operation, Role role, const char* reason) {
    State wanted = state_;
    wanted.role = role;
    if (declared_good_ && wanted.disk >= DiskState::Inconsistent)
        wanted.disk = DiskState::UpToDate;
    const bool forced = declared_good_;
    declared_good_ = false;
    demoting_ = false;
    if (role == Role::Primary && is_attached() && owner_.peer_io().has_unflushed(number_))
        io_.image_is_unflushed();
    change_state(ChangeKind::Hard, wanted, reason, operation);
    // What the peer told in the handshake concerned nobody: no guest was here.
    if (role == Role::Primary && !is_attached() && is_connected() && peer_.has_generations) {
        expose_peers_data();
        begin_at_peer();
    }
    // The peer may have gone after the role was recorded as that of a connected
    // node: then the first write makes the generation.
    const bool alone = !is_connected() || state_.peer_disk <= DiskState::Failed;
    if (state_.role == Role::Primary && alone && is_attached() &&
        (disk_.uuids.bitmap == 0 || disk_.generation_shared))
        io_.want_generation(true);
    refresh_access();
    if (!is_connected())
        return;
    if (forced || role == Role::Primary)
        send_uuids();
    if (role == Role::Secondary && disk_.crashed_primary && is_ahead_in_blocks(Role::Secondary))
        resync_failed_blocks();
    else
        send_state();
}

// A good disk that failed a request of the guest for want of space, or a discard, and
// was kept (design D17): the peer has it, the guest has the error, the blocks are
// marked.  In one generation with the peer nothing would ever take them up (rule 40).
bool Volume::is_ahead_in_blocks(Role role) const {
    return is_attached() && state_.role == role && state_.connection == ConnectionState::Connected &&
           state_.disk == DiskState::UpToDate && state_.peer_disk == DiskState::UpToDate && disk_.bitmap.count() != 0;
}

// From the own copy, which is what the guest has read here since.  Until that is over the
// marker of a crashed Primary stands: with it this node is the source after a crash, too,
// and still the target of a peer that has become Primary without it (decision 0024).
void Volume::resync_failed_blocks() {
    State peer;
    peer.role = state_.peer;
    peer.disk = state_.peer_disk;
    peer.connection = ConnectionState::Connected;
    send_uuids();
    decision_ = decide(peer, peer.disk);
    if (decision_.direction != Direction::Source) {
        send_state();
        return;
    }
    take_decision();
    State wanted = state_;
    wanted.connection = ConnectionState::WFBitMapS;
    send_state_of(wanted);  // it goes before the bitmap
    explain_resync("a request of the guest failed here and not on the peer: those blocks follow this copy");
    change_state(ChangeKind::Hard, wanted, decision_.reason, 0);
}

// Another volume could not become Primary: this one's superblock must not say
// that it was.
void Volume::withdraw_role(uint64_t operation) {
    if (is_attached())
        record_role(operation, state_.role, false);
}

// Nothing of the guest is in flight that the operation would have to wait for.
void Volume::start_settling() {
    SettlePlan plan;
    State target = target_of(operation_);
    if (target.disk == DiskState::Negotiating)
        target.disk = intended_disk_;
    const bool attached = is_attached();
    switch (operation_.kind) {
    case OperationKind::Detach:
    case OperationKind::Leave:
    case OperationKind::Inactivate: {
        if (!attached || operation_.forced) {
            disk_is_gone(operation_.kind == OperationKind::Detach ? "detached by force, without a word on the disk"
                                                                  : "the node is being closed");
            return;
        }
        State last = recorded_state();
        last.role = Role::Secondary;
        disk_.crashed_primary |= is_ahead_in_blocks();
        disk_.uuids = with_role(disk_.uuids, false);
        plan.bitmap = true;
        if (primary_recorded_)
            plan.middle = superblock_of(disk_, last, Cleanness::InUse);
        plan.ring = !disk_.activity_log.is_pristine();
        plan.after = superblock_of(disk_, last, Cleanness::Clean);
        break;
    }
    case OperationKind::Invalidate:
        plan.before = superblock_of(disk_, target, Cleanness::InUse);
        plan.before->flags.set(metafmt::MdFlag::FullSync);
        disk_.bitmap.set_all_out_of_sync();
        plan.bitmap = true;
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        break;
    case OperationKind::InvalidateRemote:
        disk_.bitmap.set_all_out_of_sync();
        plan.bitmap = true;
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        break;
    case OperationKind::NewCurrentUuid:
        if (operation_.forced) {
            disk_.bitmap.set_in_sync(Sector(), size_);
            disk_.uuids = with_initial_sync_skip_announced(disk_.uuids, state_.role, owner_.random());
        } else {
            disk_.uuids = with_role(with_new_generation(disk_.uuids, owner_.random()), state_.role == Role::Primary);
        }
        plan.bitmap = true;
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        if (operation_.forced)
            plan.after->flags.set(metafmt::MdFlag::Consistent), plan.after->flags.set(metafmt::MdFlag::WasUpToDate);
        break;
    case OperationKind::Outdate:
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        break;
    case OperationKind::SetRole:
        if (!attached) {
            end_operation({});  // no disk to say so, and no write at the peer any more
            return;
        }
        io_.want_generation(false);  // if one is needed, it is made here
        if (target.role == Role::Primary) {
            // Spec 5.8: writes of this Primary will not reach the peer, so they
            // are a new generation; it is stable before the role is taken.
            const bool alone = !is_connected() || state_.peer_disk <= DiskState::Failed;
            if (state_.role != Role::Primary &&
                ((alone && (disk_.uuids.bitmap == 0 || disk_.generation_shared)) || operation_.forced)) {
                disk_.uuids = with_new_generation(disk_.uuids, owner_.random());
                disk_.generation_shared = false;
            }
            disk_.uuids = with_role(disk_.uuids, true);
            primary_recorded_ = true;
        } else {
            disk_.crashed_primary |= is_ahead_in_blocks();
            disk_.uuids = with_role(disk_.uuids, false);
            plan.bitmap = true;
        }
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        break;
    case OperationKind::None:
    case OperationKind::Attach:
    case OperationKind::Activate:
    case OperationKind::CreateMd:
        assertion_failed("operation does not settle", __FILE__, __LINE__);
    }
    settle_.start(plan);
    operation_.phase = OperationPhase::Queued;
}

void Volume::transaction_is_stable() {
    told_of_no_space_ = false;
    io_.image_flushed(flushed_by_transaction_);
    io_.transaction_committed();
}

void Volume::superblock_is_stable() {
    superblock_out_ = false;
    if (handover_out_ && state_.disk == DiskState::Inconsistent)
        end_handover(0, nullptr);
    handover_out_ = false;
    if (!generation_out_)
        return;
    generation_out_ = false;
    exposed_uuid_ = disk_.uuids.current;
    io_.generation_stable();
    if (is_connected())
        send_uuids();
}

// Design D17: no space is the guest's to wait for, also where the metadata
// needs it; the disk is kept.
void Volume::transaction_lacked_space() {
    if (!told_of_no_space_)
        owner_.notices().warning(static_cast<int>(number_), "%s: writes of the guest fail until there is space again",
                                 transaction_.result().error().text);
    told_of_no_space_ = true;
    io_.transaction_abandoned(-ENOSPC);
}

void Volume::activity_ended() {
    Activity* ended = current_;
    current_ = nullptr;
    const bool ok = ended->result().ok();
    if (ended == &transaction_ && !ok && transaction_.lacked_space()) {
        transaction_lacked_space();
    } else if (ended == &bits_write_) {
        bits_out_ = false;
        if (!ok) {
            lose_disk(ended->result().error().text);
        } else if (bits_wanted_) {
            bits_wanted_ = false;
            owner_.peer_io().bits_are_stable(number_);
        }
    } else if (ended == &transaction_ || ended == &superblock_write_ || ended == &transition_write_) {
        if (!ok)
            lose_disk(ended->result().error().text);
        else if (ended == &transaction_)
            transaction_is_stable();
        else if (ended == &superblock_write_)
            superblock_is_stable();
        else
            transition_is_done();
    } else if (ok) {
        operation_succeeded();
    } else {
        const Error error = ended->result().error();
        operation_failed(error);
    }
}

void Volume::operation_succeeded() {
    switch (operation_.kind) {
    case OperationKind::Attach:
    case OperationKind::Activate:
        attach_succeeded();
        return;
    case OperationKind::Detach:
        if (io_.at_image() != 0) {  // a flush came meanwhile: once more when it has ended
            operation_.phase = OperationPhase::WaitRequests;
            return;
        }
        disk_is_gone("detached, the metadata is clean");
        return;
    case OperationKind::Leave:
    case OperationKind::Inactivate:
        if (io_.at_image() != 0) {
            operation_.phase = OperationPhase::WaitRequests;
            return;
        }
        disk_is_gone("the node was closed, the metadata is clean");
        return;
    case OperationKind::CreateMd:
        disk_.release();
        exposed_uuid_ = 0;
        exposed_elsewhere_ = peer_has_newer_ = false;
        end_operation({});
        return;
    case OperationKind::Invalidate:
        change_state(ChangeKind::Hard, target_of(operation_), "invalidated by the administrator", operation_.number);
        end_operation({});
        return;
    case OperationKind::InvalidateRemote:
        change_state(ChangeKind::Hard, target_of(operation_), "the peer was invalidated by the administrator",
                     operation_.number);
        end_operation({});
        return;
    case OperationKind::Outdate:
        change_state(ChangeKind::Hard, target_of(operation_), "outdated by the administrator", operation_.number);
        end_operation({});
        return;
    case OperationKind::NewCurrentUuid:
        new_current_uuid_is_stable();
        return;
    case OperationKind::SetRole:
        primary_recorded_ = operation_.role == Role::Primary;
        declared_good_ = operation_.forced;
        exposed_uuid_ = disk_.uuids.current;
        end_operation({});
        return;
    case OperationKind::None:
        break;
    }
    assertion_failed("operation kind", __FILE__, __LINE__);
}

void Volume::attach_succeeded() {
    const bool primary = operation_.role == Role::Primary;
    if (primary != (owner_.role() == Role::Primary) && operation_.kind == OperationKind::Attach) {
        operation_failed(Error::of(ErrorCode::Refused, "the resource changed its role meanwhile: attach again"));
        return;
    }
    size_ = disk_.size;
    if (attach_.remark()[0] != '\0')
        owner_.notices().warning(static_cast<int>(number_), "%s", attach_.remark());
    io_.disk_came();
    primary_recorded_ = primary;
    State wanted = state_;
    wanted.role = operation_.role;
    intended_disk_ = attach_.disk_state();
    const char* why = attach_.why();
    const bool other_seen = exposed_elsewhere_ && !same_generation(exposed_uuid_, disk_.uuids.current);
    if ((other_seen || peer_has_newer_) && intended_disk_ > DiskState::Outdated) {
        intended_disk_ = DiskState::Outdated;
        why = "the peer went on without this disk: it has newer data";
    }
    exposed_elsewhere_ = peer_has_newer_ = false;
    wanted.disk = intended_disk_;
    const bool announce = is_connected() || policy_.handshake_under_way;
    if (announce) {
        wanted.disk = DiskState::Negotiating;  // spec 4.6
        negotiating_since_ms_ = owner_.now_ms();
        if (is_connected())
            peer_.has_generations = false;  // in a handshake it has told already, or will
    } else {
        wanted.peer_disk = attach_.peer_disk_state();
    }
    change_state(ChangeKind::Hard, wanted, why, operation_.number);
    // Activation makes no generation; the first write of a guest does.
    io_.want_generation(primary && (disk_.uuids.bitmap == 0 || disk_.generation_shared) && !is_connected());
    if (!announce)
        exposed_uuid_ = disk_.uuids.current;
    const bool activated = operation_.kind == OperationKind::Activate;
    const Role role = operation_.role;
    end_operation({});
    if (announce) {
        if (auto agreed = peer_.has_sizes ? agree_on_size() : Result<void>(); !agreed)
            lose_disk(agreed.error().text);
        send_sizes(false);
        send_uuids();
        send_state();
    }
    if (activated)
        owner_.on_activated(role);
}

void Volume::new_current_uuid_is_stable() {
    const bool skipped = operation_.forced;
    const uint64_t number = operation_.number;
    exposed_uuid_ = disk_.uuids.current;
    end_operation({});
    if (!skipped)
        return;
    announce_skip_ = true;
    send_uuids();
    announce_skip_ = false;
    disk_.uuids = with_initial_sync_skipped(disk_.uuids);
    peer_.generations.uuids = disk_.uuids;  // it takes the same
    State wanted = state_;
    wanted.disk = DiskState::UpToDate;
    if (is_connected())
        wanted.peer_disk = DiskState::UpToDate;
    change_state(ChangeKind::Hard, wanted, "the first sync is skipped: both disks are declared equal", number);
    want_superblock();
}

// The metadata could not be read or written: the operation has failed, and a
// disk that was attached is lost.
void Volume::operation_failed(const Error& error) {
    const OperationKind kind = operation_.kind;
    if (kind == OperationKind::CreateMd) {
        disk_.release();
        end_operation(error);
        return;
    }
    if (kind == OperationKind::Attach || kind == OperationKind::Activate) {
        disk_is_gone(error.text);  // ends the operation, which did not want it
        return;
    }
    if (kind == OperationKind::SetRole)
        end_operation(error);
    lose_disk(error.text);
}

}  // namespace drbd
