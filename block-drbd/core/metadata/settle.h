// SPDX-License-Identifier: GPL-2.0-or-later
// Brings the metadata on the disk in line with memory, in an order in which a
// crash after any write leaves what an attach recovers (docs/METADATA.md):
//
//   1 superblock "before"    invalidate: all bits count as set from here on
//   2 image flush, bitmap    every difference is marked and stable
//   3 superblock "middle"    from here on the activity log does not count
//   4 ring                   initialised
//   5 superblock "after"     perhaps clean: a kernel may attach
//
// Each step but 2 may be left out.  Used to demote, to give a disk up, to
// invalidate, or with "after" alone to write a superblock.
#pragma once

#include <optional>

#include "core/metadata/activity.h"
#include "core/metadata/disk.h"

namespace drbd {

struct SettlePlan {
    std::optional<metafmt::Superblock> before;
    bool bitmap = false;
    std::optional<metafmt::Superblock> middle;
    bool ring = false;
    std::optional<metafmt::Superblock> after;
};

class SettleActivity final : public Activity {
  public:
    explicit SettleActivity(Disk& disk) : disk_(disk) {}

    void start(const SettlePlan& plan);
    bool next(DrbdJob& job) override;
    void failed(int error) override;

    uint64_t superblock_writes() const { return superblock_writes_; }

  private:
    enum class Phase { Before, Flush, Bitmap, Middle, Ring, After, Done };

    bool write(const std::optional<metafmt::Superblock>& superblock, DrbdJob& job);

    Disk& disk_;
    SettlePlan plan_;
    Phase phase_ = Phase::Done;
    const char* doing_ = "";
    uint64_t page_next_ = 0, ring_next_ = 0;
    uint64_t superblock_writes_ = 0;
};

}  // namespace drbd
