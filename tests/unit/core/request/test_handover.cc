// SPDX-License-Identifier: GPL-2.0-or-later
// A Primary whose own copy is given up (decision 0018): what the peer alone has
// completes when a disk says that the copies are not equal, and everything by
// the peer's word, whatever the protocol.
#include "request_world.h"

namespace drbd::test {
namespace {

struct Handover : testing::Test {
    RequestWorld& make(ReplicationProtocol protocol) {
        world.emplace(protocol);
        return *world;
    }
    // The image failed the write and the peer has it.
    static GuestWrite& failed_here(RequestWorld& w, uint64_t offset) {
        GuestWrite& g = w.write(offset);
        w.volume().on_error = [&w] { w.io().begin_handover(); };
        w.local_done(g, -EIO);
        w.ack(w.take().at(0));
        return g;
    }
    // A completed write that no flush and no barrier has covered; the next error begins a handover.
    static void written_on_both(RequestWorld& w) {
        GuestWrite& g = w.write(0);
        w.local_done(g);
        w.ack(w.take().at(0));
        ASSERT_EQ(g.result, 0);
        w.volume().on_error = [&w] { w.io().begin_handover(); };
    }
    std::optional<RequestWorld> world;
};

TEST_F(Handover, AWriteOfThePeerAloneWaits) {
    RequestWorld& w = make(ReplicationProtocol::C);
    GuestWrite& g = failed_here(w, 0);
    EXPECT_FALSE(g.result);
    w.io().end_handover(0);
    w.wake_all();
    EXPECT_EQ(g.result, 0);
    GuestWrite& later = w.write(8192);
    w.local_done(later, -EIO);
    w.io().end_handover(0);  // as the second error begins one again
    w.ack(w.take().at(0));
    EXPECT_EQ(later.result, 0) << "nothing waits for a handover that is over";
    w.settle();
}

TEST_F(Handover, AWriteOfBothDoesNotWait) {
    RequestWorld& w = make(ReplicationProtocol::C);
    GuestWrite& g = w.write(0);
    w.io().begin_handover();
    w.local_done(g);
    w.ack(w.take().at(0));
    EXPECT_EQ(g.result, 0);
    w.io().end_handover(0);
    w.settle();
}

TEST_F(Handover, AFlushThatThePeerAnswersForWaits) {
    RequestWorld& w = make(ReplicationProtocol::C);
    written_on_both(w);
    GuestWrite& f = w.flush();
    w.local_done(f, -EIO);
    w.confirm(w.take().at(0));
    EXPECT_FALSE(f.result) << "confirmed, and no disk says yet which copy is newer";
    w.io().end_handover(0);
    w.wake_all();
    EXPECT_EQ(f.result, 0);
}

// The one that waits for the same flush of the image, and whose epoch is confirmed already.
TEST_F(Handover, AFlushThatWaitedForTheFailedOneWaitsToo) {
    RequestWorld& w = make(ReplicationProtocol::C);
    written_on_both(w);
    GuestWrite& f = w.flush();
    GuestWrite& behind = w.flush();
    w.confirm(w.take().at(0));
    w.local_done(f, -EIO);
    w.wake_all();
    EXPECT_FALSE(f.result);
    EXPECT_FALSE(behind.result);
    w.io().end_handover(0);
    w.wake_all();
    EXPECT_EQ(f.result, 0);
    EXPECT_EQ(behind.result, 0);
}

TEST_F(Handover, WithoutThePeerWhatWaitsFails) {
    RequestWorld& w = make(ReplicationProtocol::C);
    GuestWrite& g = failed_here(w, 0);
    w.lose_peer(false);
    EXPECT_FALSE(g.result) << "the volume ends the handover";
    w.io().end_handover(-EIO);
    w.wake_all();
    EXPECT_EQ(g.result, -EIO);
}

// Protocol A, own copy Inconsistent: it follows the peer's.
struct Follows : Handover {
    RequestWorld& follows() {
        RequestWorld& w = make(ReplicationProtocol::A);
        w.change([](Access& access) { access.image_alone = access.image_reads = false; });
        return w;
    }
};

TEST_F(Follows, AWriteWaitsForThePeersDisk) {
    RequestWorld& w = follows();
    GuestWrite& g = w.write(0);
    w.local_done(g);
    const Sent sent = w.take().at(0);
    EXPECT_TRUE(sent.flags.has(DataFlag::SendWriteAck));
    EXPECT_FALSE(g.result);
    w.ack(sent);
    EXPECT_EQ(g.result, 0);
    w.settle();
}

TEST_F(Follows, AFlushWaitsForTheConfirmation) {
    RequestWorld& w = follows();
    GuestWrite& g = w.write(0);
    w.local_done(g);
    w.ack(w.take().at(0));
    GuestWrite& f = w.flush();
    w.local_done(f);
    const auto sent = w.take();
    EXPECT_FALSE(f.result);
    w.confirm(sent.at(0));
    EXPECT_EQ(f.result, 0);
}

TEST_F(Follows, ALossOfThePeerIsReportedOnce) {
    RequestWorld& w = follows();
    GuestWrite& g = w.write(0);
    w.local_done(g);
    w.ack(w.take().at(0));
    ASSERT_EQ(g.result, 0);
    w.lose_peer(false);
    w.change([](Access& access) {  // it came back, and the own copy was resynced from it
        access.image_alone = access.image_reads = true;
    });
    GuestWrite& f = w.flush();
    w.local_done(f);
    EXPECT_EQ(f.result, -EIO) << "the write may be on no disk any more";
}

// What a Secondary received and did not flush is what the next guest reads.
TEST_F(Handover, TheFirstFlushOfANewGuestReachesTheImage) {
    RequestWorld& w = make(ReplicationProtocol::C);
    EXPECT_EQ(w.flush().result, 0);
    w.io().image_is_unflushed();
    GuestWrite& f = w.flush();
    ASSERT_EQ(f.step, DRBD_STEP_SUBMIT);
    w.local_done(f);
    EXPECT_EQ(f.result, 0);
}

}  // namespace
}  // namespace drbd::test
