// SPDX-License-Identifier: GPL-2.0-or-later
// Reads what metadata_view.h describes.
#include "checkers/metadata_view.h"

#include <algorithm>
#include <memory>

#include "core/base/units.h"
#include "metafmt/activity_log_replay.h"
#include "metafmt/bitmap_layout.h"

namespace drbd::sim {

DiskState MetadataView::disk_state() const {
    switch (metafmt::stored_disk_state(superblock.flags)) {
    case metafmt::StoredDiskState::Inconsistent: return DiskState::Inconsistent;
    case metafmt::StoredDiskState::Outdated: return DiskState::Outdated;
    case metafmt::StoredDiskState::Consistent:
    case metafmt::StoredDiskState::UpToDate: return DiskState::UpToDate;  // fencing is off
    }
    return DiskState::Inconsistent;
}

bool MetadataView::knows(uint64_t uuid) const {
    const metafmt::Uuids& u = superblock.uuids;
    for (uint64_t own : {u.current, u.bitmap, u.history[0], u.history[1]})
        if (own != 0 && (own | 1) == (uuid | 1))
            return true;
    return false;
}

namespace {

MetadataView decode(const Disk& disk, View view, Sector size, uint64_t offset) {
    MetadataView result;
    uint8_t block[kBlockSize];
    disk.read_bytes(view, true, offset, block, sizeof block);
    const auto decoded = metafmt::decode_superblock(metafmt::ConstBlock(block));
    if (!decoded.ok())
        return result;
    const auto layout = metafmt::layout_of_superblock(decoded.value(), disk.placement(), size);
    if (!layout.ok())
        return result;
    result.superblock = decoded.value();
    result.layout = layout.value();
    result.valid = true;
    return result;
}

}  // namespace

const MetadataView& read_superblock(const Disk& disk, View view) {
    const Sector size = whole_sectors(Bytes(disk.metadata_device_bytes()));
    const auto at = metafmt::superblock_position(disk.placement(), size);
    DRBD_ASSERT(at.ok());
    const uint64_t offset = to_bytes(at.value()).value;
    Disk::KnownSuperblock& known = disk.known_superblock(view);
    const uint64_t changes = disk.metadata_changes(view, offset, kBlockSize);
    if (known.changes != changes) {
        known.changes = changes;
        known.content = std::make_shared<const MetadataView>(decode(disk, view, size, offset));
    }
    return *known.content;
}

namespace {

constexpr size_t kSlotsAtOnce = 64;
static_assert(metafmt::kExtentFree == ~0u);

}  // namespace

MarkedBlocks::MarkedBlocks(const Disk& disk, View view, const MetadataView& metadata)
    : disk_(disk),
      view_(view),
      bitmap_(to_bytes(metadata.layout.bitmap).value),
      log_(to_bytes(metadata.layout.activity_log).value),
      log_bytes_(metadata.superblock.needs_replay() ? to_bytes(metadata.layout.al.size()).value : 0),
      log_changes_(disk.metadata_changes(view, log_, log_bytes_)),
      all_(metadata.superblock.flags.has(metafmt::MdFlag::FullSync)) {
    if (all_ || !metadata.superblock.needs_replay())
        return;
    // Large, and needed often.
    static std::vector<uint8_t> ring;
    static metafmt::ActivityLogReplay replay;
    ring.resize(log_bytes_);
    disk.read_bytes(view, true, log_, ring.data(), ring.size());
    replay.read(ring, metadata.superblock);
    all_ = !replay.check_usable(metadata.superblock).ok();
    hot_extents_.resize(divide_up(disk.shape().image_bytes, kBlockSize * kBlocksPerExtent));
    const std::span<const uint32_t> slots = replay.slots();
    for (size_t i = 0; i < slots.size(); i += kSlotsAtOnce) {
        const auto some = slots.subspan(i, std::min(kSlotsAtOnce, slots.size() - i));
        uint32_t all_bits = metafmt::kExtentFree;  // nearly always that is what they all are
        for (const uint32_t extent : some)
            all_bits &= extent;
        for (size_t s = 0; s < some.size() && all_bits != metafmt::kExtentFree; s++)
            if (some[s] < hot_extents_.size())
                hot_extents_[some[s]] = true;
    }
}

bool MarkedBlocks::has(uint64_t block) const {
    if (all_ || (!hot_extents_.empty() && hot_extents_[block / kBlocksPerExtent]))
        return true;
    return disk_.metadata_byte(view_, bitmap_ + block / 8) >> (block % 8) & 1;
}

}  // namespace drbd::sim
