// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/layout.h"

#include <algorithm>
#include <cinttypes>
#include <cstdlib>
#include <limits>

#include "metafmt/bitmap_layout.h"

namespace drbd::metafmt {
namespace {

constexpr uint64_t kOffsetMax = std::numeric_limits<int32_t>::max();

Error too_small(Sector device, Sector needed, const char* what) {
    return Error::of(ErrorCode::TooSmall, "device of %" PRIu64 " sectors is too small for %s, which needs %" PRIu64,
                     device.value, what, needed.value);
}

// Everything that follows from superblock position, offsets and total size.
Layout assemble(Placement placement, ActivityLogGeometry al, Sector superblock, int64_t al_offset, int64_t bm_offset,
                Sector md_size) {
    Layout layout;
    layout.placement = placement;
    layout.al = al;
    layout.superblock = superblock;
    layout.activity_log = Sector(superblock.value + static_cast<uint64_t>(al_offset));
    layout.bitmap = Sector(superblock.value + static_cast<uint64_t>(bm_offset));
    layout.bitmap_size = al_offset < 0 ? Sector(static_cast<uint64_t>(al_offset - bm_offset))
                                       : Sector(md_size.value - static_cast<uint64_t>(bm_offset));
    layout.md_size = md_size;
    layout.al_offset = static_cast<int32_t>(al_offset);
    layout.bm_offset = static_cast<int32_t>(bm_offset);
    return layout;
}

Result<Layout> internal_for_creation(Sector superblock, Sector device, ActivityLogGeometry al) {
    const Sector bitmap = bitmap_sectors_on_disk(device);
    const uint64_t md_size = bitmap.value + kSectorsPerBlock + al.size().value;
    if (md_size >= superblock.value + kSectorsPerBlock)  // nothing left for data
        return too_small(device, Sector(md_size + 1), "internal metadata");
    if (md_size > kOffsetMax)
        return Error::of(ErrorCode::Invalid, "internal metadata of %" PRIu64 " sectors exceeds what a superblock can say",
                         md_size);
    return assemble(Placement::internal(), al, superblock, -static_cast<int64_t>(al.size().value),
                    static_cast<int64_t>(kSectorsPerBlock) - static_cast<int64_t>(md_size), Sector(md_size));
}

Result<Layout> flexible_for_creation(Sector device, ActivityLogGeometry al) {
    const Sector bitmap_at = Sector(kSectorsPerBlock) + al.size();
    if (device < bitmap_at + Sector(kSectorsPerBlock))
        return too_small(device, bitmap_at + Sector(kSectorsPerBlock), "external metadata");
    if (device.value > std::numeric_limits<uint32_t>::max())
        return Error::of(ErrorCode::Invalid, "metadata device of %" PRIu64 " sectors exceeds what a superblock can say",
                         device.value);
    return assemble(Placement::flexible_external(), al, Sector(0), kSectorsPerBlock,
                    static_cast<int64_t>(bitmap_at.value), device);
}

Result<Layout> indexed_for_creation(Placement placement, Sector superblock, Sector device, ActivityLogGeometry al) {
    if (al != ActivityLogGeometry{})
        return Error::of(ErrorCode::Invalid,
                         "indexed metadata has a fixed activity log of 32 KiB; stripes are for internal and flexible");
    if (device < superblock + kIndexedSlotSize)
        return Error::of(ErrorCode::TooSmall,
                         "device of %" PRIu64 " sectors has no slot %u: each index takes 262144 sectors (128 MiB)",
                         device.value, placement.index);
    return assemble(placement, al, superblock, kSectorsPerBlock,
                    static_cast<int64_t>(kSectorsPerBlock + kIndexedActivityLogSize.value), kIndexedSlotSize);
}

struct Check {
    bool ok;
    const char* text;
};

// Offsets as the superblock has them, before any position is computed.
Result<void> check_offsets(const Superblock& sb, Placement placement) {
    const int64_t al_size = static_cast<int64_t>(sb.al.size().value);
    const int64_t al = sb.al_offset;
    const int64_t bm = sb.bm_offset;
    const bool internal = placement.kind == PlacementKind::Internal;
    const bool indexed = placement.kind == PlacementKind::IndexedExternal;
    const Check checks[] = {
        {!internal || al < 0, "internal metadata needs a negative al_offset"},
        {!internal || bm < al, "internal metadata needs the bitmap before the activity log"},
        {!internal || -al == al_size, "the activity log's area and its stripes disagree"},
        {internal || al == static_cast<int64_t>(kSectorsPerBlock), "external metadata needs al_offset 8"},
        {internal || bm >= al + al_size, "the bitmap overlaps the activity log"},
        {internal || bm == al + al_size, "the activity log's area and its stripes disagree"},
        {bm % static_cast<int64_t>(kSectorsPerBlock) == 0, "bm_offset is no multiple of 8 sectors"},
        {!indexed || sb.al == ActivityLogGeometry{}, "indexed metadata needs an activity log of 1 x 8 blocks"},
        {!indexed || sb.md_size_sect == kIndexedSlotSize.value, "indexed metadata needs md_size_sect 262144"},
    };
    for (const Check& check : checks)
        if (!check.ok)
            return Error::of(ErrorCode::Corrupt, "superblock: %s (al_offset %d, bm_offset %d, md_size_sect %u, %u x %u)",
                             check.text, sb.al_offset, sb.bm_offset, sb.md_size_sect, sb.al.stripes,
                             sb.al.stripe_size_4k);
    return {};
}

}  // namespace

Result<Sector> superblock_position(Placement placement, Sector device) {
    switch (placement.kind) {
    case PlacementKind::Internal:
        if (device.value < kSectorsPerBlock)
            return too_small(device, Sector(kSectorsPerBlock), "a superblock");
        return Sector(round_down(device.value, kSectorsPerBlock) - kSectorsPerBlock);
    case PlacementKind::FlexibleExternal:
        if (device.value < kSectorsPerBlock)
            return too_small(device, Sector(kSectorsPerBlock), "a superblock");
        return Sector(0);
    case PlacementKind::IndexedExternal: {
        const Sector position = kIndexedSlotSize * placement.index;
        if (device < position + Sector(kSectorsPerBlock))
            return too_small(device, position + kIndexedSlotSize, "this index");
        return position;
    }
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

Result<Layout> layout_for_creation(Placement placement, Sector device, ActivityLogGeometry al) {
    if (auto checked = al.check(); !checked)
        return Error::of(ErrorCode::Invalid, "%s", checked.error().text);
    auto superblock = superblock_position(placement, device);
    if (!superblock)
        return superblock.error();
    switch (placement.kind) {
    case PlacementKind::Internal:
        return internal_for_creation(superblock.value(), device, al);
    case PlacementKind::FlexibleExternal:
        return flexible_for_creation(device, al);
    case PlacementKind::IndexedExternal:
        return indexed_for_creation(placement, superblock.value(), device, al);
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

Result<Layout> layout_of_superblock(const Superblock& sb, Placement placement, Sector device) {
    auto position = superblock_position(placement, device);
    if (!position)
        return position.error();
    if (auto checked = check_offsets(sb, placement); !checked)
        return checked.error();

    const Sector superblock = position.value();
    const bool internal = placement.kind == PlacementKind::Internal;
    const uint64_t reach = static_cast<uint64_t>(std::abs(static_cast<int64_t>(sb.bm_offset)));
    if (internal && reach > superblock.value)
        return Error::of(ErrorCode::Corrupt, "superblock: bitmap would begin %" PRIu64 " sectors before the device",
                         reach - superblock.value);
    const Sector md_size = internal ? Sector(reach + kSectorsPerBlock)
                           : placement.kind == PlacementKind::IndexedExternal ? kIndexedSlotSize
                                                                              : Sector(sb.md_size_sect);
    if (sb.md_size_sect != md_size.value)
        return Error::of(ErrorCode::Corrupt, "superblock: md_size_sect is %u, its offsets say %" PRIu64, sb.md_size_sect,
                         md_size.value);
    if (!internal && (md_size.value <= reach || superblock + md_size > device))
        return Error::of(ErrorCode::Corrupt,
                         "superblock: metadata of %" PRIu64 " sectors does not fit the device of %" PRIu64 " sectors",
                         md_size.value, device.value);

    const Layout layout = assemble(placement, sb.al, superblock, sb.al_offset, sb.bm_offset, md_size);
    if (bitmap_covers(layout.bitmap_size) < sb.la_size)
        return Error::of(ErrorCode::Corrupt,
                         "superblock: bitmap of %" PRIu64 " sectors cannot cover the last agreed size of %" PRIu64
                         " sectors",
                         layout.bitmap_size.value, sb.la_size.value);
    return layout;
}

Superblock superblock_for_creation(const Layout& layout) {
    Superblock superblock;
    superblock.uuids.current = kUuidJustCreated;
    superblock.flags.set(MdFlag::AlClean);
    superblock.md_size_sect = static_cast<uint32_t>(layout.md_size.value);
    superblock.al_offset = layout.al_offset;
    superblock.bm_offset = layout.bm_offset;
    superblock.al = layout.al;
    return superblock;
}

Sector capacity_max(const Layout& layout, Sector data_device_size) {
    switch (layout.placement.kind) {
    case PlacementKind::Internal:
        return std::min({kCapacityMax, layout.first_sector(), bitmap_covers(layout.bitmap_size)});
    case PlacementKind::FlexibleExternal:
        return std::min({kCapacityMax, data_device_size, bitmap_covers(layout.bitmap_size)});
    case PlacementKind::IndexedExternal:
        return std::min(kIndexedCapacityMax, data_device_size);
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

bool v07_internal_position(Sector device, Sector& position) {
    if (device < kIndexedSlotSize)
        return false;
    position = Sector(round_down(device.value, kSectorsPerBlock)) - kIndexedSlotSize;
    return true;
}

}  // namespace drbd::metafmt
