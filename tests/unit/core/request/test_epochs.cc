// SPDX-License-Identifier: GPL-2.0-or-later
// When an epoch ends, and what its confirmation must say (decision 0014).
#include "request_world.h"

namespace drbd::test {
namespace {

struct SenderEpochs : testing::Test {
    // A write that both have; it stays in its epoch.
    GuestWrite& written(RequestWorld& w, uint64_t offset, unsigned v = 0) {
        GuestWrite& g = w.write(offset, 4096, 0, v);
        w.local_done(g);
        for (const Sent& s : w.take())
            if (s.packet == Packet::Data)
                w.ack(s);
        EXPECT_EQ(g.result, 0);
        return g;
    }
};

TEST_F(SenderEpochs, UnderCACompletionEndsNone) {
    RequestWorld w;
    for (uint64_t i = 0; i < 5; i++)
        written(w, i * 4096);
    EXPECT_EQ(w.log.epochs(), 1u);
    EXPECT_TRUE(w.take().empty());
    w.settle();
    EXPECT_EQ(w.sent.back().set_size, 5u);
}

TEST_F(SenderEpochs, OneEndsATenthOfASecondAfterItsFirstWrite) {
    RequestWorld w;
    EXPECT_EQ(w.log.next_deadline_ms(), UINT64_MAX);
    w.peer.link.set_now(5000);
    written(w, 0);
    w.peer.link.set_now(5090);
    written(w, 4096);
    EXPECT_EQ(w.log.next_deadline_ms(), 5100u);
    w.at_time(5099);
    EXPECT_TRUE(w.take().empty());
    w.at_time(5100);
    EXPECT_EQ(w.take_packets(), Packets{Packet::Barrier});
    EXPECT_EQ(w.log.next_deadline_ms(), UINT64_MAX);
    w.at_time(6000);
    EXPECT_TRUE(w.take().empty()) << "none without a write";
    w.confirm(w.sent.back());
}

TEST_F(SenderEpochs, OneHasNoMoreThanMaxEpochSizePackets) {
    RequestWorld w(ReplicationProtocol::C, {95, {0}});
    w.log.configure(10);
    GuestWrite& large = w.write(0, kMiB);         // 8 packets
    GuestWrite& larger = w.write(kMiB, 512 * kKiB);  // 4 more do not fit
    EXPECT_EQ(w.take_packets(), (Packets{Packet::Data, Packet::Data, Packet::Data, Packet::Data, Packet::Data,
                                         Packet::Data, Packet::Data, Packet::Data, Packet::Barrier, Packet::Data,
                                         Packet::Data, Packet::Data, Packet::Data}));
    EXPECT_EQ(w.sent[8].set_size, 8u);
    for (const Sent& s : w.sent)
        if (s.packet == Packet::Data)
            w.ack(s);
    w.local_done(large);
    w.local_done(larger);
    w.confirm(w.sent[8]);
    w.settle();
}

TEST_F(SenderEpochs, AQuarterOfThePoolEndsOne) {
    RequestWorld w(ReplicationProtocol::C, {101, {15}}, 16);
    for (uint64_t i = 0; i < 4; i++)
        written(w, i * 4096);
    EXPECT_EQ(w.sent.back().packet, Packet::Barrier);
    w.confirm(w.sent.back());
    EXPECT_EQ(w.pool.in_use(), 0u);
}

TEST_F(SenderEpochs, AnEmptyPoolEndsOneAndWhoWaitsIsWoken) {
    RequestWorld w(ReplicationProtocol::C, {101, {15}}, 8);
    GuestWrite& a = written(w, 0);
    std::vector<GuestWrite*> reads;
    for (int i = 0; i < 7; i++)
        reads.push_back(&w.read(0));
    Request* r = nullptr;
    DrbdWaiter waiter{};
    int me = 0;
    EXPECT_EQ(w.io().begin(DRBD_REQUEST_READ, 0, 512, 0, &me, waiter, &r), DRBD_STEP_RETRY);
    EXPECT_EQ(w.log.epochs(), 1u);
    ASSERT_TRUE(w.log.on_barrier_ack({{1}, 1}).ok());
    EXPECT_EQ(w.pool.next_wake(), &me);
    EXPECT_EQ(a.result, 0);
    for (GuestWrite* g : reads)
        w.local_done(*g);
}

TEST_F(SenderEpochs, TheActivityLogThatStarvesEndsOne) {
    RequestWorld w(ReplicationProtocol::C, {101, {15}}, 512);
    TestVolume& v = w.volume();
    GuestIo& io = w.io();
    std::vector<GuestWrite*> writes;
    for (uint64_t extent = 0; extent < 67; extent++)
        writes.push_back(&w.write(extent * 4 * kMiB));
    io.reserve_for_transaction();
    v.disk.activity_log.commit();
    io.transaction_committed();
    w.wake_all();
    for (GuestWrite* g : writes)
        w.local_done(*g);
    w.serve();
    EXPECT_EQ(w.log.epochs(), 1u);
    GuestWrite& starving = w.write(100 * 4 * kMiB);
    ASSERT_TRUE(io.wants_transaction());
    io.reserve_for_transaction();
    EXPECT_FALSE(v.disk.activity_log.is_prepared());
    EXPECT_FALSE(io.wants_transaction());
    w.serve();
    EXPECT_TRUE(io.wants_transaction()) << "the confirmation has freed extents";
    io.reserve_for_transaction();
    v.disk.activity_log.commit();
    io.transaction_committed();
    w.wake_all();
    ASSERT_EQ(starving.step, DRBD_STEP_SUBMIT);
    w.local_done(starving);
    w.settle();
    EXPECT_EQ(starving.result, 0);
}

// One that is stuck at the image holds nobody for ever (decision 0003).
TEST_F(SenderEpochs, AColdWriteWaitsForThoseAtTheImageForATimeOnly) {
    RequestWorld w;
    TestVolume& v = w.volume();
    GuestIo& io = w.io();
    EXPECT_EQ(io.next_deadline_ms(), UINT64_MAX);
    const auto transaction = [&] {
        ASSERT_TRUE(io.wants_transaction());
        EXPECT_EQ(io.next_deadline_ms(), UINT64_MAX) << "it needs no time to pass";
        io.reserve_for_transaction();
        v.disk.activity_log.commit();
        io.transaction_committed();
        w.wake_all();
    };
    GuestWrite& stuck = w.write(20 * 4 * kMiB);
    transaction();
    ASSERT_EQ(stuck.step, DRBD_STEP_SUBMIT);
    w.peer.link.set_now(2000);
    GuestWrite& behind = w.write(21 * 4 * kMiB);
    EXPECT_FALSE(io.wants_transaction());
    const uint64_t deadline = io.next_deadline_ms();
    EXPECT_EQ(deadline, 2000 + GuestIo::kColdPatienceMs);
    w.peer.link.set_now(deadline - 1);
    EXPECT_FALSE(io.wants_transaction());
    w.peer.link.set_now(deadline);
    transaction();
    ASSERT_EQ(behind.step, DRBD_STEP_SUBMIT);
    w.local_done(behind);
    w.settle();
    EXPECT_EQ(behind.result, 0);
    w.local_done(stuck);
    w.settle();
    EXPECT_EQ(stuck.result, 0);
}

TEST_F(SenderEpochs, UnderAAndBEveryCompletionEndsOneAndNothingAfterItSharesIt) {
    RequestWorld w(ReplicationProtocol::B);
    GuestWrite& a = w.write(0);
    GuestWrite& b = w.write(kMiB);
    auto sent = w.take();
    w.local_done(a);
    w.local_done(b);
    w.ack(sent[0], Packet::RecvAck);
    ASSERT_EQ(a.result, 0);
    GuestWrite& after = w.write(2 * kMiB);
    EXPECT_EQ(w.take_packets(), (Packets{Packet::Barrier, Packet::Data}));
    w.ack(sent[1], Packet::RecvAck);
    w.local_done(after);
    w.ack(w.sent.back(), Packet::RecvAck);
    w.confirm(w.sent[2]);
    EXPECT_EQ(w.sent[2].set_size, 2u);
    w.confirm(w.take().at(0));
}

TEST_F(SenderEpochs, VolumesShareThem) {
    RequestWorld w(ReplicationProtocol::C, {101, {15}}, 64, 2);
    written(w, 0, 0);
    written(w, 0, 1);
    EXPECT_EQ(w.sent[0].volume, 0);
    EXPECT_EQ(w.sent[1].volume, 1);
    EXPECT_EQ(w.sent[0].sequence, 1u);
    EXPECT_EQ(w.sent[1].sequence, 1u) << "each volume counts for itself";
    w.settle();
    EXPECT_EQ(w.sent.back().volume, 0);
    EXPECT_EQ(w.sent.back().set_size, 2u);
}

TEST_F(SenderEpochs, AConfirmationMustFit) {
    RequestWorld w;
    EXPECT_FALSE(w.confirm_with(1, 1).ok()) << "nothing was sent";
    GuestWrite& g = w.write(0);
    const Sent data = w.take().at(0);
    EXPECT_FALSE(w.confirm_with(1, 1).ok()) << "no P_BARRIER was sent";
    w.log.close_epoch();
    const uint32_t number = w.take().at(0).barrier.value;
    const auto early = w.confirm_with(number, 1);
    ASSERT_FALSE(early.ok()) << "the write is not acknowledged";
    EXPECT_EQ(early.error().code, ErrorCode::Protocol);
    w.ack(data);
    EXPECT_FALSE(w.confirm_with(number + 1, 1).ok());
    EXPECT_FALSE(w.confirm_with(number, 0).ok());
    EXPECT_FALSE(w.confirm_with(number, 2).ok());
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 1u);
    EXPECT_TRUE(w.confirm_with(number, 1).ok());
    EXPECT_FALSE(w.confirm_with(number, 1).ok()) << "twice";
    w.local_done(g);
    EXPECT_EQ(g.result, 0);
}

TEST_F(SenderEpochs, OnlyTheOldestMayBeConfirmed) {
    RequestWorld w;
    written(w, 0);
    w.log.close_epoch();
    written(w, 4096);
    w.log.close_epoch();
    w.take();
    EXPECT_FALSE(w.confirm_with(2, 1).ok());
    EXPECT_TRUE(w.confirm_with(1, 1).ok());
    EXPECT_TRUE(w.confirm_with(2, 1).ok());
}

// The image may be slower than the peer's flush.
TEST_F(SenderEpochs, AConfirmedWriteKeepsItsExtentsWhileTheImageIsAtIt) {
    RequestWorld w;
    GuestWrite& g = w.write(0);
    w.serve();
    w.settle();
    EXPECT_EQ(w.log.unconfirmed(), 0u);
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 1u);
    GuestWrite& overlapping = w.write(0);
    EXPECT_EQ(overlapping.step, DRBD_STEP_WAIT);
    w.local_done(g, -EIO);
    EXPECT_EQ(g.result, 0) << "the peer has it";
    EXPECT_TRUE(w.volume().bit(0));
    w.wake_all();
    w.local_done(overlapping);
    w.settle();
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 0u);
}

// Confirmations of a peer that clears bits (dp_flag 4).
struct Clearing : SenderEpochs {
    Clearing() {
        w.change([](Access& a) { a.may_set_in_sync = true; });
        w.volume().disk.bitmap.set_all_out_of_sync();
    }
    Sent begun(uint64_t offset, uint64_t bytes = 4096, int result = 0) {
        GuestWrite& g = w.write(offset, bytes);
        w.local_done(g, result);
        return w.take().at(0);
    }
    void end() {
        w.log.close_epoch();
        w.confirm(w.take().at(0));
    }
    RequestWorld w;
};

TEST_F(Clearing, WholeBlocksAndNotBeforeTheEpochIsConfirmed) {
    w.ack(begun(4096 + 512, 8192), Packet::RsWriteAck);
    EXPECT_TRUE(w.volume().bit(8192));
    end();
    EXPECT_FALSE(w.volume().bit(8192));
    EXPECT_TRUE(w.volume().bit(4096));
    EXPECT_TRUE(w.volume().bit(12288));
}

// The peer has seen two packets, none of which covers the block (seed 16006209).
TEST(ClearingByPieces, NotABlockThatLiesInTwoPackets) {
    RequestWorld w(ReplicationProtocol::C, {90, {0}});
    w.io().set_peer_bio_max(8192);
    w.change([](Access& a) { a.may_set_in_sync = true; });
    w.volume().disk.bitmap.set_all_out_of_sync();
    GuestWrite& g = w.write(512, 24 * kKiB);
    w.local_done(g);
    const std::vector<Sent> sent = w.take();
    ASSERT_EQ(sent.size(), 3u);
    for (const Sent& packet : sent)
        w.ack(packet, Packet::RsWriteAck);
    EXPECT_EQ(g.result, 0);
    w.log.close_epoch();
    w.confirm(w.take().at(0));
    for (uint64_t block = 0; block < 7; block++)
        EXPECT_EQ(w.volume().bit(block * 4096), block % 2 == 0) << block;
}

TEST_F(Clearing, NotForAPlainAcknowledgement) {
    w.ack(begun(0), Packet::WriteAck);
    end();
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(Clearing, NotIfTheImageFailed) {
    w.ack(begun(0, 4096, -EIO), Packet::RsWriteAck);
    end();
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(Clearing, NotIfANewerWriteToItFailed) {
    w.ack(begun(0, 8192), Packet::RsWriteAck);
    w.ack(begun(4096), Packet::NegAck);
    w.ack(begun(64 * kKiB), Packet::RsWriteAck);
    end();
    EXPECT_TRUE(w.volume().bit(4096));
    EXPECT_FALSE(w.volume().bit(64 * kKiB)) << "others may";
}

TEST_F(Clearing, NotIfANewerWriteToItWasNotReplicated) {
    w.ack(begun(0), Packet::RsWriteAck);
    w.change([](Access& a) { a.replicate = false; });
    GuestWrite& alone = w.write(0, 512);
    w.local_done(alone);
    EXPECT_EQ(alone.result, 0);
    end();
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(Clearing, AnUnaskedForOneIsRefused) {
    w.change([](Access& a) { a.may_set_in_sync = false; });
    const Sent sent = begun(0);
    EXPECT_FALSE(w.answer(Packet::RsWriteAck, sent).ok());
    w.ack(sent);
    end();
}

TEST_F(SenderEpochs, AnEmptyFlushIsAnEpochOfItsOwn) {
    RequestWorld w;
    written(w, 0);
    w.log.send_empty_flush(0);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 3u);
    EXPECT_EQ(sent[0].packet, Packet::Barrier);
    EXPECT_EQ(sent[1].flags.bits, 32u);
    EXPECT_EQ(sent[1].bytes, 0u);
    w.confirm(sent[0]);
    w.confirm(sent[2]);
    EXPECT_EQ(w.log.confirmed_through(), 2u);
    w.log.send_empty_flush(0);
    w.lose_peer(false);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_EQ(f.result, 0) << "an empty flush that is lost is no write that is lost";
}

}  // namespace
}  // namespace drbd::test
