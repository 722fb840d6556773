// SPDX-License-Identifier: GPL-2.0-or-later
// Disks that fail during a resync, or are gone: bits stay where blocks may
// differ, the resync comes to an end, and nothing is left behind.
#include <gtest/gtest.h>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

struct Case {
    const char* name;
    Faults source, target;
    bool writes;
};

class Failing : public testing::TestWithParam<Case> {};

TEST_P(Failing, KeepsTheBits) {
    const Case& c = GetParam();
    unsigned failed = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed);
        pair.make_different(16);
        pair.a.faults = c.source;
        pair.b.faults = c.target;
        if (c.writes) {
            pair.writer = &pair.a;
            pair.writes_left = 60;
        }
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.a.error, "");
        EXPECT_EQ(pair.b.error, "");
        EXPECT_EQ(pair.b.answered, 1u);
        EXPECT_EQ(pair.unmarked_differences(), 0u);
        if (!c.writes) {
            EXPECT_EQ(pair.b.answered_failed, pair.b.disk.bitmap.count());
            EXPECT_EQ(pair.a.disk.bitmap.count(), pair.b.disk.bitmap.count());
            EXPECT_EQ(pair.a.resync.progress(pair.now_ms).failed_blocks, pair.b.answered_failed);
        }
        failed += pair.b.answered_failed != 0;
        pair.cut();
        pair.finish_io();
        EXPECT_EQ(pair.unmarked_differences(), 0u);
        pair.reconnect();
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.differences(), 0u);
        EXPECT_EQ(pair.a.disk.bitmap.count() + pair.b.disk.bitmap.count(), 0u);
        ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(failed, 5u);
}

INSTANTIATE_TEST_SUITE_P(
    All, Failing,
    testing::Values(Case{"reads", {.read_error = 10}, {}, false}, Case{"writes", {}, {.write_error = 10}, false},
                    Case{"flushes", {}, {.flush_error = 2}, false},
                    Case{"all", {.read_error = 20}, {.write_error = 20, .flush_error = 5}, false},
                    Case{"with_guest_writes", {.read_error = 20, .write_error = 10}, {.write_error = 10}, true}),
    [](const auto& row) { return row.param.name; });

// The hub's abort when a disk is gone while the link stays: every request of
// the target and every answer of the source still gets its answer.
TEST(Resync, TheDiskOfOneSideGoesAway) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed);
        pair.make_different(20);
        pair.exchange_bitmaps();
        const unsigned steps = static_cast<unsigned>(pair.random() % 600);
        pair.run([] { return false; }, steps);
        Node& node = seed % 2 ? pair.a : pair.b;
        (seed % 2 ? node.may_read : node.may_write) = false;
        node.resync.abort();
        node.pump();
        const bool source_lost = seed % 2;
        pair.run([&] { return pair.at_rest() && pair.b.answered != 0; }, 100'000);
        EXPECT_EQ(pair.a.error, "");
        EXPECT_EQ(pair.b.error, "");
        EXPECT_EQ(pair.unmarked_differences(), 0u);
        if (source_lost && pair.b.resync.is_running())
            EXPECT_EQ(pair.b.answered, 1u);
        pair.a.resync.abort();
        pair.b.resync.abort();
        EXPECT_EQ(pair.a.requests.in_use(), 0u);
        EXPECT_EQ(pair.b.requests.in_use(), 0u);
        EXPECT_EQ(pair.a.guest.locks() + pair.b.guest.locks(), 0u);
        pair.a.may_read = pair.b.may_write = true;
        pair.cut();
        pair.finish_io();
        pair.reconnect();
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.differences(), 0u);
        ASSERT_FALSE(HasFailure());
    }
}

// What the target has asked for it is owed until the answer comes, or the link goes: no other resync may begin before.
TEST(Resync, AnswersThatAreOwed) {
    unsigned owed = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        Pair pair(seed);
        pair.make_different(20);
        pair.exchange_bitmaps();
        pair.run([] { return false; }, static_cast<unsigned>(pair.random() % 600));
        EXPECT_EQ(pair.b.resync.owed_since_ms(), UINT64_MAX) << "it is running";
        const bool asked = pair.b.resync.oldest_asked_ms() != UINT64_MAX;
        pair.b.may_write = false;
        pair.b.resync.abort();
        EXPECT_EQ(pair.b.resync.owed_since_ms() != UINT64_MAX, asked);
        owed += asked;
        if (seed % 2)
            pair.run([&] { return pair.at_rest() && pair.b.resync.owed_since_ms() == UINT64_MAX; }, 100'000);
        else
            pair.cut();
        EXPECT_EQ(pair.b.resync.owed_since_ms(), UINT64_MAX);
        pair.finish_io();
    }
    EXPECT_GT(owed, 10u);
}

// A target that does not flush loses its disk and not its connection.
TEST(Resync, WhatALostDiskHadAcknowledgedIsMarkedAgain) {
    Pair pair(3);
    pair.make_different(20);
    const uint64_t different = pair.a.disk.bitmap.count();
    pair.exchange_bitmaps();
    pair.run([&] { return pair.a.disk.bitmap.count() < different / 2; }, 100'000);
    const uint64_t left = pair.a.disk.bitmap.count();
    ASSERT_LT(left, different);
    EXPECT_TRUE(pair.a.resync.on_peer_disk_lost());
    EXPECT_GE(pair.a.disk.bitmap.count(), different) << "by extents";
    EXPECT_FALSE(pair.a.resync.on_peer_disk_lost());
    pair.cut();
    pair.finish_io();
}

}  // namespace
}  // namespace drbd::test
