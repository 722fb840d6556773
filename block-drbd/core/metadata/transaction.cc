// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/transaction.h"

#include "core/metadata/bitmap_write.h"

namespace drbd {

void TransactionActivity::start() {
    begin();
    phase_ = Phase::EvictedPages;
}

bool TransactionActivity::next(DrbdJob& job) {
    switch (phase_) {
    case Phase::EvictedPages:
        phase_ = Phase::Transaction;
        if (fill_pages_of_extents(disk_, disk_.activity_log.evicted(), job))
            return true;
        [[fallthrough]];
    case Phase::Transaction: {
        phase_ = Phase::Done;
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
    fail_io("writing the activity log", error);
}

}  // namespace drbd
