// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: nodes that speak correctly, over a line that alters nothing, never drop each
// other with a protocol error: what one sends the other takes, whatever was cut, killed
// or configured meanwhile.
// Verified: each connection that ends with ProtocolError.  Nothing that such a node
// is told can be wrong, so the reason, whatever it is, is a fault of one of the two.
// Excepted: a line that has altered something; secrets of which one node has none.
// Not verified: who of the two is wrong; what is refused as incompatible (configuration.h).
#pragma once

#include <string>

#include "drbd-core.h"

namespace drbd::sim {

struct LossFacts {
    bool line_alters;         // the world has altered something that was sent
    bool secret_on_one_side;
};

// `host` has changed its state.
std::string check_protocol_error(int host, const DrbdNotice& change, const LossFacts& facts);

}  // namespace drbd::sim
