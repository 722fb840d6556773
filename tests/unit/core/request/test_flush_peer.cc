// SPDX-License-Identifier: GPL-2.0-or-later
// Guest flushes that cover both copies (design D6), in every corner.
#include "request_world.h"

namespace drbd::test {
namespace {

struct FlushBoth : testing::Test {
    RequestWorld& make(ReplicationProtocol protocol, wire::Agreement agreement = {101, {15}}, unsigned volumes = 1) {
        world.emplace(protocol, agreement, 64, volumes);
        return *world;
    }
    RequestWorld& c() { return make(ReplicationProtocol::C); }
    // Completed on both; its barrier is not sent under C.
    static void written(RequestWorld& w, uint64_t offset, unsigned v = 0, int local = 0) {
        GuestWrite& g = w.write(offset, 4096, 0, v);
        w.local_done(g, local);
        for (const Sent& s : w.take())
            if (s.packet == Packet::Data)
                w.ack(s);
        ASSERT_EQ(g.result, 0);
    }
    std::optional<RequestWorld> world;
};

TEST_F(FlushBoth, NothingWrittenNothingWaitedFor) {
    RequestWorld& w = c();
    EXPECT_EQ(w.flush().result, 0);
    EXPECT_TRUE(w.take().empty());
    EXPECT_EQ(w.io().counters().flushes_saved, 1u);
}

TEST_F(FlushBoth, WaitsForImageAndConfirmationInEitherOrder) {
    for (const bool image_first : {true, false}) {
        RequestWorld& w = c();
        written(w, 0);
        GuestWrite& f = w.flush();
        ASSERT_EQ(f.step, DRBD_STEP_SUBMIT);
        const Sent barrier = w.take().at(0);
        if (image_first) {
            w.local_done(f);
            EXPECT_EQ(f.step, DRBD_STEP_WAIT);
            w.confirm(barrier);
        } else {
            w.confirm(barrier);
            EXPECT_FALSE(f.result);
            w.local_done(f);
        }
        EXPECT_EQ(f.result, 0);
        EXPECT_EQ(w.flush().result, 0) << "covered on both";
        EXPECT_TRUE(w.take().empty());
    }
}

// A guest that flushes after each second write: in time P_BARRIER goes with the second.
TEST_F(FlushBoth, ARhythmEndsTheEpochBeforeTheFlush) {
    RequestWorld& w = c();
    const auto transaction = [&w](unsigned writes) {
        unsigned barriers = 0;
        for (unsigned i = 0; i < writes; i++) {
            GuestWrite& g = w.write(4096 * i, 4096);
            w.local_done(g, 0);
            for (const Sent& s : w.take()) {
                barriers += s.packet == Packet::Barrier;
                s.packet == Packet::Data ? w.ack(s) : w.confirm(s);
            }
            EXPECT_EQ(g.result, 0);
        }
        GuestWrite& f = w.flush();
        w.local_done(f);
        for (const Sent& s : w.take())
            w.confirm(s);
        EXPECT_EQ(f.result, 0);
        return barriers;
    };
    for (unsigned i = 0; i < FlushRhythm::kEqualIntervals; i++)
        EXPECT_EQ(transaction(2), 0u) << i;
    EXPECT_EQ(transaction(2), 1u);
    EXPECT_EQ(transaction(5), 1u) << "a wrong guess, once";
    for (unsigned i = 0; i < FlushRhythm::kEqualIntervals; i++)
        EXPECT_EQ(transaction(2), 0u) << i;
    EXPECT_EQ(transaction(2), 1u);
}

// The flush that comes while the confirmation is under way sends nothing and waits for it.
TEST_F(FlushBoth, AnExpectedFlushWaitsForTheBarrierThatWasSent) {
    RequestWorld& w = c();
    for (unsigned i = 0; i < FlushRhythm::kEqualIntervals; i++) {
        written(w, 0);
        GuestWrite& f = w.flush();
        w.local_done(f);
        w.confirm(w.take().at(0));
        ASSERT_EQ(f.result, 0);
    }
    GuestWrite& g = w.write(0, 4096);
    w.local_done(g, 0);
    const std::vector<Sent> sent = w.take();
    ASSERT_EQ(sent.size(), 2u);
    ASSERT_EQ(sent[1].packet, Packet::Barrier);
    w.ack(sent[0]);
    EXPECT_EQ(g.result, 0);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_TRUE(w.take().empty());
    EXPECT_FALSE(f.result);
    w.confirm(sent[1]);
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, AnInconsistentPeerIsNoCopyToGoOnWith) {
    RequestWorld& w = c();
    written(w, 0);
    w.access().peer_reads = false;
    w.set_access();
    w.lose_disk();
    EXPECT_EQ(w.flush().result, -EIO);
    w.settle();
}

TEST_F(FlushBoth, TheSecondWaitsForTheSameConfirmation) {
    RequestWorld& w = c();
    written(w, 0);
    GuestWrite& f = w.flush();
    w.local_done(f);
    GuestWrite& same = w.flush();
    EXPECT_EQ(same.step, DRBD_STEP_WAIT);
    const auto sent = w.take();
    ASSERT_EQ(sent.size(), 1u) << "one barrier for both";
    w.confirm(sent[0]);
    EXPECT_EQ(f.result, 0);
    EXPECT_EQ(same.result, 0);
}

TEST_F(FlushBoth, WritesThatAreUnderWayAreNotWaitedFor) {
    RequestWorld& w = c();
    GuestWrite& under_way = w.write(0);
    EXPECT_EQ(w.flush().result, 0);
    w.take();
    EXPECT_EQ(w.log.epochs(), 1u);
    w.local_done(under_way);
    w.ack(w.sent[0]);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_FALSE(f.result);
    w.settle();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, CoversTheWritesOfAllVolumes) {
    RequestWorld& w = make(ReplicationProtocol::C, {101, {15}}, 2);
    written(w, 0, 1);
    GuestWrite& f = w.flush(0);
    EXPECT_EQ(f.step, DRBD_STEP_WAIT) << "its own image has nothing to do";
    w.settle();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, UnderAAndBItIsLocalAndEndsTheEpoch) {
    for (const auto protocol : {ReplicationProtocol::A, ReplicationProtocol::B}) {
        RequestWorld& w = make(protocol);
        GuestWrite& g = w.write(0);
        w.take();
        EXPECT_EQ(w.flush().result, 0);
        EXPECT_EQ(w.take_packets(), Packets{Packet::Barrier}) << "what follows the flush is ordered after it";
        w.local_done(g);
        if (protocol == ReplicationProtocol::B)
            w.ack(w.sent[0], Packet::RecvAck);
        EXPECT_EQ(g.result, 0);
        GuestWrite& f = w.flush();
        w.local_done(f);
        EXPECT_EQ(f.result, 0);
        w.confirm(w.sent[1]);
    }
}

TEST_F(FlushBoth, NotReplicatedOrRefusedIsNotWaitedFor) {
    RequestWorld& w = c();
    GuestWrite& refused = w.write(0);
    w.local_done(refused);
    w.ack(w.take().at(0), Packet::NegAck);
    ASSERT_EQ(refused.result, 0);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_EQ(f.result, 0);
    EXPECT_TRUE(w.volume().bit(0));
    w.settle();
    w.change([](Access& a) { a.replicate = false; });
    GuestWrite& alone = w.write(4096);
    w.local_done(alone);
    GuestWrite& local = w.flush();
    w.local_done(local);
    EXPECT_EQ(local.result, 0);
    EXPECT_TRUE(w.take().empty());
}

TEST_F(FlushBoth, WithoutAnImageTheConfirmationAlone) {
    for (const auto protocol : {ReplicationProtocol::A, ReplicationProtocol::C}) {
        RequestWorld& w = make(protocol);
        w.lose_disk();
        GuestWrite& g = w.write(0);
        w.ack(w.take().at(0));
        ASSERT_EQ(g.result, 0);
        GuestWrite& f = w.flush();
        EXPECT_EQ(f.step, DRBD_STEP_WAIT);
        w.settle();
        EXPECT_EQ(f.result, 0);
    }
}

// Completed here before the peer had written it, then this disk is lost, then that one fails.
TEST_F(FlushBoth, UnderAWhatBothDisksHaveLostIsSaidOnce) {
    for (const bool acknowledged : {false, true}) {
        RequestWorld& w = make(acknowledged ? ReplicationProtocol::C : ReplicationProtocol::A);
        GuestWrite& g = w.write(0);
        w.local_done(g);
        const auto sent = w.take();
        if (acknowledged)
            w.ack(sent.at(0));
        ASSERT_EQ(g.result, 0);
        w.lose_disk();
        w.log.peer_disk_lost(0);
        GuestWrite& f = w.flush();
        if (!acknowledged)
            w.confirm(sent.at(1));
        w.settle();
        EXPECT_EQ(f.result, acknowledged ? 0 : -EIO) << "an acknowledged write is on the peer's image still";
        GuestWrite& next = w.flush();
        w.settle();
        EXPECT_EQ(next.result, 0);
    }
}

TEST_F(FlushBoth, UnderAAWriteThatThePeerRefusesLaterIsSaid) {
    RequestWorld& w = make(ReplicationProtocol::A);
    GuestWrite& g = w.write(0);
    w.local_done(g);
    const auto sent = w.take();
    ASSERT_EQ(g.result, 0);
    w.lose_disk();
    w.ack(sent.at(0), Packet::NegAck);
    w.confirm(sent.at(1));
    GuestWrite& f = w.flush();
    w.settle();
    EXPECT_EQ(f.result, -EIO);
}

TEST_F(FlushBoth, AFailedOneIsNoLossWhileThePeerHasAll) {
    RequestWorld& w = c();
    written(w, 0);
    GuestWrite& f = w.flush();
    w.local_done(f, -EIO);
    EXPECT_EQ(w.volume().disk_errors, 1u);
    EXPECT_EQ(f.step, DRBD_STEP_WAIT);
    w.settle();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, AFailedOneIsALossIfAWriteIsHereAlone) {
    RequestWorld& w = c();
    w.change([](Access& a) { a.replicate = false; });
    GuestWrite& alone = w.write(0);
    w.local_done(alone);
    w.change([](Access& a) { a.replicate = true; });
    written(w, 4096);
    GuestWrite& f = w.flush();
    w.local_done(f, -EIO);
    EXPECT_EQ(f.result, -EIO);
    w.settle();
}

TEST_F(FlushBoth, ThePeerIsLostWhileItWaits) {
    RequestWorld& w = c();
    written(w, 0);
    GuestWrite& f = w.flush();
    w.local_done(f);
    w.take();
    w.lose_peer();
    EXPECT_FALSE(f.result) << "the generation is not stable";
    w.generation_stable();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, ThePeerIsLostBeforeTheImageIsFlushed) {
    RequestWorld& w = c();
    written(w, 0);
    GuestWrite& f = w.flush();
    w.take();
    w.lose_peer();
    w.local_done(f);
    EXPECT_FALSE(f.result);
    w.generation_stable();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, AWriteThatThePeerAloneHadIsLostWithIt) {
    RequestWorld& w = c();
    written(w, 0, 0, -EIO);
    GuestWrite& f = w.flush();
    ASSERT_EQ(f.step, DRBD_STEP_SUBMIT);
    w.local_done(f);
    w.take();
    w.lose_peer();
    w.generation_stable();
    EXPECT_EQ(f.result, -EIO);
}

TEST_F(FlushBoth, TheSameIfTheFlushComesAfterTheLoss) {
    RequestWorld& w = c();
    written(w, 0, 0, -EIO);
    w.take();
    w.lose_peer(false);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_EQ(f.result, -EIO);
}

TEST_F(FlushBoth, ConfirmedItIsNoLoss) {
    RequestWorld& w = c();
    written(w, 0, 0, -EIO);
    w.settle();
    w.lose_peer(false);
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, DisklessAndThePeerLost) {
    RequestWorld& w = c();
    w.lose_disk();
    GuestWrite& g = w.write(0);
    w.ack(w.take().at(0));
    GuestWrite& f = w.flush();
    w.take();
    w.lose_peer(false);
    EXPECT_EQ(f.result, -EIO);
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(w.flush().result, -EIO);
}

TEST_F(FlushBoth, TheImageIsLostWithWhatThePeerHasNotConfirmed) {
    RequestWorld& w = c();
    written(w, 0);
    w.lose_disk();
    GuestWrite& f = w.flush();
    EXPECT_EQ(f.step, DRBD_STEP_WAIT);
    w.settle();
    EXPECT_EQ(f.result, 0);
    GuestWrite& again = w.write(0);
    w.ack(w.take().at(0));
    EXPECT_EQ(again.result, 0);
    w.lose_peer(false);
    EXPECT_EQ(w.flush().result, -EIO);
}

TEST_F(FlushBoth, TheImageIsLostAfterThePeer) {
    RequestWorld& w = c();
    written(w, 0);
    w.lose_peer(false);
    w.lose_disk();
    EXPECT_EQ(w.flush().result, -EIO) << "the peer may have lost it, and this image as well";
}

TEST_F(FlushBoth, ALossIsReportedAndThenThePeersWordCountsAgain) {
    RequestWorld& w = c();
    w.change([](Access& a) { a.replicate = false; });
    GuestWrite& alone = w.write(0);
    w.local_done(alone);
    w.change([](Access& a) { a.replicate = true; });
    w.lose_disk();
    EXPECT_EQ(w.flush().result, -EIO);
    GuestWrite& g = w.write(4096);
    w.ack(w.take().at(0));
    EXPECT_EQ(g.result, 0);
    GuestWrite& f = w.flush();
    w.settle();
    EXPECT_EQ(f.result, 0);
}

TEST_F(FlushBoth, FlushesThatWaitForTheImageAllNeedTheConfirmation) {
    RequestWorld& w = c();
    written(w, 0);
    GuestWrite& first = w.flush();
    GuestWrite& same = w.flush();
    written(w, 4096);
    GuestWrite& second = w.flush();
    w.local_done(first);
    w.wake_all();
    EXPECT_FALSE(first.result);
    EXPECT_FALSE(same.result);
    ASSERT_EQ(second.step, DRBD_STEP_SUBMIT);
    w.local_done(second);
    std::vector<Sent> barriers;
    w.take();
    for (const Sent& s : w.sent)
        if (s.packet == Packet::Barrier)
            barriers.push_back(s);
    ASSERT_EQ(barriers.size(), 2u);
    w.confirm(barriers[0]);
    EXPECT_EQ(first.result, 0);
    EXPECT_EQ(same.result, 0);
    EXPECT_FALSE(second.result);
    w.confirm(barriers[1]);
    EXPECT_EQ(second.result, 0);
}

}  // namespace
}  // namespace drbd::test
