// SPDX-License-Identifier: GPL-2.0-or-later
// A role concerns all volumes: all of them take it, or none does.
#include "../node.h"

namespace drbd::test {
namespace {

void attach_all(Node& node, unsigned volumes) {
    for (unsigned v = 0; v < volumes; v++) {
        node.format_up_to_date(v);
        node.must(node.attach(v));
    }
}

TEST(Roles, TheRoleOfNowIsASuccessAtOnce) {
    Node node;
    EXPECT_TRUE(node.ended_well(node.set_role(false)));
    node.become_primary();
    EXPECT_TRUE(node.ended_well(node.set_role(true)));
    EXPECT_TRUE(node.jobs.empty());
}

TEST(Roles, AllVolumesMustBeFit) {
    Node node(3);
    attach_all(node, 2);
    EXPECT_EQ(node.set_role(true), 0u);
    EXPECT_NE(node.refusal().find("volume 2 cannot become Primary"), std::string::npos) << node.refusal();
    DrbdResourceStatus status;
    drbd_resource_status(node.core(), &status);
    EXPECT_NE(status.promotable_reason, nullptr);
    EXPECT_FALSE(node.superblock(0).needs_replay());
    node.format(2, 0x80);
    node.must(node.attach(2));
    EXPECT_EQ(node.set_role(true), 0u);
    node.must(node.set_role(true, true));
    EXPECT_EQ(node.disk(2), "UpToDate") << "forced";
    for (unsigned v = 0; v < 3; v++)
        EXPECT_TRUE(node.superblock(v).needs_replay());
}

TEST(Roles, AVolumeThatIsNotOpenForbidsPromotion) {
    Node node(2);
    attach_all(node, 1);
    drbd_volume_close(node.core(), 1);
    EXPECT_EQ(node.set_role(true), 0u);
    EXPECT_NE(node.refusal().find("volume 1 of resource 'r0' is not open"), std::string::npos) << node.refusal();
    char error[DRBD_ERROR_SIZE];
    ASSERT_TRUE(drbd_volume_open(node.core(), 1, error));
}

TEST(Roles, NoVolumeTakesItBeforeAllHaveRecordedIt) {
    Node node(2);
    attach_all(node, 2);
    const uint64_t operation = node.set_role(true);
    ASSERT_TRUE(node.run_job(0));
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(*node.begin(DRBD_REQUEST_WRITE, 0, 4096).result, -30);
    EXPECT_EQ(node.set_role(false), 0u) << "one change at a time";
    EXPECT_NE(node.refusal().find("(set-role) is pending"), std::string::npos);
    node.must(operation);
    EXPECT_TRUE(node.is_primary());
}

TEST(Roles, IfOneCannotRecordItTheOthersTakeItBack) {
    for (unsigned failing : {0u, 1u, 2u}) {
        Node node(3);
        attach_all(node, 3);
        const uint64_t operation = node.set_role(true);
        for (unsigned v = 0; v < 3; v++)
            ASSERT_TRUE(node.run_job(v, v == failing ? -5 : 0));
        node.run_jobs();
        const Ended end = node.ended(operation);
        EXPECT_EQ(end.times, 1u);
        EXPECT_FALSE(end.success);
        EXPECT_NE(end.text.find("volume " + std::to_string(failing)), std::string::npos) << end.text;
        EXPECT_FALSE(node.is_primary());
        for (unsigned v = 0; v < 3; v++) {
            EXPECT_EQ(node.disk(v), v == failing ? "Diskless" : "UpToDate");
            if (v != failing)
                EXPECT_FALSE(node.superblock(v).needs_replay()) << v;
            EXPECT_EQ(*node.begin(DRBD_REQUEST_WRITE, 0, 4096, 0, v).result, -30);
        }
        node.expect_at_rest();
        node.must(node.attach(failing));
        node.must(node.set_role(true));
        for (unsigned v = 0; v < 3; v++)
            EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, 0, v)), 0);
    }
}

TEST(Roles, AForcedPromotionThatIsWithdrawnLeavesTheDiskAsItWas) {
    Node node(2);
    node.format(0, 0x80);
    node.must(node.attach(0));
    node.format_up_to_date(1);
    node.must(node.attach(1));
    const uint64_t operation = node.set_role(true, true);
    ASSERT_TRUE(node.run_job(0));
    ASSERT_TRUE(node.run_job(1, -5));
    node.run_jobs();
    EXPECT_FALSE(node.ended(operation).success);
    EXPECT_EQ(node.disk(0), "Inconsistent");
    EXPECT_FALSE(node.superblock(0).flags.has(metafmt::MdFlag::Consistent));
}

TEST(Roles, ADemotionStandsEvenIfADiskIsLostOverIt) {
    Node node(2);
    node.become_primary();
    const uint64_t operation = node.set_role(false);
    ASSERT_TRUE(node.run_job(1, -5));
    node.run_jobs();
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(node.disk(1), "Diskless");
    EXPECT_EQ(node.disk(0), "UpToDate");
}

TEST(Roles, ADemotionWaitsForWritesNotForReads) {
    Node node;
    node.become_primary();
    Guest& w = node.write(0);
    Guest& r = node.read(0);
    const uint64_t operation = node.set_role(false);
    EXPECT_EQ(node.write(kMiB).result, -30);
    node.finish(w);
    node.run_jobs();
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_FALSE(node.is_primary());
    EXPECT_EQ(node.finish(r), 0);
}

TEST(Roles, ADemotionWhoseDiskFailsOverItsWritesEnds) {
    Node node;
    node.become_primary();
    Guest& w = node.write(0);
    node.run_jobs();
    node.wake_all();
    const uint64_t operation = node.set_role(false);
    node.local_done(w, -5);
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_FALSE(node.is_primary());
    node.expect_at_rest();
}

TEST(Roles, PromotionOfInSyncDataMakesAGenerationElseNot) {
    Node fresh;
    fresh.format_up_to_date(0, 0);
    fresh.must(fresh.attach());
    fresh.must(fresh.set_role(true));
    EXPECT_EQ(fresh.superblock(0).uuids.bitmap, 0x1110u);
    EXPECT_EQ(fresh.superblock(0).uuids.current & 1, 1u);
    const uint64_t current = fresh.superblock(0).uuids.current;
    fresh.must(fresh.set_role(false));
    EXPECT_EQ(fresh.superblock(0).uuids.current, current & ~1ull);
    fresh.must(fresh.set_role(true));
    EXPECT_EQ(fresh.superblock(0).uuids.current, current) << "the bits count from 0x1110 already";
}

TEST(Roles, TheLastVolumeThatLeavesEndsTheRole) {
    Node node(2);
    node.become_primary();
    node.must(node.leave(0));
    EXPECT_TRUE(node.is_primary());
    EXPECT_TRUE(node.superblock(0).is_clean());
    EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, 0, 1)), 0);
    node.must(node.leave(1));
    EXPECT_FALSE(node.is_primary());
}

// While the role of the resource changes, a volume that has already written
// down its part must not become something that cannot have the role.
TEST(Roles, AVolumeIsNotChangedWhileTheRoleIs) {
    for (int what = 0; what < 3; what++) {
        Node node(2);
        attach_all(node, 2);
        const uint64_t operation = node.set_role(true);
        ASSERT_TRUE(node.run_job(0));
        const uint64_t other = what == 0 ? node.invalidate(0) : what == 1 ? node.outdate(0) : node.detach(0, false);
        EXPECT_EQ(other, 0u) << what;
        node.run_jobs();
        EXPECT_EQ(node.ended(operation).times, 1u);
        if (node.is_primary()) {
            EXPECT_EQ(node.disk(0), "UpToDate") << what;
            EXPECT_TRUE(node.superblock(0).flags.has(metafmt::MdFlag::WasUpToDate)) << what;
            EXPECT_TRUE(node.superblock(0).needs_replay()) << what;
        }
    }
}

TEST(Roles, ADiskThatComesWhileThePrimaryIsDemotedFollows) {
    Node node(2);
    node.become_primary();
    node.must(node.detach(1, true));
    Guest& w = node.write(0);
    const uint64_t operation = node.set_role(false);
    const uint64_t attach = node.attach(1);
    node.run_jobs();
    node.finish(w);
    node.run_jobs();
    EXPECT_TRUE(node.ended_well(operation));
    EXPECT_FALSE(node.is_primary());
    if (attach != 0) {
        EXPECT_TRUE(node.ended_well(attach));
        EXPECT_EQ(node.disk(1), "UpToDate");
        EXPECT_FALSE(node.superblock(1).needs_replay());
    } else {
        EXPECT_FALSE(node.refusal().empty());
    }
}

TEST(Roles, ADiskThatComesToAPrimaryIsPrimaryToo) {
    Node node(2);
    node.become_primary();
    node.must(node.detach(1, true));
    node.must(node.attach(1));
    EXPECT_EQ(node.disk(1), "UpToDate");
    EXPECT_TRUE(node.superblock(1).needs_replay());
    EXPECT_EQ(node.finish(node.begin(DRBD_REQUEST_WRITE, 0, 4096, 0, 1)), 0);
}

}  // namespace
}  // namespace drbd::test
