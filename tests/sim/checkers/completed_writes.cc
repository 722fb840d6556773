// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of completed_writes.h.
#include "checkers/completed_writes.h"

#include "checkers/metadata_view.h"

namespace drbd::sim {

namespace {

// Would the disk that lacks the write be taken for as good as the one that has it?
std::string mistaken(const Disk& has, const Disk& lacks) {
    const MetadataView& knows = read_superblock(has, View::Stable);
    if (!knows.valid)
        return "the disk that has it has no valid superblock";
    for (View view : {View::Current, View::Stable}) {
        const MetadataView& other = read_superblock(lacks, view);
        if (other.valid && !other.is_inconsistent() && other.knows(knows.superblock.uuids.current)) {
            char text[100];
            std::snprintf(text, sizeof text, "the stable generation there, %016llX, is known to the other",
                          static_cast<unsigned long long>(knows.superblock.uuids.current));
            return text;
        }
    }
    return "";
}

}  // namespace

std::string check_completed(const History& history, const Written& write, const Disk* const disks[2], DrbdProtocol protocol,
                            View view) {
    bool asked[2] = {false, false};
    for (uint64_t s = write.sector; s < write.sector + write.sectors; s++) {
        bool has[2];
        // What was there when it was acknowledged may be lost again before a flush.
        const uint64_t values[2] = {disks[0]->value(view, s), disks[1]->value(view, s)};
        has[0] = history.at_least(write, s, values[0]);
        has[1] = values[0] == values[1] ? has[0] : history.at_least(write, s, values[1]);
        for (int i = 0; i < 2; i++)
            has[i] |= view == View::Current && history.last_loss(i) > write.issued;
        if (has[0] && has[1])
            continue;
        const std::string what = std::string(view == View::Stable ? "flushed" : "completed") + " write " +
                                 std::to_string(write.write_id) + ", sector " + std::to_string(s) + ": ";
        if (!has[0] && !has[1])
            return "completed_writes: " + what + "on no disk; A " + std::to_string(disks[0]->value(view, s)) + ", B " +
                   std::to_string(disks[1]->value(view, s)) + "; history" + history.describe(s);
        const int lacking = has[0] ? 1 : 0;
        if (protocol != DRBD_PROTOCOL_C || asked[lacking])
            continue;
        asked[lacking] = true;
        const std::string why = mistaken(*disks[1 - lacking], *disks[lacking]);
        if (!why.empty())
            return "completed_writes: " + what + "not on " + (lacking ? "B" : "A") + ", and " + why;
    }
    return "";
}

}  // namespace drbd::sim
