// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of protocol_errors.h.
#include "checkers/protocol_errors.h"

#include <cstring>

namespace drbd::sim {

namespace {

// Faults of the core that are not mended yet; who mends one takes its line out.  Each has a kept seed.
constexpr struct {
    const char* reason;
    bool of_disks;  // only where a disk of this node came or went in this connection
} kOpen[] = {
    // A disk was attached, and the two came to verdicts that do not fit (script 34, flush-error-b@160).
    {"no exchange of bitmaps is under way", true},
    {"requests of a resync are not acknowledged", false},  // acknowledgements stand still on meta, requests go on on data
};

}  // namespace

std::string check_protocol_error(int host, const DrbdNotice& change, const LossFacts& facts) {
    if (facts.line_alters || facts.secret_on_one_side || std::strcmp(change.field, "connection") != 0 ||
        std::strcmp(change.new_value, "ProtocolError") != 0)
        return "";
    for (const auto& open : kOpen)
        if (std::strstr(change.text, open.reason) && (!open.of_disks || facts.disk_came_or_went))
            return "";
    return std::string("protocol_errors: ") + "AB"[host] + " drops a peer that speaks correctly: " + change.text;
}

}  // namespace drbd::sim
