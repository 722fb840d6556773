// SPDX-License-Identifier: GPL-2.0-or-later
// Layouts: positions that drbdmeta was seen to choose, capacities, and a table
// of superblocks whose offsets cannot be right.
#include "metafmt/layout.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "metafmt/bitmap_layout.h"

using namespace drbd;
using namespace drbd::metafmt;

namespace {

Layout created(Placement placement, uint64_t size, ActivityLogGeometry al = {}) {
    auto layout = layout_for_creation(placement, Sector(size), al);
    EXPECT_TRUE(layout.ok()) << (layout.ok() ? "" : layout.error().text);
    return layout.value();
}

TEST(Layout, InternalKnownSizes) {
    struct Row {
        uint64_t size;
        ActivityLogGeometry al;
        uint64_t superblock;
        int32_t al_offset, bm_offset;
        uint64_t md_size, capacity;
    };
    const Row rows[] = {
        {2097152, {1, 8}, 2097144, -64, -128, 136, 2097016},
        {2097155, {1, 8}, 2097144, -64, -136, 144, 2097008},
        {20971520, {1, 8}, 20971512, -64, -704, 712, 20970808},
        {614400, {2, 16}, 614392, -256, -280, 288, 614112},
        {131072, {1, 8}, 131064, -64, -72, 80, 130992},
        {2048, {1, 8}, 2040, -64, -72, 80, 1968},
        {34359738368, {1, 8}, 34359738360, -64, -1048640, 1048648, 34358689720},
    };
    for (const Row& row : rows) {
        const Layout layout = created(Placement::internal(), row.size, row.al);
        EXPECT_EQ(layout.superblock.value, row.superblock) << row.size;
        EXPECT_EQ(layout.al_offset, row.al_offset) << row.size;
        EXPECT_EQ(layout.bm_offset, row.bm_offset) << row.size;
        EXPECT_EQ(layout.md_size.value, row.md_size) << row.size;
        EXPECT_EQ(capacity_max(layout, Sector(row.size)).value, row.capacity) << row.size;
        EXPECT_EQ(layout.activity_log.value, row.superblock - static_cast<uint64_t>(-row.al_offset));
        EXPECT_EQ(layout.bitmap.value, row.superblock - static_cast<uint64_t>(-row.bm_offset));
        EXPECT_EQ(layout.first_sector(), layout.bitmap);
    }
}

TEST(Layout, InternalAreasCoverTheirPurposeAtEverySize) {
    for (uint64_t size = 400; size < 200000; size += 7) {
        const Layout layout = created(Placement::internal(), size);
        ASSERT_EQ(layout.bitmap + layout.bitmap_size, layout.activity_log) << size;
        ASSERT_EQ(layout.activity_log + layout.al.size(), layout.superblock) << size;
        ASSERT_LE(layout.superblock.value + 8, size);
        ASSERT_GE(bitmap_covers(layout.bitmap_size), capacity_max(layout, Sector(size))) << size;
    }
}

TEST(Layout, ExternalFlexible) {
    const Layout layout = created(Placement::flexible_external(), 2048);
    EXPECT_EQ(layout.superblock.value, 0u);
    EXPECT_EQ(layout.al_offset, 8);
    EXPECT_EQ(layout.bm_offset, 72);
    EXPECT_EQ(layout.md_size.value, 2048u);
    EXPECT_EQ(capacity_max(layout, Sector(1ull << 40)).value, (2048u - 72u) * 32768u);
    EXPECT_EQ(capacity_max(layout, Sector(12345)).value, 12345u);
    EXPECT_EQ(capacity_max(layout, Sector(0)).value, 0u);
    const Layout striped = created(Placement::flexible_external(), 2048, {4, 8});
    EXPECT_EQ(striped.bm_offset, 8 + 256);
}

TEST(Layout, ExternalIndexed) {
    const Layout layout = created(Placement::indexed_external(3), 4 * 262144);
    EXPECT_EQ(layout.superblock.value, 3u * 262144);
    EXPECT_EQ(layout.al_offset, 8);
    EXPECT_EQ(layout.bm_offset, 72);
    EXPECT_EQ(layout.md_size.value, 262144u);
    EXPECT_EQ(capacity_max(layout, Sector(1ull << 40)).value, 8587575296u);
    EXPECT_EQ(bitmap_covers(layout.bitmap_size).value, 8587575296u);
}

TEST(Layout, CreationRefusals) {
    struct Row {
        const char* name;
        Placement placement;
        uint64_t size;
        ActivityLogGeometry al;
        ErrorCode code;
    };
    const Row rows[] = {
        {"nothing", Placement::internal(), 0, {}, ErrorCode::TooSmall},
        {"seven sectors", Placement::internal(), 7, {}, ErrorCode::TooSmall},
        {"a superblock alone", Placement::internal(), 8, {}, ErrorCode::TooSmall},
        {"no room for data", Placement::internal(), 80, {}, ErrorCode::TooSmall},
        {"flexible, no bitmap", Placement::flexible_external(), 72, {}, ErrorCode::TooSmall},
        {"flexible, empty", Placement::flexible_external(), 0, {}, ErrorCode::TooSmall},
        {"slot outside", Placement::indexed_external(1), 2 * 262144 - 1, {}, ErrorCode::TooSmall},
        {"slot outside by far", Placement::indexed_external(0xffffffff), 262144, {}, ErrorCode::TooSmall},
        {"indexed with stripes", Placement::indexed_external(0), 262144, {2, 8}, ErrorCode::Invalid},
        {"zero stripes", Placement::internal(), 1 << 20, {0, 8}, ErrorCode::Invalid},
        {"ring too small", Placement::internal(), 1 << 20, {1, 7}, ErrorCode::Invalid},
        {"ring too big", Placement::internal(), 1 << 20, {2, 4194304}, ErrorCode::Invalid},
        {"ring bigger than device", Placement::internal(), 1 << 20, {1, 262144}, ErrorCode::TooSmall},
        {"offsets overflow", Placement::internal(), 1ull << 50, {}, ErrorCode::Invalid},
        {"size overflows", Placement::flexible_external(), 1ull << 32, {}, ErrorCode::Invalid},
    };
    for (const Row& row : rows) {
        auto layout = layout_for_creation(row.placement, Sector(row.size), row.al);
        ASSERT_FALSE(layout.ok()) << row.name;
        EXPECT_EQ(layout.error().code, row.code) << row.name << ": " << layout.error().text;
    }
}

TEST(Layout, CreatedSuperblockPassesItsOwnCheck) {
    struct Row {
        Placement placement;
        ActivityLogGeometry al;
    };
    const Row rows[] = {{Placement::internal(), {}},
                        {Placement::internal(), {4, 16}},
                        {Placement::flexible_external(), {}},
                        {Placement::flexible_external(), {3, 5}},
                        {Placement::indexed_external(0), {}},
                        {Placement::indexed_external(1), {}}};
    for (const Row& row : rows) {
        const Sector device(600001);
        const Layout layout = created(row.placement, device.value, row.al);
        Superblock sb = superblock_for_creation(layout);
        EXPECT_TRUE(sb.is_clean());
        EXPECT_EQ(sb.uuids.current, 4u);
        sb.la_size = std::min(capacity_max(layout, device), Sector(device));
        auto again = layout_of_superblock(sb, row.placement, device);
        ASSERT_TRUE(again.ok()) << again.error().text;
        EXPECT_EQ(again.value().superblock, layout.superblock);
        EXPECT_EQ(again.value().activity_log, layout.activity_log);
        EXPECT_EQ(again.value().bitmap, layout.bitmap);
        EXPECT_EQ(again.value().bitmap_size, layout.bitmap_size);
        EXPECT_EQ(again.value().md_size, layout.md_size);
    }
}

TEST(Layout, SuperblockRejectionTable) {
    const Placement internal = Placement::internal();
    const Placement flexible = Placement::flexible_external();
    const Placement indexed = Placement::indexed_external(0);
    struct Row {
        const char* name;
        Placement placement;
        std::function<void(Superblock&)> damage;
        const char* says;
    };
    const Row rows[] = {
        {"positive al_offset", internal, [](Superblock& sb) { sb.al_offset = 8; }, "negative al_offset"},
        {"zero al_offset", internal, [](Superblock& sb) { sb.al_offset = 0; }, "negative al_offset"},
        {"bitmap behind the log", internal, [](Superblock& sb) { sb.bm_offset = -32; }, "before the activity log"},
        {"no bitmap", internal, [](Superblock& sb) { sb.bm_offset = -64; }, "before the activity log"},
        {"positive bm_offset", internal, [](Superblock& sb) { sb.bm_offset = 72; }, "before the activity log"},
        {"log and stripes disagree", internal, [](Superblock& sb) { sb.al = {2, 8}; }, "disagree"},
        {"log off by one", internal, [](Superblock& sb) { sb.al_offset = -65; }, "disagree"},
        {"bitmap unaligned", internal, [](Superblock& sb) { sb.bm_offset -= 1; }, "multiple of 8"},
        {"md_size_sect wrong", internal, [](Superblock& sb) { sb.md_size_sect += 8; }, "md_size_sect"},
        {"bitmap before the device", internal,
         [](Superblock& sb) {
             sb.bm_offset = -(1 << 30);
             sb.md_size_sect = (1 << 30) + 8;
         },
         "before the device"},
        {"lowest offsets", internal,
         [](Superblock& sb) {
             sb.al_offset = INT32_MIN;
             sb.bm_offset = INT32_MIN;
         },
         "before the activity log"},
        {"bitmap too short", internal, [](Superblock& sb) { sb.la_size = Sector(100ull << 30); }, "cannot cover"},
        {"la_size at its limit", internal, [](Superblock& sb) { sb.la_size = Sector(~0ull); }, "cannot cover"},
        {"external with internal offsets", flexible, [](Superblock& sb) { sb.al_offset = -64; }, "al_offset 8"},
        {"bitmap over log", flexible, [](Superblock& sb) { sb.bm_offset = 64; }, "overlaps"},
        {"gap behind log", flexible, [](Superblock& sb) { sb.bm_offset = 80; }, "disagree"},
        {"bigger than device", flexible, [](Superblock& sb) { sb.md_size_sect = 600001 + 8; }, "does not fit"},
        {"smaller than its offsets", flexible, [](Superblock& sb) { sb.md_size_sect = 72; }, "does not fit"},
        {"too short for la_size", flexible, [](Superblock& sb) { sb.la_size = Sector(1ull << 40); }, "cannot cover"},
        {"indexed with stripes", indexed,
         [](Superblock& sb) {
             sb.al = {2, 8};
             sb.bm_offset = 136;
         },
         "1 x 8"},
        {"indexed with other size", indexed, [](Superblock& sb) { sb.md_size_sect = 262136; }, "262144"},
    };
    for (const Row& row : rows) {
        const Sector device(600001);
        Superblock sb = superblock_for_creation(created(row.placement, device.value));
        row.damage(sb);
        auto layout = layout_of_superblock(sb, row.placement, device);
        ASSERT_FALSE(layout.ok()) << row.name;
        EXPECT_EQ(layout.error().code, ErrorCode::Corrupt) << row.name;
        EXPECT_NE(std::string(layout.error().text).find(row.says), std::string::npos)
            << row.name << ": " << layout.error().text;
    }
}

TEST(Layout, IndexedSlotPartlyOutsideTheDevice) {
    const Superblock sb = superblock_for_creation(created(Placement::indexed_external(1), 2 * 262144));
    auto layout = layout_of_superblock(sb, Placement::indexed_external(1), Sector(2 * 262144 - 8));
    ASSERT_FALSE(layout.ok());
    EXPECT_EQ(layout.error().code, ErrorCode::Corrupt);
}

TEST(Layout, V07InternalPosition) {
    Sector position;
    EXPECT_FALSE(v07_internal_position(Sector(262143), position));
    ASSERT_TRUE(v07_internal_position(Sector(262151), position));
    EXPECT_EQ(position.value, 0u);
    ASSERT_TRUE(v07_internal_position(Sector(2097152), position));
    EXPECT_EQ(position.value, 2097152u - 262144u);
}

}  // namespace
