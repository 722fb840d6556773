// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of answerable.h.
#include "checkers/answerable.h"

#include <cstring>

namespace drbd::sim {

namespace {

constexpr Time kFreshProcess = 30 * kSecond;  // before that the connection may be that of the process before
constexpr const char* kReasons[] = {"did not answer a ping", "took nothing from meta"};

}  // namespace

std::string check_answerable(const Node* peer, const char* reason, Time now) {
    if (!peer->is_running() || now < peer->running_since() + kFreshProcess)
        return "";
    for (const char* silence : kReasons)
        if (std::strstr(reason, silence))
            return std::string("answerable: ") + "AB"[peer->host()] + " has run for " +
                   std::to_string((now - peer->running_since()) / kSecond) + " s, and is given up: " + reason;
    return "";
}

}  // namespace drbd::sim
