// SPDX-License-Identifier: GPL-2.0-or-later
// Where superblock, activity log and bitmap lie.  In: the size of the device
// that carries the metadata, the placement, and the shape of the log (to
// create), or a superblock (to open).  Out: a Layout with absolute positions,
// or an error that says what does not fit.  Invariants of a Layout: the three
// areas lie within the device, do not overlap, and begin on 4 KiB relative to
// the superblock.  docs/METADATA.md, "Placements".
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "core/base/units.h"
#include "metafmt/superblock.h"

namespace drbd::metafmt {

enum class PlacementKind {
    Internal,          // at the end of the data device
    FlexibleExternal,  // a whole device of its own
    IndexedExternal,   // slot `index` of 128 MiB on a shared device
};

struct Placement {
    PlacementKind kind = PlacementKind::Internal;
    uint32_t index = 0;  // IndexedExternal only

    bool operator==(const Placement&) const = default;

    static constexpr Placement internal() { return {PlacementKind::Internal, 0}; }
    static constexpr Placement flexible_external() { return {PlacementKind::FlexibleExternal, 0}; }
    static constexpr Placement indexed_external(uint32_t index) { return {PlacementKind::IndexedExternal, index}; }
};

constexpr Sector kIndexedSlotSize{262144};                 // 128 MiB
constexpr Sector kIndexedActivityLogSize{64};
constexpr Sector kIndexedCapacityMax{8587575296};          // what the slot's bitmap covers, 3.99 TiB
constexpr Sector kCapacityMax{1ull << 51};                 // 1 EiB

struct Layout {
    Placement placement;
    ActivityLogGeometry al;
    Sector superblock;      // absolute, on the metadata device
    Sector activity_log;    // absolute
    Sector bitmap;          // absolute
    Sector bitmap_size;     // sectors reserved for the bitmap
    Sector md_size;
    int32_t al_offset = 0;  // as the superblock stores them
    int32_t bm_offset = 0;

    // The first sector that belongs to the metadata; internal: data ends here.
    Sector first_sector() const { return superblock < bitmap ? superblock : bitmap; }
};

// Position of a superblock of v08.  TooSmall if the device has no room for it.
Result<Sector> superblock_position(Placement placement, Sector metadata_device_size);

// The layout that create-md makes.
Result<Layout> layout_for_creation(Placement placement, Sector metadata_device_size, ActivityLogGeometry al);

// Checks a superblock's offsets against the device it was read from, as
// kernel DRBD does at attach, and that its bitmap covers its last agreed size.
Result<Layout> layout_of_superblock(const Superblock& superblock, Placement placement, Sector metadata_device_size);

// A superblock of a new node with this layout: just created, not consistent.
Superblock superblock_for_creation(const Layout& layout);

// The largest size this node can offer its peer.  `data_device_size` is the
// size of the backing device; for internal metadata the same device.
Sector capacity_max(const Layout& layout, Sector data_device_size);

// Where DRBD 0.7 kept internal metadata (128 MiB from the end); to find and
// refuse, or wipe, what is left of it.  False if the device is too small.
bool v07_internal_position(Sector device_size, Sector& position);

}  // namespace drbd::metafmt
