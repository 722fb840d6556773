// SPDX-License-Identifier: GPL-2.0-or-later
// A target that does not flush: what it acknowledged is marked again unless a
// barrier that was sent afterwards has been acknowledged.
#include <gtest/gtest.h>

#include "core/resync/progress.h"
#include "core/resync/unconfirmed.h"
#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

constexpr uint64_t kSectors = 20 * kExtentSize / kSectorSize;

struct Remembered : testing::Test {
    Remembered() {
        EXPECT_TRUE(bitmap.allocate(Sector(kSectors)).ok());
        EXPECT_TRUE(unconfirmed.prepare(Sector(kSectors)).ok());
    }
    void acknowledge(unsigned extent) {
        unconfirmed.on_acknowledged(extent * kExtentSize + 8192, extent * kExtentSize + 12288, 100 + extent);
    }
    std::vector<unsigned> marked_again() {
        unconfirmed.mark_again(bitmap);
        std::vector<unsigned> extents;
        for (unsigned extent = 0; extent < 20; extent++)
            if (bitmap.count(extent * kBlocksPerExtent, (extent + 1) * kBlocksPerExtent) == kBlocksPerExtent)
                extents.push_back(extent);
        EXPECT_EQ(bitmap.count(), extents.size() * kBlocksPerExtent);
        EXPECT_TRUE(unconfirmed.empty());
        return extents;
    }
    Bitmap bitmap;
    Unconfirmed unconfirmed;
};

TEST_F(Remembered, WithoutABarrier) {
    acknowledge(3);
    acknowledge(17);
    EXPECT_EQ(unconfirmed.oldest_ms(), 103u);
    EXPECT_EQ(marked_again(), (std::vector<unsigned>{3, 17}));
    EXPECT_EQ(unconfirmed.oldest_ms(), UINT64_MAX);
}

TEST_F(Remembered, ABarrierConfirmsWhatCameBeforeIt) {
    acknowledge(1);
    unconfirmed.on_barrier_sent(5);
    acknowledge(2);
    EXPECT_EQ(unconfirmed.oldest_ms(), UINT64_MAX);
    unconfirmed.on_barrier_acknowledged(4);  // an earlier one: sent before the acknowledgement came
    unconfirmed.on_barrier_acknowledged(5);
    EXPECT_EQ(unconfirmed.oldest_ms(), 102u);
    EXPECT_EQ(marked_again(), std::vector<unsigned>{2});
}

TEST_F(Remembered, AnEarlierBarrierConfirmsNothing) {
    unconfirmed.on_barrier_sent(4);
    acknowledge(1);
    unconfirmed.on_barrier_acknowledged(4);
    EXPECT_EQ(marked_again(), std::vector<unsigned>{1});
}

TEST_F(Remembered, BarriersThatFollowEachOther) {
    acknowledge(1);
    unconfirmed.on_barrier_sent(5);
    acknowledge(2);
    unconfirmed.on_barrier_sent(6);  // one is waited for at a time
    acknowledge(3);
    unconfirmed.on_barrier_acknowledged(6);  // and so 5
    unconfirmed.on_barrier_sent(7);
    acknowledge(4);
    unconfirmed.on_barrier_acknowledged(8);
    EXPECT_EQ(marked_again(), std::vector<unsigned>{4});
}

TEST_F(Remembered, NothingIsForgottenByAnotherBegin) {
    acknowledge(9);
    ASSERT_TRUE(unconfirmed.prepare(Sector(kSectors)).ok());
    EXPECT_EQ(marked_again(), std::vector<unsigned>{9});
}

TEST_F(Remembered, ARangeOverTwoExtentsAndTheEnd) {
    unconfirmed.on_acknowledged(5 * kExtentSize - 4096, 5 * kExtentSize + 4096, 1);
    unconfirmed.on_acknowledged(19 * kExtentSize, 25 * kExtentSize, 1);
    unconfirmed.on_acknowledged(30 * kExtentSize, 31 * kExtentSize, 1);
    EXPECT_EQ(marked_again(), (std::vector<unsigned>{4, 5, 19}));
}

// The whole road: acknowledged, and the peer is lost.
TEST(Resync, ALostPeerMayHaveLostWhatItAcknowledged) {
    for (bool confirmed : {false, true}) {
        Pair pair(2);
        pair.trusts_target = false;
        pair.make_different(10);
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.a.disk.bitmap.count(), 0u);
        EXPECT_FALSE(pair.a.resync.wants_confirmation());
        EXPECT_LE(pair.a.resync.next_deadline_ms(), pair.now_ms + kResyncConfirmMs);
        pair.now_ms += kResyncConfirmMs;
        pair.a.pump();
        EXPECT_TRUE(pair.a.resync.wants_confirmation());
        EXPECT_EQ(pair.a.resync.next_deadline_ms(), UINT64_MAX);
        pair.a.resync.on_barrier_sent(1);
        EXPECT_FALSE(pair.a.resync.wants_confirmation());
        if (confirmed)
            pair.a.resync.on_barrier_acknowledged(1);
        pair.cut();
        EXPECT_EQ(pair.a.disk.bitmap.count(), confirmed ? 0 : pair.a.disk.bitmap.bits());
        EXPECT_EQ(pair.b.disk.bitmap.count(), 0u);
    }
}

TEST(Progress, RateAndEstimate) {
    ProgressMeter meter;
    meter.begin(100'000, 5000);
    ResyncProgress progress;
    meter.fill(progress, 100'000, 5000);
    EXPECT_EQ(progress.total_blocks, 100'000u);
    EXPECT_EQ(progress.started_ms, 5000u);
    EXPECT_EQ(progress.rate_bytes, 0u);
    EXPECT_EQ(progress.eta_ms, UINT64_MAX);
    uint64_t now = 5000, left = 100'000;
    const auto go = [&](unsigned seconds, uint64_t blocks_a_second) {
        for (unsigned i = 0; i < seconds * 10; i++) {
            now += 100;
            left -= blocks_a_second / 10;
            meter.update(left, now);
        }
        progress = {};
        meter.fill(progress, left, now);
    };
    go(3, 1000);
    EXPECT_NEAR(static_cast<double>(progress.rate_bytes), 1000 * 4096.0, 4096);
    EXPECT_EQ(progress.left_blocks, 97'000u);
    EXPECT_NEAR(static_cast<double>(progress.eta_ms), 97'000, 200);
    go(10, 100);  // the fast beginning is forgotten
    EXPECT_NEAR(static_cast<double>(progress.rate_bytes), 100 * 4096.0, 4096);
    meter.fill(progress, left, now + 5000);  // it stands still
    EXPECT_LT(progress.rate_bytes, 60 * 4096u);
    progress = {};
    meter.fill(progress, left + 5000, now);  // the guest makes more differ than is synced
    EXPECT_EQ(progress.rate_bytes, 0u);
    EXPECT_EQ(progress.eta_ms, UINT64_MAX);
}

}  // namespace
}  // namespace drbd::test
