// SPDX-License-Identifier: GPL-2.0-or-later
// What is sent for a guest's write, and when it completes under A, B and C,
// whatever ends first.
#include "request_world.h"

namespace drbd::test {
namespace {

struct Replication : testing::Test {
    RequestWorld& make(ReplicationProtocol protocol = ReplicationProtocol::C, wire::Agreement agreement = {101, {15}},
                       unsigned requests = 64) {
        world.emplace(protocol, agreement, requests);
        return *world;
    }
    std::optional<RequestWorld> world;
};

// Who waited for a request may find the disk smaller when he is asked again.
TEST_F(Replication, WhatLiesBeyondTheEndOfTheDiskEndsAtOnce) {
    RequestWorld& w = make();
    const uint64_t end = to_bytes(w.volume().disk.size).value;
    EXPECT_EQ(w.write(end - 4096, 8192).result, -EIO);
    EXPECT_EQ(w.read(end).result, -EIO);
    EXPECT_EQ(w.begin(DRBD_REQUEST_ZEROES, end, 4096).result, -EIO);
    EXPECT_TRUE(w.take().empty());
}

TEST_F(Replication, CompletesUnderCWhenBothHaveItLocalFirst) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(8192);
    ASSERT_EQ(g.step, DRBD_STEP_SUBMIT);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].packet, Packet::Data);
    EXPECT_EQ(sent[0].offset, 8192u);
    EXPECT_EQ(sent[0].bulk, g.payload);
    EXPECT_EQ(sent[0].sequence, 1u);
    EXPECT_EQ(sent[0].flags.bits, 256u);
    EXPECT_NE(sent[0].id, wire::kSyncerId);
    w.local_done(g);
    EXPECT_FALSE(g.result);
    w.ack(sent[0]);
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(g.wakes, 1u);
    EXPECT_FALSE(w.volume().bit(8192));
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 1u) << "until the epoch is confirmed";
    EXPECT_EQ(w.pool.in_use(), 1u);
    w.settle();
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 0u);
    EXPECT_FALSE(w.volume().bit(8192));
}

TEST_F(Replication, CompletesUnderCWhenBothHaveItPeerFirst) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(0);
    w.ack(w.take().at(0));
    EXPECT_EQ(g.step, DRBD_STEP_SUBMIT);
    w.local_done(g);
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(g.wakes, 0u);
    w.settle();
}

// The answer may come before the sender's thread has said that it has sent.
TEST_F(Replication, DoesNotCompleteBeforeItsPayloadHasLeft) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(0);
    DrbdSend send;
    ASSERT_TRUE(w.peer.data().hand_out(send));
    w.local_done(g);
    ASSERT_TRUE(w.io().on_ack(Packet::WriteAck, {Sector(0), Bytes(4096), w.log.handle_of(*g.request), 1}).ok());
    w.wake_all();
    EXPECT_FALSE(g.result);
    w.peer.data().sent(send.bytes);
    w.wake_all();
    EXPECT_EQ(g.result, 0);
    w.log.close_epoch();
    EXPECT_TRUE(w.confirm_with(w.take().at(0).barrier.value, 1).ok());
}

TEST_F(Replication, UnderAItCompletesWhenItIsSentAndEndsItsEpoch) {
    RequestWorld& w = make(ReplicationProtocol::A);
    GuestWrite& g = w.write(0);
    w.local_done(g);
    EXPECT_FALSE(g.result);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[0].flags.bits, 0u);
    EXPECT_EQ(g.result, 0);
    w.confirm(sent[1]);
}

TEST_F(Replication, UnderBItCompletesWhenItIsReceived) {
    RequestWorld& w = make(ReplicationProtocol::B);
    GuestWrite& g = w.write(0);
    const Sent sent = w.take().at(0);
    EXPECT_EQ(sent.flags.bits, 128u);
    w.local_done(g);
    EXPECT_FALSE(g.result);
    w.ack(sent, Packet::RecvAck);
    EXPECT_EQ(g.result, 0);
    const Sent barrier = w.take().at(0);
    EXPECT_EQ(barrier.packet, Packet::Barrier);
    w.confirm(barrier);
}

TEST_F(Replication, InASyncStateBAsksForBothAndTheRangeIsHeldUntilTheSecond) {
    RequestWorld& w = make(ReplicationProtocol::B);
    w.change([](Access& a) { a.may_set_in_sync = true; });
    GuestWrite& g = w.write(0);
    const Sent sent = w.take().at(0);
    EXPECT_EQ(sent.flags.bits, 4u + 128 + 256);
    w.local_done(g);
    w.ack(sent, Packet::RecvAck);
    EXPECT_EQ(g.result, 0);
    GuestWrite& overlapping = w.write(0);
    EXPECT_EQ(overlapping.step, DRBD_STEP_WAIT);
    w.ack(sent, Packet::RsWriteAck);
    EXPECT_EQ(overlapping.step, DRBD_STEP_SUBMIT);
    w.confirm(w.take().at(0));  // the first's barrier, then the second's data
    w.local_done(overlapping);
    w.ack(w.sent.back(), Packet::RecvAck);
    w.ack(w.sent.back(), Packet::WriteAck);
    w.confirm(w.take().at(0));
}

TEST_F(Replication, ALargeWriteGoesInPiecesOfTheVersion) {
    struct Case {
        unsigned version, pieces;
    };
    for (const Case& c : {Case{101, 1}, Case{100, 1}, Case{99, 8}, Case{95, 8}, Case{94, 32}, Case{86, 256}}) {
        RequestWorld& w = make(ReplicationProtocol::C, {c.version, {0}});
        GuestWrite& g = w.write(512, kMiB);
        const auto sent = w.take();
        ASSERT_EQ(sent.size(), c.pieces) << c.version;
        uint64_t at = 512;
        for (const Sent& s : sent) {
            EXPECT_EQ(s.offset, at);
            EXPECT_EQ(s.id, sent[0].id);
            EXPECT_EQ(0, std::memcmp(s.bulk.data(), g.payload.data() + (at - 512), s.bulk.size()));
            EXPECT_EQ(s.sequence, 1 + (&s - &sent[0]));
            at += s.bytes;
        }
        EXPECT_EQ(at, kMiB + 512);
        w.local_done(g);
        for (size_t i = sent.size(); i-- > 1;)
            w.ack(sent[i]);
        EXPECT_FALSE(g.result) << "one is missing";
        w.ack(sent[0]);
        EXPECT_EQ(g.result, 0);
        w.log.close_epoch();
        const Sent barrier = w.take().at(0);
        EXPECT_FALSE(w.confirm_with(barrier.barrier.value, 1).ok() && c.pieces != 1) << "packets count";
        if (c.pieces != 1)
            w.confirm(barrier);
    }
}

TEST_F(Replication, BelowNinetyFourThePeersLimitCounts) {
    RequestWorld& w = make(ReplicationProtocol::C, {90, {0}});
    w.io().set_peer_bio_max(8192);
    GuestWrite& g = w.write(0, 64 * kKiB);
    EXPECT_EQ(w.take().size(), 8u);
    w.local_done(g);
    for (size_t i = 0; i < 8; i++)
        w.ack(w.sent[i]);
    EXPECT_EQ(g.result, 0);
    w.log.close_epoch();
    w.confirm(w.take().at(0));
}

TEST_F(Replication, ManyPiecesWaitForRoomAndSubmitInOrder) {
    RequestWorld& w = make(ReplicationProtocol::C, {86, {0}});
    std::vector<GuestWrite*> writes;
    for (uint64_t i = 0; i < 5; i++)
        writes.push_back(&w.write(i * kMiB, kMiB));
    EXPECT_EQ(writes[0]->step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(writes[1]->step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(writes[2]->step, DRBD_STEP_WAIT) << "512 packets wait";
    GuestWrite& small = w.write(8 * kMiB);
    EXPECT_EQ(small.step, DRBD_STEP_WAIT);
    w.serve();
    for (GuestWrite* g : writes) {
        ASSERT_EQ(g->step, DRBD_STEP_SUBMIT);
        w.local_done(*g);
        w.serve();
        EXPECT_EQ(g->result, 0);
    }
    w.local_done(small);
    w.settle();
    EXPECT_EQ(small.result, 0);
}

TEST_F(Replication, ZeroesAndDiscardsByWhatIsAgreed) {
    struct Case {
        unsigned version;
        uint32_t features;
        DrbdRequestKind kind;
        unsigned flags;
        uint64_t bytes;
        Packet packet;
        uint32_t dp_flags;
        size_t packets;
    };
    constexpr auto kZeroes = DRBD_REQUEST_ZEROES, kDiscard = DRBD_REQUEST_DISCARD;
    for (const Case& c : {Case{101, 15, kZeroes, 0, 32 * kMiB, Packet::Zeroes, 1024 + 256, 1},
                          Case{101, 15, kZeroes, DRBD_REQUEST_MAY_UNMAP, kMiB, Packet::Zeroes, 1024 + 64 + 256, 1},
                          Case{101, 15, kDiscard, 0, kMiB, Packet::Zeroes, 1024 + 64 + 256, 1},
                          Case{101, 11, kDiscard, 0, 16 * kMiB, Packet::Zeroes, 1024 + 64 + 256, 4},
                          Case{101, 1, kDiscard, 0, 16 * kMiB, Packet::Trim, 64 + 256, 4},
                          Case{101, 1, kZeroes, DRBD_REQUEST_MAY_UNMAP, kMiB, Packet::Trim, 64 + 256, 1},
                          Case{101, 1, kZeroes, 0, 2 * kMiB, Packet::Data, 256, 2},
                          Case{101, 0, kDiscard, 0, 2 * kMiB, Packet::Data, 256, 2},
                          Case{95, 15, kZeroes, 0, kMiB, Packet::Zeroes, 1024, 1},
                          Case{94, 15, kDiscard, 0, 64 * kKiB, Packet::Data, 0, 2},
                          Case{86, 15, kZeroes, DRBD_REQUEST_MAY_UNMAP, 64 * kKiB, Packet::Data, 0, 16}}) {
        RequestWorld& w = make(ReplicationProtocol::C, {c.version, {c.features}});
        GuestWrite& g = w.begin(c.kind, 0, c.bytes, c.flags);
        ASSERT_EQ(g.step, DRBD_STEP_SUBMIT) << c.version << " " << c.features;
        const auto sent = w.take();
        EXPECT_EQ(sent.size(), c.packets) << c.version << " " << c.features;
        for (const Sent& s : sent) {
            EXPECT_EQ(s.packet, c.packet) << c.version << " " << c.features;
            EXPECT_EQ(s.flags.bits, c.dp_flags) << c.version << " " << c.features;
            EXPECT_TRUE(std::all_of(s.bulk.begin(), s.bulk.end(), [](uint8_t b) { return b == 0; }));
            EXPECT_EQ(s.bulk.size(), c.packet == Packet::Data ? s.bytes : 0);
            w.ack(s);
        }
        w.local_done(g);
        EXPECT_EQ(g.result, 0);
        w.log.close_epoch();
        w.confirm(w.take().at(0));
    }
}

TEST_F(Replication, ZeroesThatCannotBeSentAreNotSupported) {
    RequestWorld& w = make();
    w.peer.link.set_integrity_digest_size(20);
    EXPECT_EQ(w.begin(DRBD_REQUEST_ZEROES, 0, kMiB).result, -ENOTSUP) << "their digest is not known here";
    EXPECT_EQ(w.begin(DRBD_REQUEST_DISCARD, 0, kMiB).result, -ENOTSUP) << "P_TRIM is no promise of zeroes now";
    RequestWorld& old = make(ReplicationProtocol::C, {86, {0}});
    EXPECT_EQ(old.begin(DRBD_REQUEST_ZEROES, 0, 2 * kMiB).result, -ENOTSUP) << "512 packets";
    EXPECT_TRUE(old.take().empty());
    EXPECT_EQ(old.volume().disk.activity_log.referenced(), 0u);
    EXPECT_EQ(old.volume().disk.bitmap.count(), 0u);
}

TEST_F(Replication, DigestsTravelWithTheirPieces) {
    RequestWorld& w = make(ReplicationProtocol::C, {99, {0}});
    w.peer.link.set_integrity_digest_size(20);
    std::vector<uint8_t> digests(40);
    std::fill(digests.begin(), digests.begin() + 20, 0xaa);
    std::fill(digests.begin() + 20, digests.end(), 0xbb);
    GuestWrite& g = w.write(0, 4096);  // to look at the step
    EXPECT_EQ(g.request->peer.digest_piece, 128 * kKiB);
    EXPECT_FALSE(w.peer.link.is_up()) << "copied without a digest: the connection is given up, not the write";
    w.local_done(g);
    EXPECT_FALSE(g.result);
    w.lose_peer(false);
    EXPECT_EQ(g.result, 0);
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(Replication, FuaIsFuaOnBoth) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(0, 4096, DRBD_REQUEST_FUA);
    const Sent sent = w.take().at(0);
    EXPECT_EQ(sent.flags.bits, 256u + 16);
    w.local_done(g);
    w.ack(sent);
    EXPECT_EQ(g.result, 0);
    EXPECT_TRUE(w.take().empty()) << "orders nothing but itself";
    w.settle();
}

TEST_F(Replication, BelowNinetyFiveFuaWaitsForItsBarrier) {
    RequestWorld& w = make(ReplicationProtocol::C, {86, {0}});
    GuestWrite& g = w.write(0, 4096, DRBD_REQUEST_FUA);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[0].flags.bits, 2u);
    EXPECT_EQ(sent[1].packet, Packet::Barrier);
    w.local_done(g);
    w.ack(sent[0]);
    EXPECT_FALSE(g.result);
    w.confirm(sent[1]);
    EXPECT_EQ(g.result, 0);
}

TEST_F(Replication, BelowNinetyFiveFuaThatIsNotConfirmedIsNotOnThePeer) {
    RequestWorld& w = make(ReplicationProtocol::C, {86, {0}});
    GuestWrite& g = w.write(0, 4096, DRBD_REQUEST_FUA);
    const auto sent = w.take();
    w.local_done(g);
    w.ack(sent.at(0));
    w.lose_peer();
    EXPECT_FALSE(g.result) << "the peer has it in its cache alone: the next generation comes first";
    w.generation_stable();
    EXPECT_EQ(g.result, 0);
}

TEST_F(Replication, WithoutAnImageItIsProtocolCWhateverIsConfigured) {
    for (const auto protocol : {ReplicationProtocol::A, ReplicationProtocol::B, ReplicationProtocol::C}) {
        RequestWorld& w = make(protocol);
        w.lose_disk();
        GuestWrite& g = w.write(0);
        EXPECT_EQ(g.step, DRBD_STEP_WAIT);
        const Sent sent = w.take().at(0);
        EXPECT_EQ(sent.flags.bits, 256u);
        EXPECT_FALSE(g.result);
        w.ack(sent);
        EXPECT_EQ(g.result, 0);
        w.log.close_epoch();
        w.confirm(w.take().at(0));
    }
}

TEST_F(Replication, WithoutAnImageAndBelowAHundredAAndBWaitForTheConfirmation) {
    for (const auto protocol : {ReplicationProtocol::A, ReplicationProtocol::B}) {
        RequestWorld& w = make(protocol, {96, {0}});
        w.lose_disk();
        GuestWrite& g = w.write(0);
        const auto sent = w.take();
        ASSERT_EQ(sent.size(), 2u);
        if (protocol == ReplicationProtocol::B)
            w.ack(sent[0], Packet::RecvAck);
        EXPECT_FALSE(g.result);
        w.confirm(sent[1]);
        EXPECT_EQ(g.result, 0);
    }
}

TEST_F(Replication, AnImageThatFailsLeavesItToThePeer) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(0);
    w.local_done(g, -EIO);
    EXPECT_EQ(w.volume().disk_errors, 1u);
    EXPECT_FALSE(g.result);
    w.ack(w.take().at(0));
    EXPECT_EQ(g.result, 0);
    EXPECT_TRUE(w.volume().bit(0));
    w.settle();
    EXPECT_TRUE(w.volume().bit(0)) << "this copy is the old one";
}

// pass-on, where the peer has refused writes: this disk stays the good one, and lacks the write.
TEST_F(Replication, AnImageThatIsKeptSaysWhatItLacks) {
    RequestWorld& w = make();
    w.keeps_bad_disk = true;
    GuestWrite& g = w.write(0);
    w.local_done(g, -EIO);
    w.ack(w.take().at(0));
    EXPECT_EQ(g.result, -EIO);
    EXPECT_TRUE(w.volume().bit(0));
    w.settle();
}

// The last good copy is lost while a write waits: an Outdated disk stays what it was.
TEST_F(Replication, AWriteThatWaitedIsNotDoneOnADiskThatIsNoCopy) {
    RequestWorld& w = make();
    constexpr uint64_t cold = 100 * kMiB;
    GuestWrite& g = w.write(cold);
    EXPECT_EQ(g.step, DRBD_STEP_WAIT);
    w.change([](Access& a) { a.hold = true; });
    w.io().reserve_for_transaction();
    w.volume().disk.activity_log.commit();
    w.io().transaction_committed();
    w.wake_all();
    EXPECT_FALSE(g.result);
    w.change([](Access& a) {
        a.hold = a.replicate = a.peer_reads = a.image_reads = a.image_alone = false;
        a.write_error = a.read_error = -EIO;
    });
    w.wake_all();
    EXPECT_EQ(g.result, -EIO);
    EXPECT_FALSE(w.volume().bit(cold));
    w.settle();
}

TEST_F(Replication, UnderAAnImageThatFailsNeedsThePeersWord) {
    RequestWorld& w = make(ReplicationProtocol::A);
    GuestWrite& g = w.write(0);
    w.local_done(g, -EIO);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 2u) << "nothing is gained by waiting with the barrier";
    EXPECT_FALSE(g.result) << "sent is not enough when nobody else has it";
    w.confirm(sent[1]);
    EXPECT_EQ(g.result, 0);
}

TEST_F(Replication, NoSpaceAndFailedDiscardsGoToTheGuest) {
    RequestWorld& w = make();
    GuestWrite& full = w.write(0);
    GuestWrite& discard = w.begin(DRBD_REQUEST_DISCARD, kMiB, kMiB);
    w.local_done(full, -ENOSPC);
    w.local_done(discard, -EIO);
    w.serve();
    EXPECT_EQ(full.result, -ENOSPC);
    EXPECT_EQ(discard.result, -EIO);
    w.settle();
    EXPECT_TRUE(w.volume().bit(0));
    EXPECT_TRUE(w.volume().bit(kMiB));
}

TEST_F(Replication, APeerThatFailsLeavesItToTheImageAndMarksTheRange) {
    for (const auto protocol : {ReplicationProtocol::A, ReplicationProtocol::B, ReplicationProtocol::C}) {
        RequestWorld& w = make(protocol);
        GuestWrite& g = w.write(0);
        const Sent sent = w.take().at(0);
        w.ack(sent, Packet::NegAck);
        EXPECT_TRUE(w.volume().bit(0));
        EXPECT_EQ(w.volume().peer_failures, 1u);
        EXPECT_FALSE(g.result);
        w.local_done(g);
        EXPECT_EQ(g.result, 0);
        w.log.close_epoch();
        w.confirm(w.take().at(0));
        EXPECT_TRUE(w.volume().bit(0));
    }
}

TEST_F(Replication, UnderAAPeerThatFailsIsHeardAfterTheGuestWent) {
    RequestWorld& w = make(ReplicationProtocol::A);
    GuestWrite& g = w.write(0);
    w.local_done(g);
    const auto sent = w.take();
    EXPECT_EQ(g.result, 0);
    w.ack(sent.at(0), Packet::NegAck);
    EXPECT_TRUE(w.volume().bit(0));
    w.confirm(sent.at(1));
}

TEST_F(Replication, BothFailing) {
    RequestWorld& w = make();
    GuestWrite& g = w.write(0);
    w.ack(w.take().at(0), Packet::NegAck);
    w.local_done(g, -EIO);
    EXPECT_EQ(g.result, -EIO);
    w.settle();
}

// Design D14: it would complete on one copy.
TEST_F(Replication, APeerThatFailsAWriteMakesItWaitForTheGeneration) {
    RequestWorld& w = make();
    w.volume().generation_on_peer_failure = true;
    GuestWrite& refused = w.write(0);
    GuestWrite& taken = w.write(kMiB);
    const auto sent = w.take();
    w.local_done(refused);
    w.local_done(taken);
    w.ack(sent[0], Packet::NegAck);
    EXPECT_FALSE(refused.result);
    w.ack(sent[1]);
    EXPECT_EQ(taken.result, 0) << "both copies have it";
    w.generation_stable();
    EXPECT_EQ(refused.result, 0);
    w.log.close_epoch();
    w.confirm(w.take().at(0));
}

TEST_F(Replication, WhatIsNotReplicatedIsMarkedAndToldToAPeerThatWaitsForTheBitmap) {
    RequestWorld& w = make();
    w.change([](Access& a) {
        a.replicate = false;
        a.send_out_of_sync = true;
    });
    GuestWrite& g = w.write(4096, 8192);
    EXPECT_EQ(g.step, DRBD_STEP_SUBMIT);
    EXPECT_TRUE(w.volume().bit(4096)) << "before it begins";
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].packet, Packet::OutOfSync);
    EXPECT_EQ(sent[0].offset, 4096u);
    EXPECT_EQ(sent[0].bytes, 8192u);
    w.local_done(g);
    EXPECT_EQ(g.result, 0);
    GuestWrite& again = w.write(4096, 8192);
    EXPECT_TRUE(w.take().empty()) << "the peer knows";
    w.local_done(again);
    EXPECT_EQ(again.result, 0);
}

TEST_F(Replication, AHeldRequestGoesWhereTheStateSaysThen) {
    RequestWorld& w = make();
    w.change([](Access& a) { a.hold = true; });
    GuestWrite& g = w.write(0);
    GuestWrite& r = w.read(0);
    EXPECT_EQ(g.step, DRBD_STEP_WAIT);
    EXPECT_EQ(r.step, DRBD_STEP_WAIT);
    w.change([](Access& a) { a.hold = false; });
    EXPECT_EQ(w.wake_all(), 2u);
    EXPECT_EQ(g.step, DRBD_STEP_SUBMIT);
    w.local_done(g);
    w.local_done(r);
    w.settle();
    EXPECT_EQ(g.result, 0);
}

// The state changes while the payload is being copied.
TEST_F(Replication, WhatHappensDuringTheCopyCounts) {
    RequestWorld& w = make();
    Request* r;
    DrbdWaiter waiter{};
    ASSERT_EQ(w.io().begin(DRBD_REQUEST_WRITE, 0, 4096, 0, &waiter, waiter, &r), DRBD_STEP_COPY);
    w.change([](Access& a) {
        a.hold = true;
        a.replicate = false;
    });
    const std::vector<uint8_t> payload(4096, 1);
    EXPECT_EQ(w.io().copied(*r, payload.data(), nullptr), DRBD_STEP_WAIT);
    w.change([](Access& a) {
        a.hold = false;
        a.replicate = true;
    });
    EXPECT_EQ(w.pool.next_wake(), &waiter);
    EXPECT_EQ(r->step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(w.io().local_done(*r, 0), DRBD_STEP_WAIT);
    const Sent sent = w.take().empty() ? w.sent.back() : w.sent.back();
    ASSERT_TRUE(w.io().on_ack(Packet::WriteAck, {Sector(0), Bytes(4096), sent.id, 1}).ok());
    EXPECT_EQ(w.pool.next_wake(), &waiter);
    EXPECT_EQ(w.io().end(*r), 0);
    w.log.close_epoch();
    w.confirm(w.take().at(0));
}

}  // namespace
}  // namespace drbd::test
