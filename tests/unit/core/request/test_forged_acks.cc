// SPDX-License-Identifier: GPL-2.0-or-later
// Acknowledgements and answers that the peer may not send: each is an error of
// the protocol, and changes nothing.
#include "request_world.h"

namespace drbd::test {
namespace {

struct Forged : testing::Test {
    Forged() : g(w.write(8192, 8192)) {
        sent = w.take().at(0);
        w.local_done(g);
    }
    void TearDown() override {
        EXPECT_FALSE(g.result) << "a forged acknowledgement has completed it";
        w.ack(sent);
        EXPECT_EQ(g.result, 0);
        w.settle();
        EXPECT_EQ(w.volume().disk.bitmap.count(), 0u);
    }
    void refuse(Packet packet, const Sent& forged) {
        const auto result = w.answer(packet, forged);
        ASSERT_FALSE(result.ok());
        EXPECT_EQ(result.error().code, ErrorCode::Protocol);
    }
    Sent with(const std::function<void(Sent&)>& change) {
        Sent forged = sent;
        change(forged);
        return forged;
    }
    RequestWorld w;
    GuestWrite& g;
    Sent sent;
};

TEST_F(Forged, AnotherHandle) {
    refuse(Packet::WriteAck, with([](Sent& s) { s.id.value++; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.id.value = 0xfffffffffffffffe; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.id.value = 0; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.id.value += 1ull << 32; }));
}

TEST_F(Forged, AnotherPlace) {
    refuse(Packet::WriteAck, with([](Sent& s) { s.offset += 512; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.offset -= 512; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.offset += 8192; }));
    refuse(Packet::WriteAck, with([](Sent& s) { s.bytes = 4096; }));
}

TEST_F(Forged, AnotherAcknowledgement) {
    refuse(Packet::RecvAck, sent);
    refuse(Packet::RsWriteAck, sent);
    refuse(Packet::Superseded, sent);
    refuse(Packet::RetryWrite, sent);
}

TEST_F(Forged, AReplyToAWrite) {
    EXPECT_FALSE(w.reply(sent).ok());
    EXPECT_EQ(w.volume().released, 8192u) << "the buffer is not kept";
    EXPECT_FALSE(w.io().on_negative_reply({Sector(16), Bytes(8192), sent.id, 1}).ok());
}

TEST(ForgedAcks, TwiceAndAfterTheEnd) {
    RequestWorld w;
    GuestWrite& g = w.write(0);
    const Sent sent = w.take().at(0);
    w.ack(sent);
    EXPECT_FALSE(w.answer(Packet::WriteAck, sent).ok());
    w.local_done(g);
    w.settle();
    EXPECT_FALSE(w.answer(Packet::WriteAck, sent).ok()) << "of an earlier use of its place";
    GuestWrite& again = w.write(0);
    const Sent next = w.take().at(0);
    EXPECT_NE(next.id, sent.id);
    EXPECT_FALSE(w.answer(Packet::WriteAck, sent).ok());
    w.local_done(again);
    w.ack(next);
    w.settle();
}

TEST(ForgedAcks, OfAnotherVolume) {
    RequestWorld w(ReplicationProtocol::C, {101, {15}}, 64, 2);
    GuestWrite& g = w.write(0);
    Sent sent = w.take().at(0);
    sent.volume = 1;
    EXPECT_FALSE(w.answer(Packet::WriteAck, sent).ok());
    sent.volume = 0;
    w.local_done(g);
    w.ack(sent);
    w.settle();
}

TEST(ForgedAcks, AnUnknownNegativeOneMarksWhatItNames) {
    RequestWorld w;
    w.ack({.packet = Packet::Data, .offset = 12288, .bytes = 4096, .id = {77}, .sequence = 0, .flags = {}, .barrier = {},
           .set_size = 0, .bulk = {}, .volume = 0, .digest_bytes = 0},
          Packet::NegAck);
    EXPECT_EQ(w.volume().disk.bitmap.count(), 1u);
    EXPECT_TRUE(w.volume().bit(12288));
}

// A peer without a disk refuses P_ZEROES with a size of no use (trap 47).
TEST(ForgedAcks, ANegativeOneNeedsNoSize) {
    RequestWorld w;
    GuestWrite& g = w.begin(DRBD_REQUEST_ZEROES, 0, kMiB);
    Sent sent = w.take().at(0);
    sent.bytes = 0;
    w.ack(sent, Packet::NegAck);
    w.local_done(g);
    EXPECT_EQ(g.result, 0);
    EXPECT_EQ(w.volume().disk.bitmap.count(), kMiB / 4096);
    w.log.close_epoch();
    w.confirm(w.take().at(0));
}

TEST(ForgedAcks, AReplyThatWasNotAskedForAndOneOfAnotherSize) {
    RequestWorld w;
    w.change([](Access& a) { a.image_reads = false; });
    GuestWrite& r = w.read(0, 8192);
    Sent asked = w.take().at(0);
    Sent wrong = asked;
    wrong.bytes = 4096;
    EXPECT_FALSE(w.reply(wrong).ok());
    wrong = asked;
    wrong.offset = 512;
    EXPECT_FALSE(w.reply(wrong).ok());
    EXPECT_FALSE(w.answer(Packet::WriteAck, asked).ok());
    EXPECT_TRUE(w.reply(asked).ok());
    EXPECT_FALSE(w.reply(asked).ok()) << "twice";
    w.deliver(r);
    EXPECT_EQ(r.result, 0);
}

}  // namespace
}  // namespace drbd::test
