// SPDX-License-Identifier: GPL-2.0-or-later
// The way of a write: access, overlap, activity log, and who waits for whom.
#include <cerrno>

#include "../node.h"

namespace drbd::test {
namespace {

constexpr uint64_t kExtent = 4 * kMiB;

struct Writes : testing::Test {
    Writes() { node.become_primary(); }
    Node node{1, 256};
};

TEST_F(Writes, AColdOneWaitsForItsTransactionAWarmOneForNothing) {
    Guest& cold = node.write(0);
    EXPECT_EQ(cold.step, DRBD_STEP_WAIT);
    node.run_jobs();
    EXPECT_EQ(node.jobs, Lines{"write ring fua"});
    EXPECT_EQ(node.finish(cold), 0);
    EXPECT_EQ(node.write(kMiB).step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(node.status().al_transactions, 1u);
    EXPECT_EQ(node.status().out_of_sync_bytes, 8192u) << "marked before it begins: a resync may begin meanwhile";
}

TEST_F(Writes, NoneReachesTheImageBeforeItsTransactionIsStable) {
    Guest& a = node.write(0);
    ASSERT_TRUE(node.take_job());
    EXPECT_TRUE(node.wake_all().empty());
    Guest& b = node.write(kMiB);
    EXPECT_EQ(b.step, DRBD_STEP_WAIT) << "the extent is pending, not hot";
    node.end_job();
    EXPECT_EQ(node.wake_all(), std::vector<Guest*>{&a});
    EXPECT_EQ(a.step, DRBD_STEP_SUBMIT);
    node.run_jobs();
    node.wake_all();
    if (b.step == DRBD_STEP_WAIT) {
        node.finish(a);
        node.run_jobs();
    }
    EXPECT_EQ(node.finish(b), 0);
    EXPECT_EQ(node.status().al_transactions, 1u) << "nothing was left to make hot";
}

TEST_F(Writes, OneTransactionServesMany) {
    std::vector<Guest*> writes;
    for (uint64_t i = 0; i < 64; i++)
        writes.push_back(&node.write(i * kExtent));
    node.run_jobs();
    EXPECT_EQ(node.jobs, Lines{"write ring fua"});
    for (Guest* w : writes)
        EXPECT_EQ(node.finish(*w), 0);
}

TEST_F(Writes, OverlappingOnesGoOneAfterTheOtherInTheirOrder) {
    node.write_through(0);
    Guest& a = node.write(0, 8192);
    Guest& b = node.write(4096, 8192);   // waits for a
    Guest& c = node.write(8192, 8192);   // overlaps no write under way, but b
    Guest& d = node.write(16384, 4096);  // free
    EXPECT_EQ(b.step, DRBD_STEP_WAIT);
    EXPECT_EQ(c.step, DRBD_STEP_WAIT);
    EXPECT_EQ(d.step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(node.status().overlaps_waited, 2u);
    node.local_done(d);
    EXPECT_TRUE(node.wake_all().empty());
    node.local_done(a);
    EXPECT_EQ(node.wake_all(), std::vector<Guest*>{&b});
    node.local_done(b);
    EXPECT_EQ(node.wake_all(), std::vector<Guest*>{&c});
    node.local_done(c);
    node.expect_at_rest();
}

TEST_F(Writes, ReadsDoNotWaitForWrites) {
    Guest& a = node.write(0);
    EXPECT_EQ(node.read(0).step, DRBD_STEP_SUBMIT);
    node.finish(a);
}

TEST_F(Writes, AZeroesOf128MiBNotAlignedTakes33Extents) {
    Guest& z = node.begin(DRBD_REQUEST_ZEROES, 2 * kMiB, 128 * kMiB);
    node.run_jobs();
    EXPECT_EQ(node.status().al_used, 33u);
    EXPECT_EQ(node.finish(z), 0);
    EXPECT_EQ(node.status().out_of_sync_bytes, 128 * kMiB);
    EXPECT_EQ(node.status().al_referenced, 0u);
}

// al-extents is 67 here: all are held, so the next write must wait, and
// newcomers must not take what becomes free before it.
struct Starving : Writes {
    Starving() {
        for (uint64_t i = 0; i < 67; i++)
            node.write_through(i * kExtent);
        for (uint64_t i = 0; i < 67; i++)
            held.push_back(&node.write(i * kExtent + 8192));
    }
    std::vector<Guest*> held;
};

TEST_F(Starving, TheFirstInLineGetsWhatBecomesFree) {
    for (Guest* g : held)
        ASSERT_EQ(g->step, DRBD_STEP_SUBMIT);
    ASSERT_EQ(node.status().al_referenced, 67u);
    Guest& first = node.write(100 * kExtent);
    EXPECT_EQ(node.take_job(), nullptr);
    Guest& warm = node.write(16384);  // its extent is hot and held, but somebody starves
    EXPECT_EQ(warm.step, DRBD_STEP_WAIT);
    Guest& other = node.write(101 * kExtent);
    node.local_done(*held[5]);
    for (int i = 0; i < 80 && !first.result; i++) {
        node.run_jobs();
        node.wake_all();
        if (first.step == DRBD_STEP_SUBMIT)
            node.local_done(first);
        else if (!held[static_cast<size_t>(i % 67)]->result)
            node.local_done(*held[static_cast<size_t>(i % 67)]);
    }
    EXPECT_EQ(first.result, 0);
    for (Guest* g : held)
        node.finish(*g);
    EXPECT_EQ(node.finish(warm), 0);
    EXPECT_EQ(node.finish(other), 0);
    node.expect_at_rest();
}

TEST_F(Starving, PendingDoesNotPromiseAJobThatDoesNotExist) {
    ASSERT_EQ(node.status().al_referenced, 67u);
    Guest& first = node.write(100 * kExtent);
    EXPECT_EQ(node.take_job(), nullptr);
    EXPECT_FALSE(node.has_job()) << "a caller that empties its queues would spin";
    for (Guest* g : held)
        node.local_done(*g);
    EXPECT_TRUE(node.has_job());
    EXPECT_EQ(node.finish(first), 0);
}

TEST(Access, ASecondaryRefusesAndALoneInconsistentDiskToo) {
    Node node;
    EXPECT_EQ(node.write(0).result, -EROFS);
    EXPECT_EQ(node.read(0).result, -EIO);
    EXPECT_EQ(node.flush().result, 0);
    node.format_up_to_date(0);
    node.must(node.attach());
    EXPECT_EQ(node.write(0).result, -EROFS);
    EXPECT_EQ(node.begin(DRBD_REQUEST_DISCARD, 0, kMiB).result, -EROFS);
    EXPECT_EQ(node.read(0).result, -EIO);
    node.must(node.set_role(true));
    EXPECT_EQ(node.write_through(0), 0);
    node.must(node.set_role(false));
    EXPECT_EQ(node.write(0).result, -EROFS);
    EXPECT_EQ(node.status().in_flight, 0u);
}

TEST(Access, APrimaryWithoutADiskHasErrorsNotReadOnly) {
    Node node;
    node.become_primary();
    node.must(node.detach(0, true));
    EXPECT_TRUE(node.is_primary());
    EXPECT_EQ(node.write(0).result, -EIO);
    EXPECT_EQ(node.read(0).result, -EIO);
}

TEST(Access, NothingToDoIsNoError) {
    Node node;
    node.become_primary();
    EXPECT_EQ(node.write(4096, 0).result, 0);
    EXPECT_EQ(node.read(4096, 0).result, 0);
    EXPECT_EQ(node.status().out_of_sync_bytes, 0u);
    node.expect_at_rest();
}

TEST(Drain, WithNothingInFlightNoJobIsHandedOutButForWritesItIs) {
    Node node;
    node.become_primary();
    drbd_on_drain_begin(node.core(), 0);
    Guest& w = node.write(0);
    EXPECT_TRUE(node.has_job());
    EXPECT_EQ(node.finish(w), 0);
    const uint64_t operation = node.set_role(false);
    EXPECT_FALSE(node.has_job());
    EXPECT_EQ(node.take_job(), nullptr);
    drbd_on_drain_begin(node.core(), 0);
    drbd_on_drain_end(node.core(), 0);
    EXPECT_FALSE(node.has_job()) << "drains nest";
    drbd_on_drain_end(node.core(), 0);
    EXPECT_TRUE(node.has_job());
    node.must(operation);
}

TEST(Drain, LeavingAndActivatingGoOnInside) {
    Node node;
    node.become_primary();
    node.write_through(0);
    drbd_on_drain_begin(node.core(), 0);
    node.must(node.leave(0, true));
    node.must(node.activate(0, false));
    const uint64_t operation = node.detach(0, false);
    EXPECT_FALSE(node.has_job());
    drbd_on_drain_end(node.core(), 0);
    node.must(operation);
}

}  // namespace
}  // namespace drbd::test
