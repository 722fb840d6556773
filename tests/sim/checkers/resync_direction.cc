// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of resync_direction.h.
#include "checkers/resync_direction.h"

namespace drbd::sim {

void ResyncDirection::on_guest_begins(int host, unsigned volume, const History& history, const Disk& own, const Disk& other, bool promised) {
    orphans_[host][volume].clear();
    licence_[host][volume] = forced_[host] = given_up_[volume] = false;
    // A resync may have brought here what had completed there alone.
    std::erase_if(orphans_[1 - host][volume], [&](const auto& orphan) { return own.value(View::Current, orphan.first) == orphan.second; });
    if (!promised)
        return;
    for (const uint64_t block : history.touched())
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < own.image().sectors(); s++) {
            const uint64_t value = other.value(View::Current, s);
            if (!history.survived(s, own.value(View::Current, s)) && history.completed(s, value))
                orphans_[1 - host][volume][s] = value;
        }
}

std::string ResyncDirection::on_target(int host, unsigned volume, const History& history, const Disk& target, const Disk& source) {
    Orphans orphans;
    orphans.swap(orphans_[host][volume]);
    forced_[host] = forced_[1 - host];  // what it gets is what somebody has called good
    if (licence_[host][volume])
        return "";
    for (const auto& [sector, value] : orphans)
        if (target.value(View::Current, sector) == value && source.value(View::Current, sector) != value)
            return std::string("resync_direction: ") + "AB"[host] + " becomes target, and nobody said that its data may go; sector " +
                   std::to_string(sector) + " has write " + std::to_string(value >> 12) + ", which completed there alone";
    for (const uint64_t block : history.touched())
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < source.image().sectors(); s++) {
            const uint64_t value = source.value(View::Current, s);
            if (!history.survived(s, value) && history.completed(s, target.value(View::Current, s)))
                return std::string("resync_direction: ") + "AB"[host] + " becomes target of a source that lacks completed writes; sector " +
                       std::to_string(s) + " of the source has write " + std::to_string(value >> 12) + "; history" + history.describe(s);
        }
    return "";
}

}  // namespace drbd::sim
