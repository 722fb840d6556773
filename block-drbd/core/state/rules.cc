// SPDX-License-Identifier: GPL-2.0-or-later
// Spec sections 5.2 and 5.3 as tables.
#include "core/state/rules.h"

namespace drbd {

namespace {

using enum ConnectionState;
using enum DiskState;
using enum StateCode;

struct StateRule {
    StateCode code;
    const char* reason;
    bool (*broken)(const State& s, const StatePolicy& p);
};

Fencing effective_fencing(const State& s, const StatePolicy& p) {
    return s.disk >= Inconsistent ? p.fencing : Fencing::DontCare;
}

bool verifying(const State& s) { return s.connection == VerifyS || s.connection == VerifyT; }

bool starting_sync(const State& s) { return s.connection == StartingSyncS || s.connection == StartingSyncT; }

// First match wins.  "Device open" (-12) and "other volume" (-20) concern more
// than one volume's state and are asked where that is known.
constexpr StateRule kStateRules[] = {
    {TwoPrimaries, "the peer is Primary, and two Primaries are not allowed",
     [](const State& s, const StatePolicy& p) {
         return !p.allow_two_primaries && s.role == Role::Primary && s.peer == Role::Primary;
     }},
    {NoUpToDateDisk, "not connected, and the local disk is not UpToDate",
     [](const State& s, const StatePolicy&) {
         return s.role == Role::Primary && s.connection < Connected && s.disk < UpToDate;
     }},
    {PrimaryNop, "not connected, and the peer is not known to be outdated: fence it first",
     [](const State& s, const StatePolicy& p) {
         return effective_fencing(s, p) >= Fencing::ResourceOnly && s.role == Role::Primary &&
                s.connection < Connected && s.peer_disk >= DUnknown;
     }},
    {NoUpToDateDisk, "neither node has consistent data",
     [](const State& s, const StatePolicy&) {
         return s.role == Role::Primary && s.disk <= Inconsistent && s.peer_disk <= Inconsistent;
     }},
    {NoLocalDisk, "a resync or verify needs a local disk",
     [](const State& s, const StatePolicy&) { return s.connection > Connected && s.disk < Inconsistent; }},
    {NoRemoteDisk, "a resync or verify needs the peer's disk",
     [](const State& s, const StatePolicy&) { return s.connection > Connected && s.peer_disk < Inconsistent; }},
    {NoUpToDateDisk, "a resync or verify needs one UpToDate disk",
     [](const State& s, const StatePolicy&) {
         return s.connection > Connected && s.disk < UpToDate && s.peer_disk < UpToDate;
     }},
    {ConnectedOutdates, "a connected node is not Outdated",
     [](const State& s, const StatePolicy&) {
         return (s.connection == Connected || s.connection == WFBitMapS || s.connection == SyncSource ||
                 s.connection == PausedSyncS) &&
                s.disk == Outdated && s.peer_disk >= Inconsistent;
     }},
    {NoVerifyAlg, "verify-alg is not configured",
     [](const State& s, const StatePolicy& p) { return verifying(s) && !p.has_verify_alg; }},
    {NotSupported, "the peer's protocol is too old for verify",
     [](const State& s, const StatePolicy& p) { return verifying(s) && p.agreed_version < 88; }},
    {NoUpToDateDisk, "no UpToDate disk is within reach",
     [](const State& s, const StatePolicy&) {
         return s.role == Role::Primary && s.disk < UpToDate && s.peer_disk < UpToDate;
     }},
    {NeedConnection, "a full resync needs a connection",
     [](const State& s, const StatePolicy&) { return starting_sync(s) && s.peer_disk == DUnknown; }},
    {ConnectedOutdates, "a connected peer's disk is known",
     [](const State& s, const StatePolicy&) { return s.connection >= Connected && s.peer_disk == DUnknown; }},
};

struct TransitionRule {
    StateCode code;
    const char* reason;
    bool (*broken)(const State& o, const State& n);
};

bool lost(const State& s) { return s.connection >= Timeout && s.connection <= TearDown; }

// First match wins; these hold for imposed changes too.
constexpr TransitionRule kTransitionRules[] = {
    {AlreadyStandAlone, "already StandAlone",
     [](const State& o, const State& n) { return o.connection == StandAlone && n.connection == Disconnecting; }},
    {NeedConnection, "StandAlone: connect first",
     [](const State& o, const State& n) {
         return o.connection == StandAlone && n.connection != StandAlone && n.connection != Unconnected;
     }},
    {NeedConnection, "the handshake has not taken place",
     [](const State& o, const State& n) {
         return o.connection < WFReportParams && n.connection >= Connected;
     }},
    {InTransientState, "the connection is being closed",
     [](const State& o, const State& n) {
         return lost(o) && n.connection != o.connection && n.connection != Unconnected &&
                n.connection != Disconnecting;
     }},
    {InTransientState, "disconnecting",
     [](const State& o, const State& n) {
         return o.connection == Disconnecting && n.connection != Disconnecting && n.connection != StandAlone;
     }},
    {IsDiskless, "there is no disk that could fail",
     [](const State& o, const State& n) { return o.disk == Diskless && n.disk == Failed; }},
};

struct SoftRule {
    StateCode code;
    const char* reason;
    bool (*broken)(const State& o, const State& n, const StatePolicy& p);
};

// The last match wins.
constexpr SoftRule kSoftRules[] = {
    {ResyncRunning, "a resync or verify is running",
     [](const State& o, const State& n, const StatePolicy&) {
         return starting_sync(n) && o.connection > Connected;
     }},
    // The peer has begun, or is about to begin, the resync that the comparison asks for.
    {InTransientState, "a disk that was attached is being compared with the peer's",
     [](const State& o, const State& n, const StatePolicy&) {
         return starting_sync(n) && (o.disk == Negotiating || o.peer_disk == Negotiating);
     }},
    {AlreadyStandAlone, "already StandAlone",
     [](const State& o, const State& n, const StatePolicy&) {
         return n.connection == Disconnecting && o.connection == StandAlone;
     }},
    {IsDiskless, "no disk is attached",
     [](const State& o, const State& n, const StatePolicy&) { return n.disk > Attaching && o.disk == Diskless; }},
    {NoNetConfig, "no connection is configured",
     [](const State& o, const State& n, const StatePolicy&) {
         return n.connection == WFConnection && o.connection < Unconnected;
     }},
    {LowerThanOutdated, "the disk is already worse than Outdated",
     [](const State& o, const State& n, const StatePolicy&) {
         return n.disk == Outdated && o.disk < Outdated && o.disk != Attaching && o.disk != Negotiating;
     }},
    {InTransientState, "a connection is about to be made",
     [](const State& o, const State& n, const StatePolicy&) {
         return n.connection == Disconnecting && o.connection == Unconnected;
     }},
    {InTransientState, "a handshake is under way",
     [](const State& o, const State& n, const StatePolicy& p) {
         return p.handshake_under_way && !(o.connection == WFConnection && n.connection == WFReportParams) &&
                !(o.connection == WFReportParams && n.connection >= Connected);
     }},
    {InTransientState, "a resync is about to start",
     [](const State& o, const State& n, const StatePolicy&) {
         return o.role != Role::Primary && n.role == Role::Primary && n.peer_disk == UpToDate &&
                n.disk != UpToDate && n.disk != Diskless &&
                (n.connection <= WFSyncUUID || n.connection != o.connection);
     }},
    // The same rule where none is on its way: after a write that failed with pass-on, or a resync that could not read everything.
    {InTransientState, "the peer's disk is good, and no resync is under way: disconnect and connect, and one begins",
     [](const State& o, const State& n, const StatePolicy& p) {
         return o.role != Role::Primary && n.role == Role::Primary && n.peer_disk == UpToDate &&
                n.disk >= Inconsistent && n.disk != UpToDate && n.connection == Connected &&
                o.connection == Connected && !p.handshake_under_way;
     }},
    {NeedConnection, "verify needs a connection",
     [](const State& o, const State& n, const StatePolicy&) { return verifying(n) && o.connection < Connected; }},
    {ResyncRunning, "a resync or verify is running",
     [](const State& o, const State& n, const StatePolicy&) {
         return verifying(n) && n.connection != o.connection && o.connection > Connected;
     }},
    {NeedConnection, "a full resync needs a connection",
     [](const State& o, const State& n, const StatePolicy&) { return starting_sync(n) && o.connection < Connected; }},
    {NeedConnection, "a resync needs a connection",
     [](const State& o, const State& n, const StatePolicy&) {
         return (n.connection == SyncSource || n.connection == SyncTarget) && o.connection < WFReportParams;
     }},
    {OutdateWithoutConnection, "the peer can be outdated only while connected",
     [](const State& o, const State& n, const StatePolicy&) {
         return n.connection == Disconnecting && n.peer_disk == Outdated && o.connection < Connected &&
                o.peer_disk > Outdated;
     }},
};

}  // namespace

StateVerdict valid_state(const State& state, const StatePolicy& policy) {
    for (const StateRule& rule : kStateRules)
        if (rule.broken(state, policy))
            return {rule.code, rule.reason};
    return {};
}

StateVerdict valid_transition(const State& old_state, const State& wanted) {
    for (const TransitionRule& rule : kTransitionRules)
        if (rule.broken(old_state, wanted))
            return {rule.code, rule.reason};
    return {};
}

StateVerdict valid_soft_transition(const State& old_state, const State& wanted, const StatePolicy& policy) {
    StateVerdict verdict;
    for (const SoftRule& rule : kSoftRules)
        if (rule.broken(old_state, wanted, policy))
            verdict = {rule.code, rule.reason};
    return verdict;
}

StateVerdict decide_change(const State& old_state, const State& wanted, ChangeKind kind,
                           const StatePolicy& policy, State& result) {
    const State next = sanitize(old_state, wanted, policy);
    if (next == old_state)
        return {NothingToDo, nullptr};
    if (StateVerdict verdict = valid_transition(old_state, next); !verdict.ok())
        return verdict;
    if (kind == ChangeKind::Soft) {
        // A state that already breaks a rule may go on breaking the same one.
        const StateVerdict verdict = valid_state(next, policy);
        if (!verdict.ok() && valid_state(old_state, policy).code != verdict.code)
            return verdict;
        if (StateVerdict soft = valid_soft_transition(old_state, next, policy); !soft.ok())
            return soft;
    }
    result = next;
    return {};
}

const char* text_of(StateCode code) {
    static constexpr struct {
        StateCode code;
        const char* text;
    } kTexts[] = {
        {NothingToDo, "nothing to do"}, {Success, "success"},
        {TwoPrimaries, "it is Primary itself, and two Primaries are not allowed"},
        {NoUpToDateDisk, "no node would have an UpToDate disk"}, {NoLocalDisk, "it has no disk"},
        {NoRemoteDisk, "this node has no disk"}, {ConnectedOutdates, "connected disks cannot be Outdated"},
        {PrimaryNop, "it is Primary and this node's disk would have to be fenced"},
        {ResyncRunning, "a resync or verify is running"}, {AlreadyStandAlone, "it is StandAlone"},
        {FailedByPeer, "its peer refused"}, {IsDiskless, "it is Diskless"}, {DeviceInUse, "its device is in use"},
        {NoNetConfig, "it has no connection configured"}, {NoVerifyAlg, "it has no verify-alg"},
        {NeedConnection, "it has no connection"}, {LowerThanOutdated, "its disk is already worse than Outdated"},
        {NotSupported, "it does not support that"}, {InTransientState, "its state is changing: try again"},
        {ConcurrentChange, "both nodes asked for a change at once: try again"},
        {OtherVolumePeerPrimary, "this node is Primary on another volume"},
        {OutdateWithoutConnection, "an outdating needs a connection"},
    };
    for (const auto& row : kTexts)
        if (row.code == code)
            return row.text;
    return "it gives no reason that is known here";
}

}  // namespace drbd
