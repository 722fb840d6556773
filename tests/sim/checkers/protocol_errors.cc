// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of protocol_errors.h.
#include "checkers/protocol_errors.h"

#include <cstring>

namespace drbd::sim {

namespace {

// A fault of the core that is not mended yet (kept seed 1035303157): a disk that was detached and attached again while the peer's stream
// stood still takes the bitmap of the exchange before for that of its own, and waits for the identifier.  Who mends it takes this out.
constexpr char kOpen[] = "no exchange of bitmaps is under way";

}  // namespace

std::string check_protocol_error(int host, const DrbdNotice& change, const LossFacts& facts) {
    if (facts.line_alters || facts.secret_on_one_side || std::strcmp(change.field, "connection") != 0 ||
        std::strcmp(change.new_value, "ProtocolError") != 0)
        return "";
    if (facts.disk_came && std::strcmp(change.old_value, "WFSyncUUID") == 0 && std::strstr(change.text, kOpen))
        return "";
    return std::string("protocol_errors: ") + "AB"[host] + " drops a peer that speaks correctly: " + change.text;
}

}  // namespace drbd::sim
