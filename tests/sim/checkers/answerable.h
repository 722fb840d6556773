// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: a node answers its peer whatever its own disks, guests and timers do: a
// ping comes back, and meta is read.
// Verified: the reason for which a node gives up a peer whose process has run all
// the time.  Only asked where the network is quiet (Options::has_quiet_network): what
// else could have kept an answer away is not played there.
// Not verified: that it is quick; what a peer gives up because its requests are not
// done (ko-count), which is right when the disk hangs.
#pragma once

#include <string>

#include "node.h"

namespace drbd::sim {

// `peer` was given up for this reason.
std::string check_answerable(const Node* peer, const char* reason, Time now);

}  // namespace drbd::sim
