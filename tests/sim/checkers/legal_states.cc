// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of legal_states.h.
#include "checkers/legal_states.h"

#include <cstring>
#include <span>
#include <string_view>

namespace drbd::sim {

namespace {

struct Step {
    std::string_view from, to;  // `to`: names with a blank around each
};

// Lost stands for the five states of a connection that has just been lost.
constexpr std::string_view kLost = " Timeout BrokenPipe NetworkFailure ProtocolError TearDown ";

constexpr Step kConnectionSteps[] = {
    {"StandAlone", " Unconnected "},
    {"Disconnecting", " StandAlone "},
    {"Unconnected", " WFConnection Disconnecting "},
    {"Lost", " Unconnected Disconnecting "},
    {"WFConnection", " Lost WFReportParams Disconnecting "},
    {"WFReportParams", " Lost Disconnecting Connected WFBitMapS WFBitMapT "},
    {"Connected", " Lost Disconnecting StartingSyncS StartingSyncT WFBitMapS WFBitMapT "},
    {"StartingSyncS", " Lost Disconnecting Connected SyncSource PausedSyncS "},
    {"StartingSyncT", " Lost Disconnecting Connected WFSyncUUID "},
    {"WFBitMapS", " Lost Disconnecting Connected SyncSource PausedSyncS "},
    {"WFBitMapT", " Lost Disconnecting Connected WFSyncUUID "},
    {"WFSyncUUID", " Lost Disconnecting Connected SyncTarget PausedSyncT "},
    {"SyncSource", " Lost Disconnecting Connected PausedSyncS "},
    {"SyncTarget", " Lost Disconnecting Connected PausedSyncT "},
    {"PausedSyncS", " Lost Disconnecting Connected SyncSource "},
    {"PausedSyncT", " Lost Disconnecting Connected SyncTarget "},
};

constexpr Step kDiskSteps[] = {
    {"Diskless", " Attaching "},
    {"Attaching", " Diskless Failed Negotiating Inconsistent Outdated UpToDate "},
    {"Failed", " Diskless "},
    {"Negotiating", " Failed Diskless Inconsistent Outdated UpToDate "},
    {"Inconsistent", " Failed Diskless UpToDate Outdated "},  // the next resync begins when the end of one is recorded
    {"Outdated", " Failed Diskless Inconsistent UpToDate "},
    {"UpToDate", " Failed Diskless Inconsistent Outdated "},
};

bool names(std::string_view list, std::string_view name) {
    for (size_t at = list.find(name); at != std::string_view::npos; at = list.find(name, at + 1))
        if (at > 0 && at + name.size() < list.size() && list[at - 1] == ' ' && list[at + name.size()] == ' ')
            return true;
    return false;
}

std::string_view group_of(std::string_view connection) { return names(kLost, connection) ? "Lost" : connection; }

bool is_known(std::span<const Step> steps, std::string_view from, std::string_view to) {
    for (const Step& step : steps)
        if (step.from == from)
            return names(step.to, to);
    return false;
}

struct Rule {
    const char* text;
    bool (*broken)(const DrbdVolumeStatus& s);
};

bool in(const char* name, std::string_view list) { return names(list, name); }

constexpr std::string_view kNoData = " Diskless Attaching Failed ";
constexpr std::string_view kApart = " StandAlone Disconnecting Unconnected Timeout BrokenPipe NetworkFailure ProtocolError TearDown "
                                    "WFConnection ";
constexpr std::string_view kResync = " StartingSyncS StartingSyncT WFBitMapS WFBitMapT WFSyncUUID SyncSource SyncTarget PausedSyncS "
                                     "PausedSyncT ";

constexpr Rule kRules[] = {
    {"a peer without a connection has a role",
     [](const DrbdVolumeStatus& s) { return in(s.connection, kApart) && std::strcmp(s.peer_role, "Unknown") != 0; }},
    {"a peer without a connection has a disk",
     [](const DrbdVolumeStatus& s) { return in(s.connection, kApart) && !in(s.peer_disk, " DUnknown Outdated Inconsistent "); }},
    {"a connected peer has no role",
     [](const DrbdVolumeStatus& s) {
         return (in(s.connection, kResync) || in(s.connection, " Connected ")) && std::strcmp(s.peer_role, "Unknown") == 0;
     }},
    {"the disk of a connected peer is not known",
     [](const DrbdVolumeStatus& s) {
         return (in(s.connection, kResync) || in(s.connection, " Connected ")) && std::strcmp(s.peer_disk, "DUnknown") == 0;
     }},
    {"a resync without a disk", [](const DrbdVolumeStatus& s) { return in(s.connection, kResync) && in(s.disk, kNoData); }},
    {"a resync with a peer that has no disk",
     [](const DrbdVolumeStatus& s) { return in(s.connection, kResync) && in(s.peer_disk, kNoData); }},
    {"a source that is not UpToDate",
     [](const DrbdVolumeStatus& s) { return in(s.connection, " SyncSource PausedSyncS ") && std::strcmp(s.disk, "UpToDate") != 0; }},
    {"a target that is not Inconsistent",
     [](const DrbdVolumeStatus& s) {
         return in(s.connection, " SyncTarget PausedSyncT ") && std::strcmp(s.disk, "Inconsistent") != 0;
     }},
    {"a source whose target is better than Inconsistent",
     [](const DrbdVolumeStatus& s) {
         return in(s.connection, " SyncSource PausedSyncS ") && !in(s.peer_disk, " Inconsistent Outdated ");
     }},
    {"a target whose source is not UpToDate",
     [](const DrbdVolumeStatus& s) {
         return in(s.connection, " SyncTarget PausedSyncT ") && !in(s.peer_disk, " UpToDate Consistent ");
     }},
    {"a connected node that is Outdated, and the peer has a disk",
     [](const DrbdVolumeStatus& s) {
         return in(s.connection, " Connected WFBitMapS ") && std::strcmp(s.disk, "Outdated") == 0 && !in(s.peer_disk, kNoData);
     }},
};

constexpr std::string_view kSourceStates = " StartingSyncS WFBitMapS SyncSource PausedSyncS ";
constexpr std::string_view kTargetStates = " StartingSyncT WFBitMapT WFSyncUUID SyncTarget PausedSyncT ";
constexpr std::string_view kConnected = " Connected ";

}  // namespace

std::string check_step(const DrbdNotice& change) {
    const bool connection = std::strcmp(change.field, "connection") == 0;
    if (!connection && std::strcmp(change.field, "disk") != 0)
        return "";
    const bool known = connection ? is_known(kConnectionSteps, group_of(change.old_value), group_of(change.new_value))
                                  : is_known(kDiskSteps, change.old_value, change.new_value);
    if (known)
        return "";
    return std::string("legal_states: ") + change.field + " went from " + change.old_value + " to " + change.new_value + ": " + change.text;
}

std::string check_tuple(const DrbdVolumeStatus& status) {
    for (const Rule& rule : kRules)
        if (rule.broken(status))
            return std::string("legal_states: ") + rule.text + ": " + status.connection + " " + status.disk + "/" + status.peer_disk +
                   ", peer " + status.peer_role;
    return "";
}

std::string EqualSigns::check(bool live, const DrbdVolumeStatus& a, const DrbdVolumeStatus& b, Time now) {
    const char* states[2] = {live ? a.connection : "", live ? b.connection : ""};
    const auto are = [&](int one, std::string_view list, std::string_view others) { return in(states[one], list) && in(states[1 - one], others); };
    const bool equal = are(0, kSourceStates, kSourceStates) || are(0, kTargetStates, kTargetStates);
    const bool alone = are(0, kResync, kConnected) || are(1, kResync, kConnected);
    if (!live || !(equal || alone))
        since_ = 0;
    else if (since_ == 0)
        since_ = now;
    else if (settings_[0]->is_overdue(since_, now, give_up_limit) && settings_[1]->is_overdue(since_, now, give_up_limit))
        return std::string("legal_states: A is ") + states[0] + " and B is " + states[1] + ", and they stay so";
    return "";
}

}  // namespace drbd::sim
