// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of resync_result.h.
#include "checkers/resync_result.h"

#include "checkers/metadata_view.h"

namespace drbd::sim {

std::string check_resync_result(const History& history, const Disk& target, int host, const Disk* source) {
    for (const uint64_t block : history.touched())
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < target.image().sectors(); s++) {
            const uint64_t value = target.value(View::Current, s);
            if (!history.survived(s, value) && !(source && source->value(View::Current, s) == value))
                return std::string("resync_result: ") + "AB"[host] + " ends a resync and is UpToDate, but sector " + std::to_string(s) +
                       " has write " + std::to_string(value >> 12) + "; history" + history.describe(s);
        }
    return "";
}

bool has_gone_on(const Disk& target, const Disk& source) {
    const MetadataView own = read_superblock(target, View::Current), other = read_superblock(source, View::Stable);
    return own.valid && other.valid && !own.knows(other.superblock.uuids.current);
}

}  // namespace drbd::sim
