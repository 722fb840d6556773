// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts of a volume's resync share: the pieces of the core that they
// work with, and the listener that hears of their results.  All of it is
// borrowed and outlives them.
#pragma once

#include "core/metadata/disk.h"
#include "core/peer/peer_io.h"
#include "core/request/guest_io.h"
#include "core/request/range_lock.h"

namespace drbd {

class ResyncListener {
  public:
    // Both bitmaps are merged on both nodes, as far as this one can tell.
    virtual void on_bitmaps_exchanged() = 0;
    // Target: nothing is left to ask, everything is answered and stable.
    // `failed_blocks`: bits that stay set.
    virtual void on_resync_answered(uint64_t failed_blocks) = 0;
    // A resync write or read failed at the image.  The listener may abort the
    // resync from within.
    virtual void on_resync_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) = 0;

  protected:
    ~ResyncListener() = default;
};

// Who keeps the guest's writes out of a range; the volume's GuestIo.  Granted by
// RangeLock::listener, from within lock_range() or later.  unlock_range() also
// withdraws one that waits.
class ResyncLocks {
  public:
    virtual void lock_range(RangeLock& lock) = 0;
    virtual void unlock_range(RangeLock& lock) = 0;

  protected:
    ~ResyncLocks() = default;
};

class GuestIoLocks final : public ResyncLocks {
  public:
    explicit GuestIoLocks(GuestIo& io) : io_(io) {}
    void lock_range(RangeLock& lock) override {
        if (io_.lock_range(lock))
            lock.listener->on_range_locked(lock);
    }
    void unlock_range(RangeLock& lock) override { io_.unlock_range(lock); }

  private:
    GuestIo& io_;
};

struct ResyncParts {
    unsigned volume;
    Link& link;
    PeerRequests& requests;
    PeerIo& peer_io;
    ResyncLocks& locks;
    Disk& disk;
    PeerVolume& peer_volume;
    ResyncListener& listener;

    wire::To to() const { return link.to(volume); }
    // Says what became of a range of a resync.
    void send_ack(wire::Packet packet, Sector sector, Bytes size, wire::BlockId id) const {
        if (link.is_up())
            link.send_meta(wire::encode_block_ack(link.room(), to(), packet,
                                                  {sector, size, id, link.next_sequence(volume)}));
    }
};

// The blocks that a range touches.
constexpr uint64_t first_block_of(const Interval& range) { return range.start / kBlockSize; }
constexpr uint64_t end_block_of(const Interval& range) { return divide_up(range.end, kBlockSize); }

}  // namespace drbd
