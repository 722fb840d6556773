// SPDX-License-Identifier: GPL-2.0-or-later
// Errors of the image: who hears of them, and whether the disk is kept.
#include <cerrno>

#include "../node.h"

namespace drbd::test {
namespace {

struct DiskErrors : testing::Test {
    DiskErrors() { node.become_primary(); }
    Node node;
};

TEST_F(DiskErrors, DetachGivesTheDiskUpAndSaysWhy) {
    EXPECT_EQ(node.finish(node.write(0), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "Diskless");
    EXPECT_NE(std::string(node.status().disk_reason).find("failed a write of 4096 bytes at 0"), std::string::npos)
        << node.status().disk_reason;
    EXPECT_EQ(node.write(0).result, -EIO);
    EXPECT_TRUE(node.is_primary());
    EXPECT_TRUE(node.superblock(0).needs_replay()) << "left as a crash would leave it";
    node.expect_at_rest();
    node.must(node.attach());
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.bits(0), 1024u) << "the extent that was hot";
    EXPECT_EQ(node.write_through(0), 0);
}

TEST_F(DiskErrors, AFailedReadDetachesToo) {
    EXPECT_EQ(node.finish(node.read(0), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "Diskless");
}

TEST_F(DiskErrors, NoSpaceGoesToTheGuestAndTheRangeIsMarked) {
    EXPECT_EQ(node.finish(node.write(8192), -ENOSPC), -ENOSPC);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.status().out_of_sync_bytes, 4096u);
    EXPECT_EQ(node.status().write_errors, 1u);
    EXPECT_EQ(node.write_through(8192), 0);
}

TEST_F(DiskErrors, AFailedDiscardIsNoFailureOfTheDisk) {
    EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_DISCARD, 0, kMiB), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.status().out_of_sync_bytes, kMiB);
    EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_ZEROES, 0, kMiB), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "Diskless") << "write zeroes is a write";
}

TEST_F(DiskErrors, PassOnKeepsTheDiskAndMarksWhatFailed) {
    drbd_on_disk_options(node.core(), 0, DRBD_ON_IO_ERROR_PASS_ON);
    EXPECT_EQ(node.finish(node.write(0), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.status().out_of_sync_bytes, 4096u);
    EXPECT_EQ(node.notices().back().kind, DRBD_NOTICE_WARNING);
}

TEST_F(DiskErrors, PassOnMarksAFailedReadToo) {
    drbd_on_disk_options(node.core(), 0, DRBD_ON_IO_ERROR_PASS_ON);
    EXPECT_EQ(node.finish(node.read(64 * kMiB, 8192), -EIO), -EIO);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.status().read_errors, 1u);
    EXPECT_EQ(node.status().out_of_sync_bytes, 8192u);
}

TEST_F(DiskErrors, EverybodyWhoWaitsFailsAndThoseAtTheImageEndFirst) {
    node.write_through(0);
    Guest& at_image = node.write(0, 8192);
    Guest& overlapping = node.write(4096);
    Guest& second_overlapping = node.write(4096);
    Guest& cold = node.write(100 * kMiB);
    Guest& reading = node.read(0);
    Guest& failing = node.read(8192);
    node.local_done(failing, -EIO);
    EXPECT_EQ(node.disk(), "Failed");
    node.wake_all();
    EXPECT_EQ(cold.result, -EIO);
    EXPECT_EQ(node.write(kMiB).result, -EIO);
    EXPECT_FALSE(overlapping.result) << "what it waits for is still at the image";
    node.local_done(at_image, 0);
    node.wake_all();
    EXPECT_EQ(overlapping.result, -EIO);
    EXPECT_EQ(second_overlapping.result, -EIO);
    EXPECT_EQ(node.disk(), "Failed");
    node.local_done(reading, 0);
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
}

TEST_F(DiskErrors, AFailedTransactionFailsThoseThatWaitedForIt) {
    Guest& a = node.write(0);
    Guest& b = node.write(100 * kMiB);
    ASSERT_TRUE(node.run_job(0, -EIO));
    node.wake_all();
    EXPECT_EQ(a.result, -EIO);
    EXPECT_EQ(b.result, -EIO);
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
}

TEST_F(DiskErrors, NoSpaceForABitmapPageGoesToTheGuestAndTheDiskIsKept) {
    const uint32_t slots = node.status().al_extents;
    for (uint32_t extent = 0; extent < slots; extent++)
        ASSERT_EQ(node.write_through(extent * 4 * kMiB), 0);
    Guest& a = node.write(slots * 4 * kMiB);
    Guest& b = node.write((slots + 1) * 4 * kMiB);
    ASSERT_TRUE(node.run_job(0, -ENOSPC)) << "pages of the extents that are evicted";
    node.wake_all();
    EXPECT_EQ(a.result, -ENOSPC);
    while (!b.result) {
        ASSERT_TRUE(node.run_job(0, -ENOSPC));
        node.wake_all();
    }
    EXPECT_EQ(b.result, -ENOSPC);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.write_through(0), 0) << "hot as before";
    // Space again: the page that was not written is written, then the log.
    node.jobs.clear();
    EXPECT_EQ(node.write_through(slots * 4 * kMiB), 0);
    EXPECT_EQ(node.jobs.size(), 2u);
    EXPECT_EQ(node.status().al_used, slots);
    node.expect_at_rest();
}

TEST_F(DiskErrors, NoSpaceForTheActivityLogItselfIsAFailureOfTheDisk) {
    Guest& cold = node.write(0);
    ASSERT_TRUE(node.run_job(0, -ENOSPC)) << "whether it is on the disk is not known";
    node.wake_all();
    EXPECT_EQ(cold.result, -EIO);
    EXPECT_EQ(node.disk(), "Diskless");
}

TEST_F(DiskErrors, TheDiskGoesWhenItsLastJobHasEnded) {
    Guest& cold = node.write(0);
    ASSERT_TRUE(node.take_job());
    EXPECT_EQ(node.finish(node.read(0), -EIO), -EIO);
    node.wake_all();
    EXPECT_EQ(cold.result, -EIO);
    EXPECT_EQ(node.disk(), "Failed");
    EXPECT_FALSE(node.has_job());
    node.end_job(0, 0);
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
}

TEST_F(DiskErrors, AReattachOfAPrimaryNeedsTheGenerationThatTheGuestHasSeen) {
    node.finish(node.read(0), -EIO);
    node.format(0, 0x01 | 0x10 | 0x80, 0x9990, 0x2220);
    const uint64_t operation = node.attach();
    node.run_jobs();
    EXPECT_FALSE(node.ended(operation).success);
    EXPECT_NE(node.ended(operation).text.find("another data generation"), std::string::npos);
    EXPECT_EQ(node.disk(), "Diskless");
}

}  // namespace
}  // namespace drbd::test
