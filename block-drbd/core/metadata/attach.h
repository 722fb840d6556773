// SPDX-License-Identifier: GPL-2.0-or-later
// Attaching a disk: reads superblock, activity log and bitmap, does what
// apply-al would do, and marks the metadata as in use (spec 8.2, 8.4; why in
// this order: docs/METADATA.md).
//
//   1 flush image and metadata: what a killed process left in the host's cache
//     is read next, and must be stable before it is believed
//   2 read the superblock; check it against the device
//   3 read the ring; if the node was Primary, find what was hot
//   4 read the bitmap, set the bits of hot extents (or all)
//   5 write the changed pages, flush        every difference is marked
//   6 write the superblock: in use, no longer "was Primary", but crashed
//   7 initialise the ring, flush            only if it is not
//   8 as Primary: write the superblock again, with "is Primary", now that the
//     ring may be relied on
//
// In: Disk::config.  Out: Disk filled, or the error.  Reading the bitmap goes
// straight into its memory, many pieces at once.
#pragma once

#include <memory>

#include "core/metadata/activity.h"
#include "core/metadata/disk.h"
#include "core/state/state.h"
#include "metafmt/activity_log_replay.h"

namespace drbd {

class AttachActivity final : public Activity {
  public:
    explicit AttachActivity(Disk& disk) : disk_(disk) {}

    struct Terms {
        Role role = Role::Secondary;  // of the resource: a Primary needs an UpToDate disk
        uint64_t exposed_uuid = 0;    // the generation that the guest has seen, 0 if none
        bool peer_has_newer = false;  // the guest wrote there since, under a generation that was not heard of
        bool peer_serves = false;     // the peer is UpToDate: an old disk may come and be resynced
        Sector exported{};            // what the guest, or the peer's data, has; 0: this disk says it (spec 4.4, attach-time)
    };
    void start(const Terms& terms);
    bool next(DrbdJob& job) override;
    void failed(int error) override;

    // What the metadata says of the disk; valid after success.
    DiskState disk_state() const { return disk_state_; }
    DiskState peer_disk_state() const { return peer_disk_state_; }
    // For the administrator: what a replay did, or an empty text.
    const char* remark() const { return remark_; }
    // Why the disk is in the state that it is in.
    const char* why() const;

  private:
    enum class Phase {
        Flush, ReadSuperblock, CheckSuperblock, ReadRing, Replay, ReadBitmap, ApplyLog, WriteBitmap,
        WriteSuperblock, WriteRing, WritePrimary, Done,
    };

    Result<void> check_superblock();
    Result<void> allocate();
    bool read_ring(DrbdJob& job);
    void replay();
    bool read_bitmap(DrbdJob& job);
    void apply_log();
    void write_superblock(Role role, DrbdJob& job);
    void give_up(const Error& error);
    void release_scratch();

    Disk& disk_;
    Terms terms_;
    Phase phase_ = Phase::Done;
    const char* doing_ = "";
    AlignedBuffer ring_;
    std::unique_ptr<metafmt::ActivityLogReplay> replay_;
    uint64_t position_ = 0;  // in ring or bitmap, bytes
    uint64_t page_next_ = 0;  // of the bitmap, to be written
    bool mark_all_ = false;
    bool apply_ = false;
    DiskState disk_state_ = DiskState::Diskless;
    DiskState peer_disk_state_ = DiskState::DUnknown;
    char remark_[DRBD_ERROR_SIZE] = "";
};

}  // namespace drbd
