// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/state/state.h"

#include "core/base/assert.h"

namespace drbd {

const char* name_of(Role role) {
    static constexpr const char* kNames[] = {"Unknown", "Primary", "Secondary"};
    DRBD_ASSERT(static_cast<unsigned>(role) < 3);
    return kNames[static_cast<unsigned>(role)];
}

const char* name_of(ConnectionState connection) {
    static constexpr const char* kNames[kConnectionStates] = {
        "StandAlone", "Disconnecting", "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure",
        "ProtocolError", "TearDown", "WFConnection", "WFReportParams", "Connected", "StartingSyncS",
        "StartingSyncT", "WFBitMapS", "WFBitMapT", "WFSyncUUID", "SyncSource", "SyncTarget",
        "VerifyS", "VerifyT", "PausedSyncS", "PausedSyncT", "Ahead", "Behind"};
    DRBD_ASSERT(static_cast<unsigned>(connection) < kConnectionStates);
    return kNames[static_cast<unsigned>(connection)];
}

const char* name_of(DiskState disk) {
    static constexpr const char* kNames[kDiskStates] = {
        "Diskless", "Attaching", "Failed", "Negotiating", "Inconsistent",
        "Outdated", "DUnknown", "Consistent", "UpToDate"};
    DRBD_ASSERT(static_cast<unsigned>(disk) < kDiskStates);
    return kNames[static_cast<unsigned>(disk)];
}

}  // namespace drbd
