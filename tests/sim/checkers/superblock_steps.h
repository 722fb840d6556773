// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: a superblock follows the one before it by the rules.
// Identifiers (docs/GENERATIONS.md), bit 0 aside:
//   new generation    bitmap := current, current := a new one; a generation that
//                     the bitmap counted from goes to the history
//   resync begun      bitmap := sync identifier, the old one goes to the history
//   resync finished   source: bitmap goes to the history.  Target: the sync
//                     identifier does, current := the source's, no bitmap
//   target            current := sync identifier, no bitmap, history untouched
//   a start undone, a missed finish: repairs when nodes meet again
// Disk state: Inconsistent only with a sync identifier, or with every block marked.
// An outdated disk begins no generation of its own, unless somebody forces it.
// Full sync: the flag goes when every bit is in the bitmap, stable.
// Verified: from the bytes of two superblocks that were written one after the
// other; several changes between two writes are one step.  Not verified: who
// should have made a generation and when (completed_writes), the flags that are
// not named, disks that report errors (then a disk may go Inconsistent by itself).
#pragma once

#include <string>

#include "checkers/metadata_view.h"

namespace drbd::sim {

class SuperblockSteps {
  public:
    struct Circumstances {
        bool has_errors;    // disks report some
        bool is_forced;     // somebody has said that this data is good
        bool has_old_peer;  // below protocol 96 a start is undone by its place alone
        bool has_refused;   // a write of the peer on this connection: the disk may be given up in what it had become
    };

    // The node has written metadata, or has died: then nothing is checked.
    std::string on_written(const Disk& disk, const Circumstances& circumstances);
    void on_process_died(const Disk& disk) { last_ = read_superblock(disk, View::Current); }

    // The last write made another superblock.
    bool has_changed() const { return changed_; }

  private:
    MetadataView last_;
    bool changed_ = false;
};

}  // namespace drbd::sim
