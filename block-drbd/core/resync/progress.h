// SPDX-License-Identifier: GPL-2.0-or-later
// How far a resync is and how fast it goes.  In: the number of blocks that are
// left, now and then, with the time.  Out: what query-drbd shows.
// The rate is that of the last seconds, from marks that are set about a second
// apart; a resync that stands still needs no mark for its rate to fall.
#pragma once

#include <cstdint>

namespace drbd {

struct ResyncProgress {
    bool running = false;
    bool source = false;
    uint64_t total_blocks = 0, left_blocks = 0, failed_blocks = 0;
    uint64_t started_ms = 0;
    uint64_t rate_bytes = 0;  // per second, over the last few
    uint64_t eta_ms = UINT64_MAX;
};

class ProgressMeter {
  public:
    void begin(uint64_t total_blocks, uint64_t now_ms);
    // Cheap; after any event.
    void update(uint64_t left_blocks, uint64_t now_ms) {
        if (now_ms >= next_mark_ms_)
            set_mark(left_blocks, now_ms);
    }
    // Fills total, left, start, rate and the estimate.
    uint64_t total_blocks() const { return total_blocks_; }
    void fill(ResyncProgress& progress, uint64_t left_blocks, uint64_t now_ms) const;

  private:
    struct Mark {
        uint64_t at_ms = 0;
        uint64_t left_blocks = 0;
    };
    static constexpr unsigned kMarks = 6;  // the rate is over the last five of their intervals
    static constexpr uint64_t kMarkMs = 1000;

    void set_mark(uint64_t left_blocks, uint64_t now_ms);

    uint64_t total_blocks_ = 0, started_ms_ = 0;
    Mark marks_[kMarks];
    unsigned newest_ = 0, nr_marks_ = 0;
    uint64_t next_mark_ms_ = UINT64_MAX;
};

}  // namespace drbd
