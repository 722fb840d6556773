// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: a node becomes Primary when the writes that it has received are over, on all of its volumes; only a
// Primary's guest reads and writes; a disk that is not good is not put under one that nobody is connected to.
// Verified: no write of the peer's guest is at an image when the role changes; a request that began and ended on one
// Secondary, which was nothing else between, fails;
// every end of an attach; no write of a resync is at the image when the disk of a Primary is called good.
// Not verified: writes that are received and have not begun at the image (completed_writes); more than one Primary (world.cc).
#pragma once

#include <string>

#include "drbd-core.h"
#include "node.h"

namespace drbd::sim {

class Roles {
  public:
    std::string on_state_change(const Node& node, const DrbdNotice& change, Time now);
    void on_process_died(int host, Time now) {
        changed_[host] = now;
        is_primary_[host] = false;
    }
    std::string on_request_end(const Node& node, const GuestRequest& request) const;

  private:
    std::string on_attached(const Node& node, const DrbdNotice& change) const;
    // As the node has said: its status may be ahead of that.
    Time changed_[2] = {0, 0};
    bool is_primary_[2] = {false, false};
};

}  // namespace drbd::sim
