// SPDX-License-Identifier: GPL-2.0-or-later
// Reads a whole activity-log ring and says which extents may differ from the
// peer's.  In: the ring's blocks in on-disk order, with the superblock they
// belong to.  Out: the state of the ring, the extent in each slot, and the
// number of the newest transaction.  A torn block is skipped: a transaction
// that was not complete on the disk never allowed a write.
// The object has 256 KiB of slots and allocates nothing; keep it off small
// stacks.  docs/METADATA.md, "Replay".
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/base/result.h"
#include "metafmt/activity_log_block.h"
#include "metafmt/superblock.h"

namespace drbd::metafmt {

enum class RingState {
    Initialized,      // every block is freshly initialised; nothing to do at all
    Clean,            // no transactions: blocks initialised, at most position 0 torn
    HasTransactions,  // slots say what is hot
    Inconsistent,     // no transactions, but more than position 0 is unreadable
    NoValidBlock,     // nothing readable
    Pre84,            // ring of an older version, 512-byte sectors; slots say what is hot
};

class ActivityLogReplay {
  public:
    // `ring` holds exactly the blocks of the superblock's geometry.
    void read(std::span<const uint8_t> ring, const Superblock& superblock);

    RingState state() const { return state_; }

    // An error if slots are needed (superblock.needs_replay()) but cannot be
    // known; the whole device must then be treated as out of sync.
    Result<void> check_usable(const Superblock& superblock) const;

    // Of the newest transaction; 0 if there is none.
    uint32_t newest_tr_number() const { return newest_tr_number_; }

    // The extent in each slot, or kExtentFree.  One extent may stand in two
    // slots of a damaged ring; setting its bits twice does no harm.
    std::span<const uint32_t> slots() const { return slots_; }

    template <typename Function>
    void for_each_hot_extent(Function&& function) const {
        for (uint32_t extent : slots_)
            if (extent != kExtentFree)
                function(extent);
    }

  private:
    void read_ring(std::span<const uint8_t> ring, ActivityLogGeometry al);
    void apply(const ActivityLogBlockView& block);
    void read_pre84(std::span<const uint8_t> ring, uint32_t al_nr_extents);
    void set_slot(uint32_t slot, uint32_t extent);

    RingState state_ = RingState::NoValidBlock;
    uint32_t newest_tr_number_ = 0;
    std::array<uint32_t, kActivityLogSlotsMax> slots_{};
};

}  // namespace drbd::metafmt
