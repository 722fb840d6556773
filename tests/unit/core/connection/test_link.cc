// SPDX-License-Identifier: GPL-2.0-or-later
// Link and Outbox: order, partial sends, what happens to what is queued when the
// connection is given up, and the fixture link_up.h itself.
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "tests/unit/core/connection/link_up.h"

namespace drbd {
namespace {

using test::LinkUp;

void send_barrier(Link& link, uint32_t number, int* owner = nullptr) {
    Owner told;
    if (owner)
        told = {PacketOwner::GuestRequest, owner};
    link.send_data(wire::encode_barrier(link.room(), link.to_connection(), {number}), {}, told);
}

void send_write(Link& link, const std::vector<uint8_t>& payload, void* owner) {
    wire::DataWrite write;
    write.sector = Sector(8);
    write.size = Bytes(payload.size());
    write.id = {7};
    write.sequence = link.next_sequence(0);
    write.flags.set(wire::DataFlag::SendWriteAck);
    link.send_data(wire::encode_write(link.room(), link.to(0), wire::Packet::Data, write),
                   {payload.data(), static_cast<uint32_t>(payload.size())}, {PacketOwner::GuestRequest, owner});
}

TEST(Link, PacketsComeOutInOrderWithTheirPayload) {
    LinkUp peer;
    std::vector<uint8_t> payload(4096);
    std::iota(payload.begin(), payload.end(), uint8_t{3});
    int owner = 0;
    send_write(peer.link, payload, &owner);
    send_barrier(peer.link, 1);
    peer.link.send_meta(wire::encode_empty(peer.link.room(), peer.link.to_connection(), wire::Packet::Ping));

    const auto sent = peer.take_data();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[0].packet(), wire::Packet::Data);
    EXPECT_EQ(sent[0].bulk(), payload);
    auto write = wire::decode_write(sent[0].frame(), Sector(1000));
    ASSERT_TRUE(write.ok());
    EXPECT_EQ(write.value().sequence, 1u);
    EXPECT_EQ(sent[1].packet(), wire::Packet::Barrier);
    ASSERT_EQ(peer.left.size(), 1u);
    EXPECT_EQ(peer.left[0].owner.object, &owner);
    EXPECT_TRUE(peer.left[0].sent);
    const auto meta = peer.take_meta();
    ASSERT_EQ(meta.size(), 1u);
    EXPECT_EQ(meta[0].packet(), wire::Packet::Ping);
}

// Whatever pieces the socket takes, the same bytes go out, and an owner is told
// with the last byte of its packet, not before.
TEST(Outbox, SentInPiecesOfEverySize) {
    std::vector<uint8_t> payload(512);
    std::iota(payload.begin(), payload.end(), uint8_t{1});
    std::vector<uint8_t> whole;
    for (size_t piece = 1; piece < 700; piece += 13) {
        LinkUp peer;
        int owners[3];
        for (int& owner : owners)
            send_write(peer.link, payload, &owner);
        std::vector<uint8_t> out;
        auto send = std::make_unique<DrbdSend>();
        const size_t packet = 16 + 24 + 512;
        while (peer.data().hand_out(*send)) {
            EXPECT_FALSE(peer.data().has_work());
            size_t left = std::min(piece, send->bytes);
            const size_t took = left;
            for (unsigned i = 0; i < send->nr_parts && left > 0; i++) {
                const size_t here = std::min(left, send->parts[i].bytes);
                const auto* data = static_cast<const uint8_t*>(send->parts[i].data);
                out.insert(out.end(), data, data + here);
                left -= here;
            }
            peer.data().sent(took);
            EXPECT_EQ(peer.left.size(), out.size() / packet);
        }
        ASSERT_EQ(out.size(), 3 * packet);
        for (size_t i = 0; i < 3; i++)
            EXPECT_EQ(std::memcmp(out.data() + i * packet + 40, payload.data(), 512), 0);
    }
}

TEST(Outbox, MoreThanOneCallTakesIsHandedOutInSeveral) {
    LinkUp peer;
    for (uint32_t i = 0; i < 1000; i++)
        send_barrier(peer.link, i);
    const auto sent = peer.take_data();
    ASSERT_EQ(sent.size(), 1000u);
    for (uint32_t i = 0; i < 1000; i++)
        EXPECT_EQ(wire::decode_barrier(sent[i].frame()).value().value, i);
}

TEST(Outbox, WhatIsHandedOutStaysUntilSent) {
    LinkUp peer;
    int handed_out = 0, behind = 0;
    send_barrier(peer.link, 1, &handed_out);
    auto send = std::make_unique<DrbdSend>();
    ASSERT_TRUE(peer.data().hand_out(*send));
    send_barrier(peer.link, 2, &behind);
    peer.go_down();
    ASSERT_EQ(peer.left.size(), 1u);
    EXPECT_EQ(peer.left[0].owner.object, &behind);
    EXPECT_FALSE(peer.left[0].sent);
    peer.data().sent(3);
    ASSERT_EQ(peer.left.size(), 2u);
    EXPECT_EQ(peer.left[1].owner.object, &handed_out);
    EXPECT_FALSE(peer.left[1].sent);
    EXPECT_TRUE(peer.data().empty());
}

TEST(Link, WhatIsSentWhileDroppedGoesNowhereAndIsTold) {
    LinkUp peer;
    peer.link.drop(ConnectionState::ProtocolError, "it lies");
    peer.link.drop(ConnectionState::Timeout, "too late");
    EXPECT_STREQ(peer.link.dropped_why(), "it lies");
    EXPECT_EQ(peer.link.dropped_how(), ConnectionState::ProtocolError);
    EXPECT_FALSE(peer.link.is_up());
    int owner = 0;
    send_barrier(peer.link, 1, &owner);
    ASSERT_EQ(peer.left.size(), 1u);
    EXPECT_FALSE(peer.left[0].sent);
    EXPECT_EQ(peer.queued_data(), 0u);
}

TEST(Link, APeerThatDoesNotReadIsDropped) {
    LinkUp peer({101, {15}}, false, 8);
    for (uint32_t i = 0; i < 9; i++)
        send_barrier(peer.link, i);
    EXPECT_TRUE(peer.link.is_dropped());
    EXPECT_EQ(peer.link.dropped_how(), ConnectionState::NetworkFailure);
    EXPECT_EQ(peer.queued_data(), 8u);
}

TEST(Link, SequenceNumbersAreOfTheVolumeAndBeginAnew) {
    LinkUp peer;
    EXPECT_EQ(peer.link.next_sequence(0), 1u);
    EXPECT_EQ(peer.link.next_sequence(0), 2u);
    EXPECT_EQ(peer.link.next_sequence(3), 1u);
    peer.go_down();
    peer.go_up();
    EXPECT_EQ(peer.link.next_sequence(0), 1u);
    EXPECT_EQ(peer.link.times_up(), 2u);
}

TEST(LinkUp, CutsPacketsOfThePeer) {
    for (unsigned version : {86u, 95u, 101u}) {
        LinkUp peer({version, {15}});
        wire::DataWrite write;
        write.sector = Sector(16);
        write.size = Bytes(512);
        write.id = {9};
        write.sequence = 1;
        const auto packet = peer.from_peer(wire::Stream::Data, [&](wire::Room room, const wire::To& to) {
            return wire::encode_write(room, to, wire::Packet::Data, write);
        }, 0, std::vector<uint8_t>(512, 5));
        EXPECT_EQ(packet.packet(), wire::Packet::Data);
        EXPECT_EQ(packet.bulk().size(), 512u);
        EXPECT_TRUE(wire::decode_write(packet.frame(), Sector(100)).ok());
    }
}

}  // namespace
}  // namespace drbd
