// SPDX-License-Identifier: GPL-2.0-or-later
// What administrators ask of a volume: each operation is checked, perhaps
// waits for requests in flight, writes metadata by one activity, and changes
// the state when that is stable (volume.h).  Here is how each begins; roles are
// in volume_role.cc, what follows in operation_end.cc.
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
                   .peer_serves = is_connected() && state_.peer_disk == DiskState::UpToDate,
                   .exported = state_.role == Role::Primary || (is_connected() && state_.peer_disk >= DiskState::Outdated)
                                   ? size_ : Sector()});
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
    if (!force && is_connected() && state_.peer == Role::Primary && state_.peer_disk <= DiskState::Failed &&
        state_.disk == DiskState::UpToDate)
        return refused("detach", "the peer is Primary, and its guest lives on this disk, the last one that is UpToDate");
    const bool ask = is_connected() && !peer_lacks_volume() && !force && state_.disk >= DiskState::Inconsistent;
    const uint64_t number =
        begin_operation(OperationKind::Detach, ask ? OperationPhase::AskPeer : OperationPhase::WaitRequests);
    // A Primary's disk is left as a crash would leave it (spec row 104).
    operation_.forced = state_.role == Role::Primary;
    // A Secondary's as well: its peer must not count on a copy that refuses what comes.
    if (force && is_attached() && is_connected() && (state_.role != Role::Primary || peer_serves()))
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
    if (state_.disk == DiskState::Negotiating)
        return refused("invalidate", "the disk is being compared with the peer's: wait for the end of that");
    if (is_connected()) {
        if (state_.connection != ConnectionState::Connected)
            return refused("invalidate", "a resync is running");
        if (state_.peer_disk != DiskState::UpToDate)
            return refused("invalidate", "the peer's disk is not UpToDate: nothing could replace this data");
        if (is_ahead_of_peer())
            return refused("invalidate", "the peer has refused writes, and this data is newer than its copy: disconnect and connect");
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

bool Volume::may_declare_equal() const {
    return state_.connection == ConnectionState::Connected && policy_.agreed_version >= 90 && state_.peer != Role::Primary &&
           state_.peer_disk >= DiskState::Inconsistent && may_skip_initial_sync(disk_.uuids) && peer_.has_generations &&
           may_skip_initial_sync(peer_.generations.uuids);
}

// Spec 5.10; design D16: whether both images hold the same bytes nobody checks.
Result<uint64_t> Volume::new_current_uuid(bool clear_bitmap, bool force) {
    if (auto free = check_free(); !free)
        return free.error();
    if (!is_attached())
        return refused("new-current-uuid", "no disk is attached");
    if (clear_bitmap) {
        if (!may_declare_equal())
            return refused("new-current-uuid", "to skip the first sync both nodes must be connected (protocol 90 or later) "
                                               "and Secondary, with disks whose metadata was just created");
        if (!force)
            return refused("new-current-uuid", "it declares both images equal without a look at them; if you know that "
                                               "they are (both read as zero, or one is a copy of the other), force it");
    } else if (state_.connection != ConnectionState::StandAlone) {
        return refused("new-current-uuid", "without clear-bitmap it is for a StandAlone node");
    } else if (state_.disk == DiskState::Outdated) {
        return refused("new-current-uuid", "the disk is Outdated: a generation of its own would make old data look new");
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

}  // namespace drbd
