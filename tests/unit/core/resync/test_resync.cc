// SPDX-License-Identifier: GPL-2.0-or-later
// A whole resync between two nodes, in orders drawn from seeds.
#include <gtest/gtest.h>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

constexpr wire::Features kNoThin{wire::kFeaturesKnown & ~static_cast<uint32_t>(wire::Feature::ThinResync)};

void expect_in_sync(Pair& pair) {
    EXPECT_EQ(pair.a.error, "");
    EXPECT_EQ(pair.b.error, "");
    EXPECT_EQ(pair.b.answered, 1u);
    EXPECT_EQ(pair.b.answered_failed, 0u);
    EXPECT_EQ(pair.a.disk.bitmap.count(), 0u);
    EXPECT_EQ(pair.b.disk.bitmap.count(), 0u);
    EXPECT_EQ(pair.differences(), 0u);
    EXPECT_EQ(pair.a.requests.in_use(), 0u);
    EXPECT_EQ(pair.b.requests.in_use(), 0u);
    EXPECT_EQ(pair.a.guest.locks(), 0u);
    EXPECT_EQ(pair.b.guest.locks(), 0u);
}

TEST(Resync, MakesTheTargetEqual) {
    for (uint64_t seed = 0; seed < 18; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed, 8192 - seed % 9, {101, seed % 2 ? kNoThin : wire::Features{wire::kFeaturesKnown}});
        pair.make_different(12);
        ASSERT_GT(pair.differences(), 0u);
        pair.exchange_bitmaps(seed % 3 ? wire::RunLengths::On : wire::RunLengths::Off);
        ASSERT_TRUE(pair.run_to_the_end());
        expect_in_sync(pair);
        EXPECT_EQ(pair.a.bitmaps_exchanged, 1u);
        EXPECT_EQ(pair.b.bitmaps_exchanged, 1u);
        EXPECT_EQ(pair.a.statuses != 0, seed % 2 == 0);
    }
}

TEST(Resync, NothingToDoIsAnsweredOnce) {
    Pair pair(1);
    pair.exchange_bitmaps();
    ASSERT_TRUE(pair.run_to_the_end());
    expect_in_sync(pair);
    EXPECT_EQ(pair.b.flushes, 0u);
}

TEST(Resync, WithAWriterOnTheSource) {
    for (uint64_t seed = 0; seed < 30; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed);
        pair.make_different(12);
        pair.writer = &pair.a;
        pair.writes_left = 100;
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        expect_in_sync(pair);
        EXPECT_EQ(pair.a.guest.completed(), 100u);
    }
}

TEST(Resync, WithAWriterOnTheTarget) {
    for (uint64_t seed = 0; seed < 30; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed);
        pair.make_different(12);
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run([&] { return pair.b.resync.is_running(); }));
        pair.writer = &pair.b;
        pair.writes_left = 100;
        ASSERT_TRUE(pair.run_to_the_end());
        expect_in_sync(pair);
        EXPECT_EQ(pair.b.guest.completed(), 100u);
    }
}

}  // namespace
}  // namespace drbd::test
