// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: what a node holds is bounded by its configuration, and a drain ends.
//   requests of the guest, requests and bytes of the peer, buffers, packets to
//     send and memory stay within what is configured or was there at the attach;
//     where less is configured than is there, it does not grow
//   on a drained node the requests in flight end within drain-timeout (by default
//     ko-count x timeout) and the time that disks and metadata need
//   requests of a peer that is lost end when the disk has done what it has in hand (they
//     may wait for metadata that hangs, or for a write of the guest)
// Verified: by status, and by what the node of the simulation lent to the core.
// That every request ends at all is the world's own check (liveness).  Both pass over a
// request while it must wait for an I/O of the own disk that hangs (Node::must_wait()):
//   one whose own I/O hangs; any of a volume whose metadata hangs; a flush behind one
//   a change of a range in which a write of the guest or anything of the peer hangs, or a
//     request that waits itself; while a resync runs within the 1 MiB around that, as its
//     locks are so long and wait in the same line (decision 0017)
//   one for which there is no room, as the others have it all
// From the end of the I/O on its time counts anew.  Nobody else is excused.  Not
// verified: the bounds of single queues inside the core.
#pragma once

#include <string>
#include <vector>

#include "event_queue.h"

namespace drbd::sim {

class Node;
struct NodeStatus;

class Bounds {
  public:
    std::string check(const Node& node, const NodeStatus& status, Time now);

  private:
    uint64_t bytes_allowed_ = 0;         // for the peer's requests
    Time drained_since_ = 0;             // running, not frozen, with requests; 0: not
    Time left_since_ = 0;                // not connected, and nothing in hand for requests of the peer; 0: not
};

}  // namespace drbd::sim
