// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs that write pages of the bitmap and blocks of the activity log's ring.
// In: a disk; out: a filled job.  Pages are copied into the disk's page
// buffers when the job is made, so bits may change while it is written: then
// the page is dirty again.
#pragma once

#include <span>

#include "core/metadata/activity.h"
#include "core/metadata/disk.h"

namespace drbd {

// As many dirty pages from `next` on as fit, lowest first; `next` is where the one
// after it begins, and the job that comes to the end flushes.  False, and no job, if
// none is dirty.  A page that is behind is left when it is dirty again: a guest that
// writes would be followed for ever, and what it marks is in an extent that the
// activity log has.
bool fill_dirty_pages(Disk& disk, uint64_t& next, DrbdJob& job);

// The dirty pages that hold bits of these extents (at most 64), with a flush.
bool fill_pages_of_extents(Disk& disk, std::span<const uint32_t> extents, DrbdJob& job);

// Initialised blocks for the ring's places from `first` on (on-disk order);
// the job that reaches the end flushes.  Returns where the next one begins.
uint64_t fill_ring_blocks(Disk& disk, uint64_t first, DrbdJob& job);

// The encoded superblock, with FUA.
void fill_superblock(Disk& disk, const metafmt::Superblock& superblock, DrbdJob& job);

}  // namespace drbd
