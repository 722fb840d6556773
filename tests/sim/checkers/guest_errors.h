// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: a guest is told of an error only if there was one: what happens to the peer, to
// the line between them or to the role of the other node costs it time at most.
// Verified: a read or a write of a guest that runs on a Primary whose own disk is UpToDate
// ends well, if neither disk nor role changed since it began and no command is at work,
// as one that gives the disk up.  Only asked where no disk
// has reported an error, was full or has hung.
// Not verified: flushes, which fail if they rest on what a lost peer had; whether an error
// was due where a disk is gone or not good; zeroes and discards that the peer of now does
// not know.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "drbd-core.h"
#include "event_queue.h"
#include "node.h"

namespace drbd::sim {

class GuestErrors {
  public:
    explicit GuestErrors(unsigned volumes) : changed_{std::vector<Time>(volumes), std::vector<Time>(volumes)} {}

    void on_state_change(int host, const DrbdNotice& change, Time now);
    // The request of the guest that runs on `node` is over.
    std::string check(const Node& node, const GuestRequest& request) const;

  private:
    std::vector<Time> changed_[2];  // disk or role, the last time
};

}  // namespace drbd::sim
