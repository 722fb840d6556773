// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/transaction.h"

#include <cerrno>

#include "core/metadata/bitmap_write.h"

namespace drbd {

void TransactionActivity::start(bool flush_image) {
    begin();
    phase_ = Phase::EvictedPages;
    flush_image_ = flush_image;
    lacked_space_ = false;
}

bool TransactionActivity::next(DrbdJob& job) {
    switch (phase_) {
    case Phase::EvictedPages:
        phase_ = Phase::Transaction;
        doing_ = flush_image_ ? "flushing the image, then writing the bitmap" : "writing the bitmap";
        if (fill_pages_of_extents(disk_, disk_.activity_log.evicted(), job) || flush_image_) {
            job.flush_image_first |= flush_image_;
            return true;
        }
        [[fallthrough]];
    case Phase::Transaction: {
        phase_ = Phase::Done;
        doing_ = "writing the activity log";
        start_job(job, DRBD_JOB_WRITE);
        const uint64_t place = disk_.activity_log.encode(disk_.page(0));
        add_part(job, to_bytes(disk_.layout.activity_log) + Bytes(place * kBlockSize), disk_.page(0).data(),
                 Bytes(kBlockSize));
        job.fua = true;
        return true;
    }
    case Phase::Done:
        disk_.activity_log.commit();
        return false;
    }
    assertion_failed("phase", __FILE__, __LINE__);
}

void TransactionActivity::failed(int error) {
    fail_io(doing_, error);
    if (error != -ENOSPC || phase_ != Phase::Transaction)
        return;
    lacked_space_ = true;
    for (uint32_t extent : disk_.activity_log.evicted())
        disk_.bitmap.mark_not_written(Bitmap::page_of_extent(extent));
}

}  // namespace drbd
