// SPDX-License-Identifier: GPL-2.0-or-later
// Design D6: what a flush promises, and which flushes reach the image.
#include <cerrno>

#include "../node.h"

namespace drbd::test {
namespace {

struct Flush : testing::Test {
    Flush() { node.become_primary(); }
    Node node;
};

TEST_F(Flush, NothingWrittenNeedsNoFlush) {
    EXPECT_EQ(node.flush().result, 0);
    EXPECT_EQ(node.status().flushes_saved, 1u);
}

TEST_F(Flush, OneReachesTheImageTheNextIsSaved) {
    node.write_through(0);
    Guest& f = node.flush();
    ASSERT_EQ(f.step, DRBD_STEP_SUBMIT);
    node.local_done(f);
    EXPECT_EQ(f.result, 0);
    EXPECT_EQ(node.flush().result, 0);
    EXPECT_EQ(node.status().flushes_saved, 1u);
}

TEST_F(Flush, FuaIsStableByItself) {
    node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, DRBD_REQUEST_FUA));
    EXPECT_EQ(node.flush().result, 0);
    EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, DRBD_REQUEST_FUA), -ENOSPC), -ENOSPC);
    EXPECT_EQ(node.flush().step, DRBD_STEP_SUBMIT) << "a failed FUA write may have left anything";
}

TEST_F(Flush, ZeroesAndDiscardsCount) {
    node.finish(node.begin(DRBD_REQUEST_ZEROES, 0, kMiB));
    node.finish(node.flush());
    node.finish(node.begin(DRBD_REQUEST_DISCARD, 0, kMiB));
    EXPECT_EQ(node.flush().step, DRBD_STEP_SUBMIT);
}

TEST_F(Flush, ThoseThatComeMeanwhileMerge) {
    node.write_through(0);
    Guest& first = node.flush();
    Guest& same = node.flush();  // wants no more than the first
    ASSERT_EQ(same.step, DRBD_STEP_WAIT);
    node.write_through(kMiB);
    Guest& second = node.flush();
    node.write_through(2 * kMiB);
    Guest& third = node.flush();
    node.local_done(first);
    EXPECT_EQ(first.result, 0);
    node.wake_all();
    EXPECT_EQ(same.result, 0);
    EXPECT_EQ(same.wakes, 1u);
    ASSERT_EQ(second.step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(third.step, DRBD_STEP_WAIT);
    node.local_done(second);
    node.wake_all();
    EXPECT_EQ(third.result, 0) << "the second began after the third's writes had ended";
    EXPECT_EQ(node.flush().result, 0);
}

TEST_F(Flush, DoesNotCoverAWriteThatEndedWhileItRan) {
    node.write_through(0);
    Guest& f = node.flush();
    node.write_through(kMiB);
    node.local_done(f);
    EXPECT_EQ(node.flush().step, DRBD_STEP_SUBMIT);
}

TEST_F(Flush, AFailedOneCoversNothing) {
    drbd_on_disk_options(node.core(), 0, DRBD_ON_IO_ERROR_PASS_ON);
    node.write_through(0);
    Guest& f = node.flush();
    Guest& same = node.flush();
    node.local_done(f, -EIO);
    node.wake_all();
    EXPECT_EQ(f.result, -EIO);
    EXPECT_EQ(same.result, -EIO);
    EXPECT_EQ(node.flush().step, DRBD_STEP_SUBMIT);
}

TEST_F(Flush, AFailedOneLosesTheDiskAndNoneFollows) {
    node.write_through(0);
    Guest& f = node.flush();
    Guest& same = node.flush();
    node.write_through(kMiB);
    Guest& next = node.flush();
    node.local_done(f, -EIO);
    EXPECT_EQ(node.disk(), "Diskless");
    node.wake_all();
    EXPECT_EQ(same.result, -EIO);
    EXPECT_EQ(next.result, -EIO) << "the image may have dropped what it was to bring to the disk";
    node.expect_at_rest();
}

// The promise of a flush is about every write that has completed, and the one
// here is in no stable place.
TEST_F(Flush, AfterTheDiskIsLostCompletedWritesCannotBeMadeStable) {
    node.write_through(0);
    EXPECT_EQ(node.finish(node.read(0), -EIO), -EIO);
    ASSERT_EQ(node.disk(), "Diskless");
    EXPECT_EQ(node.finish(node.flush()), -EIO);
}

TEST_F(Flush, AfterAForcedDetachTheSame) {
    node.write_through(0);
    node.must(node.detach(0, true));
    EXPECT_EQ(node.finish(node.flush()), -EIO);
}

// Neither an attach that fails nor a node that is closed without a disk has
// flushed anything.
TEST_F(Flush, AFailedAttachMakesNothingStable) {
    node.write_through(0);
    node.finish(node.read(0), -EIO);
    const uint64_t operation = node.attach();
    ASSERT_TRUE(node.run_job(0, -EIO));
    ASSERT_FALSE(node.ended(operation).success);
    EXPECT_EQ(node.finish(node.flush()), -EIO);
}

TEST_F(Flush, LeavingWithoutADiskMakesNothingStable) {
    node.write_through(0);
    node.finish(node.read(0), -EIO);
    node.must(node.leave(0));
    EXPECT_EQ(node.finish(node.flush()), -EIO);
}

TEST_F(Flush, AnOrderlyEndFlushes) {
    node.write_through(0);
    node.must(node.leave(0));
    EXPECT_EQ(node.finish(node.flush()), 0);
}

TEST_F(Flush, AnAttachFlushesWhatWasWrittenBefore) {
    node.write_through(0);
    node.must(node.detach(0, true));
    node.must(node.attach());
    EXPECT_EQ(node.finish(node.flush()), 0);
    EXPECT_EQ(node.status().flushes_saved, 1u);
}

TEST_F(Flush, WithoutADiskWhatWasFlushedIsStillStable) {
    node.write_through(0);
    node.finish(node.flush());
    node.must(node.detach(0, true));
    EXPECT_EQ(node.finish(node.flush()), 0);
}

TEST_F(Flush, WaitsOnlyForItsOwnVolume) {
    Node two(2);
    two.become_primary();
    two.write_through(0);
    EXPECT_EQ(two.flush(0).step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(two.flush(1).result, 0);
}

}  // namespace
}  // namespace drbd::test
