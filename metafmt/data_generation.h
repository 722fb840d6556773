// SPDX-License-Identifier: GPL-2.0-or-later
// Identifiers of data generations as the superblock keeps them: the current
// one, the one the bitmap counts from (0: none), and two older ones.  Bit 0 of
// `current` says that the node was Primary when it was written; it is no part
// of the identity.  A freshly created node has kJustCreated.
#pragma once

#include <cstdint>

namespace drbd::metafmt {

constexpr uint64_t kUuidJustCreated = 4;
constexpr unsigned kHistoryUuids = 2;

struct Uuids {
    uint64_t current = 0;
    uint64_t bitmap = 0;
    uint64_t history[kHistoryUuids] = {0, 0};  // younger, older

    bool operator==(const Uuids&) const = default;
};

}  // namespace drbd::metafmt
