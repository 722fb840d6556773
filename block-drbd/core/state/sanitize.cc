// SPDX-License-Identifier: GPL-2.0-or-later
// Spec section 5.4: the steps in their order.
#include <algorithm>

#include "core/state/rules.h"

namespace drbd {

namespace {

using enum ConnectionState;
using enum DiskState;

struct Clamp {
    ConnectionState connection;
    DiskState disk_min, disk_max, peer_min, peer_max;
};

// Rows for the connection states that fix a disk state; all others allow
// Diskless..UpToDate here and Inconsistent..DUnknown for the peer.
constexpr Clamp kClamps[] = {
    {WFBitMapT, Inconsistent, Outdated, UpToDate, UpToDate},
    {PausedSyncT, Inconsistent, Outdated, UpToDate, UpToDate},
    {StartingSyncT, Inconsistent, Outdated, UpToDate, UpToDate},
    {WFSyncUUID, Inconsistent, Outdated, UpToDate, UpToDate},
    {Behind, Inconsistent, Outdated, UpToDate, UpToDate},
    {VerifyS, UpToDate, UpToDate, UpToDate, UpToDate},
    {VerifyT, UpToDate, UpToDate, UpToDate, UpToDate},
    {Connected, Diskless, UpToDate, Diskless, UpToDate},
    {WFBitMapS, UpToDate, UpToDate, Inconsistent, Consistent},
    {PausedSyncS, UpToDate, UpToDate, Inconsistent, Consistent},
    {StartingSyncS, UpToDate, UpToDate, Inconsistent, Consistent},
    {Ahead, UpToDate, UpToDate, Inconsistent, Consistent},
    {SyncTarget, Inconsistent, Inconsistent, UpToDate, UpToDate},
    {SyncSource, UpToDate, UpToDate, Inconsistent, Inconsistent},
};
constexpr Clamp kClampOther = {StandAlone, Diskless, UpToDate, Inconsistent, DUnknown};

Clamp clamp_of(ConnectionState connection) {
    for (const Clamp& row : kClamps)
        if (row.connection == connection)
            return row;
    return kClampOther;
}

bool fencing_needed(const State& s) {
    return s.role == Role::Primary && s.connection < Connected && s.peer_disk > Outdated;
}

bool no_data(const State& s) {
    return s.role == Role::Primary && s.disk < UpToDate && s.peer_disk < UpToDate;
}

// Two copies that met are as good as each other, or a resync makes them so.  A
// node without a disk vouches for nobody: stricter than the reference, which
// would call the outdated copy UpToDate (decision 0020).
DiskState among_connected(DiskState disk, DiskState other, DiskState without_other) {
    if (disk == Outdated && other < Inconsistent)
        return without_other;
    return disk == Consistent || disk == Outdated ? UpToDate : disk;
}

ConnectionState paused_or_not(const State& s) {
    const bool paused = s.paused_after_dependency || s.paused_by_peer || s.paused_by_user;
    if (paused)
        return s.connection == SyncSource ? PausedSyncS : s.connection == SyncTarget ? PausedSyncT : s.connection;
    return s.connection == PausedSyncS ? SyncSource : s.connection == PausedSyncT ? SyncTarget : s.connection;
}

}  // namespace

State sanitize(const State& old_state, State s, const StatePolicy& policy) {
    if (s.connection < Connected) {
        s.paused_by_peer = false;
        s.peer = Role::Unknown;
        if (s.peer_disk > DUnknown || s.peer_disk < Inconsistent)
            s.peer_disk = DUnknown;
    }
    if (s.connection == StandAlone && s.disk == Diskless && s.role == Role::Secondary)
        s.paused_after_dependency = false;
    if (s.connection > Connected && (s.disk <= Failed || s.peer_disk <= Failed)) {
        // What was about to be the target of this disk is no better because that is gone: stricter than the reference.
        if ((s.connection == WFBitMapS || s.connection == StartingSyncS) && s.peer_disk == Consistent)
            s.peer_disk = Inconsistent;
        s.connection = Connected;
    }
    if (s.connection >= Connected && s.connection < Ahead) {
        const State asked = s;
        // The guest of a Primary has seen newer data than an Outdated disk here has.
        s.disk = among_connected(asked.disk, asked.peer_disk, s.role == Role::Primary ? Inconsistent : Outdated);
        s.peer_disk = among_connected(asked.peer_disk, asked.disk, Inconsistent);  // what it says of itself
    }
    const Clamp clamp = clamp_of(s.connection);
    s.disk = std::clamp(s.disk, clamp.disk_min, clamp.disk_max);
    s.peer_disk = std::clamp(s.peer_disk, clamp.peer_min, clamp.peer_max);

    if (policy.fencing == Fencing::ResourceAndStonith && fencing_needed(s) && !fencing_needed(old_state))
        s.suspended_fencing = true;
    if (policy.suspend_on_no_data && no_data(s) && !no_data(old_state))
        s.suspended_no_data = true;
    s.connection = paused_or_not(s);
    return s;
}

}  // namespace drbd
