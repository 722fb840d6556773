// SPDX-License-Identifier: GPL-2.0-or-later
// What administrators ask of a volume: each refusal with its sentence, each
// operation with the state it leaves.
#include "../node.h"

namespace drbd::test {
namespace {

using testing::Test;

#define EXPECT_REFUSED(call, text)                                                   \
    do {                                                                             \
        EXPECT_EQ(call, 0u);                                                         \
        EXPECT_NE(node.refusal().find(text), std::string::npos) << node.refusal();   \
    } while (0)

TEST(Refused, WithoutADisk) {
    Node node;
    EXPECT_REFUSED(node.detach(0, false), "no disk is attached");
    EXPECT_REFUSED(node.invalidate(), "no disk is attached");
    EXPECT_REFUSED(node.outdate(), "no disk is attached");
    EXPECT_REFUSED(node.set_role(true), "volume 0 cannot become Primary: not connected, and the local disk is not UpToDate (disk Diskless)");
    EXPECT_REFUSED(node.set_role(true, true), "volume 0 cannot become Primary");
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
}

TEST(Refused, WithADisk) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    EXPECT_REFUSED(node.attach(), "a disk is attached already; detach it first");
    EXPECT_REFUSED(node.activate(0, true), "attached already");
    EXPECT_REFUSED(node.create_md(0, true), "a disk is attached; detach it first");
    EXPECT_EQ(node.disk(), "UpToDate");
}

TEST(Refused, ToAPrimary) {
    Node node;
    node.become_primary();
    EXPECT_REFUSED(node.detach(0, false), "make it Secondary first, or force it");
    EXPECT_REFUSED(node.invalidate(), "make it Secondary first");
    EXPECT_REFUSED(node.outdate(), "make it Secondary first");
    EXPECT_EQ(node.disk(), "UpToDate");
    node.expect_at_rest();
}

TEST(Refused, WhileAnotherOperationIsPending) {
    Node node;
    node.format_up_to_date(0);
    const uint64_t first = node.attach();
    ASSERT_NE(first, 0u);
    for (int i = 0; i < 8; i++) {
        const uint64_t number = i == 0   ? node.attach()
                                : i == 1 ? node.activate(0, true)
                                : i == 2 ? node.detach(0, true)
                                : i == 3 ? node.leave(0)
                                : i == 4 ? node.invalidate()
                                : i == 5 ? node.outdate()
                                : i == 6 ? node.create_md(0, true)
                                         : node.set_role(true);
        EXPECT_EQ(number, 0u) << i;
        EXPECT_NE(node.refusal().find("operation 1 (attach) is pending on volume 0: wait for its end"), std::string::npos)
            << i << ": " << node.refusal();
    }
    uint64_t operation;
    const char* command;
    int volume;
    ASSERT_TRUE(drbd_pending_operation(node.core(), 0, &operation, &command, &volume));
    EXPECT_EQ(operation, first);
    EXPECT_STREQ(command, "attach");
    EXPECT_EQ(volume, 0);
    EXPECT_FALSE(drbd_pending_operation(node.core(), 1, &operation, &command, &volume));
    node.run_jobs();
    EXPECT_TRUE(node.ended_well(first));
}

TEST(Refused, AlExtentsOutOfRange) {
    Node node;
    char error[DRBD_ERROR_SIZE];
    for (unsigned extents : {1u, 66u, 65535u}) {
        DrbdDiskConfig disk = node.config(0);
        disk.al_extents = extents;
        EXPECT_EQ(drbd_on_attach(node.core(), 0, &disk, error), 0u);
        EXPECT_NE(std::string(error).find("must be 67 to 65534"), std::string::npos) << error;
        EXPECT_EQ(drbd_on_activate(node.core(), 0, &disk, true, error), 0u);
    }
}

TEST(Refused, OutdateOfAnInconsistentDisk) {
    Node node;
    node.format(0, 0x80);
    node.must(node.attach());
    EXPECT_REFUSED(node.outdate(), "already worse than Outdated");
    EXPECT_REFUSED(node.set_role(true), "'force' declares this node's data good");
}

TEST(Refused, CreateMdWithAnImpossibleLog) {
    Node node;
    char error[DRBD_ERROR_SIZE];
    const DrbdDiskConfig disk = node.config(0);
    for (const DrbdCreateMd& options : {DrbdCreateMd{true, 1, 5, 0}, DrbdCreateMd{true, 1, 4, 0}, DrbdCreateMd{true, 100000, 1 << 20, 0}})
        EXPECT_EQ(drbd_on_create_md(node.core(), 0, &disk, &options, error), 0u) << options.al_stripes;
    node.expect_at_rest();
}

TEST(Attach, FailsWithAReason) {
    struct Case {
        const char* text;
        void (*spoil)(Node&);
    };
    const Case cases[] = {
        {"", [](Node&) {}},  // nothing was ever written
        {"another", [](Node& n) {
             n.become_primary();
             n.finish(n.read(0), -5);
             n.format(0, 0x91, 0x5550);
         }},
        {"shrunk", [](Node& n) {
             n.format_up_to_date(0);
             n.must(n.attach());
             n.must(n.detach(0, false));
             uint8_t block[4096];
             metafmt::Superblock sb = n.superblock(0);
             sb.la_size = Sector(1024 * kMiB / 512 + 8);
             metafmt::encode_superblock(sb, metafmt::Block(block, 4096));
             n.metadata(0).write(0, block, 4096);
         }},
        {"this node is Primary, and the disk is Inconsistent", [](Node& n) {
             n.become_primary();
             n.finish(n.read(0), -5);
             n.format(0, 0x80);
         }},
    };
    for (const Case& c : cases) {
        Node node;
        c.spoil(node);
        const uint64_t operation = node.attach();
        ASSERT_NE(operation, 0u) << node.refusal();
        node.run_jobs();
        const Ended end = node.ended(operation);
        EXPECT_EQ(end.times, 1u);
        EXPECT_FALSE(end.success);
        EXPECT_FALSE(end.text.empty());
        EXPECT_NE(end.text.find(c.text), std::string::npos) << end.text;
        EXPECT_EQ(node.disk(), "Diskless");
        EXPECT_EQ(node.status().memory_bytes, 0u);
        node.expect_at_rest();
    }
}

TEST(Attach, StatesOfTheDiskFollowFromTheFlags) {
    struct Case {
        uint32_t flags;
        const char* disk;
        const char* peer;
    };
    for (const Case& c : {Case{0x80, "Inconsistent", "DUnknown"}, {0x81, "Outdated", "DUnknown"}, {0x91, "UpToDate", "DUnknown"},
                          {0xb1, "UpToDate", "Outdated"}, {0x11, "UpToDate", "DUnknown"}}) {
        Node node;
        node.format(0, c.flags);
        node.must(node.attach());
        EXPECT_EQ(node.disk(), c.disk);
        EXPECT_EQ(std::string(node.status().peer_disk), c.peer);
        EXPECT_EQ(node.status().bytes, 1024 * kMiB);
    }
}

TEST(Attach, KeepsTheAgreedSizeWhenTheImageHasGrown) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.must(node.detach(0, false));
    EXPECT_EQ(drbd_volume_bytes(node.core(), 0), 1024 * kMiB) << "the last one known";
    DrbdDiskConfig disk = node.config(0);
    disk.image_bytes += 64 * kMiB;
    char error[DRBD_ERROR_SIZE];
    node.must(drbd_on_attach(node.core(), 0, &disk, error));
    EXPECT_EQ(node.status().bytes, 1024 * kMiB);
}

TEST(Operations, NoticesOfAnAttach) {
    Node node;
    node.format_up_to_date(0);
    const uint64_t operation = node.attach();
    node.must(operation);
    const auto& n = node.notices();
    ASSERT_EQ(n.size(), 3u);
    EXPECT_STREQ(n[0].new_value, "Attaching");
    EXPECT_STREQ(n[1].old_value, "Attaching");
    EXPECT_STREQ(n[1].new_value, "UpToDate");
    EXPECT_EQ(n[1].operation, operation);
    EXPECT_EQ(n[2].kind, DRBD_NOTICE_OPERATION);
    EXPECT_STREQ(n[2].command, "attach");
    DrbdNotice past;
    ASSERT_TRUE(drbd_past_operation(node.core(), 0, &past));
    EXPECT_EQ(past.operation, operation);
}

TEST(Operations, ADetachWaitsForWhatIsInFlightAndLetsNothingIn) {
    Node node;
    node.become_primary();
    Guest& w = node.write(0);
    node.run_jobs();
    node.wake_all();
    const uint64_t operation = node.detach(0, true);
    EXPECT_EQ(node.write(kMiB).result, -5);
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_EQ(node.ended(operation).times, 0u);
    EXPECT_EQ(node.finish(w), 0);
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_EQ(node.disk(), "Diskless");
    EXPECT_TRUE(node.superblock(0).needs_replay());
}

TEST(Operations, ADetachWhoseDiskFailsMeanwhileEndsOnce) {
    Node node;
    node.become_primary();
    Guest& r = node.read(0);
    const uint64_t operation = node.detach(0, true);
    node.local_done(r, -5);
    EXPECT_EQ(node.ended(operation).times, 1u);
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
    node.must(node.attach());
    EXPECT_EQ(node.write_through(0), 0) << "requests are let in again";
}

TEST(Operations, AForcedDetachEndsWhatWaitsForTheMetadata) {
    Node node;
    node.become_primary();
    Guest& waits = node.write(0);  // its extent is cold
    ASSERT_EQ(waits.step, DRBD_STEP_WAIT);
    const uint64_t operation = node.detach(0, true);
    node.run_jobs();
    node.wake_all();
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_EQ(node.disk(), "Diskless");
    EXPECT_EQ(waits.result, -5);
    node.expect_at_rest();
}

TEST(Operations, NothingIsWrittenForAnOperationWhoseDiskHasFailed) {
    Node node;
    node.become_primary();
    Guest& w = node.write(0);
    node.run_jobs();
    node.wake_all();
    Guest& r = node.read(kMiB);
    char error[DRBD_ERROR_SIZE];
    const uint64_t operation = drbd_on_invalidate_remote(node.core(), 0, error);
    ASSERT_NE(operation, 0u) << error;
    ASSERT_TRUE(node.has_job());
    node.local_done(w, -5);
    EXPECT_EQ(node.disk(), "Failed") << "the read is at the image";
    EXPECT_FALSE(node.has_job());
    EXPECT_EQ(node.take_job(), nullptr);
    node.local_done(r);
    EXPECT_EQ(node.disk(), "Diskless");
    EXPECT_FALSE(node.has_job());
    EXPECT_FALSE(node.ended(operation).success);
    EXPECT_EQ(node.ended(operation).times, 1u);
    node.expect_at_rest();
}

TEST(Operations, LeavingWithoutADiskEndsAtOnce) {
    Node node;
    EXPECT_TRUE(node.ended_well(node.leave(0)));
}

TEST(Operations, LeavingWaitsForWritesBehindTheActivityLog) {
    Node node;
    node.become_primary();
    Guest& w = node.write(0);
    const uint64_t operation = node.leave(0);
    EXPECT_EQ(node.finish(w), 0);
    node.must(operation);
    EXPECT_TRUE(node.superblock(0).is_clean());
    EXPECT_EQ(node.bits(0), 1u);
    EXPECT_FALSE(node.is_primary());
}

TEST(Operations, InvalidatedAndOutdatedSurviveADetach) {
    Node node;
    node.format_up_to_date(0);
    node.must(node.attach());
    node.must(node.outdate());
    node.must(node.outdate());  // again is no error
    node.must(node.detach(0, false));
    node.must(node.attach());
    EXPECT_EQ(node.disk(), "Outdated");
    node.must(node.invalidate());
    node.must(node.detach(0, false));
    node.must(node.attach());
    EXPECT_EQ(node.disk(), "Inconsistent");
    EXPECT_EQ(node.status().out_of_sync_bytes, 1024 * kMiB);
}

TEST(Operations, CreateMdRefusesWhatIsInTheWay) {
    Node node;
    node.format_up_to_date(0);
    const uint64_t operation = node.create_md(0, false);
    node.run_jobs();
    EXPECT_FALSE(node.ended(operation).success);
    EXPECT_NE(node.ended(operation).text.find("use force if that is meant"), std::string::npos);
    EXPECT_EQ(node.superblock(0).uuids.current, 0x1110u) << "untouched";
}

// Spec 4.4, attach-time: the guest's device neither shrinks nor grows under it.
TEST(Attach, ADiskOfAnotherSizeIsNoPrimarys) {
    Node node;
    node.become_primary();
    node.must(node.detach(0, true));
    const uint64_t sectors = node.status().bytes / 512;
    node.set_image_bytes(0, 512 * kMiB);
    const uint64_t smaller = node.attach();
    node.run_jobs();
    EXPECT_NE(node.ended(smaller).text.find("the image offers"), std::string::npos) << node.ended(smaller).text;
    node.set_image_bytes(0, 1024 * kMiB);
    metafmt::Superblock sb = node.superblock(0);
    sb.la_size = Sector(sectors - 2048);
    uint8_t block[4096];
    metafmt::encode_superblock(sb, metafmt::Block(block, sizeof block));
    node.metadata(0).write(0, block, sizeof block);
    const uint64_t other = node.attach();
    node.run_jobs();
    EXPECT_NE(node.ended(other).text.find("make new metadata"), std::string::npos) << node.ended(other).text;
    sb.la_size = Sector(sectors);
    metafmt::encode_superblock(sb, metafmt::Block(block, sizeof block));
    node.metadata(0).write(0, block, sizeof block);
    node.must(node.attach());
    EXPECT_EQ(node.status().bytes / 512, sectors);
}

}  // namespace
}  // namespace drbd::test
