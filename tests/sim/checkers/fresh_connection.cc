// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of fresh_connection.h.
#include "checkers/fresh_connection.h"

#include <cstring>

namespace drbd::sim {

std::string check_fresh_connection(const Node& node, const DrbdNotice& change) {
    const bool begins = std::strcmp(change.field, "connection") == 0 && std::strcmp(change.new_value, "WFReportParams") == 0;
    if (!begins || node.peer_io_in_flight() == 0)
        return "";
    return std::string("fresh_connection: a connection begins on ") + "AB"[node.host()] + " while " +
           std::to_string(node.peer_io_in_flight()) + " I/Os for the peer of an earlier one are under way";
}

}  // namespace drbd::sim
