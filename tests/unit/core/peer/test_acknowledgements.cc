// SPDX-License-Identifier: GPL-2.0-or-later
// Which answer a write gets and when, by version, protocol and flags (spec 3.2,
// traps 44 to 51), and the numbers they carry (6.7).
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;
using P = wire::ReplicationProtocol;
using Packets = std::vector<Packet>;

struct AckRow {
    unsigned version;
    P protocol;
    uint32_t flags;
    bool syncing;
    Packets at_reception, when_written;
    bool cleared;
};

const AckRow kAckRows[] = {
    // From 100 on the flags decide, whatever the protocol.
    {101, P::C, 0, false, {}, {}, false},
    {101, P::A, kAckReceived, false, {Packet::RecvAck}, {}, false},
    {101, P::A, kAckWritten, false, {}, {Packet::WriteAck}, false},
    {100, P::B, kAckReceived | kAckWritten, false, {Packet::RecvAck}, {Packet::WriteAck}, false},
    {100, P::C, kAckWritten | kMayClear, true, {}, {Packet::RsWriteAck}, true},
    {101, P::C, kAckWritten | kMayClear, false, {}, {Packet::WriteAck}, false},
    {101, P::C, kAckWritten, true, {}, {Packet::WriteAck}, false},
    {101, P::B, kAckReceived | kAckWritten | kMayClear, true, {Packet::RecvAck}, {Packet::RsWriteAck}, true},
    {101, P::A, kMayClear, true, {}, {}, false},
    // Before, the protocol does, whatever the flags.
    {86, P::A, kAckWritten | kAckReceived, false, {}, {}, false},
    {86, P::B, 0, false, {Packet::RecvAck}, {}, false},
    {86, P::C, 0, false, {}, {Packet::WriteAck}, false},
    {90, P::C, kMayClear, true, {}, {Packet::RsWriteAck}, true},
    {90, P::B, kMayClear, true, {Packet::RecvAck}, {}, false},
    {95, P::A, 0, false, {}, {}, false},
    {95, P::B, 0, false, {Packet::RecvAck}, {}, false},
    {95, P::C, kMayClear, true, {}, {Packet::RsWriteAck}, true},
    {95, P::C, kMayClear, false, {}, {Packet::WriteAck}, false},
};

class AckTable : public testing::TestWithParam<AckRow> {};

wire::Agreement agreed(unsigned version) { return {version, {version >= 100 ? wire::kFeaturesKnown : 0u}}; }

TEST_P(AckTable, AnswersAsAsked) {
    const AckRow& row = GetParam();
    PeerWorld world(agreed(row.version));
    world.link_up.link.set_protocol(row.protocol);
    world.volume().syncing = row.syncing;
    ASSERT_TRUE(world.write(0, {.start = 8192, .bytes = 4096, .id = 0xfeed, .flags = row.flags}));
    EXPECT_EQ(world.io.writes_pending(0), 1u);
    EXPECT_EQ(world.ack_packets(), row.at_reception);
    world.end_first(DRBD_PEER_WRITE);
    EXPECT_EQ(world.io.writes_pending(0), 0u);
    const auto acks = world.acks();
    ASSERT_EQ(acks.size(), row.when_written.size());
    for (size_t i = 0; i < acks.size(); i++) {
        EXPECT_EQ(acks[i].packet, row.when_written[i]);
        EXPECT_EQ(acks[i].block.id.value, 0xfeedu);
        EXPECT_EQ(acks[i].block.sector.value, 16u);
        EXPECT_EQ(acks[i].block.size.value, 4096u);
    }
    EXPECT_EQ(world.volume().cleared.size(), row.cleared ? 1u : 0u);
    EXPECT_TRUE(world.volume().marked.empty());
}

// Errors are always told, A included.
TEST_P(AckTable, AnErrorIsAlwaysTold) {
    const AckRow& row = GetParam();
    PeerWorld world(agreed(row.version));
    world.link_up.link.set_protocol(row.protocol);
    world.volume().syncing = row.syncing;
    ASSERT_TRUE(world.write(0, {.start = 8192, .flags = row.flags}));
    world.ack_packets();
    world.end_first(DRBD_PEER_WRITE, -EIO);
    EXPECT_EQ(world.ack_packets(), Packets{Packet::NegAck});
    EXPECT_EQ(world.volume().marked, (std::vector<std::pair<uint64_t, uint64_t>>{{8192, 4096}}));
    EXPECT_TRUE(world.volume().cleared.empty());
    ASSERT_EQ(world.volume().errors.size(), 1u);
    EXPECT_EQ(world.volume().errors[0].kind, DRBD_REQUEST_WRITE);
    EXPECT_EQ(world.volume().errors[0].offset, 8192u);
}

INSTANTIATE_TEST_SUITE_P(Rows, AckTable, testing::ValuesIn(kAckRows));

TEST(Acknowledgements, EveryAckTakesANumberOfItsVolume) {
    PeerWorld world({101, {wire::kFeaturesKnown}}, 2);
    EXPECT_EQ(world.link_up.link.next_sequence(0), 1u);  // a write of ours
    ASSERT_TRUE(world.write(0, {.id = 1, .flags = kAckReceived | kAckWritten}));
    ASSERT_TRUE(world.write(1, {.id = 2}));
    world.end_all();
    world.volume(1).may_read = false;
    ASSERT_TRUE(world.read(1, 0, 4096, 3));
    std::vector<uint32_t> of_volume[2];
    for (const Ack& ack : world.acks())
        of_volume[ack.volume].push_back(ack.block.sequence);
    EXPECT_EQ(of_volume[0], (std::vector<uint32_t>{2, 3}));
    EXPECT_EQ(of_volume[1], (std::vector<uint32_t>{1, 2}));
    EXPECT_EQ(world.link_up.link.next_sequence(0), 4u);
}

TEST(Acknowledgements, OnlyTheNodeWithTheFlagKeepsThePeersNumbers) {
    for (bool flag : {false, true}) {
        PeerWorld world({101, {wire::kFeaturesKnown}}, 1, 16, flag);
        ASSERT_TRUE(world.write(0, {.start = 0}));
        ASSERT_TRUE(world.write(0, {.start = 8192}));
        EXPECT_EQ(world.io.peer_sequence(0), flag ? 2u : 0u);
        world.io.on_peer_sequence(0, 7);
        world.io.on_peer_sequence(0, 5);  // the other stream was faster
        EXPECT_EQ(world.io.peer_sequence(0), flag ? 7u : 0u);
        world.io.on_peer_sequence(0, 0x7ffffff0);
        world.io.on_peer_sequence(0, 0xe0000000);
        world.io.on_peer_sequence(0, 3);  // it wraps
        EXPECT_EQ(world.io.peer_sequence(0), flag ? 3u : 0u);
        world.end_all();
        world.lose_link();
        world.link_up.go_up();
        world.io.on_peer_sequence(0, 1);
        EXPECT_EQ(world.io.peer_sequence(0), flag ? 1u : 0u);
    }
}

struct KindRow {
    Packet packet;
    uint32_t flags;
    unsigned version;
    DrbdPeerIoKind io;
    bool may_unmap, fua;
    DrbdRequestKind error_kind;
};

const KindRow kKindRows[] = {
    {Packet::Data, 0, 101, DRBD_PEER_WRITE, false, false, DRBD_REQUEST_WRITE},
    {Packet::Data, kFua, 101, DRBD_PEER_WRITE, false, true, DRBD_REQUEST_WRITE},
    {Packet::Data, kFua, 95, DRBD_PEER_WRITE, false, true, DRBD_REQUEST_WRITE},
    {Packet::Data, kFua, 90, DRBD_PEER_WRITE, false, false, DRBD_REQUEST_WRITE},
    {Packet::Data, kFlush, 101, DRBD_PEER_WRITE, false, false, DRBD_REQUEST_WRITE},
    {Packet::Zeroes, kZeroes, 101, DRBD_PEER_ZEROES, false, false, DRBD_REQUEST_ZEROES},
    {Packet::Zeroes, kZeroes | kDiscard | kFua, 101, DRBD_PEER_ZEROES, true, true, DRBD_REQUEST_ZEROES},
    {Packet::Trim, kDiscard, 101, DRBD_PEER_ZEROES, true, false, DRBD_REQUEST_DISCARD},
};

TEST(Acknowledgements, WhatAPacketBecomesAtTheImage) {
    for (const KindRow& row : kKindRows) {
        PeerWorld world(agreed(row.version));
        world.link_up.link.set_protocol(P::C);
        const uint64_t bytes = row.packet == Packet::Data ? 4096 : 4 << 20;
        ASSERT_TRUE(world.write(0, {.bytes = bytes, .flags = row.flags | kAckWritten, .packet = row.packet}));
        ASSERT_EQ(world.take_io().size(), 1u);
        const DrbdPeerIo& io = world.running[0];
        EXPECT_EQ(io.kind, row.io);
        EXPECT_EQ(io.bytes, bytes);
        EXPECT_EQ(io.may_unmap, row.may_unmap);
        EXPECT_EQ(io.fua, row.fua);
        EXPECT_EQ(io.buffer != nullptr, row.packet == Packet::Data);
        world.end(io.id, -EIO);
        ASSERT_EQ(world.volume().errors.size(), 1u);
        EXPECT_EQ(world.volume().errors[0].kind, row.error_kind);
        const auto acks = world.acks();
        ASSERT_EQ(acks.size(), 1u);
        EXPECT_EQ(acks[0].packet, Packet::NegAck);
        EXPECT_EQ(acks[0].block.size.value, bytes);
    }
}

// Whether the peer was told that we can or not.
TEST(Acknowledgements, TrimIsTakenWhateverWasAgreed) {
    PeerWorld world({101, {0}});
    auto packet = world.encode_write(0, {.bytes = 1 << 20, .flags = kDiscard | kAckWritten, .packet = Packet::Trim});
    ASSERT_TRUE(world.pass_on(packet));
    world.end_first(DRBD_PEER_ZEROES);
    EXPECT_EQ(world.ack_packets(), Packets{Packet::WriteAck});
}

TEST(Acknowledgements, WriteSameIsRefusedBecauseItWasNotOffered) {
    PeerWorld world;
    auto packet = world.link_up.from_peer(
        wire::Stream::Data,
        [](wire::Room room, const wire::To& to) {
            const wire::DataWrite write{Sector(0), Bytes(8192), {1}, 1, {512u}, {}};
            return wire::encode_write(room, to, Packet::WriteSame, write, 512);
        },
        0, std::vector<uint8_t>(512));
    auto verdict = world.io.on_write_announced(packet.frame());
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().code, ErrorCode::Protocol);
    auto taken = world.io.on_write(packet.frame(), world.new_buffer(512));
    ASSERT_FALSE(taken);
    EXPECT_EQ(world.requests.in_use(), 0u);
}

// What no honest peer sends: each ends the connection, keeps nothing.
TEST(Acknowledgements, ForgedRangesAndVolumes) {
    for (uint64_t start : {kVolumeBytes, kVolumeBytes - 512, uint64_t{1} << 60}) {
        PeerWorld world;
        auto packet = world.encode_write(0, {.start = start, .bytes = 4096});
        auto verdict = world.io.on_write_announced(packet.frame());
        ASSERT_FALSE(verdict);
        EXPECT_EQ(verdict.error().code, ErrorCode::Protocol);
        auto zeroes = world.write(0, {.start = start, .flags = kZeroes, .packet = Packet::Zeroes});
        ASSERT_FALSE(zeroes);
        EXPECT_FALSE(world.read(0, start, 4096, 1));
        // The volume shrank between announcement and payload.
        auto fits = world.encode_write(0, {.start = 0});
        ASSERT_TRUE(world.io.on_write_announced(fits.frame()));
        world.volume().size = Sector(1);
        EXPECT_FALSE(world.io.on_write(fits.frame(), world.new_buffer(4096)));
        EXPECT_EQ(world.requests.in_use(), 0u);
    }
    PeerWorld world;
    auto packet = world.link_up.from_peer(
        wire::Stream::Data,
        [](wire::Room room, const wire::To& to) {
            return wire::encode_write(room, to, Packet::Data, {Sector(0), Bytes(512), {1}, 1, {0u}, {}});
        },
        9, std::vector<uint8_t>(512));
    EXPECT_FALSE(world.io.on_write_announced(packet.frame()));
    EXPECT_FALSE(world.io.on_write(packet.frame(), nullptr));
    EXPECT_FALSE(world.read(9, 0, 4096, 1));
}

}  // namespace
}  // namespace drbd::test
