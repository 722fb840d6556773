// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of reads.h.
#include "checkers/reads.h"

namespace drbd::sim {

std::string check_read(const History& history, const GuestRequest& r) {
    for (uint64_t i = 0; i < r.sectors; i++) {
        const uint64_t value = r.read[i];
        if (history.readable(r.sector + i, value, r.issued))
            continue;
        return "reads: sector " + std::to_string(r.sector + i) + " read as write " + std::to_string(value >> 12) + " (value " +
               std::to_string(value) + "), issued " + std::to_string(r.issued) + "; history" + history.describe(r.sector + i);
    }
    return "";
}

}  // namespace drbd::sim
