// SPDX-License-Identifier: GPL-2.0-or-later
// Reads: from the image where it is good, else from the peer, and the other
// one when the first fails.
#include "request_world.h"

namespace drbd::test {
namespace {

struct RemoteReads : testing::Test {
    void remote(RequestWorld& world) {
        world.change([](Access& a) { a.image_reads = false; });
    }
    RequestWorld w;
};

TEST_F(RemoteReads, TheImageIfItIsGood) {
    GuestWrite& r = w.read(0);
    EXPECT_EQ(r.step, DRBD_STEP_SUBMIT);
    EXPECT_TRUE(w.take().empty());
    w.local_done(r);
    EXPECT_EQ(r.result, 0);
}

TEST_F(RemoteReads, ThePeerIfItIsNot) {
    remote(w);
    GuestWrite& r = w.read(4096, 8192);
    EXPECT_EQ(r.step, DRBD_STEP_WAIT);
    const Sent asked = w.take().at(0);
    EXPECT_EQ(asked.packet, Packet::DataRequest);
    EXPECT_EQ(asked.offset, 4096u);
    EXPECT_EQ(asked.bytes, 8192u);
    EXPECT_TRUE(w.reply(asked, 0x5a).ok());
    w.deliver(r);
    EXPECT_EQ(r.result, 0);
    EXPECT_EQ(r.answer, std::vector<uint8_t>(8192, 0x5a));
    EXPECT_EQ(w.volume().released, 8192u);
    EXPECT_EQ(w.io().counters().remote_reads, 1u);
}

TEST_F(RemoteReads, AnInconsistentImageForRangesWithoutABit) {
    w.change([](Access& a) {
        a.image_reads = false;
        a.image_reads_in_sync = true;
    });
    w.volume().disk.bitmap.set_out_of_sync(Sector(16), Sector(8));  // block 2
    for (const auto& [offset, bytes, step] : {std::tuple{0u, 8192u, DRBD_STEP_SUBMIT}, {12288u, 4096u, DRBD_STEP_SUBMIT},
                                              {4096u, 4608u, DRBD_STEP_WAIT}, {8704u, 512u, DRBD_STEP_WAIT}}) {
        GuestWrite& r = w.read(offset, bytes);
        EXPECT_EQ(r.step, step) << offset;
        if (step == DRBD_STEP_SUBMIT) {
            w.local_done(r);
        } else {
            EXPECT_TRUE(w.reply(w.take().at(0)).ok());
            w.deliver(r);
        }
        EXPECT_EQ(r.result, 0);
    }
}

TEST_F(RemoteReads, AnImageThatFailsIsMarkedAndThePeerIsAsked) {
    GuestWrite& r = w.read(4096);
    w.local_done(r, -EIO);
    EXPECT_EQ(w.volume().disk_errors, 1u);
    EXPECT_TRUE(w.volume().bit(4096));
    EXPECT_EQ(r.step, DRBD_STEP_WAIT);
    EXPECT_TRUE(w.reply(w.take().at(0)).ok());
    w.deliver(r);
    EXPECT_EQ(r.result, 0);
}

TEST_F(RemoteReads, NobodyHasIt) {
    w.change([](Access& a) { a.peer_reads = false; });
    GuestWrite& r = w.read(0);
    w.local_done(r, -EIO);
    EXPECT_EQ(r.result, -EIO);
    remote(w);
    EXPECT_EQ(w.read(0).result, -EIO);
}

TEST_F(RemoteReads, ARefusedOneIsTriedAgainOnce) {
    remote(w);
    GuestWrite& r = w.read(0);
    Sent asked = w.take().at(0);
    EXPECT_TRUE(w.io().on_negative_reply({Sector(0), Bytes(4096), asked.id, 1}).ok());
    w.wake_all();
    EXPECT_FALSE(r.result);
    asked = w.take().at(0);
    EXPECT_TRUE(w.io().on_negative_reply({Sector(0), Bytes(4096), asked.id, 2}).ok());
    w.wake_all();
    EXPECT_EQ(r.result, -EIO);
    GuestWrite& second = w.read(0);
    asked = w.take().at(0);
    w.access().image_reads = true;
    w.set_access();
    EXPECT_TRUE(w.io().on_negative_reply({Sector(0), Bytes(4096), asked.id, 3}).ok());
    w.wake_all();
    EXPECT_EQ(second.step, DRBD_STEP_SUBMIT) << "the image may be good by now";
    w.local_done(second);
    EXPECT_EQ(second.result, 0);
}

TEST_F(RemoteReads, AfterTheLossOfThePeerTheImageOrAnError) {
    remote(w);
    GuestWrite& lost = w.read(0);
    w.take();
    w.lose_peer(false);
    EXPECT_EQ(lost.result, -EIO);
    RequestWorld two;
    two.change([](Access& a) { a.image_reads = false; });
    GuestWrite& saved = two.read(0);
    two.take();
    two.access().image_reads = true;
    two.lose_peer(false);
    ASSERT_EQ(saved.step, DRBD_STEP_SUBMIT);
    two.local_done(saved);
    EXPECT_EQ(saved.result, 0);
}

TEST_F(RemoteReads, AnAnswerThatHasComeIsGoodWhateverHappens) {
    remote(w);
    GuestWrite& r = w.read(0);
    EXPECT_TRUE(w.reply(w.take().at(0)).ok());
    w.lose_peer(false);
    w.deliver(r);
    EXPECT_EQ(r.result, 0);
}

TEST_F(RemoteReads, BelowNinetyFiveInPieces) {
    RequestWorld old(ReplicationProtocol::C, {86, {0}});
    old.change([](Access& a) { a.image_reads = false; });
    GuestWrite& r = old.read(4096, 72 * kKiB);
    std::vector<uint8_t> expected;
    for (uint8_t piece = 1; piece <= 3; piece++) {
        const Sent asked = old.take().at(0);
        EXPECT_EQ(asked.offset, 4096 + (piece - 1) * 32 * kKiB);
        EXPECT_EQ(asked.bytes, piece < 3 ? 32 * kKiB : 8 * kKiB);
        EXPECT_TRUE(old.reply(asked, piece).ok());
        expected.insert(expected.end(), asked.bytes, piece);
        EXPECT_FALSE(r.result);
        old.deliver(r);
    }
    EXPECT_EQ(r.result, 0);
    EXPECT_EQ(r.answer, expected);
}

TEST_F(RemoteReads, AHeldOneIsRoutedWhenItGoesOn) {
    w.change([](Access& a) {
        a.hold = true;
        a.image_reads = false;
    });
    GuestWrite& r = w.read(0);
    EXPECT_TRUE(w.take().empty());
    w.change([](Access& a) {
        a.hold = false;
        a.image_reads = true;
    });
    w.wake_all();
    ASSERT_EQ(r.step, DRBD_STEP_SUBMIT);
    w.local_done(r);
    EXPECT_EQ(r.result, 0);
}

}  // namespace
}  // namespace drbd::test
