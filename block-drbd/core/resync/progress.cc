// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/progress.h"

#include "core/base/units.h"

namespace drbd {

void ProgressMeter::begin(uint64_t total_blocks, uint64_t now_ms) {
    total_blocks_ = total_blocks;
    started_ms_ = now_ms;
    nr_marks_ = 0;
    set_mark(total_blocks, now_ms);
}

void ProgressMeter::set_mark(uint64_t left_blocks, uint64_t now_ms) {
    newest_ = nr_marks_ == 0 ? 0 : (newest_ + 1) % kMarks;
    marks_[newest_] = {now_ms, left_blocks};
    nr_marks_ += nr_marks_ < kMarks;
    next_mark_ms_ = now_ms + kMarkMs;
}

void ProgressMeter::fill(ResyncProgress& progress, uint64_t left_blocks, uint64_t now_ms) const {
    progress.total_blocks = total_blocks_;
    progress.left_blocks = left_blocks;
    progress.started_ms = started_ms_;
    if (nr_marks_ == 0)
        return;
    const Mark& oldest = marks_[nr_marks_ < kMarks ? 0 : (newest_ + 1) % kMarks];
    // Blocks that the guest made differ meanwhile may outnumber those synced.
    if (now_ms <= oldest.at_ms || left_blocks >= oldest.left_blocks)
        return;
    const uint64_t done = (oldest.left_blocks - left_blocks) * kBlockSize;
    progress.rate_bytes = static_cast<uint64_t>(static_cast<double>(done) * 1000 /
                                                static_cast<double>(now_ms - oldest.at_ms));
    if (progress.rate_bytes != 0)
        progress.eta_ms = static_cast<uint64_t>(static_cast<double>(left_blocks * kBlockSize) * 1000 /
                                                static_cast<double>(progress.rate_bytes));
}

}  // namespace drbd
