// SPDX-License-Identifier: GPL-2.0-or-later
// The connection goes while writes of the peer are at any stage: what was
// received is written in its order, flushed between epochs, and not answered,
// neither to nobody nor to the next connection.
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;

TEST(LinkLoss, WhatWasReceivedIsWrittenInOrderWithoutAnswers) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.write(0, {.start = 0}));  // behind the first
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 4096}));  // parked
    ASSERT_TRUE(world.barrier(2));
    ASSERT_TRUE(world.write(0, {.start = 8192}));  // parked further
    world.take_io();
    world.lose_link();
    EXPECT_EQ(world.io.writes_pending(0), 4u);
    std::vector<std::pair<DrbdPeerIoKind, uint64_t>> order;
    while (!world.take_io().empty()) {
        ASSERT_EQ(world.running.size(), 1u);
        order.emplace_back(world.running[0].kind, world.running[0].offset);
        world.end(world.running[0].id);
    }
    EXPECT_EQ(order, (std::vector<std::pair<DrbdPeerIoKind, uint64_t>>{{DRBD_PEER_WRITE, 0},
                                                                       {DRBD_PEER_WRITE, 0},
                                                                       {DRBD_PEER_FLUSH, 0},
                                                                       {DRBD_PEER_WRITE, 4096},
                                                                       {DRBD_PEER_FLUSH, 0},
                                                                       {DRBD_PEER_WRITE, 8192}}));
    EXPECT_EQ(world.io.writes_pending(0), 0u);
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_EQ(world.io.epochs(), 0u);
    EXPECT_TRUE(world.volume().marked.empty());
    world.link_up.go_up();
    EXPECT_TRUE(world.acks().empty());
}

// Barriers of the next connection count its writes only.
TEST(LinkLoss, EpochsBeginAnew) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.write(0, {.start = 4096, .flags = 0}));
    world.end_all();
    world.lose_link();
    world.link_up.go_up();
    ASSERT_TRUE(world.barrier(5));  // empty, as far as this connection goes
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.barrier(6));
    world.end_all();
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u);
    EXPECT_EQ(acks[0].barrier.number.value, 6u);
    EXPECT_EQ(acks[0].barrier.set_size, 1u);
}

TEST(LinkLoss, WhatWaitsForBitsIsWrittenToo) {
    PeerWorld world;
    world.volume().peer_diskless = true;
    world.volume().bits_stable = false;
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 0}));
    world.lose_link();
    world.volume().peer_diskless = false;  // nothing is known of it now, but it was so
    world.volume().bits_stable = true;
    world.io.bits_are_stable(0);
    world.end_all();
    EXPECT_EQ(world.volume().marked.size(), 4u);  // each when it came and when its turn came
    EXPECT_EQ(world.requests.in_use(), 0u);
}

TEST(LinkLoss, AWriteErrorIsStillMarkedAndTold) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 4096}));
    world.take_io();
    world.lose_link();
    world.end_first(DRBD_PEER_WRITE, -EIO);
    EXPECT_EQ(world.volume().marked.size(), 1u);
    EXPECT_EQ(world.volume().errors.size(), 1u);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

TEST(LinkLoss, AFlushThatFailsAfterwardsStopsWhatFollows) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 4096}));
    world.take_io();
    world.lose_link();
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_FLUSH, -EIO);
    EXPECT_TRUE(world.take_io().empty());
    EXPECT_EQ(world.volume().marked, (std::vector<std::pair<uint64_t, uint64_t>>{{4096, 4096}}));
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// Somebody else drops it in the same event: nothing is answered from then on.
TEST(LinkLoss, ADroppedLinkIsNotAnswered) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = kAckWritten}));
    ASSERT_TRUE(world.barrier(1));
    world.take_io();
    world.link_up.link.drop(ConnectionState::Timeout, "test");
    world.end_all();
    EXPECT_EQ(world.link_up.queued_meta(), 0u);
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// The payload of an announced write never comes; or comes for nobody, and the
// stream goes on.
TEST(LinkLoss, AnAnnouncedPayloadMayNeverCome) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    auto packet = world.encode_write(0, {.start = 0});
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    ASSERT_TRUE(world.write(1, {.start = 0, .flags = kDiscard, .packet = Packet::Trim}));
    EXPECT_EQ(world.requests.in_use(0), 0u);
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    ASSERT_TRUE(world.write(1, {.start = 4 << 20}));
    EXPECT_EQ(world.requests.in_use(0), 0u);
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(0), 0u);
    world.end_all();
    EXPECT_EQ(world.requests.in_use(), 0u);
}

}  // namespace
}  // namespace drbd::test
