// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any 4 KiB as a superblock, on a device of any size.
// What decodes is encoded and decoded to the same values; a layout that is taken
// has its three areas on the device and apart; a layout made for a new device is
// taken again when it is read back.
// Input: how much of the block is made right, size of the device, placement,
// stripes to create; then the block.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "input.h"
#include "metafmt/bitmap_layout.h"
#include "metafmt/layout.h"
#include "metafmt/probe.h"
#include "metafmt/superblock.h"

namespace {

using namespace drbd;
using namespace drbd::metafmt;

using BlockBytes = std::array<uint8_t, kBlockSize>;

struct Area {
    Sector first, size;
};

Area areas_of(const Layout& layout, unsigned i) {
    const Area areas[] = {{layout.superblock, Sector(kSectorsPerBlock)},
                          {layout.activity_log, layout.al.size()},
                          {layout.bitmap, layout.bitmap_size}};
    return areas[i];
}

void check_layout(const Layout& layout, Sector device) {
    for (unsigned i = 0; i < 3; i++) {
        const Area a = areas_of(layout, i);
        DRBD_ASSERT(a.first <= device && a.size.value <= device.value - a.first.value);
        for (unsigned j = 0; j < i; j++) {
            const Area b = areas_of(layout, j);
            DRBD_ASSERT(a.first + a.size <= b.first || b.first + b.size <= a.first);
        }
    }
    DRBD_ASSERT(capacity_max(layout, device) <= kCapacityMax);
    if (layout.placement.kind == PlacementKind::Internal)
        DRBD_ASSERT(capacity_max(layout, device) <= layout.first_sector());
}

void check_creation(Placement placement, Sector device, ActivityLogGeometry al) {
    const auto layout = layout_for_creation(placement, device, al);
    if (!layout)
        return;
    check_layout(layout.value(), device);
    Superblock superblock = superblock_for_creation(layout.value());
    superblock.la_size = capacity_max(layout.value(), device);
    BlockBytes block;
    encode_superblock(superblock, block);
    const auto decoded = decode_superblock(block);
    DRBD_ASSERT(decoded.ok());
    DRBD_ASSERT(decoded.value() == superblock);
    const auto again = layout_of_superblock(decoded.value(), placement, device);
    DRBD_ASSERT(again.ok());
    DRBD_ASSERT(again.value().bitmap == layout.value().bitmap && again.value().activity_log == layout.value().activity_log);
}

// The fields without which nothing else is looked at.
void make_right(BlockBytes& block, uint8_t how) {
    RawSuperblock raw;
    std::copy(block.begin(), block.end(), reinterpret_cast<uint8_t*>(&raw));
    if (how & 1)
        raw.magic = how & 2 ? kMagicV08Unclean : kMagicV08Clean;
    if (how & 4)
        raw.bm_bytes_per_bit = kBitmapBytesPerBit;
    if (how & 8) {
        raw.al_stripes = raw.al_stripes % 8;
        raw.al_stripe_size_4k = raw.al_stripe_size_4k % 64;
    }
    std::copy_n(reinterpret_cast<const uint8_t*>(&raw), sizeof raw, block.begin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::Input input(data, size);
    const uint8_t how = input.u8();
    const Sector device(input.u64() >> (how & 0x80 ? 0 : 32));
    const uint8_t kind = input.u8();
    const Placement placement = kind % 3 == 0   ? Placement::internal()
                                : kind % 3 == 1 ? Placement::flexible_external()
                                                : Placement::indexed_external(kind / 3);
    const ActivityLogGeometry al{input.u8(), input.u16()};
    if (device <= kCapacityMax)
        check_creation(placement, device, al);

    BlockBytes block{};
    input.fill(block);
    make_right(block, how);
    (void)probe_head(block);
    (void)name_of(probe_metadata(block));
    const auto decoded = decode_superblock(block);
    if (!decoded) {
        DRBD_ASSERT(decoded.error().text[0] != '\0');
        return 0;
    }
    DRBD_ASSERT(probe_metadata(block) == MetadataVersion::V08);
    (void)stored_disk_state(decoded.value().flags);
    BlockBytes encoded;
    encode_superblock(decoded.value(), encoded);
    const auto again = decode_superblock(encoded);
    DRBD_ASSERT(again.ok());
    DRBD_ASSERT(again.value() == decoded.value());
    const auto layout = layout_of_superblock(decoded.value(), placement, device);
    if (layout) {
        check_layout(layout.value(), device);
        DRBD_ASSERT(bitmap_covers(layout.value().bitmap_size) >= decoded.value().la_size);
    }
    return 0;
}
