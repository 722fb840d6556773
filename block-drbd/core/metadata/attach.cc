// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/attach.h"

#include <algorithm>
#include <cstdio>
#include <new>

#include "core/metadata/bitmap_write.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

using metafmt::MdFlag;

void AttachActivity::start(const Terms& terms) {
    begin();
    terms_ = terms;
    phase_ = Phase::Flush;
    position_ = page_next_ = 0;
    mark_all_ = apply_ = false;
    remark_[0] = '\0';
}

bool AttachActivity::next(DrbdJob& job) {
    switch (phase_) {
    case Phase::Flush:
        doing_ = "flushing image and metadata";
        start_job(job, DRBD_JOB_WRITE);
        job.flush_image_first = job.flush_after = job.flush_foreign = true;
        phase_ = Phase::ReadSuperblock;
        return true;
    case Phase::ReadSuperblock: {
        doing_ = "reading the superblock";
        auto position = metafmt::superblock_position(placement_of(disk_.config), disk_.metadata_device_size());
        if (!position) {
            give_up(position.error());
            return false;
        }
        if (auto made = disk_.pages.allocate(Bytes(kJobPagesMax * kBlockSize), "metadata buffers"); !made) {
            give_up(made.error());
            return false;
        }
        start_job(job, DRBD_JOB_READ);
        add_part(job, to_bytes(position.value()), disk_.page(0).data(), Bytes(kBlockSize));
        phase_ = Phase::CheckSuperblock;
        return true;
    }
    case Phase::CheckSuperblock: {
        auto good = check_superblock();
        if (good)
            good = allocate();
        if (!good) {
            give_up(good.error());
            return false;
        }
        phase_ = Phase::ReadRing;
        [[fallthrough]];
    }
    case Phase::ReadRing:
        if (read_ring(job))
            return true;
        [[fallthrough]];
    case Phase::Replay:
        replay();
        position_ = 0;
        phase_ = Phase::ReadBitmap;
        [[fallthrough]];
    case Phase::ReadBitmap:
        if (read_bitmap(job))
            return true;
        [[fallthrough]];
    case Phase::ApplyLog:
        apply_log();
        phase_ = Phase::WriteBitmap;
        [[fallthrough]];
    case Phase::WriteBitmap:
        doing_ = "writing the bitmap";
        if (fill_dirty_pages(disk_, page_next_, job))
            return true;
        [[fallthrough]];
    case Phase::WriteSuperblock:
        write_superblock(Role::Secondary, job);
        position_ = 0;
        phase_ = Phase::WriteRing;
        return true;
    case Phase::WriteRing:
        if (replay_->state() != metafmt::RingState::Initialized && position_ < disk_.layout.al.blocks()) {
            doing_ = "initialising the activity log";
            position_ = fill_ring_blocks(disk_, position_, job);
            return true;
        }
        [[fallthrough]];
    case Phase::WritePrimary:
        phase_ = Phase::Done;
        if (terms_.role == Role::Primary) {
            write_superblock(Role::Primary, job);
            return true;
        }
        [[fallthrough]];
    case Phase::Done:
        release_scratch();
        return false;
    }
    assertion_failed("phase", __FILE__, __LINE__);
}

void AttachActivity::failed(int error) {
    fail_io(doing_, error);
    release_scratch();
}

void AttachActivity::give_up(const Error& error) {
    fail(error);
    release_scratch();
}

void AttachActivity::release_scratch() {
    phase_ = Phase::Done;
    ring_.release();
    replay_.reset();
}

Result<void> AttachActivity::check_superblock() {
    auto superblock = metafmt::decode_superblock(disk_.page(0));
    if (!superblock)
        return superblock.error();
    disk_.superblock = superblock.value();
    auto layout = metafmt::layout_of_superblock(disk_.superblock, placement_of(disk_.config),
                                                disk_.metadata_device_size());
    if (!layout)
        return layout.error();
    disk_.layout = layout.value();
    disk_.uuids = disk_.superblock.uuids;
    disk_state_ = disk_state_of(disk_.superblock.flags);
    peer_disk_state_ = peer_disk_state_of(disk_.superblock.flags);
    if (terms_.role == Role::Primary && !terms_.peer_serves) {
        if (disk_state_ != DiskState::UpToDate)
            return Error::of(ErrorCode::Refused,
                             "this node is Primary, and the disk is %s: make the node Secondary first",
                             name_of(disk_state_));
        if (terms_.peer_has_newer)
            return Error::of(ErrorCode::Refused,
                             "this node is Primary, and its guest wrote to the peer's disk while it had none here: "
                             "connect to the peer, then attach");
        if (terms_.exposed_uuid != 0 && !same_generation(terms_.exposed_uuid, disk_.uuids.current))
            return Error::of(ErrorCode::Refused,
                             "this node is Primary, and the disk holds another data generation (%016llX) than the "
                             "guest has seen (%016llX)",
                             static_cast<unsigned long long>(disk_.uuids.current),
                             static_cast<unsigned long long>(terms_.exposed_uuid));
    }

    const Sector capacity = metafmt::capacity_max(disk_.layout, disk_.image_size());
    const Sector agreed = disk_.superblock.la_size;
    if (agreed > capacity)
        return Error::of(ErrorCode::TooSmall,
                         "the image offers %llu sectors, but %llu were agreed with the peer: it was shrunk; "
                         "give it its old size back, or make new metadata (create-md) and sync it from the peer",
                         static_cast<unsigned long long>(capacity.value),
                         static_cast<unsigned long long>(agreed.value));
    if (agreed.value == 0 && disk_.config.placement != DRBD_PLACEMENT_INTERNAL && capacity < disk_.image_size())
        return Error::of(ErrorCode::TooSmall,
                         "the bitmap covers %llu sectors, the image has %llu: use a larger metadata device, and make the "
                         "metadata anew (create-md)",
                         static_cast<unsigned long long>(capacity.value),
                         static_cast<unsigned long long>(disk_.image_size().value));
    // Without a peer the agreed size stays, even if the image has grown.
    disk_.size = agreed.value != 0 ? agreed : capacity;
    const Sector exported = terms_.exported;
    if (exported.value != 0) {
        if (capacity < exported)
            return Error::of(ErrorCode::TooSmall,
                             "the image offers %llu sectors, and the device has %llu already (the peer's data, or what this "
                             "node's guest uses): give it an image as large",
                             static_cast<unsigned long long>(capacity.value), static_cast<unsigned long long>(exported.value));
        const bool is_usable = disk_state_ >= DiskState::Outdated;
        if (agreed.value != 0 && (agreed < exported || (agreed > exported && is_usable)))
            return Error::of(ErrorCode::Incompatible,
                             "the metadata was made for a device of %llu sectors, and this one has %llu (the peer's data, or "
                             "what this node's guest uses): %s",
                             static_cast<unsigned long long>(agreed.value), static_cast<unsigned long long>(exported.value),
                             agreed > exported ? "usable data is never shrunk; give the peer a disk as large"
                                               : "make new metadata (create-md) and sync it from the peer");
        disk_.size = exported;
    }
    if (disk_.size.value == 0)
        return Error::of(ErrorCode::TooSmall, "the image has no room for data beside the metadata");
    if (divide_up(to_bytes(disk_.size).value, kExtentSize) >= metafmt::kExtentFree)
        return Error::of(ErrorCode::Invalid, "images beyond 16 PiB are not supported");
    return {};
}

Result<void> AttachActivity::allocate() {
    const uint64_t blocks = disk_.layout.al.blocks();
    if (blocks > kAlRingBlocksMax)
        return Error::of(ErrorCode::Invalid,
                         "the activity log has %llu blocks of 4 KiB, more than the %llu supported: make the metadata "
                         "anew with fewer al-stripes or a smaller al-stripe-size",
                         static_cast<unsigned long long>(blocks),
                         static_cast<unsigned long long>(kAlRingBlocksMax));
    if (auto made = ring_.allocate(Bytes(blocks * kBlockSize), "activity log"); !made)
        return made;
    replay_.reset(new (std::nothrow) metafmt::ActivityLogReplay);
    if (!replay_)
        return Error::of(ErrorCode::Exhausted, "not enough memory to replay the activity log");
    if (auto made = disk_.bitmap.allocate(disk_.size); !made)
        return made;
    const uint32_t wanted = disk_.config.al_extents != 0 ? disk_.config.al_extents : kAlExtentsDefault;
    return disk_.activity_log.allocate(
        std::clamp(wanted, metafmt::kActivityLogSlotsMin, disk_.layout.al.slots_max()), disk_.layout.al);
}

bool AttachActivity::read_ring(DrbdJob& job) {
    doing_ = "reading the activity log";
    const uint64_t size = ring_.size().value;
    if (position_ == size)
        return false;
    start_job(job, DRBD_JOB_READ);
    while (position_ < size && job.nr_parts < DRBD_JOB_MAX_PARTS) {
        const uint64_t piece = std::min(size - position_, kBitmapReadPiece.value);
        add_part(job, to_bytes(disk_.layout.activity_log) + Bytes(position_), ring_.data().data() + position_,
                 Bytes(piece));
        position_ += piece;
    }
    return true;
}

void AttachActivity::replay() {
    const metafmt::Superblock& sb = disk_.superblock;
    replay_->read(ring_.data(), sb);
    disk_.generation_shared = sb.flags.has(MdFlag::ConnectedInd) && disk_.uuids.bitmap != 0 &&
                              disk_state_ == DiskState::UpToDate;
    // Who served a Primary without a disk had marked that (PRIMARY_IND), and its bits count from that node's generation.
    disk_.target_had_begun = sb.flags.has(MdFlag::PeerOutDated) || !sb.flags.has(MdFlag::PrimaryInd);
    disk_.crashed_primary = sb.flags.has(MdFlag::CrashedPrimary) || sb.needs_replay();
    mark_all_ = sb.flags.has(MdFlag::FullSync) || (disk_.crashed_primary && sb.flags.has(MdFlag::AlDisabled));
    if (!sb.needs_replay() || mark_all_)
        return;
    if (auto usable = replay_->check_usable(sb); !usable) {
        std::snprintf(remark_, sizeof remark_, "%.150s: the whole disk is marked out of sync",
                      usable.error().text);
        mark_all_ = true;
    } else {
        apply_ = true;
    }
}

bool AttachActivity::read_bitmap(DrbdJob& job) {
    doing_ = "reading the bitmap";
    const auto memory = disk_.bitmap.data();
    const uint64_t end = std::min<uint64_t>(memory.size(), to_bytes(disk_.layout.bitmap_size).value);
    if (mark_all_ || position_ == end)
        return false;
    start_job(job, DRBD_JOB_READ);
    while (position_ < end && job.nr_parts < DRBD_JOB_MAX_PARTS) {
        const uint64_t piece = std::min(end - position_, kBitmapReadPiece.value);
        add_part(job, to_bytes(disk_.layout.bitmap) + Bytes(position_), memory.data() + position_, Bytes(piece));
        position_ += piece;
    }
    return true;
}

void AttachActivity::apply_log() {
    if (mark_all_) {
        disk_.bitmap.set_all_out_of_sync();
        return;
    }
    disk_.bitmap.loaded();
    if (!apply_)
        return;
    uint64_t extents = 0, marked = 0;
    replay_->for_each_hot_extent([&](uint32_t extent) {
        extents++;
        marked += disk_.bitmap.set_extent_out_of_sync(extent);
    });
    std::snprintf(remark_, sizeof remark_,
                  "this node was Primary when it stopped: %llu extents of the activity log were in use, "
                  "%llu KiB more are marked out of sync",
                  static_cast<unsigned long long>(extents),
                  static_cast<unsigned long long>(marked * kBlockSize / 1024));
}

// In use by a node that has no connection.
void AttachActivity::write_superblock(Role role, DrbdJob& job) {
    doing_ = "writing the superblock";
    disk_.uuids = with_role(disk_.uuids, role == Role::Primary);
    disk_.superblock =
        superblock_of(disk_, {.role = role, .disk = disk_state_, .peer_disk = peer_disk_state_}, Cleanness::InUse);
    fill_superblock(disk_, disk_.superblock, job);
}

const char* AttachActivity::why() const {
    switch (disk_state_) {
    case DiskState::Inconsistent:
        return "the metadata says so: new metadata, an unfinished resync, or invalidated; a resync from the peer "
               "or a forced promotion changes that";
    case DiskState::Outdated:
        return "the metadata says that the peer has newer data";
    default:
        return "the metadata says so";
    }
}

}  // namespace drbd
