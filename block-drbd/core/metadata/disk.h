// SPDX-License-Identifier: GPL-2.0-or-later
// What a volume has while a disk is attached: where the metadata lies, the
// superblock as it should be, the bitmap, the activity log, and the buffers
// that metadata jobs are made in.  Filled by an attach (attach.h), emptied when
// the disk is gone.
#pragma once

#include "core/activity_log/activity_log.h"
#include "core/base/buffer.h"
#include "core/bitmap/bitmap.h"
#include "core/generation/generation.h"
#include "drbd-core.h"
#include "metafmt/layout.h"

namespace drbd {

metafmt::Placement placement_of(const DrbdDiskConfig& config);

struct Disk {
    DrbdDiskConfig config{};
    metafmt::Layout layout;
    Sector size;                   // agreed size: what the guest sees
    metafmt::Superblock superblock;  // as last read; base of the next one written
    metafmt::Superblock written;   // the last one that was handed out to be written
    Uuids uuids;                   // may be ahead of the disk: see Volume
    bool crashed_primary = false;  // marker of spec 4.7
    bool generation_shared = false;  // source of a resync when it crashed: the peer may have finished it (decision 0015)
    bool target_had_begun = false;   // the same, and not only a node whose peer had no disk when it crashed
    Bitmap bitmap;
    ActivityLog activity_log;
    AlignedBuffer pages;           // kJobPagesMax blocks of 4 KiB

    Sector metadata_device_size() const { return whole_sectors(Bytes(config.metadata_bytes)); }
    Sector image_size() const { return whole_sectors(Bytes(config.image_bytes)); }
    metafmt::Block page(unsigned index) {
        return metafmt::Block(pages.data().data() + index * kBlockSize, kBlockSize);
    }
    Bytes memory() const { return bitmap.memory() + activity_log.memory() + pages.size(); }
    void release();
};

}  // namespace drbd
