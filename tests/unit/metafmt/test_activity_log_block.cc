// SPDX-License-Identifier: GPL-2.0-or-later
// One block of the activity log: bytes, checksum, ring positions.
#include "metafmt/activity_log_block.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <vector>

using namespace drbd;
using namespace drbd::metafmt;

namespace {

TEST(ActivityLogBlock, InitializedIsWhatCreateMdWrites) {
    std::array<uint8_t, 4096> block;
    block.fill(0xee);
    encode_activity_log_initialized(block);
    std::array<uint8_t, 4096> expected{};
    const uint8_t head[] = {0x69, 0xcb, 0x65, 0xa2, 0, 0, 0, 0, 0x70, 0x9c, 0xc6, 0x51, 0xff, 0xff};
    std::memcpy(expected.data(), head, sizeof head);
    EXPECT_EQ(block, expected);
    auto view = decode_activity_log_block(block);
    ASSERT_TRUE(view.ok());
    EXPECT_TRUE(view.value().is_initialized());
}

TEST(ActivityLogBlock, TransactionBytes) {
    const ActivityLogUpdate updates[] = {{0, 6}, {0x102, 0x01020304}};
    std::vector<uint32_t> context(919, kExtentFree);
    context[0] = 5;
    context[918] = 0x0a0b0c0d;
    std::array<uint8_t, 4096> block;
    block.fill(0xee);
    encode_activity_log_transaction({0x11223344, updates, 1237, 0, context}, block);

    auto at = [&](size_t i) { return block[i]; };
    EXPECT_EQ(at(4), 0x11);
    EXPECT_EQ(at(7), 0x44);
    EXPECT_EQ(at(12), 0);
    EXPECT_EQ(at(15), 2);
    EXPECT_EQ(at(16), 0x04);
    EXPECT_EQ(at(17), 0xd5);
    EXPECT_EQ(at(36), 0);
    EXPECT_EQ(at(37), 0);
    EXPECT_EQ(at(38), 1);
    EXPECT_EQ(at(39), 2);
    EXPECT_EQ(at(40), 0xff);
    EXPECT_EQ(at(164 + 3), 6);
    EXPECT_EQ(at(168), 1);
    EXPECT_EQ(at(172), 0xff);
    EXPECT_EQ(at(420 + 3), 5);
    EXPECT_EQ(at(424), 0xff);
    EXPECT_EQ(at(4092), 0x0a);
    EXPECT_EQ(at(4095), 0x0d);

    auto view = decode_activity_log_block(block);
    ASSERT_TRUE(view.ok());
    EXPECT_TRUE(view.value().is_update());
    EXPECT_EQ(view.value().tr_number(), 0x11223344u);
    EXPECT_EQ(view.value().update(1).slot, 0x102);
    EXPECT_EQ(view.value().update(1).extent, 0x01020304u);
    EXPECT_EQ(view.value().update(2).slot, kSlotUnused);
    EXPECT_EQ(view.value().context(918), 0x0a0b0c0du);
}

TEST(ActivityLogBlock, AnyChangedByteIsNoticed) {
    const ActivityLogUpdate updates[] = {{0, 6}};
    const uint32_t context[] = {5};
    std::array<uint8_t, 4096> block;
    encode_activity_log_transaction({1, updates, 67, 0, context}, block);
    for (size_t i = 0; i < block.size(); i++) {
        block[i] ^= 0x40;
        auto view = decode_activity_log_block(block);
        ASSERT_FALSE(view.ok()) << i;
        EXPECT_EQ(view.error().code, i < 4 ? ErrorCode::NoMetadata : ErrorCode::Corrupt);
        block[i] ^= 0x40;
    }
    EXPECT_TRUE(decode_activity_log_block(block).ok());
}

TEST(ActivityLogBlock, PositionsVisitStripesInTurnAndEveryBlockOnce) {
    const ActivityLogGeometry striped{4, 3};
    const uint64_t expected[] = {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11};
    for (uint64_t position = 0; position < 12; position++)
        EXPECT_EQ(striped.block_at(position), expected[position]);
    for (ActivityLogGeometry al : {ActivityLogGeometry{1, 8}, {8, 1}, {2, 16}, {5, 7}}) {
        std::set<uint64_t> seen;
        for (uint64_t position = 0; position < al.blocks(); position++)
            seen.insert(al.block_at(position));
        EXPECT_EQ(seen.size(), al.blocks());
        EXPECT_EQ(*seen.rbegin(), al.blocks() - 1);
    }
    EXPECT_EQ((ActivityLogGeometry{1, 8}.position_of(0xffffffff)), 7u);
}

TEST(ActivityLogBlock, SlotsMax) {
    EXPECT_EQ((ActivityLogGeometry{1, 8}.slots_max()), 6433u);
    EXPECT_EQ((ActivityLogGeometry{1, 72}.slots_max()), 919u * 71);
    EXPECT_EQ((ActivityLogGeometry{1, 73}.slots_max()), 65534u);
}

TEST(ActivityLogBlock, ContextWrapsAtTheNumberOfSlots) {
    EXPECT_EQ(context_length(0, 1237), 919u);
    EXPECT_EQ(next_context_start(0, 1237), 919u);
    EXPECT_EQ(context_length(919, 1237), 318u);
    EXPECT_EQ(next_context_start(919, 1237), 0u);
    EXPECT_EQ(context_length(0, 67), 67u);
    EXPECT_EQ(next_context_start(0, 67), 0u);
    EXPECT_EQ(next_context_start(0, 919), 0u);
    EXPECT_EQ(next_context_start(0, 920), 919u);
}

}  // namespace
