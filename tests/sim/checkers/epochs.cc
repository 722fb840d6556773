// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of epochs.h.
#include "checkers/epochs.h"

#include <algorithm>

namespace drbd::sim {

std::string check_epochs_before(const WireLedger& ledger, const Sent& begun, const Disk& disk, bool failures_are_heard) {
    for (const Sent& earlier : ledger.entries()) {
        if (earlier.resync || earlier.refused || earlier.passed_over || (earlier.failed && failures_are_heard) || earlier.confirmed || earlier.volume != begun.volume || earlier.epoch >= begun.epoch)
            continue;
        uint64_t missing = 0;
        if (!ledger.is_on(disk, View::Stable, earlier, missing))
            return "epochs: " + describe(begun) + " begins although the " + describe(earlier) + " is not stable at sector " +
                   std::to_string(missing);
    }
    return "";
}

void EpochOrder::begin_anew() {
    epoch_.clear();
    for (auto& [write, least] : least_)
        least = 0;
    next_ = 0;
}

void EpochOrder::on_completed(uint64_t write_id) {
    least_.erase(write_id);
    const auto sent = epoch_.find(write_id);
    if (sent == epoch_.end())
        return;
    next_ = std::max(next_, sent->second + 1);
    epoch_.erase(sent);
}

std::string EpochOrder::on_sent(uint64_t write_id, uint64_t epoch) {
    const auto issued = least_.find(write_id);
    if (issued == least_.end())
        return "";  // its guest is gone, or it is complete already
    uint64_t& last = epoch_[write_id];
    last = std::max(last, epoch);
    if (epoch >= issued->second)
        return "";
    return "epochs: write " + std::to_string(write_id) + " goes in epoch " + std::to_string(epoch) +
           ", but what had completed before it was issued is of epoch " + std::to_string(issued->second - 1);
}

}  // namespace drbd::sim
