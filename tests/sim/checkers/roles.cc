// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of roles.h.
#include "checkers/roles.h"

#include <cstring>

namespace drbd::sim {

std::string Roles::on_state_change(const Node& node, const DrbdNotice& change, Time now) {
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.old_value, "Attaching") == 0)
        return on_attached(node, change);
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.new_value, "UpToDate") == 0 && is_primary_[node.host()])
        if (const unsigned writes = node.resync_writes(static_cast<unsigned>(change.volume)))
            return std::string("roles: the disk of volume ") + std::to_string(change.volume) + " of " + "AB"[node.host()] +
                   ", Primary, is called UpToDate, and " + std::to_string(writes) + " writes of a resync are at the image";
    if (std::strcmp(change.field, "role") != 0)
        return "";
    changed_[node.host()] = now;
    is_primary_[node.host()] = std::strcmp(change.new_value, "Primary") == 0;
    if (!is_primary_[node.host()])
        return "";
    for (unsigned v = 0; v < node.volumes(); v++)
        if (const unsigned writes = node.received_writes(v))
            return std::string("roles: ") + "AB"[node.host()] + " becomes Primary, and " + std::to_string(writes) +
                   " received writes of volume " + std::to_string(v) + " are under way";
    return "";
}

std::string Roles::on_attached(const Node& node, const DrbdNotice& change) const {
    const std::string disk = change.new_value, connection = node.status(static_cast<unsigned>(change.volume)).connection;
    const bool is_alone = connection == "StandAlone" || connection == "Unconnected" || connection == "WFConnection";
    if (!is_primary_[node.host()] || !is_alone || (disk != "Inconsistent" && disk != "Outdated" && disk != "Consistent"))
        return "";
    return std::string("roles: a disk that is ") + disk + " is attached under " + "AB"[node.host()] + ", a Primary without a peer (volume " +
           std::to_string(change.volume) + ")";
}

std::string Roles::on_request_end(const Node& node, const GuestRequest& request) const {
    if (is_primary_[node.host()] || changed_[node.host()] >= request.began || request.result != 0 || request.kind == DRBD_REQUEST_FLUSH)
        return "";
    return std::string("roles: a ") + (request.kind == DRBD_REQUEST_READ ? "read" : "write") + " of sector " +
           std::to_string(request.sector) + " ends well on " + "AB"[node.host()] + ", which is Secondary";
}

}  // namespace drbd::sim
