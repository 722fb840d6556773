// SPDX-License-Identifier: GPL-2.0-or-later
// The disks' volatile caches at a point of the log, and the states that a
// power cut may leave.
//
// A change is stable when it was FUA and completed, or completed before a
// flush of the same disk was submitted that completed as well.  Any other
// change that was submitted may survive wholly, not at all, or sector by
// sector.  Survivors are applied in submit order or in completion order: both
// respect "completed before submitted", which is all that a disk promises.
//
// In: events, one after another.  Out: build() of one legal state by mode and
// seed.  Stable changes that nothing unstable lies under are folded into the
// stable content, so the work per state is the unflushed changes alone.
#pragma once

#include <vector>

#include "image_state.h"
#include "log_reader.h"

namespace powercut {

enum class Mode : uint8_t { None, All, Random, OnlyLast, AllButOne, Torn, TornLast };
inline constexpr const char* kModeNames[] = {"none",      "all",  "random",   "only-last",
                                             "all-but-one", "torn", "torn-last"};
inline constexpr unsigned kModeCount = 7;

class DiskCache {
  public:
    DiskCache(const SequenceLog& log, const Geometry& geometry, Content base);

    void on_event(uint64_t number);  // the next event of the log
    // The state after a power cut now.  The reference is valid until the next call.
    const Content& build(Mode mode, uint64_t seed);
    size_t unstable() const;

  private:
    struct Change {
        uint32_t request;
        bool stable;
    };

    void complete_flush(const Request& flush);
    void fold();
    bool may_fold(size_t index) const;
    void apply(Content& target, const Request& request, uint64_t sector_seed, bool torn);
    void apply_sector(Content& target, const Request& request, uint64_t byte, uint64_t draw);
    void restore();

    const SequenceLog& log_;
    Geometry geometry_;
    Content stable_;
    Content state_;
    std::vector<uint32_t> touched_;      // sectors of state_ that may differ from stable_
    std::vector<Change> pending_;        // in submit order
    uint64_t now_ = 0;
};

uint64_t draw_of(uint64_t seed, uint64_t index);

}  // namespace powercut
