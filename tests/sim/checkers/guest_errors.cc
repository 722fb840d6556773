// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of guest_errors.h.
#include "checkers/guest_errors.h"

#include <cerrno>
#include <cstring>

namespace drbd::sim {

void GuestErrors::on_state_change(int host, const DrbdNotice& change, Time now) {
    const bool of_role = std::strcmp(change.field, "role") == 0;
    for (unsigned v = 0; v < changed_[host].size(); v++)
        if (of_role || (std::strcmp(change.field, "disk") == 0 && static_cast<int>(v) == change.volume))
            changed_[host][v] = now;
}

std::string GuestErrors::check(const Node& node, const GuestRequest& request) const {
    // Those that the peer of now does not know (ENOTSUP).
    const bool may_be_unknown = request.kind == DRBD_REQUEST_ZEROES || request.kind == DRBD_REQUEST_DISCARD;
    if (may_be_unknown && request.result == -ENOTSUP)
        return "";
    if (request.result == 0 || request.kind == DRBD_REQUEST_FLUSH || changed_[node.host()][request.volume] >= request.began ||
        !node.is_primary() || node.has_pending_operation() || std::strcmp(node.status(request.volume).disk, "UpToDate") != 0)
        return "";
    return std::string("guest_errors: a ") + (request.kind == DRBD_REQUEST_READ ? "read" : "write") + " of sector " +
           std::to_string(request.sector) + " on " + "AB"[node.host()] + ", whose disk is good, ends with error " +
           std::to_string(-request.result);
}

}  // namespace drbd::sim
