// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/bitmap_write.h"

#include <algorithm>
#include <cstring>

namespace drbd {

namespace {

// The area of a flexible device may end within its last page.
Bytes size_on_disk(const Disk& disk, uint64_t page) {
    return std::min(Bytes(kBlockSize), to_bytes(disk.layout.bitmap_size) - Bytes(page * kBlockSize));
}

// Takes one page into the job; pages that follow each other become one part.
void add_page(Disk& disk, DrbdJob& job, unsigned nth, uint64_t page) {
    job.flush_image_first |= disk.bitmap.was_cleared(page);
    std::memcpy(disk.page(nth).data(), disk.bitmap.page(page).data(), kBlockSize);
    disk.bitmap.mark_written(page);
    const Bytes offset = to_bytes(disk.layout.bitmap) + Bytes(page * kBlockSize);
    if (job.nr_parts > 0) {
        DrbdJobPart& last = job.parts[job.nr_parts - 1];
        if (last.offset + last.bytes == offset.value) {
            last.bytes += static_cast<uint32_t>(size_on_disk(disk, page).value);
            return;
        }
    }
    add_part(job, offset, disk.page(nth).data(), size_on_disk(disk, page));
}

}  // namespace

bool fill_dirty_pages(Disk& disk, uint64_t& next, DrbdJob& job) {
    start_job(job, DRBD_JOB_WRITE);
    unsigned taken = 0;
    for (next = disk.bitmap.next_dirty(next); next < disk.bitmap.pages() && taken < kJobPagesMax;
         next = disk.bitmap.next_dirty(next + 1))
        add_page(disk, job, taken++, next);
    job.flush_after = next == disk.bitmap.pages();
    return taken > 0;
}

bool fill_pages_of_extents(Disk& disk, std::span<const uint32_t> extents, DrbdJob& job) {
    DRBD_ASSERT(extents.size() <= kJobPagesMax);
    start_job(job, DRBD_JOB_WRITE);
    unsigned taken = 0;
    for (uint32_t extent : extents) {
        const uint64_t page = Bitmap::page_of_extent(extent);
        if (disk.bitmap.is_dirty(page))
            add_page(disk, job, taken++, page);
    }
    job.flush_after = taken > 0;
    return taken > 0;
}

uint64_t fill_ring_blocks(Disk& disk, uint64_t first, DrbdJob& job) {
    start_job(job, DRBD_JOB_WRITE);
    const uint64_t blocks = disk.layout.al.blocks();
    const uint64_t count = std::min<uint64_t>(blocks - first, kJobPagesMax);
    for (unsigned i = 0; i < count; i++)
        metafmt::encode_activity_log_initialized(disk.page(i));
    add_part(job, to_bytes(disk.layout.activity_log) + Bytes(first * kBlockSize), disk.page(0).data(),
             Bytes(count * kBlockSize));
    job.flush_after = first + count == blocks;
    return first + count;
}

void fill_superblock(Disk& disk, const metafmt::Superblock& superblock, DrbdJob& job) {
    start_job(job, DRBD_JOB_WRITE);
    disk.written = superblock;
    metafmt::encode_superblock(superblock, disk.page(0));
    add_part(job, to_bytes(disk.layout.superblock), disk.page(0).data(), Bytes(kBlockSize));
    job.fua = true;
}

}  // namespace drbd
