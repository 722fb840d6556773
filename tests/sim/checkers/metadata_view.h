// SPDX-License-Identifier: GPL-2.0-or-later
// A disk's metadata as who comes after a crash would read it: superblock, and
// the bitmap with the activity log applied.  From bytes alone.
#pragma once

#include <vector>

#include "core/generation/sync_handshake.h"
#include "disk.h"
#include "metafmt/superblock.h"

namespace drbd::sim {

struct MetadataView {
    bool valid = false;  // a superblock of ours
    metafmt::Superblock superblock;
    metafmt::Layout layout;

    bool is_inconsistent() const { return !superblock.flags.has(metafmt::MdFlag::Consistent); }
    bool crashed_primary() const {
        return superblock.flags.has(metafmt::MdFlag::CrashedPrimary) || superblock.needs_replay();
    }
    DiskState disk_state() const;
    // A generation with this identifier is in this disk's past or present.
    bool knows(uint64_t uuid) const;
};

// Until the superblock changes.
const MetadataView& read_superblock(const Disk& disk, View view);

// The marked blocks of 4 KiB: bits of the bitmap, and the hot extents if they count.  The bitmap is
// looked at when a block is asked for; the disk must not change meanwhile.
class MarkedBlocks {
  public:
    MarkedBlocks(const Disk& disk, View view, const MetadataView& metadata);
    bool has(uint64_t block) const;
    // Does the activity log say now what it said then?
    bool is_true() const { return log_changes_ == disk_.metadata_changes(view_, log_, log_bytes_); }

  private:
    const Disk& disk_;
    View view_;
    uint64_t bitmap_, log_;  // offsets on the metadata device, bytes
    uint64_t log_bytes_;     // 0: the log does not count
    uint64_t log_changes_;
    bool all_;
    std::vector<bool> hot_extents_;  // empty: the activity log does not count
};

}  // namespace drbd::sim
