// SPDX-License-Identifier: GPL-2.0-or-later
// Which blocks of 4 KiB of a disk may have changed, so that a checker looks at
// those alone.  In: sectors, as their content is set.  Out: for metadata a count
// by block; for an image a list, of which each reader knows how far it has read.
#pragma once

#include <cstdint>
#include <vector>

namespace drbd::sim {

class ChangeCounts {
  public:
    explicit ChangeCounts(uint64_t sectors) : counts_(sectors / 8 + 1) {}

    void add(uint64_t sector) { counts_[sector / 8]++; }
    // Grows whenever one of these sectors may have changed.
    uint64_t of(uint64_t sector, uint64_t sectors) const {
        uint64_t sum = 0;
        for (uint64_t block = sector / 8; block * 8 < sector + sectors; block++)
            sum += counts_[block];
        return sum;
    }

  private:
    std::vector<uint64_t> counts_;
};

class ChangeList {
  public:
    explicit ChangeList(uint64_t) {}

    void add(uint64_t sector) {
        const uint32_t block = static_cast<uint32_t>(sector / 8);
        if (block == last_)
            return;
        last_ = block;
        if (blocks_.size() == kMax) {
            forgotten_ += kMax;
            blocks_.clear();
        }
        blocks_.push_back(block);
    }
    // Calls f(block) for all since `read`, which is where a reader stands; false if
    // the list does not go back so far, and anything may have changed.
    template <typename F>
    bool read(uint64_t& read, F&& f) const {
        const bool complete = read >= forgotten_;
        for (uint64_t i = complete ? read - forgotten_ : blocks_.size(); i < blocks_.size(); i++)
            f(blocks_[i]);
        read = forgotten_ + blocks_.size();
        last_ = kNone;  // the next change of the same block is news to this reader
        return complete;
    }

  private:
    static constexpr uint64_t kMax = 8192;
    static constexpr uint32_t kNone = ~0u;

    std::vector<uint32_t> blocks_;
    uint64_t forgotten_ = 0;  // blocks that were in the list before
    mutable uint32_t last_ = kNone;
};

}  // namespace drbd::sim
