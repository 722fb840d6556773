// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest was promised, sector by sector, at a point of the log.
//
// A change of the guest is durable when it was FUA and acknowledged, or
// acknowledged before a flush was submitted that was acknowledged.  After a
// power cut a sector must hold the bytes of a change that no durable change
// has certainly covered: one that was not acknowledged before the submission
// of a durable change of that sector.  A change that failed may have happened
// or not.
//
// In: events, one after another.  Out: allowed(sector, owner).
#pragma once

#include <string>
#include <vector>

#include "image_state.h"
#include "log_reader.h"

namespace powercut {

enum class TrimRule { ReadsAsZero, MayKeep };  // the driver's promise; a plain disk's

class GuestPromise {
  public:
    GuestPromise(const SequenceLog& log, const Content& base, TrimRule trim);

    void on_event(uint64_t number);
    bool allowed(uint32_t sector, uint32_t owner) const;
    std::string explain(uint32_t sector, uint32_t owner) const;
    // True once a change of the guest that covers the block was submitted.
    bool was_submitted(uint64_t block) const { return submitted_blocks_[block]; }

  private:
    void on_submit(uint32_t index);
    void on_acknowledged(uint32_t index, uint64_t number);
    void make_durable(const Request& request);

    const SequenceLog& log_;
    const Content& base_;
    TrimRule trim_;
    uint64_t now_ = 0;
    std::vector<uint32_t> by_id_;          // the request of a guest's number
    std::vector<uint32_t> volatile_;       // acknowledged, not yet durable
    std::vector<uint64_t> floor_;          // 1 + newest submission of a durable change; 0: none
    std::vector<uint64_t> zero_until_;     // newest acknowledgement of a zeroing change
    std::vector<uint32_t> zero_in_flight_;
    std::vector<bool> submitted_blocks_;
};

}  // namespace powercut
