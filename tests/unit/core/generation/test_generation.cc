// SPDX-License-Identifier: GPL-2.0-or-later
// Identifiers of data generations.
#include <gtest/gtest.h>

#include <set>

#include "core/generation/generation.h"

namespace drbd {
namespace {

TEST(Generation, ANewOneKeepsTheOldAsTheBitmaps) {
    Random random(1, 2);
    Uuids old;
    old.current = 0x1111;
    old.history[0] = 0x3330;
    old.history[1] = 0x4440;
    const Uuids next = with_new_generation(old, random);
    EXPECT_EQ(next.bitmap, 0x1111u);
    EXPECT_FALSE(same_generation(next.current, old.current));
    EXPECT_EQ(next.current & kUuidPrimaryBit, 0u);
    EXPECT_EQ(next.history[0], 0x3330u);
    EXPECT_EQ(next.history[1], 0x4440u);
}

// A peer that still has what the bitmap counted from must be known afterwards.
TEST(Generation, ASecondOneInARowGoesThroughTheHistory) {
    Random random(1, 2);
    const Uuids next = with_new_generation({.current = 0x10, .bitmap = 0x20, .history = {0x30, 0x40}}, random);
    EXPECT_EQ(next.bitmap, 0x10u);
    EXPECT_EQ(next.history[0], 0x20u);
    EXPECT_EQ(next.history[1], 0x30u);
    const Uuids fresh = with_new_generation({.current = 0x10, .bitmap = 4, .history = {0, 0}}, random);
    EXPECT_EQ(fresh.history[0], 0u) << "just created is nobody's generation";
}

TEST(Generation, NewOnesAreNeverAReservedValueAndRepeatWithTheSeed) {
    Random a(5, 6), b(5, 6), other(5, 7);
    std::set<uint64_t> seen;
    unsigned equal_to_other = 0;
    for (int i = 0; i < 1000; i++) {
        const uint64_t uuid = with_new_generation({}, a).current;
        EXPECT_GT(uuid, 4u);
        EXPECT_EQ(uuid, with_new_generation({}, b).current);
        equal_to_other += uuid == with_new_generation({}, other).current;
        seen.insert(uuid);
    }
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_EQ(equal_to_other, 0u);
}

TEST(Generation, BitZeroFollowsTheRoleAndIsNoPartOfTheIdentity) {
    Uuids uuids;
    uuids.current = 0x1110;
    uuids.bitmap = 0x2221;
    EXPECT_EQ(with_role(uuids, true).current, 0x1111u);
    EXPECT_EQ(with_role(with_role(uuids, true), false), uuids);
    EXPECT_TRUE(same_generation(0x1110, 0x1111));
    EXPECT_FALSE(same_generation(0x1110, 0x1112));
}

TEST(Random, TheZeroSeedWorks) {
    Random random(0, 0);
    EXPECT_NE(random.next(), random.next());
}

}  // namespace
}  // namespace drbd
