// SPDX-License-Identifier: GPL-2.0-or-later
// No request is free: who came first goes on first, woken once each.
#include "../node.h"

namespace drbd::test {
namespace {

TEST(RequestPool, AtTheBoundCallersWaitAndAreWokenInOrder) {
    Node node(1, 2);
    node.become_primary();
    Guest& a = node.read(0);
    Guest& b = node.read(0);
    Guest& c = node.read(4096);
    Guest& d = node.read(8192);
    EXPECT_EQ(c.step, DRBD_STEP_RETRY);
    EXPECT_EQ(d.step, DRBD_STEP_RETRY);
    EXPECT_EQ(c.request, nullptr);
    EXPECT_EQ(node.status().in_flight, 2u) << "those without a request do not count";
    EXPECT_TRUE(node.wake_all().empty());
    node.local_done(b);
    EXPECT_EQ(node.wake_all(), std::vector<Guest*>{&c});
    EXPECT_EQ(c.step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(d.step, DRBD_STEP_RETRY);
    node.local_done(a);
    EXPECT_EQ(node.wake_all(), std::vector<Guest*>{&d});
    node.local_done(c);
    node.local_done(d);
    EXPECT_EQ(c.wakes, 1u);
    EXPECT_EQ(d.wakes, 1u);
    node.expect_at_rest();
    DrbdResourceStatus status;
    drbd_resource_status(node.core(), &status);
    EXPECT_EQ(status.requests_waited_for_pool, 2u);
    EXPECT_EQ(status.requests_max, 2u);
}

TEST(RequestPool, ThousandsThroughThreeRequestsAllEnd) {
    Node node(2, 3);
    node.become_primary();
    std::vector<Guest*> guests;
    for (uint64_t i = 0; i < 1000; i++)
        guests.push_back(&node.begin(i % 3 ? DRBD_REQUEST_WRITE : DRBD_REQUEST_READ, i * 7 % 50 * 2 * kMiB, 4096, 0, i % 2));
    for (int round = 0; round < 3000; round++) {
        node.run_jobs();
        node.wake_all();
        for (Guest* g : guests)
            if (!g->result && g->step == DRBD_STEP_SUBMIT)
                node.local_done(*g);
    }
    for (Guest* g : guests) {
        ASSERT_TRUE(g->result.has_value());
        EXPECT_EQ(*g->result, 0);
        EXPECT_EQ(g->wakes, g->waits);
    }
    node.expect_at_rest();
}

TEST(RequestPool, ARefusedRequestGivesItsPlaceBack) {
    Node node(1, 1);
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(node.read(0).result, -5);
    node.expect_at_rest();
}

TEST(Resource, ConfigurationsThatMakeNoSense) {
    char error[DRBD_ERROR_SIZE];
    for (unsigned volumes : {0u, 17u}) {
        const DrbdResourceConfig config{"r", volumes, 0, {1, 1}};
        EXPECT_EQ(drbd_resource_new(&config, error), nullptr);
        EXPECT_NE(std::string(error).find("1 to 16"), std::string::npos) << error;
    }
    const DrbdResourceConfig many{"r", 1, 16385, {1, 1}};
    EXPECT_EQ(drbd_resource_new(&many, error), nullptr);
    EXPECT_NE(std::string(error).find("16384"), std::string::npos) << error;
    Node node(1);
    EXPECT_FALSE(drbd_volume_open(node.core(), 1, error));
    EXPECT_NE(std::string(error).find("volumes 0 to 0"), std::string::npos) << error;
    EXPECT_FALSE(drbd_volume_open(node.core(), 0, error));
    EXPECT_NE(std::string(error).find("open already"), std::string::npos) << error;
}

}  // namespace
}  // namespace drbd::test
