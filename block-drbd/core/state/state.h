// SPDX-License-Identifier: GPL-2.0-or-later
// The state of one volume as DRBD sees it: role, connection, disk, of this
// node and of its peer (spec section 3.3; numbers are those of the wire).
// Values only: what may follow what is in rules.h, and only
// api/change_state.cc assigns a volume's state.
#pragma once

#include <cstdint>

namespace drbd {

enum class Role : uint8_t { Unknown = 0, Primary = 1, Secondary = 2 };

enum class ConnectionState : uint8_t {
    StandAlone, Disconnecting, Unconnected, Timeout, BrokenPipe, NetworkFailure, ProtocolError,
    TearDown, WFConnection, WFReportParams, Connected, StartingSyncS, StartingSyncT, WFBitMapS,
    WFBitMapT, WFSyncUUID, SyncSource, SyncTarget, VerifyS, VerifyT, PausedSyncS, PausedSyncT,
    Ahead, Behind,
};
constexpr unsigned kConnectionStates = 24;

// This node gives the data of a resync that goes on or is being prepared.
constexpr bool is_source(ConnectionState c) {
    using enum ConnectionState;
    return c == StartingSyncS || c == WFBitMapS || c == SyncSource || c == PausedSyncS;
}

enum class DiskState : uint8_t {
    Diskless, Attaching, Failed, Negotiating, Inconsistent, Outdated, DUnknown, Consistent, UpToDate,
};
constexpr unsigned kDiskStates = 9;

struct State {
    Role role = Role::Secondary;
    Role peer = Role::Unknown;
    ConnectionState connection = ConnectionState::StandAlone;
    DiskState disk = DiskState::Diskless;
    DiskState peer_disk = DiskState::DUnknown;
    bool suspended = false;               // by the administrator
    bool suspended_no_data = false;       // no data accessible
    bool suspended_fencing = false;
    bool paused_after_dependency = false; // resync waits for another volume's
    bool paused_by_peer = false;
    bool paused_by_user = false;

    bool operator==(const State&) const = default;
};

const char* name_of(Role role);
const char* name_of(ConnectionState connection);
const char* name_of(DiskState disk);

}  // namespace drbd
