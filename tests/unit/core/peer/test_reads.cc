// SPDX-License-Identifier: GPL-2.0-or-later
// The peer reads from our image (spec 3.2, 6.9).
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;

TEST(Reads, AreAnsweredWithTheData) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    ASSERT_TRUE(world.read(1, 8192, 12288, 0xabcdef));
    ASSERT_EQ(world.take_io().size(), 1u);
    EXPECT_EQ(world.running[0].kind, DRBD_PEER_READ);
    EXPECT_EQ(world.running[0].offset, 8192u);
    EXPECT_EQ(world.running[0].bytes, 12288u);
    EXPECT_FALSE(world.running[0].wants_digest);
    world.end_all();
    EXPECT_EQ(world.requests.in_use(), 1u);  // the payload is being sent
    EXPECT_EQ(world.volume(1).reads, 1u);
    const auto sent = world.link_up.take_data();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].packet(), Packet::DataReply);
    EXPECT_EQ(sent[0].volume(), 1u);
    const auto reply = wire::decode_data_reply(sent[0].frame(), world.volume(1).size).value();
    EXPECT_EQ(reply.id.value, 0xabcdefu);
    EXPECT_EQ(reply.sector.value, 16u);
    EXPECT_EQ(sent[0].bulk(), std::vector<uint8_t>(12288, 0x77));
    EXPECT_EQ(world.requests.in_use(), 0u);
}

TEST(Reads, CarryADigestIfOneIsAgreed) {
    PeerWorld world;
    world.link_up.link.set_integrity_digest_size(20);
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    world.end_first(DRBD_PEER_READ);
    const auto sent = world.link_up.take_data();
    ASSERT_EQ(sent.size(), 1u);
    const auto digest = sent[0].frame().tail;
    ASSERT_EQ(digest.size(), 20u);
    EXPECT_EQ(digest[0], 0xab);
    EXPECT_EQ(digest[19], 0xab);
}

TEST(Reads, AreRefusedIfTheDataIsNotGood) {
    PeerWorld world;
    world.volume().may_read = false;
    ASSERT_TRUE(world.read(0, 4096, 4096, 9));
    EXPECT_FALSE(world.requests.has_next());
    auto acks = world.acks();
    ASSERT_EQ(acks.size(), 1u);
    EXPECT_EQ(acks[0].packet, Packet::NegDReply);
    EXPECT_EQ(acks[0].block.id.value, 9u);
    EXPECT_EQ(acks[0].block.sector.value, 8u);
}

TEST(Reads, AnErrorOfTheImageIsARefusalAndTheVolumeIsTold) {
    PeerWorld world;
    ASSERT_TRUE(world.read(0, 4096, 4096, 9));
    world.end_first(DRBD_PEER_READ, -EIO);
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::NegDReply});
    ASSERT_EQ(world.volume().errors.size(), 1u);
    EXPECT_EQ(world.volume().errors[0].kind, DRBD_REQUEST_READ);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// Under A and B a write is complete for the peer's guest while it still waits
// here: a read that follows it must see it.
TEST(Reads, TakeTheirPlaceAmongWritesThatOverlap) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    ASSERT_TRUE(world.read(0, 8192, 4096, 2));
    EXPECT_EQ(world.take_io().size(), 2u) << "the first read waits, the second is in nobody's way";
    world.end_first(DRBD_PEER_WRITE);
    world.end_all();
    EXPECT_EQ(world.link_up.take_data().size(), 2u);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// The image has not taken the write, and the state says that it is no good any
// more: what it holds there is old. The one behind the read goes on.
TEST(Reads, AreRefusedIfTheWriteTheyWaitedForFails) {
    PeerWorld world;
    ASSERT_TRUE(world.write(0, {.start = 0}));
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    ASSERT_EQ(world.take_io().size(), 1u);
    world.volume().may_read = false;
    world.end_first(DRBD_PEER_WRITE, -EIO);
    EXPECT_TRUE(world.take_io().empty());
    const auto packets = world.ack_packets();
    EXPECT_EQ(std::count(packets.begin(), packets.end(), Packet::NegDReply), 1);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// The algorithm was switched while the image read: no reply with a wrong digest.
TEST(Reads, AreRefusedIfTheDigestDoesNotFitAnyMore) {
    PeerWorld world;
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    world.take_io();
    world.link_up.link.set_integrity_digest_size(20);
    world.end_all();
    EXPECT_EQ(world.ack_packets(), std::vector<Packet>{Packet::NegDReply});
    EXPECT_TRUE(world.volume().errors.empty());
}

TEST(Reads, ALostLinkEndsThemAtEveryStage) {
    PeerWorld world;
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    ASSERT_TRUE(world.read(0, 4096, 4096, 2));
    world.end_first(DRBD_PEER_READ);           // its reply waits to be sent
    EXPECT_EQ(world.running.size(), 1u);       // the other is at the image
    ASSERT_TRUE(world.read(0, 8192, 4096, 3)); // queued
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 1u);
    EXPECT_FALSE(world.requests.has_next());
    EXPECT_TRUE(world.volume().errors.empty());
    world.link_up.go_up();  // though nobody should, yet
    world.end_all();
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_TRUE(world.link_up.take_data().empty());
    EXPECT_TRUE(world.acks().empty());
}

// A sendmsg() is reading the payload when the link goes: it stays until told.
TEST(Reads, APayloadThatIsBeingSentStaysUntilItIsSent) {
    PeerWorld world;
    ASSERT_TRUE(world.read(0, 0, 4096, 1));
    world.end_first(DRBD_PEER_READ);
    auto send = std::make_unique<DrbdSend>();
    ASSERT_TRUE(world.link_up.data().hand_out(*send));
    world.lose_link();
    EXPECT_EQ(world.requests.in_use(), 1u);
    EXPECT_FALSE(world.requests.has_release());
    world.link_up.data().sent(100);
    EXPECT_EQ(world.requests.in_use(), 0u);
    EXPECT_TRUE(world.requests.has_release());
}

TEST(Reads, ForgedSizesAreErrors) {
    for (uint32_t bytes : {0u, 511u, 100u, (1u << 20) + 512, 0xfffffe00u}) {
        PeerWorld world;
        auto packet = world.link_up.from_peer(wire::Stream::Data, [](wire::Room room, const wire::To& to) {
            return wire::encode_block_request(room, to, Packet::DataRequest, {Sector(0), Bytes(4096), {1}, {}});
        });
        std::vector<uint8_t> fixed(packet.frame().fixed.begin(), packet.frame().fixed.end());
        for (unsigned i = 0; i < 4; i++)
            fixed[16 + i] = static_cast<uint8_t>(bytes >> (24 - 8 * i));
        wire::Frame forged = packet.frame();
        forged.fixed = fixed;
        auto result = world.io.on_read_request(forged);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, ErrorCode::Protocol);
        EXPECT_EQ(world.requests.in_use(), 0u);
    }
}

}  // namespace
}  // namespace drbd::test
