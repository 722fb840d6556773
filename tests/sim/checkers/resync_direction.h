// SPDX-License-Identifier: GPL-2.0-or-later
// Promise (protocol C): a node becomes the target of a resync only if every write that
// completed on it is in the source's history, or somebody has said that its data
// may go: create-md or invalidate here, invalidate-remote or a forced promotion
// there, connect with discard-my-data, an after-sb policy that names it
// (split_brain_policy.h).
// Verified, when a volume becomes SyncTarget, from the images: the source holds in
// each sector what the last guest may find there; and what a guest completed on
// the target and the next guest never saw (it began on the other host) is not
// overwritten by anything else (the source may have it, too, by a resync).
// A licence is for all volumes of a host; each loses it when a guest begins
// with its data.
// Not verified: writes that a host lost itself, and what else was on a disk that
// failed one of them after the connection was lost; whether a refusal was due.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkers/history.h"

namespace drbd::sim {

class ResyncDirection {
  public:
    explicit ResyncDirection(unsigned volumes)
        : orphans_{std::vector<Orphans>(volumes), std::vector<Orphans>(volumes)},
          licence_{std::vector<bool>(volumes), std::vector<bool>(volumes)},
          given_up_(volumes) {}

    // This host's data may go.
    void on_licence(int host) { licence_[host].assign(licence_[host].size(), true); }
    // A policy says so, of one volume.
    void on_licence(int host, unsigned volume) { licence_[host][volume] = true; }
    // This host's data is good because somebody says so; the other's may go.
    void on_forced(int host) {
        on_licence(1 - host);
        forced_[host] = true;
    }
    // By a licence the last guest's data went: its history is nobody's until a guest begins.
    void on_given_up(unsigned volume) { given_up_[volume] = true; }
    bool is_given_up(unsigned volume) const { return given_up_[volume]; }
    bool is_licensed(int host, unsigned volume) const { return licence_[host][volume]; }
    bool is_forced(int host) const { return forced_[host]; }
    // A guest begins on the data of `host`; the history is still that of the one before.
    // `promised`: what completed before was promised to be on both disks (protocol C).
    void on_guest_begins(int host, unsigned volume, const History& history, const Disk& own, const Disk& other, bool promised);
    // It becomes target where A or B let go what it has.
    void on_unjudged_target(int host, unsigned volume) { orphans_[host][volume].clear(); }
    std::string on_target(int host, unsigned volume, const History& history, const Disk& target, const Disk& source);

  private:
    using Orphans = std::map<uint64_t, uint64_t>;  // sector, value: completed here, unknown to the guest now

    std::vector<Orphans> orphans_[2];
    std::vector<bool> licence_[2];
    std::vector<bool> given_up_;
    bool forced_[2] = {false, false};
};

}  // namespace drbd::sim
