// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/settle.h"

#include "core/metadata/bitmap_write.h"

namespace drbd {

void SettleActivity::start(const SettlePlan& plan) {
    begin();
    plan_ = plan;
    phase_ = Phase::Before;
    page_next_ = ring_next_ = 0;
}

bool SettleActivity::write(const std::optional<metafmt::Superblock>& superblock, DrbdJob& job) {
    if (!superblock)
        return false;
    doing_ = "writing the superblock";
    superblock_writes_++;
    fill_superblock(disk_, *superblock, job);
    return true;
}

bool SettleActivity::next(DrbdJob& job) {
    switch (phase_) {
    case Phase::Before:
        phase_ = plan_.bitmap ? Phase::Flush : Phase::Middle;
        if (write(plan_.before, job))
            return true;
        return next(job);
    case Phase::Flush:
        phase_ = Phase::Bitmap;
        doing_ = "flushing the image";
        start_job(job, DRBD_JOB_WRITE);
        job.flush_image_first = true;
        return true;
    case Phase::Bitmap:
        doing_ = "writing the bitmap";
        if (fill_dirty_pages(disk_, page_next_, job))
            return true;
        [[fallthrough]];
    case Phase::Middle:
        phase_ = Phase::Ring;
        if (write(plan_.middle, job))
            return true;
        [[fallthrough]];
    case Phase::Ring:
        if (plan_.ring && ring_next_ < disk_.layout.al.blocks()) {
            doing_ = "initialising the activity log";
            ring_next_ = fill_ring_blocks(disk_, ring_next_, job);
            return true;
        }
        [[fallthrough]];
    case Phase::After:
        phase_ = Phase::Done;
        if (write(plan_.after, job))
            return true;
        [[fallthrough]];
    case Phase::Done:
        return false;
    }
    assertion_failed("phase", __FILE__, __LINE__);
}

void SettleActivity::failed(int error) {
    phase_ = Phase::Done;
    fail_io(doing_, error);
}

}  // namespace drbd
