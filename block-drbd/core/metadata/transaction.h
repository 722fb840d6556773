// SPDX-License-Identifier: GPL-2.0-or-later
// Writing one transaction of the activity log: first the bitmap pages of the
// extents that it evicts, stable, then the transaction itself (spec 8.3, trap
// 78).  In: an activity log with a transaction prepared.  Out: the same,
// committed.
#pragma once

#include "core/metadata/activity.h"
#include "core/metadata/disk.h"

namespace drbd {

class TransactionActivity final : public Activity {
  public:
    explicit TransactionActivity(Disk& disk) : disk_(disk) {}

    // Evicted extents were written, and not flushed since: if power goes, nothing
    // would speak for what is lost there and the peer has.
    void start(bool flush_image);
    bool next(DrbdJob& job) override;
    void failed(int error) override;

    // It failed for want of space, before the log itself was touched: nothing
    // has changed, and it may be tried again.
    bool lacked_space() const { return lacked_space_; }

  private:
    enum class Phase { EvictedPages, Transaction, Done };

    Disk& disk_;
    Phase phase_ = Phase::Done;
    const char* doing_ = "";
    bool flush_image_ = false;
    bool lacked_space_ = false;
};

}  // namespace drbd
