// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: when a connection begins, nothing that an earlier one asked of this
// node's image is under way any more; so it cannot land behind what the new one
// writes, nor after the nodes have compared what they have.
// Verified: when a node begins the handshake, by the I/O for the peer that the
// simulation has in hand.  Not verified: what waits within the core.
#pragma once

#include <string>

#include "node.h"

namespace drbd::sim {

// Empty, or what is wrong.
std::string check_fresh_connection(const Node& node, const DrbdNotice& change);

}  // namespace drbd::sim
