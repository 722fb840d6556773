// SPDX-License-Identifier: GPL-2.0-or-later
// Overlapping writes go one after the other, in arrival order; those of a
// resync take part.  And what waits for bits, or dies while it waits.
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;
using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(Order, OverlappingWritesGoOneAfterTheOther) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 8192, .id = 1}));
    ASSERT_TRUE(world.write(0, {.start = 4096, .bytes = 8192, .id = 2}));
    ASSERT_TRUE(world.write(0, {.start = 8192, .bytes = 4096, .id = 3}));   // waits for 2 that waits
    ASSERT_TRUE(world.write(0, {.start = 32768, .bytes = 4096, .id = 4}));  // passes
    ASSERT_EQ(world.take_io().size(), 2u);
    EXPECT_EQ(world.running[1].offset, 32768u);
    world.end(world.running[0].id);
    ASSERT_EQ(world.take_io().size(), 2u);
    EXPECT_EQ(world.running[1].offset, 4096u);
    world.end(world.running[1].id);
    ASSERT_EQ(world.take_io().size(), 2u);
    EXPECT_EQ(world.running[1].offset, 8192u);
    world.end_all();
    std::vector<uint64_t> ids;
    for (const Ack& ack : world.acks())
        ids.push_back(ack.block.id.value);
    EXPECT_EQ(ids, (std::vector<uint64_t>{1, 2, 4, 3}));
}

TEST(Order, ResyncWaitsForEarlierWritesAlsoOfALaterEpoch) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 1 << 20, .flags = 0}));  // parked
    world.enter_resync(2 << 20, 4096, true);
    PeerRequest& resync = world.enter_resync(1 << 20, 1 << 16, false);
    ASSERT_TRUE(world.write(0, {.start = (1 << 20) + 4096, .flags = 0}));  // came later: behind the resync
    world.end_first(DRBD_PEER_WRITE);
    world.end_first(DRBD_PEER_FLUSH);
    ASSERT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);
    EXPECT_EQ(world.running[0].offset, 1u << 20);
    EXPECT_EQ(world.granted.size(), 1u);
    world.end_first(DRBD_PEER_WRITE);
    ASSERT_EQ(world.granted.size(), 2u);
    EXPECT_EQ(world.granted[1], &resync);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 0u);
    world.leave_resync(resync);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);
    world.end_all();
    world.leave_resync(*world.granted[0]);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// A parked write that does not concern it is not in a resync's way.
TEST(Order, AResyncPassesParkedWritesElsewhere) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.write(0, {.start = 1 << 20, .flags = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 2 << 20, .flags = 0}));  // parked
    PeerRequest& resync = world.enter_resync(0, 4096, false);
    world.end_first(DRBD_PEER_WRITE);
    ASSERT_EQ(world.granted.size(), 1u);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);  // its epoch is not over
    world.leave_resync(resync);
    world.end_all();
    EXPECT_EQ(world.requests.in_use(), 0u);
}

TEST(Order, AResyncThatGivesUpWhileItWaitsLetsOthersPass) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 4096, .flags = 0}));
    PeerRequest& resync = world.enter_resync(0, 16384, false);
    ASSERT_TRUE(world.write(0, {.start = 8192, .bytes = 4096, .flags = 0}));
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);
    world.leave_resync(resync);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 2u);
    EXPECT_TRUE(world.granted.empty());
    world.end_all();
}

// A resync write that is told of its turn gives up all others of its resync.
TEST(Order, AResyncMayGiveUpFromWithinAGrant) {
    struct Quitter : PeerRangeWaiter {
        explicit Quitter(PeerWorld& w) : world(w) {}
        void on_peer_range_granted(PeerRequest& request) override {
            told++;
            for (PeerRequest* r : {&request, other})
                if (r) {
                    world.io.leave(*r);
                    world.requests.finish(*r);
                }
        }
        PeerWorld& world;
        PeerRequest* other = nullptr;
        unsigned told = 0;
    };
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0, .bytes = 8192, .flags = 0}));
    Quitter quitter(world);
    PeerRequest* entered[2];
    for (unsigned i = 0; i < 2; i++) {
        entered[i] = world.requests.take(0, PeerWork::ResyncWrite, 0);
        entered[i]->range.start = i * 4096u;
        entered[i]->range.end = entered[i]->range.start + 4096;
        EXPECT_FALSE(world.io.enter(*entered[i], quitter));
    }
    quitter.other = entered[1];
    world.end_first(DRBD_PEER_WRITE);
    EXPECT_EQ(quitter.told, 1u);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// ---- the peer has no disk ----

TEST(Order, BitsAreStableBeforeAWriteThatThePeerHasNot) {
    PeerWorld world;
    world.volume().peer_diskless = true;
    world.volume().syncing = true;
    world.volume().bits_stable = false;
    ASSERT_TRUE(world.write(0, {.start = 4096, .flags = kAckWritten | kMayClear}));
    // When it came, for a bitmap that is sent meanwhile, and when its turn came.
    EXPECT_EQ(world.volume().marked, (Ranges{{4096, 4096}, {4096, 4096}}));
    EXPECT_TRUE(world.take_io().empty());
    world.io.bits_are_stable(0);  // of something else
    EXPECT_TRUE(world.take_io().empty());
    world.volume().bits_stable = true;
    world.io.bits_are_stable(0);
    EXPECT_EQ(world.nr_running(DRBD_PEER_WRITE), 1u);
    world.end_all();
    // Not RsWriteAck: the bits stay.
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::WriteAck});
    EXPECT_TRUE(world.volume().cleared.empty());
}

TEST(Order, AWriteThatWaitsForItsBitsKeepsItsPlace) {
    PeerWorld world;
    world.volume().peer_diskless = true;
    world.volume().bits_stable = false;
    ASSERT_TRUE(world.write(0, {.start = 0, .id = 1}));
    ASSERT_TRUE(world.write(0, {.start = 0, .id = 2}));
    ASSERT_TRUE(world.barrier(1));
    EXPECT_EQ(world.volume().bits_wanted, 1u);
    world.volume().bits_stable = true;
    world.io.bits_are_stable(0);
    world.end_all();
    EXPECT_EQ(world.ack_packets(),
              (std::vector<Packet>{Packet::WriteAck, Packet::WriteAck, Packet::BarrierAck}));
}

// ---- no disk, or none any more ----

TEST(Order, WithoutADiskAWriteIsRefusedAndCounted) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    world.volume(1).may_write = false;
    ASSERT_TRUE(world.write(0, {.start = 0, .flags = 0}));
    ASSERT_TRUE(world.write(1, {.start = 512, .bytes = 1024, .id = 5, .flags = 0}));
    EXPECT_EQ(world.last_verdict, BulkVerdict::Discard);
    ASSERT_TRUE(world.write(1, {.start = 0, .bytes = 8192, .id = 6, .flags = kDiscard, .packet = Packet::Trim}));
    ASSERT_TRUE(world.barrier(1));
    EXPECT_EQ(world.io.writes_pending(1), 0u);
    world.end_all();
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 3u);
    EXPECT_EQ(acks[0].packet, Packet::NegAck);
    EXPECT_EQ(acks[0].block.id.value, 5u);
    EXPECT_EQ(acks[0].block.sector.value, 1u);
    EXPECT_EQ(acks[0].block.size.value, 1024u);
    EXPECT_EQ(acks[1].block.size.value, 8192u);
    EXPECT_EQ(acks[2].barrier.set_size, 3u);
}

// An epoch of refused writes alone is acknowledged at once.
TEST(Order, WithoutADiskTheBarrierIsAcknowledgedAllTheSame) {
    PeerWorld world;
    world.volume().may_write = false;
    ASSERT_TRUE(world.write(0, {.flags = 0}));
    ASSERT_TRUE(world.barrier(4));
    EXPECT_EQ(world.ack_packets(), (std::vector<Packet>{Packet::NegAck, Packet::BarrierAck}));
}

// The peer has not heard yet that this disk is no copy: it must not think that its write has one here.
TEST(Order, AStaleDiskRefusesAndMarksWhatItIsSent) {
    PeerWorld world;
    world.volume().stale = true;
    auto packet = world.encode_write(0, {.start = 4096});
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Discard);
    ASSERT_TRUE(world.io.on_write(packet.frame(), nullptr));
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::NegAck});
    EXPECT_EQ(world.volume().marked, (Ranges{{4096, 4096}}));
    world.take_io();
    EXPECT_TRUE(world.running.empty());
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// The disk comes between a payload's announcement, when it was discarded, and
// its end; or goes.
TEST(Order, TheDiskChangesWhileAPayloadIsOnItsWay) {
    PeerWorld world;
    world.volume().may_write = false;
    auto packet = world.encode_write(0, {.start = 4096});
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Discard);
    world.volume().may_write = true;
    ASSERT_TRUE(world.io.on_write(packet.frame(), nullptr));
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::NegAck});
    EXPECT_EQ(world.volume().marked, (Ranges{{4096, 4096}}));

    packet = world.encode_write(0, {.start = 8192});
    EXPECT_EQ(world.io.on_write_announced(packet.frame()).value(), BulkVerdict::Take);
    world.volume().may_write = false;
    ASSERT_TRUE(world.io.on_write(packet.frame(), world.new_buffer(4096)));
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::NegAck});
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// One write at the image, one handed in, one behind it, one parked, one waiting
// for bits: all are refused, told and counted, and the error is news once.
TEST(Order, TheDiskIsLostUnderEverythingThatWaits) {
    PeerWorld world;
    FakeVolume& volume = world.volume();
    volume.on_error = [&] {
        volume.may_write = false;
        world.io.disk_lost(0);
    };
    ASSERT_TRUE(world.write(0, {.start = 0, .id = 1, .flags = 0}));
    ASSERT_TRUE(world.write(0, {.start = 0, .id = 2, .flags = 0}));
    ASSERT_TRUE(world.write(0, {.start = 4096, .id = 3, .flags = 0}));
    world.take_io();
    ASSERT_EQ(world.running.size(), 2u);
    ASSERT_TRUE(world.write(0, {.start = 8192, .id = 4, .flags = 0}));  // queued, not handed out
    volume.peer_diskless = true;
    volume.bits_stable = false;
    ASSERT_TRUE(world.write(0, {.start = 12288, .id = 5, .flags = 0}));
    ASSERT_TRUE(world.barrier(1));
    ASSERT_TRUE(world.write(0, {.start = 16384, .id = 6, .flags = 0}));
    ASSERT_TRUE(world.barrier(2));
    world.end(world.running[0].id, -EIO);
    EXPECT_EQ(volume.errors.size(), 1u);
    EXPECT_EQ(world.io.writes_pending(0), 1u);
    std::set<uint64_t> refused;
    for (const Ack& ack : world.acks()) {
        EXPECT_EQ(ack.packet, Packet::NegAck);
        refused.insert(ack.block.id.value);
    }
    EXPECT_EQ(refused, (std::set<uint64_t>{1, 2, 4, 5, 6}));
    ASSERT_EQ(world.take_io().size(), 1u);
    world.end(world.running[0].id);  // it made it
    world.end_first(DRBD_PEER_FLUSH);
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), 2u);
    EXPECT_EQ(acks[0].barrier.set_size, 5u);
    EXPECT_EQ(acks[1].barrier.set_size, 1u);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

}  // namespace
}  // namespace drbd::test
