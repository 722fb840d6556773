// SPDX-License-Identifier: GPL-2.0-or-later
// The order of jobs is the order in which things become stable: each promise of
// the activities' headers, as the list of jobs that must be seen.
#include <cstring>

#include "../node.h"
#include "core/metadata/bitmap_write.h"

namespace drbd::test {
namespace {

TEST(AttachOrder, OfCleanMetadata) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    EXPECT_EQ(node.jobs, (Lines{"flush-image flush", "read superblock", "read ring", "read bitmap", "write superblock fua"}));
    EXPECT_FALSE(node.superblock(0).is_clean());
    EXPECT_FALSE(node.superblock(0).needs_replay());
    EXPECT_EQ(node.superblock(0).al_nr_extents, 67u);
    EXPECT_EQ(node.superblock(0).la_size.value * 512, node.status().bytes);
}

// Of a node that was killed as Primary after a write to extent 10.
void crash(Node& node) {
    node.become_primary();
    node.write_through(40 * kMiB);
    node.must(node.detach(0, true));
    ASSERT_TRUE(node.superblock(0).needs_replay());
}

TEST(AttachOrder, AfterACrashMarkFirstThenForgetThePrimary) {
    Node node;
    crash(node);
    node.must(node.set_role(false));
    node.jobs.clear();
    const uint64_t operation = node.attach();
    for (int i = 0; i < 4; i++)
        ASSERT_TRUE(node.run_job());
    EXPECT_EQ(node.bits(0), 0u);
    ASSERT_TRUE(node.run_job());
    EXPECT_EQ(node.bits(0), 1024u);
    EXPECT_TRUE(node.superblock(0).needs_replay()) << "until the bits are stable";
    ASSERT_TRUE(node.run_job());
    EXPECT_FALSE(node.superblock(0).needs_replay());
    node.must(operation);
    EXPECT_EQ(node.jobs, (Lines{"flush-image flush", "read superblock", "read ring", "read bitmap", "write bitmap flush",
                                "write superblock fua", "write ring flush"}));
    EXPECT_TRUE(node.superblock(0).flags.has(metafmt::MdFlag::CrashedPrimary));
    EXPECT_EQ(node.superblock(0).uuids.current & 1, 0u);
    EXPECT_TRUE(node.bit(0, 10 * 1024));
    EXPECT_FALSE(node.bit(0, 10 * 1024 - 1));
}

TEST(AttachOrder, APrimaryIsOneOnTheDiskWhenTheRingIsFresh) {
    Node node;
    crash(node);
    node.jobs.clear();
    const uint64_t operation = node.attach();
    for (int i = 0; i < 7; i++) {
        ASSERT_TRUE(node.run_job());
        EXPECT_EQ(node.superblock(0).needs_replay(), i < 5) << "job " << i;
    }
    node.must(operation);
    EXPECT_EQ(node.jobs, (Lines{"flush-image flush", "read superblock", "read ring", "read bitmap", "write bitmap flush",
                                "write superblock fua", "write ring flush", "write superblock fua"}));
    EXPECT_TRUE(node.superblock(0).needs_replay());
    EXPECT_EQ(node.superblock(0).uuids.current & 1, 1u);
}

TEST(AttachOrder, BitsPastTheEndAreWrittenBack) {
    Node node(1, 64, 1024 * kMiB - 4096);
    node.format_up_to_date(0);
    const std::vector<uint8_t> ones(4096, 0xff);
    node.metadata(0).write(9 * 4096 + 7 * 4096, ones.data(), ones.size());
    node.must(node.attach());
    EXPECT_EQ(node.status().out_of_sync_bytes, 128 * kMiB - 4096);
    EXPECT_EQ(node.bits(0), 32767u);
}

TEST(AttachOrder, FullSyncReadsNoBitmapAndSetsAllOfIt) {
    Node node;
    node.format(0, 0x01 | 0x08 | 0x80);
    node.must(node.attach());
    EXPECT_EQ(node.jobs, (Lines{"flush-image flush", "read superblock", "read ring", "write bitmap flush", "write superblock fua"}));
    EXPECT_EQ(node.bits(0), 1024 * kMiB / 4096);
    EXPECT_FALSE(node.superblock(0).flags.has(metafmt::MdFlag::FullSync));
    EXPECT_EQ(node.disk(), "Outdated");
}

TEST(AttachOrder, AnUnreadableRingOfAPrimaryMarksEverything) {
    Node node;
    node.format(0, 0x01 | 0x02 | 0x10);
    const std::vector<uint8_t> garbage(8 * 4096, 0x5a);
    node.metadata(0).write(4096, garbage.data(), garbage.size());
    node.must(node.attach());
    EXPECT_EQ(node.bits(0), 1024 * kMiB / 4096);
}

TEST(TransactionOrder, EvictedPagesAreStableFirst) {
    Node node;
    node.become_primary();
    for (uint64_t i = 0; i < 67; i++)
        node.write_through(i * 4 * kMiB);
    EXPECT_EQ(node.bits(0), 0u);
    node.jobs.clear();
    Guest& w = node.write(100 * 4 * kMiB);
    ASSERT_TRUE(node.run_job());
    EXPECT_EQ(node.jobs, Lines{"flush-image write bitmap flush"});
    EXPECT_TRUE(node.bit(0, 0)) << "extent 0 is evicted";
    ASSERT_TRUE(node.run_job());
    EXPECT_EQ(node.jobs, (Lines{"flush-image write bitmap flush", "write ring fua"}));
    EXPECT_EQ(node.finish(w), 0);
    // The next victims lie on the same page, which is clean now, and were written before the flush.
    node.write_through(101 * 4 * kMiB);
    EXPECT_EQ(node.jobs, (Lines{"flush-image write bitmap flush", "write ring fua", "write ring fua"}));
}

// Decision 0021.
TEST(TransactionOrder, TheImageIsFlushedWhenAnEvictedExtentWasWrittenSince) {
    Node node;
    node.become_primary();
    auto jobs_of_a_write = [&](uint64_t extent) {
        node.jobs.clear();
        node.write_through(extent * 4 * kMiB);
        return node.jobs;
    };
    for (uint64_t i = 0; i < 67; i++)
        node.write_through(i * 4 * kMiB);
    EXPECT_EQ(jobs_of_a_write(100), (Lines{"flush-image write bitmap flush", "write ring fua"}));
    // A turn of the log later 100 is the victim, written after that flush.
    for (uint64_t i = 101; i < 167; i++)
        EXPECT_NE(jobs_of_a_write(i).front().substr(0, 11), "flush-image") << i;
    EXPECT_EQ(jobs_of_a_write(167).front().substr(0, 11), "flush-image");
    // The guest's own flush is as good.
    EXPECT_EQ(node.finish(node.flush()), 0);
    for (uint64_t i = 168; i < 234; i++)
        EXPECT_NE(jobs_of_a_write(i).front().substr(0, 11), "flush-image") << i;
}

TEST(SettleOrder, PromotionWritesTheSuperblockBeforeTheRoleIsTaken) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.jobs.clear();
    const uint64_t operation = node.set_role(true);
    ASSERT_TRUE(node.take_job());
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(node.write(0).result, -EROFS);
    node.end_job();
    EXPECT_TRUE(node.is_primary());
    node.must(operation);
    EXPECT_EQ(node.jobs, Lines{"write superblock fua"});
}

TEST(SettleOrder, DemotionFlushesMarksAndForgetsThePrimaryLast) {
    Node node;
    node.become_primary();
    node.write_through(0);
    node.jobs.clear();
    const uint64_t operation = node.set_role(false);
    ASSERT_TRUE(node.run_job());
    ASSERT_TRUE(node.run_job());
    EXPECT_EQ(node.bits(0), 1u);
    EXPECT_TRUE(node.superblock(0).needs_replay());
    node.must(operation);
    EXPECT_EQ(node.jobs, (Lines{"flush-image", "write bitmap flush", "write superblock fua"}));
    EXPECT_FALSE(node.superblock(0).needs_replay());
    EXPECT_FALSE(node.superblock(0).is_clean());
}

TEST(SettleOrder, LeavingAsPrimary) {
    Node node;
    node.become_primary();
    node.write_through(0);
    node.jobs.clear();
    const uint64_t operation = node.leave(0);
    for (int i = 0; i < 4; i++) {
        ASSERT_TRUE(node.run_job());
        EXPECT_FALSE(node.superblock(0).is_clean()) << "job " << i;
    }
    node.must(operation);
    EXPECT_EQ(node.jobs, (Lines{"flush-image", "write bitmap flush", "write superblock fua", "write ring flush",
                                "write superblock fua"}));
    EXPECT_TRUE(node.superblock(0).is_clean());
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(node.superblock(0).uuids.current & 1, 0u);
}

TEST(SettleOrder, DetachOfASecondaryThatNeverWrote) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.jobs.clear();
    node.must(node.detach(0, false));
    EXPECT_EQ(node.jobs, (Lines{"flush-image", "write superblock fua"}));
    EXPECT_TRUE(node.superblock(0).is_clean());
}

TEST(SettleOrder, DetachOfAFormerPrimaryInitialisesItsRing) {
    Node node;
    node.become_primary();
    node.write_through(0);
    node.must(node.set_role(false));
    node.jobs.clear();
    node.must(node.detach(0, false));
    EXPECT_EQ(node.jobs, (Lines{"flush-image", "write ring flush", "write superblock fua"}));
    EXPECT_TRUE(node.superblock(0).is_clean());
    node.jobs.clear();
    node.must(node.attach());
    EXPECT_EQ(node.jobs, (Lines{"flush-image flush", "read superblock", "read ring", "read bitmap", "write superblock fua"}));
}

TEST(SettleOrder, InvalidateSaysFullSyncBeforeTheBitsAreWritten) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.jobs.clear();
    const uint64_t operation = node.invalidate();
    ASSERT_TRUE(node.run_job());
    EXPECT_TRUE(node.superblock(0).flags.has(metafmt::MdFlag::FullSync));
    EXPECT_FALSE(node.superblock(0).flags.has(metafmt::MdFlag::Consistent));
    node.must(operation);
    EXPECT_EQ(node.jobs, (Lines{"write superblock fua", "flush-image", "write bitmap flush", "write superblock fua"}));
    EXPECT_FALSE(node.superblock(0).flags.has(metafmt::MdFlag::FullSync));
    EXPECT_EQ(node.bits(0), 1024 * kMiB / 4096);
    EXPECT_EQ(node.disk(), "Inconsistent");
}

TEST(SettleOrder, Outdate) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.jobs.clear();
    node.must(node.outdate());
    EXPECT_EQ(node.jobs, Lines{"write superblock fua"});
    EXPECT_EQ(node.disk(), "Outdated");
    EXPECT_TRUE(node.superblock(0).flags.has(metafmt::MdFlag::Consistent));
    EXPECT_FALSE(node.superblock(0).flags.has(metafmt::MdFlag::WasUpToDate));
}

TEST(CreateOrder, OnAnEmptyDevice) {
    Node node;
    node.must(node.create_md(0, false));
    EXPECT_EQ(node.jobs, (Lines{"read head", "read superblock", "read head", "write ring flush", "write bitmap flush", "write superblock fua"}));
    EXPECT_TRUE(node.superblock(0).is_clean());
    EXPECT_EQ(node.superblock(0).uuids.current, 4u);
    node.must(node.attach());
    EXPECT_EQ(node.disk(), "Inconsistent");
}

TEST(CreateOrder, ForcedOverOldMetadataWipesThatFirst) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.create_md(0, true));
    EXPECT_EQ(node.jobs, (Lines{"read head", "read superblock", "write superblock flush", "write ring flush",
                                "write bitmap flush", "write superblock fua"}));
    EXPECT_EQ(node.superblock(0).uuids.bitmap, 0u);
}

// A guest that writes while the bitmap is written marks pages that are behind: they are
// not followed, or the activity would not end, and no transaction be written meanwhile.
TEST(BitmapWrite, OneSweep) {
    Disk disk;
    const Sector size(300 * kBitsPerPage * kSectorsPerBlock);
    ASSERT_TRUE(disk.bitmap.allocate(size).ok());
    ASSERT_TRUE(disk.pages.allocate(Bytes(kJobPagesMax * kBlockSize), "pages").ok());
    disk.layout.bitmap_size = Sector(300 * kSectorsPerBlock);
    const auto mark = [&](uint64_t page, uint64_t block = 0) {
        disk.bitmap.set_out_of_sync(Sector((page * kBitsPerPage + block) * kSectorsPerBlock), Sector(kSectorsPerBlock));
    };
    for (uint64_t page = 0; page < 300; page += 2)
        mark(page);
    uint64_t next = 0;
    unsigned jobs = 0, flushes = 0;
    DrbdJob job;
    while (fill_dirty_pages(disk, next, job)) {
        flushes += job.flush_after;
        EXPECT_EQ(job.flush_after, jobs == 2);
        mark(2 * jobs + 1);    // behind
        mark(299, jobs);       // ahead, but for the last job
        ASSERT_LT(jobs++, 10u);
    }
    EXPECT_EQ(jobs, 3u) << "150 pages and the last one";
    EXPECT_EQ(flushes, 1u);
    EXPECT_TRUE(disk.bitmap.is_dirty(1));
    EXPECT_TRUE(disk.bitmap.is_dirty(299)) << "marked when its job was made";
}

}  // namespace
}  // namespace drbd::test
