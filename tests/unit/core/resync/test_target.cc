// SPDX-License-Identifier: GPL-2.0-or-later
// The target, step by step: when a block is believed, locked, acknowledged.
#include <gtest/gtest.h>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

using wire::Packet;
using wire::Stream;

// Target b alone; the test is its peer.
struct Target : Pair {
    Target() : Pair(1, 2048) { linked = false; }

    void begin(unsigned blocks) {
        for (unsigned i = 0; i < blocks; i++)
            b.set_out_of_sync(sector(i), Bytes(kBlockSize));
        b.resync.begin(Direction::Target);
        b.pump();
        EXPECT_EQ(b.link.take_data().size(), blocks);
    }
    static Sector sector(unsigned i) { return Sector(uint64_t{i} * 2 * kSectorsPerBlock); }
    void reply(unsigned i) {
        give(b.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
            return wire::encode_data_reply(room, to, Packet::RsDataReply,
                                           {sector(i), Bytes(kBlockSize), wire::kSyncerId, {}});
        }, 0, std::vector<uint8_t>(kBlockSize, 0x55)));
    }
    void deallocated(unsigned i) {
        give(b.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
            return wire::encode_block_range(room, to, Packet::RsDeallocated, {sector(i), Bytes(kBlockSize)});
        }));
    }
    void peer_writes(unsigned i, uint8_t fill) {
        give(b.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
            wire::DataFlags flags;
            flags.set(wire::DataFlag::SendWriteAck);
            return wire::encode_write(room, to, Packet::Data, {sector(i), Bytes(kBlockSize), {7}, 1, flags, {}});
        }, 0, std::vector<uint8_t>(kBlockSize, fill)));
    }
    void give(const SentPacket& packet) {
        ASSERT_TRUE(b.may_deliver(packet));
        b.deliver(Stream::Data, packet);
        EXPECT_EQ(b.error, "");
        b.pump();
    }
    // What is at the image now ends; what follows from it does not yet.
    void end_one_io() {
        for (int i = 0; i < 3; i++)
            ASSERT_TRUE(b.step_io());
        b.pump();
    }
    void end_all_io() {
        while (b.has_io()) {
            b.step_io();
            b.pump();
        }
    }
    std::vector<Packet> acknowledgements() {
        std::vector<Packet> packets;
        for (const SentPacket& packet : b.link.take_meta())
            packets.push_back(packet.packet());
        return packets;
    }
    uint8_t content(unsigned i) const { return b.image.current[to_bytes(sector(i)).value]; }
    void pass(uint64_t ms) {
        now_ms += ms;
        b.pump();
    }
};

using Acks = std::vector<Packet>;

TEST(ResyncTarget, AFlushBeforeItIsBelieved) {
    Target t;
    t.begin(1);
    EXPECT_EQ(t.b.guest.locks(), 1u);
    t.reply(0);
    t.end_one_io();
    EXPECT_EQ(t.content(0), 0x55);
    EXPECT_EQ(t.b.disk.bitmap.count(), 1u);
    EXPECT_EQ(t.acknowledgements(), Acks{});
    EXPECT_EQ(t.b.guest.locks(), 1u);
    t.end_one_io();  // the flush: nothing else could go on
    EXPECT_EQ(t.b.flushes, 1u);
    EXPECT_EQ(t.b.disk.bitmap.count(), 0u);
    EXPECT_EQ(t.acknowledgements(), Acks{Packet::RsWriteAck});
    EXPECT_EQ(t.b.guest.locks(), 0u);
    EXPECT_EQ(t.b.answered, 1u);
    t.pass(10'000);
    EXPECT_EQ(t.b.answered, 1u);
}

// A flush covers what was written before it began, not what came since.
TEST(ResyncTarget, AFlushCoversWhatWasWrittenBefore) {
    Target t;
    t.begin(2);
    t.reply(0);
    t.end_one_io();
    EXPECT_FALSE(t.b.has_io());  // another answer is awaited
    EXPECT_EQ(t.b.resync.next_deadline_ms(), t.now_ms + kResyncFlushMs);
    t.pass(kResyncFlushMs);
    EXPECT_TRUE(t.b.step_io_of(DRBD_PEER_FLUSH));  // begun
    t.reply(1);
    for (int i = 0; i < 3; i++)
        EXPECT_TRUE(t.b.step_io_of(DRBD_PEER_WRITE));
    t.b.pump();
    EXPECT_EQ(t.content(1), 0x55);
    EXPECT_EQ(t.acknowledgements(), Acks{});
    for (int i = 0; i < 2; i++)
        EXPECT_TRUE(t.b.step_io_of(DRBD_PEER_FLUSH));
    EXPECT_EQ(t.b.disk.bitmap.count(), 1u);
    EXPECT_EQ(t.b.disk.bitmap.next_set(0), 2u);
    EXPECT_EQ(t.acknowledgements(), Acks{Packet::RsWriteAck});
    t.b.pump();
    t.end_all_io();
    EXPECT_EQ(t.b.flushes, 2u);
    EXPECT_EQ(t.b.disk.bitmap.count(), 0u);
    EXPECT_EQ(t.acknowledgements(), Acks{Packet::RsWriteAck});
}

// The peer's guest wrote the block behind the answer, and this disk failed it.
TEST(ResyncTarget, ABlockThatWasMarkedIsNotCleared) {
    Target t;
    t.begin(1);
    t.reply(0);
    t.end_one_io();
    t.b.set_out_of_sync(t.sector(0), Bytes(512));
    t.end_one_io();
    EXPECT_EQ(t.b.flushes, 1u);
    EXPECT_EQ(t.b.disk.bitmap.count(), 1u);
    EXPECT_EQ(t.acknowledgements(), Acks{Packet::NegAck});
    EXPECT_EQ(t.b.answered, 0u);
    t.pass(kResyncRetryMs);
    EXPECT_EQ(t.b.link.take_data().size(), 1u);
    t.reply(0);
    t.end_all_io();
    EXPECT_EQ(t.b.disk.bitmap.count(), 0u);
    EXPECT_EQ(t.b.answered, 1u);
    EXPECT_EQ(t.b.answered_failed, 0u);
}

TEST(ResyncTarget, InArrivalOrderWithWritesOfThePeer) {
    for (bool write_first : {true, false}) {
        Target t;
        t.begin(1);
        if (write_first)
            t.peer_writes(0, 0x77);
        t.reply(0);
        if (!write_first)
            t.peer_writes(0, 0x77);
        t.end_all_io();
        EXPECT_EQ(t.content(0), write_first ? 0x55 : 0x77);
    }
}

// "All zeroes" is older than the write behind it.
TEST(ResyncTarget, ZeroesDoNotOverwriteWhatIsNewer) {
    for (unsigned seed = 0; seed < 20; seed++) {
        Target t;
        t.random.seed(seed);
        std::fill(t.b.image.current.begin(), t.b.image.current.end(), 1);
        t.begin(1);
        t.deallocated(0);
        t.peer_writes(0, 0x77);
        t.end_all_io();
        EXPECT_EQ(t.content(0), 0x77);
        EXPECT_EQ(t.b.zeroes, 1u);
    }
}

TEST(ResyncTarget, ZeroesAreNotWrittenTwice) {
    Target t;
    t.begin(1);
    t.deallocated(0);
    t.end_all_io();
    EXPECT_EQ(t.b.statuses, 1u);
    EXPECT_EQ(t.b.zeroes, 0u);
    EXPECT_EQ(t.b.flushes, 1u);  // it may not be stable
    EXPECT_EQ(t.b.disk.bitmap.count(), 0u);
    EXPECT_EQ(t.acknowledgements(), Acks{Packet::RsWriteAck});
}

// While it waits for a write of the guest, the guest's write does the work.
TEST(ResyncTarget, WhatCameIntoSyncMeanwhileIsNotAskedFor) {
    Target t;
    t.b.set_out_of_sync(t.sector(0), Bytes(kBlockSize));
    t.b.guest.write(0, 8, 0x66);
    t.b.resync.begin(Direction::Target);
    t.b.pump();
    auto sent = t.b.link.take_data();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].packet(), Packet::Data);
    t.end_all_io();
    t.b.deliver(Stream::Meta, t.b.link.from_peer(Stream::Meta, [&](wire::Room room, const wire::To& to) {
        return wire::encode_block_ack(room, to, Packet::RsWriteAck, {Sector(0), Bytes(kBlockSize), {1}, 1});
    }));
    EXPECT_EQ(t.b.error, "");
    t.b.pump();
    EXPECT_EQ(t.b.link.take_data().size(), 0u);
    EXPECT_EQ(t.b.answered, 1u);
    EXPECT_EQ(t.b.guest.locks(), 0u);
}

// A slow image of ours: the data stream is not read on, nothing is lost.
TEST(ResyncTarget, AFullPoolStallsTheStream) {
    Target t;
    t.begin(3);
    t.b.requests.set_bytes_max(2 * kBlockSize);
    t.b.deliver(Stream::Data, [&] {
        auto packet = t.b.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
            return wire::encode_data_reply(room, to, Packet::RsDataReply,
                                           {t.sector(0), Bytes(kBlockSize), wire::kSyncerId, {}});
        }, 0, std::vector<uint8_t>(kBlockSize, 0x55));
        EXPECT_EQ(t.b.resync.on_reply_announced(packet.frame()).value(), BulkVerdict::Take);
        return packet;
    }());
    PeerRequest* other = t.b.requests.take(0, PeerWork::Write, kBlockSize);
    ASSERT_NE(other, nullptr);
    const auto next = t.b.link.from_peer(Stream::Data, [&](wire::Room room, const wire::To& to) {
        return wire::encode_data_reply(room, to, Packet::RsDataReply,
                                       {t.sector(1), Bytes(kBlockSize), wire::kSyncerId, {}});
    }, 0, std::vector<uint8_t>(kBlockSize, 0x55));
    EXPECT_EQ(t.b.resync.on_reply_announced(next.frame()).value(), BulkVerdict::Stall);
    t.b.requests.finish(*other);
    EXPECT_EQ(t.b.resync.on_reply_announced(next.frame()).value(), BulkVerdict::Take);
    t.b.link_lost();  // it was set aside, and never comes
    t.finish_io();
    EXPECT_EQ(t.b.requests.in_use(), 0u);
    EXPECT_EQ(t.b.disk.bitmap.count(), 3u);
}

}  // namespace
}  // namespace drbd::test
