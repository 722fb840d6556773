// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a volume's state that both nodes must agree to (spec 5.6), from
// this volume's side: what the peer asks, and what the peer answered.  Who asks
// and waits is the resource (cluster_change.cc).
#include "core/api/volume.h"

namespace drbd {

namespace {

using enum ConnectionState;

// What the sender calls its connection state is another here (spec 5.6).
std::optional<ConnectionState> as_seen_here(ConnectionState asked) {
    switch (asked) {
    case StartingSyncS:
        return StartingSyncT;
    case StartingSyncT:
        return StartingSyncS;
    case Connected:
        return asked;
    default:
        return std::nullopt;
    }
}

}  // namespace

StateVerdict Volume::on_peer_asks(const wire::StateChange& asked) {
    State wanted = state_;
    if (asked.role)
        wanted.peer = *asked.role;
    if (asked.peer && *asked.peer != state_.role)
        return {StateCode::NotSupported, "a node's role is its own to change"};
    if (asked.disk)
        wanted.peer_disk = *asked.disk;
    if (asked.peer_disk)
        wanted.disk = *asked.peer_disk;
    if (asked.connection) {
        const auto connection = as_seen_here(*asked.connection);
        if (!connection)
            return {StateCode::NotSupported, "this node does not know that change of the connection"};
        wanted.connection = *connection;
    }
    if (asked.peer_disk && *asked.peer_disk != DiskState::Outdated)
        return {StateCode::NotSupported, "a peer may declare this disk Outdated, and nothing else"};
    if (asked.peer_disk && state_.role == Role::Primary)
        return {StateCode::DeviceInUse, "this node is Primary and its data is in use"};
    // This disk goes by the peer's own consent: the peer's does not go, too.
    const bool leaves = asked.disk && operation_.kind == OperationKind::Detach;
    if (operation_.pending() && operation_.phase != OperationPhase::AskPeer && (asked.connection || leaves))
        return {StateCode::InTransientState, "an operation is pending on this volume"};
    const StateVerdict verdict = change_state(ChangeKind::Soft, wanted, "asked for by the peer", 0);
    if (verdict.ok()) {
        peer_granted_ |= asked.role == Role::Primary;
        want_superblock();
    }
    return verdict;
}

// The peer agreed to this volume's pending operation, or did not.
void Volume::peer_answered(StateCode code, const char* text) {
    if (!operation_.pending() || operation_.phase != OperationPhase::AskPeer)
        return;
    if (static_cast<int>(code) < 1) {
        leaving_ = false;
        refresh_access();
        end_operation(Error::of(ErrorCode::Refused, "%s: the peer refuses: %.150s", name_of(operation_.kind), text));
        if (waits_for_ping_)
            link().request_ping();
        return;
    }
    operation_.peer_agreed = true;
    operation_may_begin();
}

// Its bits count from a generation of the peer's: that has refused writes of this guest.
bool Volume::is_ahead_of_peer() const { return disk_.uuids.bitmap != 0; }

// The peer does its part already: the bits of this node follow.
void Volume::operation_may_begin() {
    if (operation_.kind == OperationKind::Detach) {
        operation_.phase = OperationPhase::WaitRequests;
        begin_to_leave();
        return;
    }
    const uint64_t number = operation_.number;
    const bool own = operation_.kind == OperationKind::Invalidate;
    DRBD_ASSERT(own || operation_.kind == OperationKind::InvalidateRemote);
    // A disk of the peer that was attached meanwhile is being resynced already.
    if (state_.connection != Connected) {
        end_operation(Error::of(ErrorCode::Refused, "%s: another resync began before the peer answered: try again",
                                name_of(operation_.kind)));
        return;
    }
    // The peer's copy is no better than this one any more; it has begun what it agreed to.
    if (own && (state_.peer_disk != DiskState::UpToDate || is_ahead_of_peer())) {
        end_operation(Error::of(ErrorCode::Refused, "invalidate: the peer's disk has failed, or has refused writes, before it answered: "
                                                    "nothing could replace this data"));
        link().drop(NetworkFailure, "volume %u: an invalidate that the peer agreed to is not done: the nodes meet anew", number_);
        return;
    }
    State wanted = state_;
    wanted.connection = own ? StartingSyncT : StartingSyncS;
    end_operation({});
    change_state(ChangeKind::Hard, wanted,
                 own ? "invalidated by the administrator" : "the peer was invalidated by the administrator", number);
}

// The peer was asked, and is gone.
void Volume::asked_in_vain() {
    if (!operation_.pending() || operation_.phase != OperationPhase::AskPeer)
        return;
    if (operation_.kind == OperationKind::Detach && !is_last_data())
        operation_may_begin();
    else
        end_operation(Error::of(ErrorCode::Refused, "%s: the connection was lost before the peer answered: try again",
                                name_of(operation_.kind)));
}

}  // namespace drbd
