// SPDX-License-Identifier: GPL-2.0-or-later
// The peer is lost at each stage of a write: bits, results, and design D14,
// nothing completes on one copy before its generation is stable.
#include "request_world.h"

namespace drbd::test {
namespace {

struct PeerLost : testing::Test {
    RequestWorld w;
};

TEST_F(PeerLost, BeforeItsPacketLeft) {
    GuestWrite& g = w.write(0);
    w.local_done(g);
    w.lose_peer();
    EXPECT_TRUE(w.volume().bit(0));
    EXPECT_FALSE(g.result);
    w.generation_stable();
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(w.pool.in_use(), 0u);
    EXPECT_EQ(w.volume().disk.activity_log.referenced(), 0u);
}

TEST_F(PeerLost, WhileItsPayloadIsBeingSent) {
    GuestWrite& g = w.write(0);
    w.local_done(g);
    DrbdSend send;
    ASSERT_TRUE(w.peer.data().hand_out(send));
    w.lose_peer(false);
    EXPECT_FALSE(g.result) << "sendmsg() may be reading the payload";
    w.peer.data().sent(0);
    w.wake_all();
    EXPECT_EQ(g.result, 0);
}

TEST_F(PeerLost, BeforeItIsAcknowledged) {
    GuestWrite& g = w.write(0);
    w.take();
    w.lose_peer();
    EXPECT_EQ(g.step, DRBD_STEP_SUBMIT);
    w.local_done(g);
    EXPECT_EQ(g.step, DRBD_STEP_WAIT);
    w.generation_stable();
    EXPECT_EQ(g.result, 0);
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(PeerLost, AcknowledgedAndTheImageStillAtIt) {
    GuestWrite& g = w.write(0);
    w.ack(w.take().at(0));
    w.lose_peer();
    w.local_done(g);
    EXPECT_EQ(g.result, 0) << "both copies have it";
    EXPECT_TRUE(w.volume().bit(0)) << "but the peer's may not be stable";
    w.generation_stable();
}

TEST_F(PeerLost, CompletedAndNotConfirmed) {
    GuestWrite& g = w.write(0);
    w.local_done(g);
    w.ack(w.take().at(0));
    ASSERT_EQ(g.result, 0);
    w.lose_peer();
    EXPECT_TRUE(w.volume().bit(0));
    EXPECT_EQ(w.pool.in_use(), 0u);
    w.generation_stable();
}

TEST_F(PeerLost, TheImageFailsAfterwards) {
    GuestWrite& g = w.write(0);
    w.take();
    w.lose_peer();
    w.local_done(g, -EIO);
    EXPECT_EQ(g.result, -EIO);
    w.generation_stable();
}

TEST_F(PeerLost, WithoutAnImageItFails) {
    w.lose_disk();
    GuestWrite& g = w.write(0);
    w.take();
    w.lose_peer(false);
    EXPECT_EQ(g.result, -EIO);
    EXPECT_EQ(w.write(0).result, -EIO);
}

TEST_F(PeerLost, TheImageWasLostAndTheGenerationWithIt) {
    GuestWrite& g = w.write(0);
    w.take();
    w.local_done(g);
    w.lose_peer();
    EXPECT_FALSE(g.result);
    w.lose_disk();
    EXPECT_EQ(g.result, -EIO) << "it would have completed under the old generation";
}

TEST_F(PeerLost, NewWritesWaitForTheGenerationAsWell) {
    w.lose_peer();
    GuestWrite& g = w.write(0);
    ASSERT_EQ(g.step, DRBD_STEP_SUBMIT);
    w.local_done(g);
    EXPECT_FALSE(g.result);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_FALSE(f.result);
    GuestWrite& r = w.read(0);
    w.local_done(r);
    EXPECT_EQ(r.result, 0);
    w.generation_stable();
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(f.result, 0);
}

TEST_F(PeerLost, ThousandsInSlices) {
    RequestWorld many(ReplicationProtocol::C, {101, {15}}, 512);
    std::vector<GuestWrite*> writes;
    for (uint64_t i = 0; i < 400; i++)
        writes.push_back(&many.write(i * 4096));
    many.take();
    for (GuestWrite* g : writes)
        many.local_done(*g);
    many.lose_peer(false, 7);
    for (GuestWrite* g : writes)
        EXPECT_EQ(g->result, 0);
    EXPECT_EQ(many.volume().disk.bitmap.count(), 400u);
}

TEST_F(PeerLost, OneThatWaitedForItsRangeGoesOnAlone) {
    GuestWrite& a = w.write(0);
    GuestWrite& b = w.write(0);
    w.take();
    w.local_done(a);
    EXPECT_EQ(b.step, DRBD_STEP_WAIT);
    w.lose_peer(false);
    ASSERT_EQ(b.step, DRBD_STEP_SUBMIT);
    w.local_done(b);
    EXPECT_EQ(b.result, 0);
    EXPECT_TRUE(w.take().empty());
}

TEST_F(PeerLost, OneThatWaitedForRoomGoesOnAlone) {
    RequestWorld old(ReplicationProtocol::C, {86, {0}});
    std::vector<GuestWrite*> writes;
    for (uint64_t i = 0; i < 4; i++)
        writes.push_back(&old.write(i * kMiB, kMiB));
    EXPECT_EQ(writes[3]->step, DRBD_STEP_WAIT);
    old.lose_peer(false);
    for (GuestWrite* g : writes) {
        ASSERT_EQ(g->step, DRBD_STEP_SUBMIT);
        old.local_done(*g);
        EXPECT_EQ(g->result, 0);
    }
    EXPECT_EQ(old.volume().disk.bitmap.count(), 1024u);
}

TEST_F(PeerLost, ANewConnectionBeginsWithNothingOfTheOld) {
    GuestWrite& g = w.write(0);
    w.take();
    w.local_done(g);
    const uint64_t before = w.log.closed_through();
    w.lose_peer(false);
    ASSERT_EQ(g.result, 0);
    w.peer.go_up();
    w.access().replicate = w.access().peer_reads = true;
    w.set_access();
    GuestWrite& next = w.write(4096);
    w.log.close_epoch();
    const auto sent = w.take();
    EXPECT_EQ(sent.at(0).sequence, 1u);
    EXPECT_GT(sent.at(1).barrier.value, before + 1);
    w.local_done(next);
    w.ack(sent[0]);
    w.peer.link.set_now(99);
    EXPECT_TRUE(w.confirm_with(sent[1].barrier.value, 1).ok());
    EXPECT_EQ(next.result, 0);
}

// The peer's disk failed and it stays connected.
TEST_F(PeerLost, ItsDiskAlone) {
    GuestWrite& g = w.write(0);
    w.local_done(g);
    w.ack(w.take().at(0));
    w.log.peer_disk_lost(0);
    EXPECT_TRUE(w.volume().bit(0));
    EXPECT_EQ(w.log.unconfirmed(), 1u);
    w.settle();
    EXPECT_TRUE(w.volume().bit(0));
}

TEST_F(PeerLost, TheOldestUnansweredIsKnown) {
    EXPECT_EQ(w.log.oldest_unanswered_ms(), UINT64_MAX);
    w.peer.link.set_now(2000);
    GuestWrite& a = w.write(0);
    w.peer.link.set_now(2010);
    GuestWrite& b = w.write(kMiB);
    const auto sent = w.take();
    EXPECT_EQ(w.log.oldest_unanswered_ms(), 2000u);
    w.ack(sent[0]);
    EXPECT_EQ(w.log.oldest_unanswered_ms(), 2010u);
    EXPECT_EQ(w.log.unanswered(), 1u);
    w.ack(sent[1]);
    EXPECT_EQ(w.log.oldest_unanswered_ms(), UINT64_MAX) << "no barrier was sent";
    w.peer.link.set_now(2100);
    w.log.close_epoch();
    EXPECT_EQ(w.log.oldest_unanswered_ms(), 2100u);
    w.local_done(a);
    w.local_done(b);
    w.confirm(w.take().at(0));
    EXPECT_EQ(w.log.oldest_unanswered_ms(), UINT64_MAX);
    w.change([](Access& access) { access.image_reads = false; });
    w.peer.link.set_now(2200);
    w.read(0);
    EXPECT_EQ(w.log.oldest_unanswered_ms(), 2200u);
    w.lose_peer(false);
}

}  // namespace
}  // namespace drbd::test
