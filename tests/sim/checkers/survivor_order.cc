// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of survivor_order.h.
#include "checkers/survivor_order.h"

#include "checkers/metadata_view.h"

namespace drbd::sim {

std::string check_survivor_order(const History& history, const Disk& disk, int host, View view) {
    const MetadataView metadata = read_superblock(disk, view);
    if (!metadata.valid || metadata.is_inconsistent())
        return "";
    uint64_t newest = 0, newest_at = 0, oldest = UINT64_MAX, oldest_at = 0;
    for (const uint64_t block : history.touched())
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < disk.image().sectors(); s++) {
            const History::Place place = history.place_of(s, disk.value(view, s));
            if (place.issued > newest) {
                newest = place.issued;
                newest_at = s;
            }
            // What replaced it may have been here, and be lost with a cache: the flush
            // after it may have been the other host's alone.  Or the other host lost it,
            // and was the source of a resync since.  It may have died before the guest heard of the write's end.
            const uint64_t replaced = place.successor_issued != 0 ? place.successor_issued : place.superseded;
            const bool lost = history.has_lost_since(host, replaced) || history.has_lost_since(1 - host, replaced);
            const uint64_t since = view == View::Stable ? place.superseded_stable : lost ? 0 : place.superseded;
            if (since != 0 && since < oldest) {
                oldest = since;
                oldest_at = s;
            }
        }
    if (oldest >= newest)
        return "";
    return std::string("survivor_order: the ") + (view == View::Stable ? "stable" : "current") + " content of " + "AB"[host] +
           " calls itself good; sector " + std::to_string(newest_at) + " has write " + std::to_string(disk.value(view, newest_at) >> 12) +
           ", issued " + std::to_string(newest) + ", but sector " + std::to_string(oldest_at) + " has write " +
           std::to_string(disk.value(view, oldest_at) >> 12) + ", which was overwritten before; history" +
           history.describe(oldest_at);
}

}  // namespace drbd::sim
