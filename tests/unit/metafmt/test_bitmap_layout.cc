// SPDX-License-Identifier: GPL-2.0-or-later
// Bitmap arithmetic: sizes, where an extent's bits are, the end of the device.
#include "metafmt/bitmap_layout.h"

#include <gtest/gtest.h>

#include <vector>

using namespace drbd;
using namespace drbd::metafmt;

namespace {

TEST(BitmapLayout, SizesTable) {
    struct Row {
        uint64_t size, bits, bytes, sectors_on_disk;
    };
    const Row rows[] = {
        {0, 0, 0, 0},
        {1, 1, 8, 8},
        {8, 1, 8, 8},
        {9, 2, 8, 8},
        {512, 64, 8, 8},
        {513, 65, 16, 8},
        {32768 * 8, 32768, 4096, 8},
        {32768 * 8 + 1, 32769, 4104, 16},
        {2097016, 262127, 32768, 64},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(bitmap_bits(Sector(row.size)), row.bits) << row.size;
        EXPECT_EQ(bitmap_bytes(Sector(row.size)).value, row.bytes) << row.size;
        EXPECT_EQ(bitmap_sectors_on_disk(Sector(row.size)).value, row.sectors_on_disk) << row.size;
    }
}

TEST(BitmapLayout, ExtentIs128Bytes) {
    EXPECT_EQ(bitmap_position_of_extent(0).value, 0u);
    EXPECT_EQ(bitmap_position_of_extent(7).value, 896u);
    EXPECT_EQ(bitmap_position_of_extent(0xfffffffe).value, 0xfffffffeull * 128);
}

TEST(BitmapLayout, ClearsEveryBitPastTheEndAndNoOther) {
    for (uint64_t bits = 0; bits <= 256; bits++) {
        std::vector<uint8_t> bitmap(32, 0xff);
        clear_bits_past_end(bitmap, bits);
        for (uint64_t bit = 0; bit < 256; bit++)
            ASSERT_EQ((bitmap[bit / 8] >> (bit % 8)) & 1, bit < bits ? 1 : 0) << bits << " " << bit;
    }
}

TEST(BitmapLayout, SetExtentCountsNewBitsAndStopsAtTheEnd) {
    std::vector<uint8_t> bitmap(256);
    bitmap[128] = 0x0f;
    EXPECT_EQ(set_extent(bitmap, Bytes(0), 1, 1024 + 13), 13u - 4u);
    EXPECT_EQ(bitmap[127], 0);
    EXPECT_EQ(bitmap[128], 0xff);
    EXPECT_EQ(bitmap[129], 0x1f);
    EXPECT_EQ(bitmap[130], 0);
    EXPECT_EQ(set_extent(bitmap, Bytes(0), 1, 1024 + 13), 0u);
    EXPECT_EQ(set_extent(bitmap, Bytes(0), 2, 1024 + 13), 0u);
}

TEST(BitmapLayout, SetExtentTouchesOnlyTheWindow) {
    std::vector<uint8_t> window(100);
    EXPECT_EQ(set_extent(window, Bytes(150), 1, 1 << 20), 100u * 8);
    EXPECT_EQ(set_extent(window, Bytes(150), 0xffffffff, 1 << 20), 0u);
    std::vector<uint8_t> before(8);
    EXPECT_EQ(set_extent(before, Bytes(0), 1, 1 << 20), 0u);
}

}  // namespace
