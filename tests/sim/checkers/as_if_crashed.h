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

#include <optional>
#include <string>

#include "checkers/history.h"
#include "checkers/metadata_view.h"

namespace drbd::sim {

class AsIfCrashed {  // of one volume
  public:
    std::string check(const History& history, const Disk* const disks[2], const View views[2]);

  private:
    // What the metadata of a disk says; read again when it has changed.
    struct Seen {
        uint64_t changes = ~uint64_t{0};
        MetadataView metadata;
        std::optional<MarkedBlocks> marked;  // when somebody asks
    };
    Seen& look(const Disk& disk, int host, View view);

    Seen seen_[2][2];  // host, view
};

}  // namespace drbd::sim
