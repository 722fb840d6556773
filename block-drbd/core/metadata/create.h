// SPDX-License-Identifier: GPL-2.0-or-later
// Fresh metadata on a device that is reached through the block layer
// (drbd-create-md; qdrbdmeta does the same for raw files).  Order: look for
// what is in the way, take away what an old superblock says, write log and
// bitmap, flush, write the superblock: a crash leaves no metadata or whole
// metadata.  In: Disk::config and options.  Out: the disk has metadata, or the
// error says what is in the way and where.
#pragma once

#include "core/metadata/activity.h"
#include "core/metadata/disk.h"
#include "metafmt/bitmap_layout.h"
#include "metafmt/probe.h"

namespace drbd {

class CreateActivity final : public Activity {
  public:
    explicit CreateActivity(Disk& disk) : disk_(disk) {}

    // Checks what needs no I/O: sizes and the shape of the log.
    Result<void> start(const DrbdCreateMd& options);
    bool next(DrbdJob& job) override;
    void failed(int error) override;

  private:
    enum class Phase { ReadHead, ReadSuperblock, Judge, ReadArea, Wipe, WriteRing, WriteBitmap, WriteSuperblock, Done };

    Result<void> judge() const;
    bool read_area(DrbdJob& job);
    bool write_bitmap(DrbdJob& job);
    Bytes bitmap_bytes() const;

    Disk& disk_;
    DrbdCreateMd options_{};
    Phase phase_ = Phase::Done;
    const char* doing_ = "";
    uint64_t position_ = 0;
    uint64_t in_buffer_ = 0;       // bytes of the area that were read last
    bool has_old_place_ = false;   // where DRBD 0.7 kept internal metadata
    Sector old_place_;
    metafmt::Content content_;
    metafmt::MetadataVersion found_ = metafmt::MetadataVersion::None;
    metafmt::MetadataVersion found_old_ = metafmt::MetadataVersion::None;
};

}  // namespace drbd
