// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/create.h"

#include <algorithm>
#include <cstring>

#include "core/metadata/bitmap_write.h"

namespace drbd {

namespace {

unsigned long long ull(uint64_t value) { return value; }

}  // namespace

Result<void> CreateActivity::start(const DrbdCreateMd& options) {
    begin();
    options_ = options;
    position_ = 0;
    phase_ = Phase::ReadHead;
    const uint32_t stripe_kb = options.al_stripe_size_kb != 0 ? options.al_stripe_size_kb : 32;
    if (stripe_kb % 4 != 0)
        return Error::of(ErrorCode::Invalid, "al-stripe-size of %u KiB: must be a multiple of 4", stripe_kb);
    const metafmt::ActivityLogGeometry al{options.al_stripes != 0 ? options.al_stripes : 1, stripe_kb / 4};
    if (auto good = al.check(); !good)
        return good;
    auto layout = metafmt::layout_for_creation(placement_of(disk_.config), disk_.metadata_device_size(), al);
    if (!layout)
        return layout.error();
    disk_.layout = layout.value();
    const Sector capacity = metafmt::capacity_max(disk_.layout, disk_.image_size());
    if (capacity.value == 0)
        return Error::of(ErrorCode::TooSmall, "the image has no room for data beside the metadata");
    if (disk_.config.placement != DRBD_PLACEMENT_INTERNAL && capacity < disk_.image_size())
        return Error::of(ErrorCode::TooSmall,
                         "the metadata device has room for the bitmap of %llu sectors, the image has %llu: use a larger one",
                         ull(capacity.value), ull(disk_.image_size().value));
    // Each other placement writes elsewhere; only an internal one can meet the
    // superblock of DRBD 0.7.
    has_old_place_ = disk_.config.placement == DRBD_PLACEMENT_INTERNAL &&
                     metafmt::v07_internal_position(disk_.metadata_device_size(), old_place_);
    return disk_.pages.allocate(Bytes(kJobPagesMax * kBlockSize), "metadata buffers");
}

bool CreateActivity::next(DrbdJob& job) {
    switch (phase_) {
    case Phase::ReadHead:
        // Something else may own the device that metadata is written to.
        doing_ = "reading the start of the device";
        start_job(job, DRBD_JOB_READ);
        job.target = DRBD_TARGET_METADATA;
        position_ = std::min(metafmt::kProbeHeadSize.value, to_bytes(disk_.metadata_device_size()).value);
        add_part(job, Bytes(0), disk_.page(0).data(), Bytes(position_));
        phase_ = Phase::ReadSuperblock;
        return true;
    case Phase::ReadSuperblock:
        content_ = metafmt::probe_head(disk_.pages.data().first(position_));
        doing_ = "reading the place of the superblock";
        start_job(job, DRBD_JOB_READ);
        add_part(job, to_bytes(disk_.layout.superblock), disk_.page(0).data(), Bytes(kBlockSize));
        if (has_old_place_)
            add_part(job, to_bytes(old_place_), disk_.page(1).data(), Bytes(kBlockSize));
        phase_ = Phase::Judge;
        return true;
    case Phase::Judge:
        found_ = metafmt::probe_metadata(disk_.page(0));
        found_old_ = has_old_place_ ? metafmt::probe_metadata(disk_.page(1)) : metafmt::MetadataVersion::None;
        if (auto good = judge(); !good) {
            fail(good.error());
            return false;
        }
        phase_ = options_.force ? Phase::Wipe : Phase::ReadArea;
        position_ = in_buffer_ = 0;
        return next(job);
    case Phase::ReadArea:
        if (read_area(job))
            return true;
        if (!result())
            return false;
        phase_ = Phase::Wipe;
        [[fallthrough]];
    case Phase::Wipe:
        doing_ = "wiping old metadata";
        phase_ = Phase::WriteRing;
        position_ = 0;
        if (found_ != metafmt::MetadataVersion::None || found_old_ != metafmt::MetadataVersion::None) {
            start_job(job, DRBD_JOB_WRITE);
            std::memset(disk_.page(0).data(), 0, 2 * kBlockSize);
            add_part(job, to_bytes(disk_.layout.superblock), disk_.page(0).data(), Bytes(kBlockSize));
            if (found_old_ != metafmt::MetadataVersion::None)
                add_part(job, to_bytes(old_place_), disk_.page(1).data(), Bytes(kBlockSize));
            job.flush_after = true;
            return true;
        }
        [[fallthrough]];
    case Phase::WriteRing:
        doing_ = "writing the activity log";
        if (position_ < disk_.layout.al.blocks()) {
            position_ = fill_ring_blocks(disk_, position_, job);
            return true;
        }
        phase_ = Phase::WriteBitmap;
        position_ = 0;
        std::memset(disk_.pages.data().data(), 0, disk_.pages.size().value);
        [[fallthrough]];
    case Phase::WriteBitmap:
        doing_ = "writing the bitmap";
        if (write_bitmap(job))
            return true;
        [[fallthrough]];
    case Phase::WriteSuperblock: {
        doing_ = "writing the superblock";
        metafmt::Superblock superblock = metafmt::superblock_for_creation(disk_.layout);
        superblock.la_peer_max_bio_size = options_.peer_max_bio_size;
        fill_superblock(disk_, superblock, job);
        phase_ = Phase::Done;
        return true;
    }
    case Phase::Done:
        return false;
    }
    assertion_failed("phase", __FILE__, __LINE__);
}

void CreateActivity::failed(int error) {
    phase_ = Phase::Done;
    fail_io(doing_, error);
}

// What is in the way?  `force` is the administrator's answer to all of it but
// a container format that was opened as raw.
Result<void> CreateActivity::judge() const {
    if (content_.kind == metafmt::ContentKind::DiskImage)
        return Error::of(ErrorCode::Foreign,
                         "the %s looks like a container (%s): its bytes are no disk, and metadata would destroy it. "
                         "Open it with its own format driver instead of as raw",
                         disk_.config.placement == DRBD_PLACEMENT_INTERNAL ? "image" : "metadata device", content_.name);
    if (options_.force)
        return {};
    if (found_ != metafmt::MetadataVersion::None)
        return Error::of(ErrorCode::Foreign,
                         "there is metadata (%s) already, at byte %llu; it would be destroyed: use force if that is meant",
                         metafmt::name_of(found_), ull(to_bytes(disk_.layout.superblock).value));
    if (found_old_ != metafmt::MetadataVersion::None)
        return Error::of(ErrorCode::Foreign,
                         "there is old metadata (%s) at byte %llu; it would be wiped: use force if that is meant",
                         metafmt::name_of(found_old_), ull(to_bytes(old_place_).value));
    if (content_.kind == metafmt::ContentKind::Nothing)
        return {};
    if (disk_.config.placement != DRBD_PLACEMENT_INTERNAL)
        return Error::of(ErrorCode::Foreign, "the metadata device holds %s; it would be destroyed: use force if that is meant",
                         content_.name);
    const uint64_t data_end = to_bytes(disk_.layout.first_sector()).value;
    if (content_.size.value != 0 && content_.size.value <= data_end)
        return {};  // it ends before the metadata begins
    if (content_.size.value == 0)
        return Error::of(ErrorCode::Foreign,
                         "the image holds %s, which may reach into the last %llu bytes that the metadata takes: make sure that "
                         "it ends before byte %llu and use force, or use a metadata device",
                         content_.name, ull(disk_.config.image_bytes - data_end), ull(data_end));
    return Error::of(ErrorCode::Foreign,
                     "the image holds %s of %llu bytes, but only %llu are left beside the metadata: shrink it first, enlarge "
                     "the image, or use a metadata device",
                     content_.name, ull(content_.size.value), ull(data_end));
}

// What is written of the bitmap: as much as the image needs.
Bytes CreateActivity::bitmap_bytes() const {
    const Sector needed = metafmt::bitmap_sectors_on_disk(metafmt::capacity_max(disk_.layout, disk_.image_size()));
    return to_bytes(std::min(disk_.layout.bitmap_size, needed));
}

// Bytes that nobody knows may still be somebody's: what is to be overwritten
// must be zero.  A piece at a time through the page buffers.
bool CreateActivity::read_area(DrbdJob& job) {
    const uint64_t begin = to_bytes(disk_.layout.first_sector()).value;
    const uint64_t size = kBlockSize + to_bytes(disk_.layout.al.size()).value + bitmap_bytes().value;
    const auto seen = disk_.pages.data().first(in_buffer_);
    const auto found = std::find_if(seen.begin(), seen.end(), [](uint8_t byte) { return byte != 0; });
    if (found != seen.end()) {
        fail(Error::of(ErrorCode::Foreign,
                       "there is unknown data at byte %llu, where the metadata would be written: if it is not needed any more, use "
                       "force",
                       ull(begin + position_ - in_buffer_ + static_cast<uint64_t>(found - seen.begin()))));
        return false;
    }
    if (position_ == size)
        return false;
    doing_ = "reading what the metadata would overwrite";
    in_buffer_ = std::min(size - position_, disk_.pages.size().value);
    start_job(job, DRBD_JOB_READ);
    add_part(job, Bytes(begin + position_), disk_.pages.data().data(), Bytes(in_buffer_));
    position_ += in_buffer_;
    return true;
}

// The buffer of zeroes serves every part.
bool CreateActivity::write_bitmap(DrbdJob& job) {
    const uint64_t size = bitmap_bytes().value;
    if (position_ >= size)
        return false;
    start_job(job, DRBD_JOB_WRITE);
    while (position_ < size && job.nr_parts < DRBD_JOB_MAX_PARTS) {
        const uint64_t piece = std::min(size - position_, disk_.pages.size().value);
        add_part(job, to_bytes(disk_.layout.bitmap) + Bytes(position_), disk_.pages.data().data(), Bytes(piece));
        position_ += piece;
    }
    job.flush_after = position_ >= size;
    return true;
}

}  // namespace drbd
