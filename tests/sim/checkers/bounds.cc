// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of bounds.h.
#include "checkers/bounds.h"

#include <cstring>

#include "node.h"

namespace drbd::sim {

namespace {

constexpr Time kLeftMax = 20 * kSecond;  // metadata may be written for them
constexpr uint64_t kPacketsMax = 4096;
constexpr uint64_t kMemoryMax = 64ull << 20;  // of a volume: the bitmap of a small image, a log, buffers
// A packet's payload may be in the way to the core or back from it.
constexpr uint64_t kInPassingMax = 8ull << 20;

std::string too_much(const char* what, uint64_t is, uint64_t most) {
    return std::string("bounds: ") + what + ": " + std::to_string(is) + ", at most " + std::to_string(most);
}

}  // namespace

std::string Bounds::check(const Node& node, const NodeStatus& status, Time now) {
    if (!node.is_running() || node.is_frozen() || !node.is_drained() || node.drained_requests_due() == 0)
        drained_since_ = 0;
    else if (drained_since_ == 0)
        drained_since_ = now;
    else if (node.settings_log().is_overdue(drained_since_, now, drain_limit))
        return "bounds: " + std::to_string(node.drained_requests_due()) + " requests of a drained volume are not over after " +
               std::to_string((now - drained_since_) / kSecond) + " s";
    if (!node.is_running()) {
        left_since_ = 0;
        return "";
    }
    const DrbdResourceStatus& r = status.resource;
    const DrbdConnectionStatus& c = status.connection;
    if (r.requests_in_use > r.requests_max)
        return too_much("requests of the guest", r.requests_in_use, r.requests_max);
    if (c.peer_requests > c.peer_requests_max + 2 * DRBD_MAX_VOLUMES)
        return too_much("requests of the peer", c.peer_requests, c.peer_requests_max + 2 * DRBD_MAX_VOLUMES);
    const bool is_apart = std::strcmp(c.state, "WFConnection") == 0 || std::strcmp(c.state, "Unconnected") == 0;
    if (!is_apart || c.peer_requests == 0 || node.peer_io_in_flight() != 0 || node.hung_since() != 0 || node.is_frozen() || node.is_drained())
        left_since_ = 0;
    else if (left_since_ == 0)
        left_since_ = now;
    else if (now > left_since_ + kLeftMax)
        return "bounds: " + std::to_string(c.peer_requests) + " requests of a peer that is lost, and nothing is done for them";
    // One alone may be larger than all that is allowed.
    const uint64_t bytes_max = std::max<uint64_t>(c.peer_request_bytes_max, 2ull << 20);
    bytes_allowed_ = std::max(bytes_max, std::min(bytes_allowed_, c.peer_request_bytes));
    if (c.peer_request_bytes > bytes_allowed_)
        return too_much("bytes of the peer's requests", c.peer_request_bytes, bytes_allowed_);
    const unsigned max_buffers = node.settings().max_buffers;
    if (max_buffers != 0 && bytes_max > std::max<uint64_t>(uint64_t{max_buffers} * 4096, 2ull << 20))
        return too_much("bytes allowed for the peer's requests", bytes_max, uint64_t{max_buffers} * 4096);
    if (node.lent_bytes() > bytes_allowed_ + kInPassingMax)
        return too_much("bytes of buffers", node.lent_bytes(), bytes_allowed_ + kInPassingMax);
    if (c.send_queue > kPacketsMax)
        return too_much("packets to send", c.send_queue, kPacketsMax);
    for (unsigned v = 0; v < r.nr_volumes; v++)
        if (const uint64_t memory = status.volumes[v].memory_bytes; memory > kMemoryMax)
            return too_much("bytes of memory", memory, kMemoryMax);
    return "";
}

}  // namespace drbd::sim
