// SPDX-License-Identifier: GPL-2.0-or-later
// A peer that lies: answers nobody asked for, acknowledgements of nothing,
// bitmaps out of turn, more requests than anybody has.  Each is a protocol
// error, no bit is cleared, and nothing is left behind when the link is gone.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

using wire::Packet;
using wire::Stream;

constexpr Sector kAt{80};
constexpr Bytes kLength{4096};

SentPacket ack(Node& node, Packet packet, Sector sector, Bytes size, wire::BlockId id = wire::kSyncerId) {
    return node.link.from_peer(Stream::Meta, [&](wire::Room room, const wire::To& to) {
        return wire::encode_block_ack(room, to, packet, {sector, size, id, 1});
    });
}

SentPacket reply(Node& node, Sector sector, Bytes size, wire::BlockId id = wire::kSyncerId) {
    return node.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
        return wire::encode_data_reply(room, to, Packet::RsDataReply, {sector, size, id, {}});
    }, 0, std::vector<uint8_t>(size.value, 0x55));
}

SentPacket request(Node& node, Packet packet, Sector sector, Bytes size) {
    return node.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
        return wire::encode_block_request(room, to, packet, {sector, size, wire::kSyncerId, {}});
    });
}

SentPacket deallocated(Node& node, Sector sector, Bytes size) {
    return node.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
        return wire::encode_block_range(room, to, Packet::RsDeallocated, {sector, size});
    });
}

// As the hub does it: an error drops the link.
void give(Node& node, Stream stream, const SentPacket& packet) {
    if (stream == Stream::Data && !node.may_deliver(packet))
        return;
    if (node.link.link.is_up())
        node.deliver(stream, packet);
    node.pump();
}

// Target b has asked for one block, and nothing else.
struct OneAsked : Pair {
    OneAsked() : Pair(1) {
        linked = false;  // the peer is us
        b.set_out_of_sync(kAt, kLength);
        b.resync.begin(Direction::Target);
        b.pump();
    }
};

struct Lie {
    const char* name;
    std::function<void(Node&)> tell;
};

class LieToTarget : public testing::TestWithParam<Lie> {};

TEST_P(LieToTarget, IsAProtocolError) {
    OneAsked pair;
    GetParam().tell(pair.b);
    EXPECT_NE(pair.b.error, "");
    EXPECT_FALSE(pair.b.link.link.is_up());
    EXPECT_EQ(pair.b.disk.bitmap.count(), 1u);
    EXPECT_FALSE(pair.b.has_io());
    pair.b.link_lost();
    EXPECT_EQ(pair.b.requests.in_use(), 0u);
    EXPECT_EQ(pair.b.guest.locks(), 0u);
    EXPECT_EQ(pair.b.disk.bitmap.count(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    All, LieToTarget,
    testing::Values(
        Lie{"another_sector", [](Node& n) { give(n, Stream::Data, reply(n, Sector(88), kLength)); }},
        Lie{"more_than_asked", [](Node& n) { give(n, Stream::Data, reply(n, kAt, Bytes(8192))); }},
        Lie{"less_than_asked", [](Node& n) { give(n, Stream::Data, reply(n, kAt, Bytes(512))); }},
        Lie{"handle", [](Node& n) { give(n, Stream::Data, reply(n, kAt, kLength, {77})); }},
        Lie{"zeroes_elsewhere", [](Node& n) { give(n, Stream::Data, deallocated(n, Sector(0), kLength)); }},
        Lie{"zeroes_of_more", [](Node& n) { give(n, Stream::Data, deallocated(n, kAt, Bytes(8192))); }},
        Lie{"refused_elsewhere", [](Node& n) { give(n, Stream::Meta, ack(n, Packet::NegRsDReply, Sector(0), kLength)); }},
        Lie{"cancelled_elsewhere", [](Node& n) { give(n, Stream::Meta, ack(n, Packet::RsCancel, Sector(0), kLength)); }},
        Lie{"ack_to_the_target", [](Node& n) { give(n, Stream::Meta, ack(n, Packet::RsWriteAck, kAt, kLength)); }},
        Lie{"bitmap", [](Node& n) {
                give(n, Stream::Data, n.link.from_peer(Stream::Data, [](wire::Room room, const wire::To& to) {
                         return wire::encode_bitmap_header(room, to, Packet::Bitmap, 0);
                     }));
            }}),
    [](const auto& row) { return row.param.name; });

TEST(Resync, AnAnswerCountsOnce) {
    OneAsked pair;
    give(pair.b, Stream::Data, reply(pair.b, kAt, kLength));
    EXPECT_EQ(pair.b.error, "");
    ASSERT_TRUE(pair.b.has_io());
    give(pair.b, Stream::Data, reply(pair.b, kAt, kLength));
    EXPECT_NE(pair.b.error, "");
    pair.b.link_lost();
    pair.finish_io();
    EXPECT_EQ(pair.b.requests.in_use(), 0u);
    EXPECT_EQ(pair.b.guest.locks(), 0u);
    EXPECT_EQ(pair.b.disk.bitmap.count(), 1u);
}

// Source a has answered one request.
struct OneAnswered : Pair {
    OneAnswered() : Pair(1) {
        linked = false;
        a.set_out_of_sync(Sector(0), Bytes(1 << 20));
        bits = a.disk.bitmap.count();
        a.resync.begin(Direction::Source);
        give(a, Stream::Data, request(a, Packet::RsDataRequest, kAt, kLength));
        while (a.step_io())
            a.pump();
        EXPECT_EQ(a.link.take_data().size(), 1u);
    }
    uint64_t bits;
};

TEST(Resync, AnAcknowledgementMustMeetAnAnswer) {
    const std::pair<Sector, Bytes> wrong[] = {{Sector(88), kLength}, {kAt, Bytes(8192)}, {kAt, Bytes(512)}};
    for (const auto& [sector, size] : wrong)
        for (Packet packet : {Packet::RsWriteAck, Packet::NegAck}) {
            OneAnswered pair;
            give(pair.a, Stream::Meta, ack(pair.a, packet, sector, size));
            EXPECT_NE(pair.a.error, "") << sector.value << ' ' << size.value;
            EXPECT_EQ(pair.a.disk.bitmap.count(), pair.bits);
        }
}

TEST(Resync, AnAcknowledgementCountsOnce) {
    OneAnswered pair;
    give(pair.a, Stream::Meta, ack(pair.a, Packet::RsWriteAck, kAt, kLength));
    EXPECT_EQ(pair.a.error, "");
    EXPECT_EQ(pair.a.disk.bitmap.count(), pair.bits - 1);
    give(pair.a, Stream::Meta, ack(pair.a, Packet::RsWriteAck, kAt, kLength));
    EXPECT_NE(pair.a.error, "");
}

// A block of an answered range was marked: a write failed on this disk.  The
// target's acknowledgement does not know of that.
TEST(Resync, WhatWasMarkedMeanwhileStaysMarked) {
    OneAnswered pair;
    give(pair.a, Stream::Data, request(pair.a, Packet::RsDataRequest, Sector(256), Bytes(65536)));
    while (pair.a.step_io())
        pair.a.pump();
    pair.a.set_out_of_sync(Sector(256 + 3 * 8 + 1), Bytes(1024));
    give(pair.a, Stream::Meta, ack(pair.a, Packet::RsWriteAck, Sector(256), Bytes(65536)));
    EXPECT_EQ(pair.a.error, "");
    EXPECT_EQ(pair.a.disk.bitmap.count(), pair.bits - 15);
    EXPECT_TRUE(pair.a.disk.bitmap.is_set(256 / 8 + 3));
}

TEST(Resync, RequestsAreBounded) {
    Pair pair(1);
    pair.linked = false;
    pair.a.resync.begin(Direction::Source);
    for (unsigned i = 0; i < kResyncUnansweredMax; i++) {
        give(pair.a, Stream::Data, request(pair.a, i % 2 ? Packet::RsThinRequest : Packet::RsDataRequest,
                                           Sector(8 * (i % 1024)), kLength));
        ASSERT_EQ(pair.a.error, "");
        ASSERT_EQ(pair.a.resync.may_receive(), i + 1 < kResyncUnansweredMax);
        if (i % 8 == 0)
            pair.a.step_io();
    }
    EXPECT_LE(pair.a.requests.in_use(), pair.a.requests.size() / 2);
    EXPECT_LE(pair.a.requests.bytes(), pair.a.requests.bytes_max() / 2);
    EXPECT_FALSE(pair.a.resync.may_receive());
    // One acknowledgement makes room for one.
    while (pair.a.step_io())
        pair.a.pump();
    give(pair.a, Stream::Meta, ack(pair.a, Packet::RsWriteAck, Sector(0), kLength));
    EXPECT_TRUE(pair.a.resync.may_receive());
    give(pair.a, Stream::Data, request(pair.a, Packet::RsDataRequest, Sector(0), kLength));
    EXPECT_EQ(pair.a.error, "");
    EXPECT_FALSE(pair.a.resync.may_receive());
    pair.a.link_lost();
    EXPECT_TRUE(pair.a.resync.may_receive());
    pair.finish_io();
    EXPECT_EQ(pair.a.requests.in_use(), 0u);
    EXPECT_EQ(pair.a.guest.locks(), 0u);
}

// Refused, one by one, while there is nothing to read from.
TEST(Resync, RequestsToNobodyAreRefused) {
    for (bool running : {true, false}) {
        Pair pair(1);
        pair.linked = false;
        if (running)
            pair.a.resync.begin(Direction::Source);
        pair.a.may_read = !running;
        give(pair.a, Stream::Data, request(pair.a, Packet::RsThinRequest, kAt, kLength));
        EXPECT_EQ(pair.a.error, "");
        const auto sent = pair.a.link.take_meta();
        ASSERT_EQ(sent.size(), 1u);
        EXPECT_EQ(sent[0].packet(), Packet::NegRsDReply);
        const auto refusal = wire::decode_block_ack(sent[0].frame(), pair.a.disk.size);
        ASSERT_TRUE(refusal.ok());
        EXPECT_EQ(refusal.value().sector, kAt);
        EXPECT_EQ(refusal.value().size, kLength);
        EXPECT_EQ(refusal.value().id, wire::kSyncerId);
        EXPECT_FALSE(pair.a.has_io());
    }
}

// A source that has nothing to say now: asked again, not at once, not failed.
TEST(Resync, WhatWasCancelledIsAskedForAgain) {
    OneAsked pair;
    EXPECT_EQ(pair.b.link.take_data().size(), 1u);
    give(pair.b, Stream::Meta, ack(pair.b, Packet::RsCancel, kAt, kLength));
    EXPECT_EQ(pair.b.error, "");
    EXPECT_EQ(pair.b.answered, 0u);
    EXPECT_EQ(pair.b.link.queued_data(), 0u);
    EXPECT_EQ(pair.b.guest.locks(), 0u);
    EXPECT_EQ(pair.b.resync.next_deadline_ms(), pair.now_ms + kResyncRetryMs);
    pair.now_ms += kResyncRetryMs;
    pair.b.pump();
    EXPECT_EQ(pair.b.link.take_data().size(), 1u);
    EXPECT_EQ(pair.b.resync.progress(pair.now_ms).failed_blocks, 0u);
}

}  // namespace
}  // namespace drbd::test
