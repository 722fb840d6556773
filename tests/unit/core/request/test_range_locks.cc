// SPDX-License-Identifier: GPL-2.0-or-later
// Range locks of a resync and writes of the guest: who waits for whom.
#include "request_world.h"

namespace drbd::test {
namespace {

struct RangeLocks : testing::Test, RangeLockListener {
    void on_range_locked(RangeLock& lock) override { granted.push_back(&lock); }
    void set(RangeLock& lock, uint64_t start, uint64_t end) {
        lock.range.start = start;
        lock.range.end = end;
        lock.listener = this;
    }
    RequestWorld w;
    RangeLock a, b;
    std::vector<RangeLock*> granted;
};

TEST_F(RangeLocks, AFreeRangeIsLockedAtOnceAndHoldsWritesBack) {
    set(a, 0, 8192);
    EXPECT_TRUE(w.io().lock_range(a));
    EXPECT_TRUE(a.held);
    EXPECT_TRUE(granted.empty());
    GuestWrite& g = w.write(4096);
    GuestWrite& other = w.write(8192);
    GuestWrite& r = w.read(0);
    EXPECT_EQ(g.step, DRBD_STEP_WAIT);
    EXPECT_EQ(other.step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(r.step, DRBD_STEP_SUBMIT);
    w.io().unlock_range(a);
    EXPECT_EQ(w.wake_all(), 1u);
    ASSERT_EQ(g.step, DRBD_STEP_SUBMIT);
    w.local_done(g);
    w.local_done(other);
    w.local_done(r);
    w.settle();
}

TEST_F(RangeLocks, OneWaitsForAWriteUntilItsPlaceIsCertain) {
    GuestWrite& g = w.write(0);
    set(a, 0, 4096);
    EXPECT_FALSE(w.io().lock_range(a));
    w.local_done(g);
    EXPECT_FALSE(a.held);
    w.ack(w.take().at(0));
    EXPECT_TRUE(a.held) << "image and peer have it; the confirmation is not needed";
    EXPECT_EQ(granted, std::vector<RangeLock*>{&a});
    w.io().unlock_range(a);
    w.settle();
}

TEST_F(RangeLocks, OrUntilThePeerIsLost) {
    GuestWrite& g = w.write(0);
    set(a, 0, 4096);
    EXPECT_FALSE(w.io().lock_range(a));
    w.local_done(g);
    w.take();
    w.lose_peer(false);
    EXPECT_TRUE(a.held);
    w.io().unlock_range(a);
}

TEST_F(RangeLocks, BelowAHundredAAndBHoldTheRangeUntilTheConfirmation) {
    RequestWorld old(ReplicationProtocol::A, {96, {0}});
    old.change([](Access& access) { access.may_set_in_sync = true; });
    GuestWrite& g = old.write(0);
    old.local_done(g);
    const auto sent = old.take();
    EXPECT_EQ(g.result, 0);
    set(a, 0, 4096);
    EXPECT_FALSE(old.io().lock_range(a));
    old.confirm(sent.at(1));
    EXPECT_TRUE(a.held);
    old.io().unlock_range(a);
}

TEST_F(RangeLocks, FirstComeFirstServed) {
    GuestWrite& first = w.write(0);
    set(a, 0, 8192);
    EXPECT_FALSE(w.io().lock_range(a));
    GuestWrite& behind = w.write(4096);  // free, but the lock was first
    EXPECT_EQ(behind.step, DRBD_STEP_WAIT);
    set(b, 4096, 12288);
    EXPECT_FALSE(w.io().lock_range(b));
    GuestWrite& last = w.write(8192);
    EXPECT_EQ(last.step, DRBD_STEP_WAIT);
    w.local_done(first);
    w.serve();
    EXPECT_TRUE(a.held);
    EXPECT_FALSE(b.held);
    EXPECT_EQ(behind.step, DRBD_STEP_WAIT);
    w.io().unlock_range(a);
    w.wake_all();
    ASSERT_EQ(behind.step, DRBD_STEP_SUBMIT);
    EXPECT_FALSE(b.held);
    w.local_done(behind);
    w.serve();
    EXPECT_TRUE(b.held);
    EXPECT_EQ(last.step, DRBD_STEP_WAIT);
    w.io().unlock_range(b);
    w.wake_all();
    w.local_done(last);
    w.settle();
    EXPECT_EQ(granted, (std::vector<RangeLock*>{&a, &b}));
}

TEST_F(RangeLocks, OneThatWaitsMayBeWithdrawn) {
    GuestWrite& first = w.write(0);
    set(a, 0, 8192);
    EXPECT_FALSE(w.io().lock_range(a));
    GuestWrite& behind = w.write(4096);
    w.io().unlock_range(a);
    w.wake_all();
    EXPECT_EQ(behind.step, DRBD_STEP_SUBMIT) << "nothing is in its way any more";
    w.io().unlock_range(a);  // no harm
    w.local_done(first);
    w.local_done(behind);
    w.settle();
    EXPECT_TRUE(granted.empty());
}

TEST_F(RangeLocks, WaitersOfOtherRangesPass) {
    GuestWrite& slow = w.write(0);
    GuestWrite& quick = w.write(kMiB);
    GuestWrite& behind_slow = w.write(0);
    GuestWrite& behind_quick = w.write(kMiB);
    const auto sent = w.take();
    w.local_done(quick);
    w.ack(sent[1]);
    EXPECT_EQ(behind_quick.step, DRBD_STEP_SUBMIT) << "the queue's head is another's business";
    EXPECT_EQ(behind_slow.step, DRBD_STEP_WAIT);
    w.local_done(slow);
    w.ack(sent[0]);
    w.local_done(behind_slow);
    w.local_done(behind_quick);
    w.settle();
}

TEST_F(RangeLocks, ManyWaitersAllGetTheirTurn) {
    RequestWorld many(ReplicationProtocol::C, {101, {15}}, 1024);
    set(a, 0, 32 * kMiB);
    ASSERT_TRUE(many.io().lock_range(a));
    std::vector<GuestWrite*> writes;
    for (uint64_t i = 0; i < 500; i++)
        writes.push_back(&many.write(i % 100 * 4096));
    many.io().unlock_range(a);
    many.wake_all();
    for (int round = 0; round < 10; round++) {
        for (GuestWrite* g : writes)
            if (!g->result && g->step == DRBD_STEP_SUBMIT)
                many.local_done(*g);
        many.serve();
    }
    for (GuestWrite* g : writes)
        EXPECT_EQ(g->result, 0);
    many.settle();
}

}  // namespace
}  // namespace drbd::test
