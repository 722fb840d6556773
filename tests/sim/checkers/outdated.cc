// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of outdated.h.
#include "checkers/outdated.h"

#include <cstring>
#include <string_view>
#include <utility>

namespace drbd::sim {

namespace {

// Of the state word (spec 3.3): where a field is, how wide, and two of its values.
constexpr unsigned kConnectionAt = 4, kDiskAt = 9, kPeerDiskAt = 13;
constexpr uint32_t kConnectionMask = 31, kDiskMask = 15, kDisconnecting = 1, kOutdated = 5;

uint32_t field(uint32_t word, unsigned at, uint32_t mask) { return word >> at & mask; }

bool is(const Node& node, unsigned volume, const char* disk) { return std::strcmp(node.status(volume).disk, disk) == 0; }

bool is_a_loss(std::string_view connection) {
    return connection == "NetworkFailure" || connection == "BrokenPipe" || connection == "Timeout" || connection == "ProtocolError";
}

}  // namespace

bool AskedChange::ends() const {
    return field(mask, kConnectionAt, kConnectionMask) == kConnectionMask &&
           field(value, kConnectionAt, kConnectionMask) == kDisconnecting;
}

bool AskedChange::outdates_own() const {
    return field(mask, kDiskAt, kDiskMask) == kDiskMask && field(value, kDiskAt, kDiskMask) == kOutdated;
}

bool AskedChange::outdates_peers() const {
    return field(mask, kPeerDiskAt, kDiskMask) == kDiskMask && field(value, kPeerDiskAt, kDiskMask) == kOutdated;
}

OutdatedCopies::OutdatedCopies(unsigned volumes)
    : left_a_good_one_{std::vector<bool>(volumes), std::vector<bool>(volumes)},
      was_outdated_{std::vector<bool>(volumes), std::vector<bool>(volumes)} {
    ending_[0].volumes.resize(volumes);
    ending_[1].volumes.resize(volumes);
}

// As its core sees it, and as it is.
bool OutdatedCopies::both_are_good(const Node& own, const Node& peer, unsigned volume) {
    const DrbdVolumeStatus status = own.status(volume);
    return is(own, volume, "UpToDate") && is(peer, volume, "UpToDate") && std::strcmp(status.peer_disk, "UpToDate") == 0 &&
           std::strcmp(status.peer_role, peer.is_primary() ? "Primary" : "Secondary") == 0;
}

void OutdatedCopies::on_disconnect(int host, const Node& own, const Node& peer, bool force) {
    Ending& ending = ending_[host];
    ending.expected = ending.is_asked = ending.outdates_peers = ending.outdates_own = false;
    if (force || !peer.is_running() || own.is_primary() == peer.is_primary())
        return;
    for (unsigned v = 0; v < ending.volumes.size(); v++) {
        ending.volumes[v] = both_are_good(own, peer, v);
        ending.expected |= ending.volumes[v];
    }
}

std::string OutdatedCopies::on_asked(int host, const Node& own, const Node& peer, const AskedChange& asked) {
    Ending& ending = ending_[host];
    ending.outdates_peers = asked.ends() && asked.outdates_peers();
    ending.outdates_own = asked.ends() && asked.outdates_own();
    if (!asked.ends() || !ending.expected || ending.is_asked)
        return "";
    ending.is_asked = true;  // a peer that refuses is asked again, for less
    if (!peer.is_running() || own.is_primary() == peer.is_primary())
        return "";
    for (unsigned v = 0; v < ending.volumes.size(); v++)
        if (ending.volumes[v] && both_are_good(own, peer, v) && !(own.is_primary() ? asked.outdates_peers() : asked.outdates_own()))
            return std::string("outdated: ") + "AB"[host] + " disconnects, and does not ask that the Secondary's copy of volume " +
                   std::to_string(v) + " be Outdated";
    return "";
}

std::string OutdatedCopies::on_answered(int host, const Node& own, const Node& peer, bool agreed) {
    Ending& ending = ending_[1 - host];
    ending.outdates_own &= agreed;
    if (!agreed || !ending.expected || !ending.outdates_peers || own.is_primary() || !peer.is_running())
        return "";
    for (unsigned v = 0; v < ending.volumes.size(); v++) {
        // A disk that went meanwhile is no copy that stays behind.
        const bool is_there = is(own, v, "UpToDate") || is(own, v, "Outdated");
        if (!ending.volumes[v] || !is_there || !is(peer, v, "UpToDate"))
            continue;
        const MetadataView& view = read_superblock(own.disk(v), View::Stable);
        if (view.valid && view.disk_state() > DiskState::Outdated)
            return std::string("outdated: ") + "AB"[host] + " agrees that its copy of volume " + std::to_string(v) +
                   " is Outdated, and its superblock says UpToDate";
    }
    return "";
}

std::string OutdatedCopies::on_end(const Node& own, const Node& peer) {
    if (!std::exchange(ending_[own.host()].outdates_own, false) || !peer.is_running() || !peer.is_primary() || own.is_primary())
        return "";
    for (unsigned v = 0; v < ending_[own.host()].volumes.size(); v++)
        if (left_a_good_one_[own.host()][v] && is(own, v, "UpToDate") && is(peer, v, "UpToDate") &&
            std::strcmp(peer.status(v).peer_disk, "Outdated") == 0)
            return std::string("outdated: ") + "AB"[own.host()] + " has left a Primary that takes its copy of volume " + std::to_string(v) +
                   " for Outdated, as it had asked, and is UpToDate";
    return "";
}

std::string OutdatedCopies::on_state_change(const Node& node, const Node& peer, const DrbdNotice& change) {
    if (std::strcmp(change.field, "connection") == 0 && std::strcmp(change.new_value, "StandAlone") == 0)
        return on_end(node, peer);
    // Lost before the answer came: this node does not know that it was agreed with.  Nor what its last process asked for.
    if (std::strcmp(change.field, "connection") == 0 && (is_a_loss(change.new_value) || std::strcmp(change.old_value, "StandAlone") == 0))
        ending_[node.host()].outdates_own = false;
    const unsigned volume = static_cast<unsigned>(change.volume);
    if (std::strcmp(change.field, "peer-disk") == 0 && std::strcmp(change.new_value, "DUnknown") == 0)
        left_a_good_one_[node.host()][volume] = std::strcmp(change.old_value, "UpToDate") == 0;
    if (std::strcmp(change.field, "disk") != 0)
        return "";
    std::vector<bool>& was_outdated = was_outdated_[node.host()];
    if (std::strcmp(change.new_value, "Attaching") == 0) {
        const MetadataView& view = read_superblock(node.disk(volume), View::Current);
        was_outdated[volume] = view.valid && view.disk_state() == DiskState::Outdated;
        return "";
    }
    const bool attached = std::strcmp(change.old_value, "Attaching") == 0;
    if (attached && was_outdated[volume] && std::strcmp(change.new_value, "UpToDate") == 0)
        return std::string("outdated: the disk of volume ") + std::to_string(volume) + " of " + "AB"[node.host()] +
               " was Outdated, and is attached as UpToDate";
    return "";
}

}  // namespace drbd::sim
