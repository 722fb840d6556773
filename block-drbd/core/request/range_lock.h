// SPDX-License-Identifier: GPL-2.0-or-later
// A range of a volume that a resync holds against the guest's writes, while it
// reads or replaces what is there (spec 7.4, trap 71; by range here, where the
// kernel locks 16 MiB).  Granted when no overlapping write is under way any
// more, first come, first served among locks and writes: GuestIo::lock_range().
// A write is under way until its place in the order is certain: image and peer
// have it, or the peer is lost.
#pragma once

#include "core/base/list.h"
#include "core/request/overlap_tree.h"

namespace drbd {

struct RangeLock;

class RangeLockListener {
  public:
    virtual void on_range_locked(RangeLock& lock) = 0;

  protected:
    ~RangeLockListener() = default;
};

struct RangeLock {
    Interval range;  // bytes
    RangeLockListener* listener = nullptr;
    ListLink<RangeLock> queue;  // while it waits
    uint64_t ticket = 0;        // its place among those who wait
    bool held = false;
};

using RangeLockQueue = List<RangeLock, &RangeLock::queue>;

}  // namespace drbd
