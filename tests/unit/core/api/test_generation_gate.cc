// SPDX-License-Identifier: GPL-2.0-or-later
// Design D9 and D14: an activation makes no generation, the first write does,
// and no write completes before it is stable.
#include "../node.h"

namespace drbd::test {
namespace {

// The disks were in sync with a peer: the bitmap slot is empty.
void activated(Node& node) {
    node.format_up_to_date(0, 0);
    node.must(node.activate(0, true));
    ASSERT_EQ(node.disk(), "UpToDate");
    ASSERT_TRUE(node.is_primary());
    node.jobs.clear();
}

TEST(GenerationGate, ActivationTakesTheRoleAndKeepsTheDisk) {
    Node node;
    activated(node);
    EXPECT_EQ(node.superblock(0).uuids.current & ~1ull, 0x1110u);
    EXPECT_TRUE(node.superblock(0).needs_replay()) << "a Primary's log counts";
    EXPECT_EQ(node.write_through(0), 0);
}

TEST(GenerationGate, TheFirstWriteCompletesWhenItsGenerationIsStable) {
    Node node;
    activated(node);
    Guest& a = node.write(0);
    EXPECT_EQ(a.step, DRBD_STEP_WAIT);
    ASSERT_TRUE(node.take_job());  // the generation goes first
    EXPECT_EQ(node.jobs, Lines{"write superblock fua"});
    EXPECT_EQ(node.superblock(0).uuids.current & ~1ull, 0x1110u);
    node.end_job();
    EXPECT_EQ(node.superblock(0).uuids.bitmap & ~1ull, 0x1110u);
    EXPECT_EQ(node.finish(a), 0);
    EXPECT_NE(node.superblock(0).uuids.current & ~1ull, 0x1110u);
    EXPECT_EQ(node.superblock(0).uuids.current & 1, 1u);
    EXPECT_EQ(node.status().current_uuid, node.superblock(0).uuids.current);
}

TEST(GenerationGate, WritesThatComeTogetherShareOne) {
    Node node;
    activated(node);
    Guest& a = node.write(0);
    ASSERT_TRUE(node.take_job());
    Guest& b = node.write(kMiB);
    node.end_job();
    node.run_jobs();
    node.wake_all();
    EXPECT_EQ(node.finish(a), 0);
    EXPECT_EQ(node.finish(b), 0);
    const uint64_t generation = node.status().current_uuid;
    EXPECT_EQ(node.write_through(2 * kMiB), 0);
    EXPECT_EQ(node.status().current_uuid, generation) << "one generation, not one a write";
}

TEST(GenerationGate, AGenerationThatCannotBeWrittenFailsTheWrite) {
    Node node;
    activated(node);
    Guest& a = node.write(0);
    ASSERT_TRUE(node.run_job(0, -5));
    EXPECT_EQ(node.finish(a), -5);
    EXPECT_EQ(node.disk(), "Diskless");
    node.expect_at_rest();
}

TEST(GenerationGate, WithABitmapGenerationThereIsNoneToMake) {
    Node node;
    node.format_up_to_date(0, 0x2220);
    node.must(node.activate(0, true));
    EXPECT_EQ(node.write_through(0), 0);
    EXPECT_EQ(node.superblock(0).uuids.bitmap, 0x2220u);
    EXPECT_EQ(node.superblock(0).uuids.current & ~1ull, 0x1110u);
}

// Whoever has 0x1110 must find it in the bitmap slot, whatever comes after.
TEST(GenerationGate, DemotionAndPromotionMakeOneGenerationNotTwo) {
    Node node;
    activated(node);
    node.must(node.set_role(false));
    node.must(node.set_role(true));
    EXPECT_EQ(node.write_through(0), 0);
    EXPECT_EQ(node.superblock(0).uuids.bitmap & ~1ull, 0x1110u);
}

TEST(GenerationGate, AWishForAGenerationEndsWithTheDisk) {
    Node node;
    activated(node);
    node.must(node.leave(0, true));
    EXPECT_FALSE(node.is_primary());
    node.must(node.attach());
    node.must(node.set_role(true));
    EXPECT_EQ(node.write_through(0), 0);
    EXPECT_EQ(node.superblock(0).uuids.bitmap & ~1ull, 0x1110u);
}

TEST(GenerationGate, LeavingForInactivationWritesNoGeneration) {
    Node node;
    activated(node);
    node.must(node.leave(0, true));
    EXPECT_EQ(node.superblock(0).uuids.current, 0x1110u);
    EXPECT_EQ(node.superblock(0).uuids.bitmap, 0u);
    EXPECT_TRUE(node.superblock(0).is_clean());
    EXPECT_FALSE(node.superblock(0).needs_replay());
}

TEST(GenerationGate, ActivationOfASecondaryStaysSecondary) {
    Node node;
    node.format_up_to_date(0, 0);
    node.must(node.activate(0, false));
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(node.disk(), "UpToDate");
    EXPECT_FALSE(node.superblock(0).needs_replay());
    EXPECT_EQ(*node.write(0).result, -EROFS);
}

TEST(GenerationGate, SeveralVolumesFollowIntoTheRole) {
    Node node(2);
    for (unsigned v : {0u, 1u})
        node.format_up_to_date(v, 0);
    const uint64_t first = node.activate(0, true);
    const uint64_t second = node.activate(1, true);
    node.run_jobs();
    EXPECT_TRUE(node.ended_well(first));
    EXPECT_TRUE(node.ended_well(second));
    for (unsigned v : {0u, 1u}) {
        EXPECT_EQ(node.disk(v), "UpToDate");
        EXPECT_TRUE(node.superblock(v).needs_replay());
        EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, 0, v)), 0);
    }
}

// An attach that is under way would end as Secondary in a Primary resource, or
// be made Primary with nothing on its disk that says so.
TEST(GenerationGate, ActivationBesideAnAttachThatRunsNeverLeavesAnUnrecordedPrimary) {
    for (bool attach_ends_first : {true, false}) {
        Node node(2);
        for (unsigned v : {0u, 1u})
            node.format_up_to_date(v);
        const uint64_t attach = node.attach(0);
        ASSERT_NE(attach, 0u);
        const uint64_t activate = node.activate(1, true);
        if (activate == 0) {  // refused with a reason: good
            EXPECT_NE(node.refusal().find("volume 0"), std::string::npos) << node.refusal();
            node.run_jobs();
            continue;
        }
        while (node.run_job(attach_ends_first ? 0 : 1)) {
        }
        node.run_jobs();
        if (node.is_primary() && node.disk(0) == "UpToDate")
            EXPECT_TRUE(node.superblock(0).needs_replay()) << "Primary, and a crash would not replay the log";
        Guest& w = node.begin(DRBD_REQUEST_WRITE, 0, 4096);
        if (node.is_primary() && node.disk(0) == "UpToDate")
            EXPECT_EQ(node.finish(w), 0);
    }
}

}  // namespace
}  // namespace drbd::test
