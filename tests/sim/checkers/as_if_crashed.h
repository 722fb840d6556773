// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: were both nodes to die now, by loss of power or of their process,
// what their disks hold would lead to a resync that covers every block that
// differs, or to a refusal (split brain, unrelated data); never to "no resync"
// with different data.  So every block that differs is in a bitmap or in the
// activity log of one of the two disks.
// Verified: from the stable or current bytes of both disks; the verdict is that
// of core/generation, both ends asked, and they must be mirrored.
// Not verified: that the direction is the right one (completed_writes and
// reads do); power cuts that keep a part of a cache (the simulation has them).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkers/history.h"
#include "checkers/metadata_view.h"

namespace drbd::sim {

class AsIfCrashed {  // of one volume
  public:
    std::string check(const History& history, const Disk* const disks[2], const View views[2]);
    // In what was looked at last, guests have written on both sides since the disks were one.
    bool is_split(const View views[2]) const { return pairs_[views[0] == View::Stable][views[1] == View::Stable].is_split; }

  private:
    // What the metadata of a disk says; read again when it has changed.
    struct Seen {
        std::shared_ptr<const MetadataView> metadata;
        std::optional<MarkedBlocks> marked;  // when somebody asks
    };
    // Two views, and which blocks may differ in them: all that were touched and do, and some others.
    struct Pair {
        std::shared_ptr<const MetadataView> metadata[2];
        std::string wrong;                   // what is to be said of that metadata, whatever the blocks are
        bool asks_blocks = false, is_split = false;
        HandshakeDecision verdict;
        uint64_t read[2] = {0, 0};           // of each disk's list of changes
        uint64_t touched = 0;                // blocks of the history
        std::vector<uint32_t> blocks;
        std::vector<bool> is_listed;
    };

    Seen& look(const Disk& disk, int host, View view);
    void decide(Pair& pair) const;
    void list_changes(Pair& pair, const History& history, const Disk* const disks[2], const View views[2]) const;
    bool is_covered(const Pair& pair, Seen* const seen[2], const Disk* const disks[2], const View views[2], uint64_t block) const;

    Seen seen_[2][2];  // host, view
    Pair pairs_[2][2]; // view of A, view of B
};

}  // namespace drbd::sim
