// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of protocol_errors.h.
#include "checkers/protocol_errors.h"

#include <cstring>

namespace drbd::sim {

std::string check_protocol_error(int host, const DrbdNotice& change, const LossFacts& facts) {
    if (facts.line_alters || facts.secret_on_one_side || std::strcmp(change.field, "connection") != 0 ||
        std::strcmp(change.new_value, "ProtocolError") != 0)
        return "";
    return std::string("protocol_errors: ") + "AB"[host] + " drops a peer that speaks correctly: " + change.text;
}

}  // namespace drbd::sim
