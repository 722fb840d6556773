// SPDX-License-Identifier: GPL-2.0-or-later
// What administrators ask of a volume: each operation is checked, perhaps
// waits for requests in flight, writes metadata by one activity, and changes
// the state when that is stable (volume.h).
#include <cerrno>

#include "core/api/volume.h"
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

uint64_t Volume::begin_operation(OperationKind kind, OperationPhase phase, const State& target) {
    DRBD_ASSERT(!operation_.pending());
    operation_ = {.kind = kind, .phase = phase, .number = owner_.new_operation_number(), .target = target};
    return operation_.number;
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
    const uint64_t number = begin_operation(OperationKind::Attach, OperationPhase::Queued, state_);
    start_attach(config);
    return number;
}

Result<uint64_t> Volume::activate(const DrbdDiskConfig& config, bool primary) {
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk != DiskState::Diskless)
        return refused("activate", "a disk is attached already");
    State target = state_;
    target.role = primary ? Role::Primary : owner_.role();
    const uint64_t number = begin_operation(OperationKind::Activate, OperationPhase::Queued, target);
    start_attach(config);
    return number;
}

void Volume::start_attach(const DrbdDiskConfig& config) {
    disk_.config = config;
    State wanted = state_;
    wanted.disk = DiskState::Attaching;
    change_state(ChangeKind::Hard, wanted, "the metadata is being read", operation_.number);
    attach_.start({.role = operation_.target.role, .exposed_uuid = exposed_uuid_});
}

Result<uint64_t> Volume::detach(bool force) {
    if (auto free = check_free(); !free)
        return free.error();
    if (state_.disk == DiskState::Diskless)
        return refused("detach", "no disk is attached");
    if (state_.disk == DiskState::Failed)
        return refused("detach", "the disk has failed and is being given up already");
    State target = state_;
    target.disk = DiskState::Diskless;
    if (!force && state_.role == Role::Primary)
        if (auto verdict = valid_state(target, policy_); !verdict.ok())
            return Error::of(ErrorCode::Refused,
                             "detach is refused: this node is Primary and has no other UpToDate disk to serve "
                             "the guest from; make it Secondary first, or force it and let the guest have I/O errors");
    const uint64_t number = begin_operation(OperationKind::Detach, OperationPhase::WaitRequests, target);
    // A Primary's disk is left as a crash would leave it (spec row 104).
    operation_.forced = state_.role == Role::Primary;
    leaving_ = true;
    refresh_access();
    pump();
    return number;
}

Result<uint64_t> Volume::leave(bool inactivate) {
    if (auto free = check_free(); !free)
        return free.error();
    State target = state_;
    target.disk = DiskState::Diskless;
    const uint64_t number = begin_operation(inactivate ? OperationKind::Inactivate : OperationKind::Leave,
                                            OperationPhase::WaitRequests, target);
    leaving_ = true;
    refresh_access();
    if (state_.disk == DiskState::Diskless && io_.in_flight() == 0)
        disk_is_gone("the node is being closed");
    else
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
    return begin_operation(OperationKind::CreateMd, OperationPhase::Queued, state_);
}

Result<uint64_t> Volume::invalidate() {
    if (auto free = check_free(); !free)
        return free.error();
    if (!is_attached())
        return refused("invalidate", "no disk is attached");
    if (state_.role == Role::Primary)
        return refused("invalidate", "this node is Primary and its data is in use; make it Secondary first");
    State target = state_;
    target.disk = DiskState::Inconsistent;
    const uint64_t number = begin_operation(OperationKind::Invalidate, OperationPhase::WaitRequests, target);
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
    if (auto verdict = decide_change(state_, target, ChangeKind::Soft, policy_, result); !verdict.ok())
        return refused("outdate", verdict.reason);
    const uint64_t number = begin_operation(OperationKind::Outdate, OperationPhase::WaitRequests, target);
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
    State target = state_;
    target.role = role;
    operation_ = {.kind = OperationKind::SetRole, .phase = OperationPhase::WaitRequests, .number = operation,
                  .target = target};
    if (role == Role::Primary && force && state_.disk < DiskState::UpToDate) {
        operation_.target.disk = DiskState::UpToDate;
        operation_.forced = true;
    }
    disk_with_role_ = operation_.target.disk;
    demoting_ = role == Role::Secondary;
    refresh_access();
    pump();
}

void Volume::take_role(uint64_t operation, Role role, const char* reason) {
    State wanted = state_;
    wanted.role = role;
    if (disk_with_role_)
        wanted.disk = *disk_with_role_;
    disk_with_role_.reset();
    demoting_ = false;
    change_state(ChangeKind::Hard, wanted, reason, operation);
    refresh_access();
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
    const State& target = operation_.target;
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
        State last = state_;
        last.role = Role::Secondary;
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
    case OperationKind::Outdate:
        plan.after = superblock_of(disk_, target, Cleanness::InUse);
        break;
    case OperationKind::SetRole:
        io_.want_generation(false);  // if one is needed, it is made here
        if (target.role == Role::Primary) {
            // Spec 5.8: writes of this Primary will not reach the peer, so they
            // are a new generation; it is stable before the role is taken.
            if (state_.role != Role::Primary && state_.connection < ConnectionState::Connected &&
                (disk_.uuids.bitmap == 0 || operation_.forced))
                disk_.uuids = with_new_generation(disk_.uuids, owner_.random());
            disk_.uuids = with_role(disk_.uuids, true);
            primary_recorded_ = true;
        } else {
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
    io_.transaction_committed();
}

void Volume::generation_is_stable() {
    exposed_uuid_ = disk_.uuids.current;
    io_.generation_stable();
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
    if (ended == &transaction_ || ended == &generation_write_) {
        if (!ok && ended == &transaction_ && transaction_.lacked_space())
            transaction_lacked_space();
        else if (!ok)
            lose_disk(ended->result().error().text);
        else if (ended == &transaction_)
            transaction_is_stable();
        else
            generation_is_stable();
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
    case OperationKind::Activate: {
        const bool primary = operation_.target.role == Role::Primary;
        if (!primary && owner_.role() == Role::Primary) {
            operation_failed(Error::of(ErrorCode::Refused, "the resource became Primary meanwhile: attach again"));
            return;
        }
        size_ = disk_.size;
        if (attach_.remark()[0] != '\0')
            owner_.notices().warning(static_cast<int>(number_), "%s", attach_.remark());
        io_.disk_came();
        primary_recorded_ = primary;
        State wanted = state_;
        wanted.role = operation_.target.role;
        wanted.disk = attach_.disk_state();
        wanted.peer_disk = attach_.peer_disk_state();
        change_state(ChangeKind::Hard, wanted, attach_.why(), operation_.number);
        // Activation makes no generation; the first write of a guest does.
        io_.want_generation(primary && disk_.uuids.bitmap == 0);
        exposed_uuid_ = disk_.uuids.current;
        const bool activated = operation_.kind == OperationKind::Activate;
        end_operation({});
        if (activated)
            owner_.on_activated(wanted.role);
        return;
    }
    case OperationKind::Detach:
        disk_is_gone("detached, the metadata is clean");
        return;
    case OperationKind::Leave:
    case OperationKind::Inactivate:
        disk_is_gone("the node was closed, the metadata is clean");
        return;
    case OperationKind::CreateMd:
        disk_.release();
        exposed_uuid_ = 0;
        end_operation({});
        return;
    case OperationKind::Invalidate:
        change_state(ChangeKind::Hard, operation_.target, "invalidated by the administrator", operation_.number);
        end_operation({});
        return;
    case OperationKind::Outdate:
        change_state(ChangeKind::Hard, operation_.target, "outdated by the administrator", operation_.number);
        end_operation({});
        return;
    case OperationKind::SetRole:
        primary_recorded_ = operation_.target.role == Role::Primary;
        exposed_uuid_ = disk_.uuids.current;
        end_operation({});
        return;
    case OperationKind::None:
        break;
    }
    assertion_failed("operation kind", __FILE__, __LINE__);
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
