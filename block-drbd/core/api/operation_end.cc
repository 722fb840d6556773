// SPDX-License-Identifier: GPL-2.0-or-later
// How an operation goes on: when nothing is in its way its plan for the disk is
// made, and when an activity has ended, its own or another, what that means for
// it and for the volume's state.  operations.cc is how it began.
#include <cerrno>
#include <utility>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

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
        if (operation_.forced && !may_declare_equal()) {
            end_operation(Error::of(ErrorCode::Refused, "new-current-uuid: while it waited for requests a data generation began "
                                                        "on either node, or the connection or the peer's disk went: the first "
                                                        "sync cannot be skipped now"));
            return;
        }
        if (!operation_.forced && state_.connection != ConnectionState::StandAlone) {
            end_operation(Error::of(ErrorCode::Refused, "new-current-uuid: while it waited for requests the node was connected: "
                                                        "it is for a StandAlone node"));
            return;
        }
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
        if (target.role == Role::Primary && !operation_.forced &&
            may_change_role(Role::Primary, false).code == StateCode::NoUpToDateDisk) {
            end_operation(Error::of(ErrorCode::Refused, "the disk is %s since a write received from the peer failed",
                                    name_of(state_.disk)));
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
        if (is_in_the_way()) {  // it came meanwhile; nothing of the volume may be left behind
            operation_.phase = OperationPhase::WaitRequests;
            return;
        }
        disk_is_gone("the node was closed, the metadata is clean");
        return;
    case OperationKind::CreateMd:
        disk_.release();
        // A Primary's guest has seen what it has seen, on the peer's disk.
        if (state_.role != Role::Primary) {
            exposed_uuid_ = 0;
            exposed_elsewhere_ = peer_has_newer_ = lacks_received_ = false;
        }
        end_operation({});
        return;
    case OperationKind::Invalidate:
        change_state(ChangeKind::Hard, target_of(operation_), "invalidated by the administrator", operation_.number);
        end_operation({});
        meet_anew();
        return;
    case OperationKind::InvalidateRemote:
        change_state(ChangeKind::Hard, target_of(operation_), "the peer was invalidated by the administrator",
                     operation_.number);
        end_operation({});
        meet_anew();
        return;
    case OperationKind::Outdate:
        // Connected nodes whose disks are good do not stay so (decision 0020).
        if (is_connected() && state_.disk > DiskState::Outdated) {
            end_operation(Error::of(ErrorCode::Refused, "outdate: the nodes met while it was recorded, and this disk is as good as "
                                                        "the peer's: it is not Outdated"));
            want_superblock();
            return;
        }
        change_state(ChangeKind::Hard, target_of(operation_), "outdated by the administrator", operation_.number);
        end_operation({});
        meet_anew();
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

// The nodes met while this was written: each has been told what is not true any more.
void Volume::meet_anew() {
    if (link_is_up())
        link().drop(ConnectionState::NetworkFailure,
                    "volume %u: the disk was marked by the administrator while the nodes met: they meet anew", number_);
}

void Volume::attach_succeeded() {
    const bool primary = operation_.role == Role::Primary;
    if (primary != (owner_.role() == Role::Primary) && operation_.kind == OperationKind::Attach) {
        operation_failed(Error::of(ErrorCode::Refused, "the resource changed its role meanwhile: attach again"));
        return;
    }
    if (auto allowed = owner_.check_activation(number_, primary); !allowed) {
        operation_failed(allowed.error());
        return;
    }
    const bool other_seen = exposed_elsewhere_ && !same_generation(exposed_uuid_, disk_.uuids.current);
    const bool announce = is_connected() || policy_.handshake_under_way;
    // The attach was allowed because the peer served the guest (attach.h, Terms): it has left.
    if (primary && !announce &&
        (other_seen || peer_has_newer_ || lacks_received_ || attach_.disk_state() != DiskState::UpToDate)) {
        operation_failed(Error::of(ErrorCode::Refused,
                                   "the peer, whose disk the guest used, was lost meanwhile, and the disk is not what "
                                   "the guest has seen last: connect to the peer, then attach"));
        return;
    }
    const Sector exported = std::exchange(size_, disk_.size);
    if (attach_.remark()[0] != '\0')
        owner_.notices().warning(static_cast<int>(number_), "%s", attach_.remark());
    io_.disk_came();
    failed_here_ = 0;
    primary_recorded_ = primary;
    State wanted = state_;
    wanted.role = operation_.role;
    intended_disk_ = attach_.disk_state();
    const char* why = attach_.why();
    if ((other_seen || peer_has_newer_) && intended_disk_ > DiskState::Outdated) {
        intended_disk_ = DiskState::Outdated;
        why = "the peer went on without this disk: it has newer data";
    } else if (lacks_received_ && intended_disk_ > DiskState::Outdated) {
        intended_disk_ = DiskState::Outdated;
        why = "the disk went before it had all that this node had received, or could record that: the peer may have newer data";
    }
    exposed_elsewhere_ = peer_has_newer_ = lacks_received_ = false;
    wanted.disk = intended_disk_;
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
        if (auto agreed = peer_.has_sizes ? agree_on_size() : Result<void>(); !agreed) {
            lose_disk(agreed.error().text);
            size_ = exported;
        }
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
    State wanted = state_;
    wanted.disk = DiskState::UpToDate;
    if (is_connected() && state_.peer_disk >= DiskState::Inconsistent) {
        peer_.generations.uuids = disk_.uuids;  // it takes the same
        wanted.peer_disk = DiskState::UpToDate;
    }
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
