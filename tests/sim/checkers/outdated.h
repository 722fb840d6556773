// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: the copy that stays behind when a connection ends in order is Outdated, on its disk, and stays that
// until it gets the data, or somebody says that it shall count: nobody promotes it by accident (spec 5.7).
// Verified: who disconnects by command, without force, while both disks are UpToDate and one node is Primary, asks
// first that the Secondary's disk be Outdated; a Secondary that agrees to that has it in its superblock before
// its answer is sent; who asked a Primary that the own copy be Outdated, and was agreed with, does not keep it as UpToDate; a disk that is attached without a connection does not come as UpToDate if its superblock said Outdated.
// Not verified: the superblock of a Secondary that disconnects by itself, and what becomes of it where the connection is lost before it is answered; questions that were sent
// after the states had changed; what is done by fencing, which is not built.
#pragma once

#include <string>
#include <vector>

#include "checkers/metadata_view.h"
#include "drbd-core.h"
#include "node.h"

namespace drbd::sim {

// P_STATE_CHG_REQ or P_CONN_ST_CHG_REQ: the state words of the wire.
struct AskedChange {
    uint32_t mask = 0, value = 0;
    bool ends() const;
    bool outdates_own() const;
    bool outdates_peers() const;
};

class OutdatedCopies {
  public:
    explicit OutdatedCopies(unsigned volumes);

    // A command that was taken, or one with force, that asks nobody; nothing has come of it yet.
    void on_disconnect(int host, const Node& own, const Node& peer, bool force);
    std::string on_asked(int host, const Node& own, const Node& peer, const AskedChange& asked);
    // `host` answers the last question of the other one.
    std::string on_answered(int host, const Node& own, const Node& peer, bool agreed);
    std::string on_state_change(const Node& node, const Node& peer, const DrbdNotice& change);

  private:
    std::string on_end(const Node& own, const Node& peer);
    static bool both_are_good(const Node& own, const Node& peer, unsigned volume);

    struct Ending {
        bool expected = false, is_asked = false, outdates_peers = false, outdates_own = false;
        std::vector<bool> volumes;  // both disks were UpToDate
    };
    Ending ending_[2];
    std::vector<bool> left_a_good_one_[2];  // as this node saw the peer's disk when it left it
    std::vector<bool> was_outdated_[2];  // on the disk, when its attach began
};

}  // namespace drbd::sim
