// SPDX-License-Identifier: GPL-2.0-or-later
// The receiver's epochs (spec 6.5, design D6): when a write may begin, when a
// barrier is acknowledged and with which number, and what is flushed before.
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;

TEST(Epochs, NextEpochWaitsForWritesAndFlushOfAllVolumes) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 3);
    ASSERT_TRUE(world.write(0, {.start = 0, .id = 1}));
    ASSERT_TRUE(world.write(1, {.start = 0, .id = 2}));
    ASSERT_TRUE(world.barrier(0xdeadbeef));
    ASSERT_TRUE(world.write(2, {.start = 0, .id = 3}));
    EXPECT_EQ(world.io.epochs(), 2u);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 2u);
    EXPECT_EQ(world.io.writes_pending(2), 1u);
    world.end(world.running[0].id);
    EXPECT_EQ(world.nr_running(DRBD_PEER_FLUSH), 0u);
    world.end(world.running[0].id);
    // Two volumes have something to flush, at once; the third has not begun.
    ASSERT_EQ(world.take_io().size(), 2u);
    EXPECT_EQ(world.nr_running(DRBD_PEER_FLUSH), 2u);
    EXPECT_EQ(world.running[0].volume + world.running[1].volume, 1u);
    world.ack_packets();
    world.end(world.running[0].id);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 0u);
    EXPECT_TRUE(world.acks().empty());
    world.end(world.running[0].id);
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u);
    EXPECT_EQ(acks[0].packet, Packet::BarrierAck);
    EXPECT_EQ(acks[0].barrier.number.value, 0xdeadbeefu);
    EXPECT_EQ(acks[0].barrier.set_size, 2u);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);
    EXPECT_EQ(world.running[0].volume, 2u);
    EXPECT_EQ(world.io.epochs(), 1u);
    world.end_all();
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::WriteAck});
}

TEST(Epochs, AcknowledgementsOfItsWritesGoBeforeTheBarriers) {
    PeerWorld world;
    for (unsigned i = 0; i < 3; i++)
        ASSERT_TRUE(world.write(0, {.start = i * 4096u, .id = i + 1, .flags = i == 1 ? kAckReceived : kAckWritten}));
    ASSERT_TRUE(world.barrier(1));
    world.end_all();
    EXPECT_EQ(world.ack_packets(), (std::vector<Packet>{Packet::RecvAck, Packet::WriteAck, Packet::WriteAck,
                                                        Packet::BarrierAck}));
}

TEST(Epochs, AnEmptyEpochIsNotAcknowledged) {
    PeerWorld world;
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.barrier(2));
    EXPECT_EQ(world.io.epochs(), 0u);
    ASSERT_TRUE(world.write(0, {.flags = 0}));
    ASSERT_TRUE(world.barrier(3));
    ASSERT_TRUE(world.barrier(4));
    world.end_all();
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u);
    EXPECT_EQ(acks[0].barrier.number.value, 3u);
    EXPECT_EQ(acks[0].barrier.set_size, 1u);
}

// The end of the writes comes first, then the barrier.
TEST(Epochs, AnEpochThatIsDoneIsFlushedWhenItsBarrierComes) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.flags = 0}));
    world.end_first(DRBD_PEER_WRITE);
    EXPECT_FALSE(world.requests.has_next());
    ASSERT_TRUE(world.barrier(9));
    EXPECT_TRUE(world.acks().empty());
    world.end_first(DRBD_PEER_FLUSH);
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::BarrierAck});
}

TEST(Epochs, WhatWasWrittenWithFuaNeedsNoFlush) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.flags = kFua}));
    ASSERT_TRUE(world.barrier(1));
    world.end_first(DRBD_PEER_WRITE);
    EXPECT_FALSE(world.requests.has_next());
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::BarrierAck});
}

TEST(Epochs, AFailedWriteIsCountedAndFlushedAround) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.write(0, {.start = 4096, .flags = 0}));
    ASSERT_TRUE(world.barrier(1));
    world.end_first(DRBD_PEER_WRITE, -EIO);
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_FLUSH);
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 2u);
    EXPECT_EQ(acks[0].packet, Packet::NegAck);
    EXPECT_EQ(acks[1].barrier.set_size, 2u);
}

// It counts, and its flush is done in its place.
TEST(Epochs, AFlushWithoutDataCounts) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 0, .flags = kFlush | kAckWritten | kAckReceived}));
    ASSERT_TRUE(world.barrier(2));
    EXPECT_EQ(world.nr_running(DRBD_PEER_FLUSH), 0u);
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_FLUSH);
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::BarrierAck});
    EXPECT_EQ(world.nr_running(DRBD_PEER_FLUSH), 1u);
    world.end_all();
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u);
    EXPECT_EQ(acks[0].barrier.number.value, 2u);
    EXPECT_EQ(acks[0].barrier.set_size, 1u);
    EXPECT_EQ(world.io.writes_pending(0), 0u);
}

TEST(Epochs, AFlushWithoutDataThatFailsEndsTheConnection) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 0, .flags = kFlush}));
    world.end_first(DRBD_PEER_FLUSH, -EIO);
    EXPECT_TRUE(world.link_up.link.is_dropped());
    ASSERT_EQ(world.volume().errors.size(), 1u);
    EXPECT_EQ(world.volume().errors[0].kind, DRBD_REQUEST_FLUSH);
}

// ---- a flush that fails ----

TEST(Epochs, AFlushThatFailsEndsTheConnectionAndStopsWhatFollows) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.write(1, {.start = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 4096}));
    ASSERT_TRUE(world.barrier(2));
    ASSERT_TRUE(world.write(1, {.start = 8192}));
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_WRITE);
    world.ack_packets();
    ASSERT_EQ(world.nr_running(DRBD_PEER_FLUSH), 2u);
    const unsigned failing = world.running[0].volume;
    world.end(world.running[0].id, -EIO);
    EXPECT_TRUE(world.link_up.link.is_dropped());
    EXPECT_NE(std::strstr(world.link_up.link.dropped_why(), "could not be flushed"), nullptr);
    ASSERT_EQ(world.volume(failing).errors.size(), 1u);
    EXPECT_EQ(world.volume(failing).errors[0].kind, DRBD_REQUEST_FLUSH);
    EXPECT_TRUE(world.volume(1 - failing).errors.empty());
    world.lose_link();
    // The other volume's flush ends; nothing of the later epochs is written.
    ASSERT_EQ(world.take_io().size(), 1u);
    world.end(world.running[0].id);
    EXPECT_TRUE(world.take_io().empty());
    EXPECT_EQ(world.volume(0).marked, (std::vector<std::pair<uint64_t, uint64_t>>{{4096, 4096}}));
    EXPECT_EQ(world.volume(1).marked, (std::vector<std::pair<uint64_t, uint64_t>>{{8192, 4096}}));
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_EQ(world.io.epochs(), 0u);
    world.link_up.go_up();
    EXPECT_TRUE(world.acks().empty());
    // The next connection has epochs again.
    ASSERT_TRUE(world.write(0, {.flags = 0}));
    ASSERT_TRUE(world.barrier(3));
    world.end_all();
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::BarrierAck});
}

// The hub gives the disk up at once, from within.
TEST(Epochs, AFlushThatFailsMayEndTheDisk) {
    PeerWorld world;
    world.volume().on_error = [&] {
        world.volume().may_write = false;
        world.io.disk_lost(0);
    };
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 0}));
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_FLUSH, -EIO);
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_EQ(world.io.writes_pending(0), 0u);
    EXPECT_EQ(world.volume().errors.size(), 1u);
}

// A volume that was closed with something in its disk's cache.
TEST(Epochs, WhatAClosedVolumeDidNotFlushIsNotAcknowledged) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.write(1, {.start = 0, .flags = 0}));
    world.end_all();
    world.io.set_volume(1, nullptr);
    ASSERT_TRUE(world.barrier(1));
    world.end_all();
    EXPECT_TRUE(world.link_up.link.is_dropped());
    EXPECT_TRUE(world.acks().empty());
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// What is marked while an epoch ends may lead back into the ends of epochs.
TEST(Epochs, ADiskMayBeLostWhileAnEpochEnds) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    world.volume(0).on_marked = [&] { world.io.disk_lost(0); };
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = kFua}));
    ASSERT_TRUE(world.write(1, {.start = 0, .flags = 0}));
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_WRITE);
    world.io.set_volume(1, nullptr);  // closed, and nothing is flushed
    ASSERT_TRUE(world.write(0, {.start = 4096, .flags = kFua}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 8192, .flags = kFua}));
    ASSERT_TRUE(world.barrier(2));
    ASSERT_TRUE(world.write(0, {.start = 12288, .flags = kFua}));
    world.end_all();
    EXPECT_EQ(world.volume(0).marked.size(), 2u);
    EXPECT_TRUE(world.acks().empty());
    EXPECT_TRUE(world.link_up.link.is_dropped());
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_EQ(world.io.epochs(), 0u);
}

TEST(Epochs, WhatAnOrderlyDetachFlushedIsAcknowledged) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    world.end_all();
    world.volume().may_write = false;
    world.io.disk_lost(0);
    world.io.disk_flushed(0);
    ASSERT_TRUE(world.barrier(1));
    EXPECT_TRUE(world.take_io().empty());
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::BarrierAck});
}

// ---- bounds ----

TEST(Epochs, BarriersAreBoundedEvenIfNothingIsWritten) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    world.volume(1).may_write = false;
    ASSERT_TRUE(world.write(0, {.start = 0}));  // holds the first epoch open
    world.take_io();
    unsigned sent = 0;
    while (world.io.may_receive() && sent < 100000) {
        ASSERT_TRUE(world.barrier(++sent));
        ASSERT_TRUE(world.write(1, {.start = 0, .flags = 0}));
        world.acks();
    }
    EXPECT_GE(sent, kPeerRequestsMax);
    EXPECT_LE(sent, kPeerRequestsMax + 2);
    EXPECT_FALSE(world.barrier(7));  // whoever does not wait is cut
    world.end_all();
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u + sent);
    EXPECT_EQ(acks[0].packet, Packet::WriteAck);
    for (unsigned i = 1; i <= sent; i++) {
        EXPECT_EQ(acks[i].barrier.number.value, i);
        EXPECT_EQ(acks[i].barrier.set_size, 1u);
    }
    EXPECT_TRUE(world.io.may_receive());
}

// Every request parked behind a flush must not keep that flush from its own.
TEST(Epochs, AFullPoolDoesNotStopTheFlushThatFreesIt) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 1, 8);
    for (unsigned i = 0; i < 8; i++) {
        ASSERT_TRUE(world.io.may_receive());
        ASSERT_TRUE(world.write(0, {.start = i * 4096u, .flags = 0}));
        ASSERT_TRUE(world.barrier(i + 1));
    }
    EXPECT_FALSE(world.io.may_receive());
    auto packet = world.encode_write(0, {.start = 0});
    auto verdict = world.io.on_write_announced(packet.frame());
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict.value(), BulkVerdict::Stall);
    world.end_first(DRBD_PEER_WRITE);
    EXPECT_TRUE(world.io.may_receive());
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    EXPECT_FALSE(world.io.may_receive());
    ASSERT_TRUE(world.io.on_write(packet.frame(), world.new_buffer(4096)));
    world.end_all();
    EXPECT_EQ(world.requests.in_use(), 0u);
}

TEST(Epochs, BytesAreBoundedAndALargeWriteAlwaysFitsAnIdlePool) {
    PeerWorld world;
    world.requests.set_bytes_max(128 << 10);
    ASSERT_TRUE(world.io.may_receive());
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 1 << 20}));
    EXPECT_FALSE(world.io.may_receive());
    auto packet = world.encode_write(0, {.start = 2 << 20, .bytes = 1 << 20});
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Stall);
    world.end_all();
    EXPECT_TRUE(world.io.may_receive());
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    // The connection ends before the payload came.
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 0u);
}

}  // namespace
}  // namespace drbd::test
