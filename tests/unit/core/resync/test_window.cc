// SPDX-License-Identifier: GPL-2.0-or-later
// What a target asks for: sizes by version, alignment, how far ahead, pauses;
// how much of a large bitmap one event looks at; when it flushes.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

using wire::Packet;

TEST(Resync, SizesOfEveryVersion) {
    for (unsigned version = wire::kVersionMin; version <= wire::kVersionMax; version++) {
        SCOPED_TRACE("version " + std::to_string(version));
        Pair pair(version, 20480, {version, {version % 2 ? wire::kFeaturesKnown : 0}});
        pair.make_different(3);
        pair.b.set_out_of_sync(Sector(0), Bytes(10 << 20));  // so that the window opens
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.a.error, "");
        EXPECT_EQ(pair.b.error, "");
        EXPECT_EQ(pair.differences(), 0u);
        EXPECT_EQ(pair.b.disk.bitmap.count(), 0u);
        uint64_t largest = 0;
        for (const auto& [packet, size] : pair.a.received_sizes) {
            EXPECT_EQ(packet, version % 2 ? Packet::RsThinRequest : Packet::RsDataRequest);
            largest = std::max(largest, size);
        }
        EXPECT_EQ(largest, wire::bulk_max(version).value);
        const bool compressed = std::count(pair.a.received.begin(), pair.a.received.end(), Packet::CompressedBitmap);
        EXPECT_EQ(compressed, version >= 90);
    }
}

// Each begins where its size may begin, none crosses what it must not, and all
// that is marked is asked for, no more.
TEST(Resync, RequestsAreAligned) {
    for (uint64_t seed = 0; seed < 10; seed++) {
        Pair pair(seed, 40960 - 3);
        pair.linked = false;
        for (unsigned i = 0; i < 30; i++)
            pair.b.set_out_of_sync(Sector(pair.random() % 40000), Bytes(512 * (1 + pair.random() % 900)));
        pair.b.set_out_of_sync(Sector(40900), Bytes(512 * 57));
        const uint64_t marked = pair.b.disk.bitmap.count();
        pair.b.resync.begin(Direction::Target);
        pair.b.pump();
        std::set<uint64_t> asked;
        bool again = true;
        while (again) {
            const auto sent = pair.b.link.take_data();
            again = !sent.empty();
            for (const SentPacket& packet : sent) {
                const auto request = wire::decode_block_request(packet.frame(), pair.b.disk.size, 0);
                ASSERT_TRUE(request.ok());
                const uint64_t start = to_bytes(request.value().sector).value, size = request.value().size.value;
                EXPECT_EQ(start % kBlockSize, 0u);
                EXPECT_LE(size, 1u << 20);
                EXPECT_EQ(start / (16 << 20), (start + size - 1) / (16 << 20));
                if (start != 0)
                    EXPECT_LE(round_up(size, kBlockSize), start & (~start + 1));
                for (uint64_t at = start; at < start + size; at += kBlockSize)
                    EXPECT_TRUE(asked.insert(at / kBlockSize).second);
                const auto refused = pair.b.link.from_peer(wire::Stream::Meta, [&](wire::Room room, const wire::To& to) {
                    return wire::encode_block_ack(room, to, Packet::NegRsDReply,
                                                  {request.value().sector, request.value().size, wire::kSyncerId, 1});
                });
                pair.b.deliver(wire::Stream::Meta, refused);
            }
            pair.b.pump();
        }
        EXPECT_EQ(asked.size(), marked);
        EXPECT_EQ(pair.b.answered, 1u);
        EXPECT_EQ(pair.b.answered_failed, marked);
    }
}

TEST(Resync, TheWindowIsBounded) {
    Pair pair(1, 262144, 0, {101, {}});
    pair.linked = false;
    pair.b.set_out_of_sync(Sector(0), Bytes(128 << 20));
    pair.b.resync.begin(Direction::Target);
    pair.b.pump();
    EXPECT_EQ(pair.b.link.queued_data(), 4u) << "of a quarter of the first window each";

    Pair sparse(1, 262144, 0, {101, {}});
    sparse.linked = false;
    for (unsigned i = 0; i < 1000; i++)
        sparse.b.set_out_of_sync(Sector(i * 16), Bytes(4096));
    sparse.b.resync.begin(Direction::Target);
    sparse.b.pump();
    EXPECT_EQ(sparse.b.link.queued_data(), kResyncRequestsMax);
}

TEST(Resync, APauseAsksForNothingNew) {
    for (uint64_t seed = 0; seed < 4; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Pair pair(seed, 131072, {101, {}});
        pair.make_different(10);
        pair.b.set_out_of_sync(Sector(0), Bytes(64 << 20));
        pair.exchange_bitmaps();
        ASSERT_TRUE(pair.run([&] { return pair.a.received_sizes.size() > 10; }));
        pair.b.resync.set_paused(true);
        ASSERT_TRUE(pair.run([&] { return pair.at_rest() && pair.b.guest.locks() == 0; }));
        const size_t asked = pair.a.received_sizes.size();
        EXPECT_FALSE(pair.run([&] { return pair.a.received_sizes.size() != asked || pair.b.answered != 0; }, 1000));
        ASSERT_GT(pair.b.disk.bitmap.count(), 0u);
        EXPECT_EQ(pair.b.disk.bitmap.count(), pair.a.disk.bitmap.count());
        pair.b.resync.set_paused(false);
        pair.b.pump();
        ASSERT_TRUE(pair.run_to_the_end());
        EXPECT_EQ(pair.differences(), 0u);
        EXPECT_EQ(pair.b.answered_failed, 0u);
    }
}

// Not one flush for each range, and each block covered by one.
TEST(Resync, FlushesAreBatched) {
    Pair pair(3, 131072, {101, {}});
    pair.make_different(0);
    pair.b.set_out_of_sync(Sector(0), Bytes(64 << 20));
    pair.exchange_bitmaps();
    ASSERT_TRUE(pair.run_to_the_end());
    EXPECT_GE(pair.b.resync_writes, 64u);
    EXPECT_LE(pair.b.resync_writes, 80u) << "of 1 MiB but for the first";
    EXPECT_GE(pair.b.flushes, 4u);
    EXPECT_LE(pair.b.flushes, 20u);
}

// 16 TiB without an image: only bits are looked at.
constexpr uint64_t kLargest = 16ull << 31;

TEST(Resync, ALargeBitmapIsSentInSlices) {
    Pair pair(1, kLargest, 0, {101, {wire::kFeaturesKnown}});
    pair.a.set_out_of_sync(Sector(kLargest - 8), Bytes(4096));
    pair.a.resync.begin_bitmap(Direction::Source, wire::RunLengths::On);
    pair.b.resync.begin_bitmap(Direction::Target, wire::RunLengths::On);
    const uint64_t slices = divide_up(kLargest / 8 / 64, kBitmapWordsPerEvent);
    pair.a.pump();
    EXPECT_EQ(pair.to_b.data.size(), 1u);
    for (unsigned i = 1; i < slices; i++) {
        EXPECT_EQ(pair.a.resync.next_deadline_ms(), pair.now_ms);
        pair.a.pump();
    }
    EXPECT_EQ(pair.a.resync.next_deadline_ms(), UINT64_MAX);
    ASSERT_TRUE(pair.run([&] { return pair.b.resync.is_running(); }));
    EXPECT_EQ(pair.b.disk.bitmap.count(), 1u);
    EXPECT_EQ(pair.a.bitmaps_exchanged + pair.b.bitmaps_exchanged, 2u);
    // The target looks for its one block, a slice at a time.
    for (unsigned i = 1; i < slices; i++) {
        ASSERT_EQ(pair.b.link.queued_data() + pair.to_a.data.size(), 0u);
        EXPECT_EQ(pair.b.resync.next_deadline_ms(), pair.now_ms);
        pair.b.pump();
    }
    EXPECT_EQ(pair.to_a.data.size(), 1u);
}

// Plain packets: at most so many wait to be sent, however slow the peer is.
TEST(Resync, ABitmapWaitsForThePeerToRead) {
    Pair pair(5, 1 << 24, 0, {101, {}});
    for (uint64_t sector = 0; sector < 1 << 24; sector += 16)
        pair.a.set_out_of_sync(Sector(sector), Bytes(4096));
    const uint64_t marked = pair.a.disk.bitmap.count();
    pair.a.hold_packets = true;
    pair.exchange_bitmaps(wire::RunLengths::Off);
    for (int i = 0; i < 10; i++)
        pair.a.pump();
    EXPECT_EQ(pair.a.link.queued_data(), kBitmapPacketsMax);
    EXPECT_EQ(pair.a.resync.next_deadline_ms(), UINT64_MAX);
    pair.a.hold_packets = false;
    pair.a.pump();
    ASSERT_TRUE(pair.run([&] {
        pair.a.pump();
        pair.b.pump();
        return pair.b.resync.is_running();
    }));
    EXPECT_EQ(pair.b.disk.bitmap.count(), marked);
    pair.cut();
    EXPECT_EQ(pair.b.guest.locks(), 0u);
}

// The target's disk was attached again: it answers the bitmap of the attach before,
// and the answer comes while the source still sends, or when it has sent, the second.
TEST(Resync, ABitmapAnswersTheOneBefore) {
    for (const bool still_sends : {true, false}) {
        SCOPED_TRACE(still_sends);
        Pair pair(7, 1 << 24, 0, {101, {}});
        pair.b.set_out_of_sync(Sector(1024), Bytes(4096));
        pair.a.set_out_of_sync(Sector(4096), Bytes(4096));
        pair.linked = false;
        pair.a.resync.begin_bitmap(Direction::Source, wire::RunLengths::Off);
        auto send_all = [&] {
            for (int i = 0; i < 100; i++) {
                pair.a.pump();
                for (auto& packet : pair.a.link.take_data())
                    pair.to_b.data.push_back(std::move(packet));
            }
        };
        send_all();
        const size_t packets = pair.to_b.data.size();
        ASSERT_GT(packets, kBitmapPacketsMax);
        pair.a.resync.abort();  // it hears that the disk is gone
        pair.a.set_out_of_sync(Sector(1 << 23), Bytes(4096));
        pair.a.resync.begin_bitmap(Direction::Source, wire::RunLengths::Off);
        if (!still_sends) {
            send_all();
            ASSERT_EQ(pair.to_b.data.size(), 2 * packets);
        }
        pair.a.hold_packets = still_sends;
        pair.linked = true;
        pair.b.resync.begin_bitmap(Direction::Target, wire::RunLengths::Off);
        ASSERT_TRUE(pair.run([&] {
            pair.a.pump();
            pair.b.pump();
            return pair.b.bitmaps_exchanged == 1 && pair.to_a.data.empty();
        }));
        EXPECT_EQ(pair.a.bitmaps_exchanged, still_sends ? 0u : 1u);
        pair.a.hold_packets = false;
        ASSERT_TRUE(pair.run([&] {
            pair.a.pump();
            pair.b.pump();
            return pair.b.resync.is_running();
        }));
        EXPECT_EQ(pair.a.error + pair.b.error, "");
        EXPECT_EQ(pair.a.bitmaps_exchanged + pair.b.bitmaps_exchanged, 2u);
        EXPECT_EQ(pair.a.disk.bitmap.count(), 3u);
        EXPECT_EQ(pair.b.disk.bitmap.count(), 3u);
        pair.cut();
    }
}

}  // namespace
}  // namespace drbd::test
