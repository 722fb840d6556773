// SPDX-License-Identifier: GPL-2.0-or-later
// The bitmap's two packets: known payloads, every way to end a transfer,
// sender and receiver in step over many shapes, and what a peer can get wrong.
#include <gtest/gtest.h>

#include <random>

#include "core/wire/vli.h"
#include "packets.h"

namespace drbd::wire {
namespace {

constexpr unsigned kVersions[] = {86, 90, 95, 100, 101};

std::unique_ptr<Bitmap> bitmap_of(uint64_t bits) {
    auto bitmap = std::make_unique<Bitmap>();
    DRBD_ASSERT(bitmap->allocate(Sector(bits * kSectorsPerBlock)).ok());
    return bitmap;
}

void set(Bitmap& bitmap, uint64_t begin, uint64_t end) {
    bitmap.set_out_of_sync(Sector(begin * kSectorsPerBlock), Sector((end - begin) * kSectorsPerBlock));
}

std::vector<ByteVector> send(const Bitmap& bitmap, unsigned version, RunLengths run_lengths) {
    return send_bitmap(bitmap, {{version, {}}, 0}, run_lengths);
}

ByteVector payload(const ByteVector& packet, unsigned version) {
    return {packet.begin() + header_size(version), packet.end()};
}

// Receives packets; false if one is refused.
struct Received {
    std::string error;
    bool complete = false;
};

Received receive(Bitmap& bitmap, unsigned version, const std::vector<ByteVector>& packets) {
    BitmapReceiver receiver(bitmap);
    for (size_t i = 0; i < packets.size(); i++) {
        OnePacket packet({version, {}}, Stream::Data, packets[i]);
        if (!packet.ok())
            return {packet.error().text, false};
        auto transfer = receiver.on_packet(packet.frame());
        if (!transfer)
            return {transfer.error().text, false};
        if (transfer.value() == BitmapTransfer::Complete)
            return {i + 1 == packets.size() ? "" : "complete before the last packet", true};
    }
    return {};
}

void expect_equal(const Bitmap& a, const Bitmap& b) {
    ASSERT_EQ(a.bits(), b.bits());
    ASSERT_EQ(a.count(), b.count());
    for (uint64_t page = 0; page < a.pages(); page++)
        ASSERT_EQ(to_vector(a.page(page)), to_vector(b.page(page))) << "page " << page;
}

TEST(BitmapCodec, KnownPayloads) {
    struct Row { uint64_t bits; std::vector<std::pair<uint64_t, uint64_t>> runs; const char* payload; };
    const Row rows[] = {
        {128, {}, "22 df 13"},
        {262144, {}, "32 7f cf de 03"},
        {262144, {{0, 262144}}, "b2 7f cf de 03"},
        {262144, {{10, 16}}, "72 97 f5 f7 eb 3d 00"},
        {128, {{0, 4}, {64, 128}}, "92 fd 16 be 07"},
    };
    for (const Row& row : rows) {
        auto bitmap = bitmap_of(row.bits);
        for (const auto& [begin, end] : row.runs)
            set(*bitmap, begin, end);
        const auto packets = send(*bitmap, 101, RunLengths::On);
        ASSERT_EQ(packets.size(), 1u) << row.payload;
        EXPECT_EQ(payload(packets[0], 101), hex(row.payload));
        auto copy = bitmap_of(row.bits);
        EXPECT_TRUE(receive(*copy, 101, packets).complete);
        expect_equal(*copy, *bitmap);
    }
}

TEST(BitmapCodec, PlainChunksAndTheEnd) {
    for (unsigned version : kVersions) {
        const uint64_t chunk = version >= 100 ? 510 : 511;
        ASSERT_EQ(bitmap_chunk_words(version), chunk);
        for (uint64_t bits : {uint64_t{0}, uint64_t{1}, uint64_t{64}, uint64_t{65}, chunk * 64 - 1, chunk * 64,
                              chunk * 64 + 1, chunk * 192 + 63}) {
            auto bitmap = bitmap_of(bits);
            const auto packets = send(*bitmap, version, RunLengths::Off);
            const uint64_t words = divide_up(bits, 64);
            ASSERT_EQ(packets.size(), divide_up(words, chunk) + 1) << version << ' ' << bits;
            for (size_t i = 0; i < packets.size(); i++)
                EXPECT_EQ(payload(packets[i], version).size(),
                          8 * std::min(chunk, words - std::min<uint64_t>(words, i * chunk)));
        }
    }
}

// Shapes: sparse, dense, alternating, and both within one device, so that
// compressed and plain packets follow each other.
std::unique_ptr<Bitmap> shape(unsigned kind, uint64_t bits, std::mt19937_64& random) {
    auto bitmap = bitmap_of(bits);
    for (uint64_t at = 0; at < bits;) {
        uint64_t gap = 1, run = 1;
        switch (kind) {
        case 0: gap = 1 + random() % 3000; run = 1 + random() % 3; break;
        case 1: gap = 1 + random() % 2; run = 1 + random() % 2000; break;
        case 2: break;
        case 3:  // regions of 50,000 bits, alternating or empty
            if (at / 50000 % 2)
                gap = 50000;
            break;
        case 4: gap = bits; break;
        case 5: gap = 0; run = bits; break;
        default: gap = random() % 5; run = 1 + random() % 9; break;
        }
        const uint64_t begin = std::min(at + gap, bits), end = std::min(begin + run, bits);
        if (begin < end)
            set(*bitmap, begin, end);
        at = end;
    }
    return bitmap;
}

TEST(BitmapCodec, SenderAndReceiverKeepStep) {
    std::mt19937_64 random(1);
    unsigned mixed = 0;
    for (unsigned version : kVersions)
        for (unsigned kind = 0; kind < 7; kind++)
            for (uint64_t bits : {1u, 63u, 64u, 65u, 1000u, 32640u, 32641u, 200003u}) {
                SCOPED_TRACE("version " + std::to_string(version) + " shape " + std::to_string(kind) + " bits " +
                             std::to_string(bits));
                const auto bitmap = shape(kind, bits, random);
                for (RunLengths run_lengths : {RunLengths::Off, RunLengths::On}) {
                    const auto packets = send(*bitmap, version, run_lengths);
                    bool plain = false, compressed = false;
                    size_t bytes = 0;
                    for (const ByteVector& packet : packets) {
                        OnePacket one({version, {}}, Stream::Data, packet);
                        ASSERT_TRUE(one.ok());
                        ASSERT_LE(packet.size(), kPacketSizeMax);
                        (one.frame().packet() == Packet::Bitmap ? plain : compressed) = true;
                        bytes += packet.size();
                    }
                    EXPECT_FALSE(compressed && (run_lengths == RunLengths::Off || version < 90));
                    EXPECT_LE(bytes, divide_up(bits, 8) + packets.size() * 24 + 16);
                    mixed += plain && compressed;
                    auto copy = bitmap_of(bits);
                    const Received received = receive(*copy, version, packets);
                    ASSERT_EQ(received.error, "");
                    ASSERT_TRUE(received.complete);
                    expect_equal(*copy, *bitmap);
                }
            }
    EXPECT_GT(mixed, 3u) << "compressed and plain in one transfer";
}

// A packet looks at so many words and no more; the receiver need not know.
TEST(BitmapCodec, InSlices) {
    std::mt19937_64 random(3);
    for (uint64_t scan_words : {1, 2, 7, 100})
        for (unsigned kind = 0; kind < 7; kind++) {
            SCOPED_TRACE("shape " + std::to_string(kind) + " slices of " + std::to_string(scan_words));
            const auto bitmap = shape(kind, 64013, random);
            BitmapSender sender(*bitmap, {{101, {}}, 0}, RunLengths::On, scan_words);
            std::vector<ByteVector> packets;
            while (!sender.is_done()) {
                const uint64_t before = sender.position().bit;
                std::vector<uint8_t> room(kPacketSizeMax);
                packets.push_back(to_vector(sender.next(std::span<uint8_t, kPacketSizeMax>(room))));
                OnePacket packet({101, {}}, Stream::Data, packets.back());
                ASSERT_TRUE(packet.ok());
                if (packet.frame().packet() == Packet::CompressedBitmap)
                    EXPECT_LE(sender.position().bit - before, scan_words * 64);
            }
            auto copy = bitmap_of(64013);
            const Received received = receive(*copy, 101, packets);
            ASSERT_EQ(received.error, "");
            ASSERT_TRUE(received.complete);
            expect_equal(*copy, *bitmap);
            if (kind == 4 || kind == 5)
                EXPECT_EQ(packets.size(), divide_up(64013, scan_words * 64));
        }
}

TEST(BitmapCodec, MergesAndNeverClears) {
    std::mt19937_64 random(2);
    for (RunLengths run_lengths : {RunLengths::Off, RunLengths::On}) {
        const auto theirs = shape(6, 40001, random), ours = shape(6, 40001, random);
        std::vector<bool> expected;
        for (uint64_t bit = 0; bit < 40001; bit++)
            expected.push_back(theirs->is_set(bit) || ours->is_set(bit));
        ASSERT_TRUE(receive(*ours, 101, send(*theirs, 101, run_lengths)).complete);
        uint64_t count = 0;
        for (uint64_t bit = 0; bit < 40001; bit++) {
            ASSERT_EQ(ours->is_set(bit), expected[bit]) << bit;
            count += expected[bit];
        }
        EXPECT_EQ(ours->count(), count);
    }
}

// Bits and bytes of code that one compressed packet from `from` on would have,
// counted run by run.
std::pair<uint64_t, uint64_t> model_of_packet(const Bitmap& bitmap, uint64_t from) {
    const uint64_t room = (4096 - 16 - 1) * 8;
    uint64_t code = 0, at = from;
    while (at < bitmap.bits()) {
        uint64_t end = at;
        while (end < bitmap.bits() && bitmap.is_set(end) == bitmap.is_set(at))
            end++;
        if (code + vli_encode(end - at).length > room)
            break;
        code += vli_encode(end - at).length;
        at = end;
    }
    return {at - from, divide_up(code, 8)};
}

// Runs whose code is about as long as what it stands for, from a little more
// to a little less: the choice is made to the bit.
TEST(BitmapCodec, CompressesExactlyWhenItIsNoLonger) {
    unsigned compressed = 0, plain = 0, equal = 0;
    for (uint64_t bits = 1; bits < 400; bits++)
        for (uint64_t run : {1, 2, 3, 4, 5}) {
            auto bitmap = bitmap_of(bits);
            for (uint64_t at = 0; at < bits; at += run + 2)
                set(*bitmap, at, std::min(at + run, bits));
            const auto [covered, code] = model_of_packet(*bitmap, 0);
            uint8_t room[kPacketSizeMax];
            BitmapSender sender(*bitmap, {kNewest, 0}, RunLengths::On);
            OnePacket packet(kNewest, Stream::Data, sender.next(room));
            ASSERT_TRUE(packet.ok());
            const bool is_plain = packet.frame().packet() == Packet::Bitmap;
            ASSERT_EQ(is_plain, covered < 8 * code) << bits << " bits, runs of " << run;
            if (!is_plain)
                ASSERT_EQ(packet.frame().tail.size(), 1 + code);
            (is_plain ? plain : compressed)++;
            equal += covered == 8 * code;
        }
    EXPECT_GT(compressed, 100u);
    EXPECT_GT(plain, 100u);
    EXPECT_GT(equal, 0u);
}

// After an attempt that was not worth it the sender goes back to the beginning
// of the word, and the receiver takes the overlap.
TEST(BitmapCodec, FallsBackToTheWord) {
    auto bitmap = bitmap_of(100000);
    for (uint64_t bit = 50; bit < 100000; bit += 2)
        set(*bitmap, bit, bit + 1);
    BitmapSender sender(*bitmap, {kNewest, 0}, RunLengths::On);
    uint8_t room[kPacketSizeMax];
    bool compressed_before = false;
    while (!sender.is_done()) {
        const BitmapPosition before = sender.position();
        OnePacket packet(kNewest, Stream::Data, sender.next(room));
        ASSERT_TRUE(packet.ok());
        if (packet.frame().packet() == Packet::Bitmap && packet.frame().tail.size() != 0) {
            EXPECT_EQ(sender.position().word, before.bit / 64 + packet.frame().tail.size() / 8);
            EXPECT_LE(sender.position().word, divide_up(100000, 64));
        } else
            compressed_before = true;
        if (!sender.is_done())
            EXPECT_GT(sender.position().bit, before.bit);
    }
    EXPECT_TRUE(compressed_before);
}

TEST(BitmapCodec, BitsPastTheEndAreDropped) {
    auto bitmap = bitmap_of(70);
    const ByteVector all(16, 0xff);
    const auto received = receive(*bitmap, 101, {raw_packet(kNewest, 4, all), raw_packet(kNewest, 4, {})});
    EXPECT_TRUE(received.complete) << received.error;
    EXPECT_EQ(bitmap->count(), 70u);
}

TEST(BitmapCodec, WhatAPeerCanGetWrong) {
    struct Row { uint64_t bits; uint16_t command; const char* payload; const char* error; };
    const Row rows[] = {
        {128, 0x04, "", "must be 16"},
        {128, 0x04, "00000000 00000000", "must be 16"},
        {128, 0x04, "00000000 00000000 00000000 00000000 00000000 00000000", "must be 16"},
        {0, 0x04, "00000000 00000000", "must be 0"},
        {128, 0x24, "", "without a run"},
        {128, 0x24, "22", "without a run"},
        {128, 0x24, "23 df 13", "encoding 3 is unknown"},
        {128, 0x24, "20 df 13", "encoding 0 is unknown"},
        {128, 0x24, "32 df 13", "ends within a run"},
        {128, 0x24, "02 ff", "ends within a run"},
        {127, 0x24, "22 df 13", "a run of 128 at bit 0 of 127"},
        {127, 0x24, "a2 df 13", "a run of 128 at bit 0 of 127"},
        {0, 0x24, "62 00", "a run of 1 at bit 0 of 0"},
        {128, 0x24, "82 ff ff ff ff ff ff ff ff", "a run of 72057611219902768"},
        {128, 0x24, "02 df 13", "a run of 1 at bit 128"},
    };
    for (const Row& row : rows) {
        auto bitmap = bitmap_of(row.bits);
        const auto received = receive(*bitmap, 101, {raw_packet(kNewest, row.command, hex(row.payload))});
        EXPECT_NE(received.error.find(row.error), std::string::npos) << row.payload << ": " << received.error;
    }
    // A compressed packet where only the end of a plain transfer is left.
    auto bitmap = bitmap_of(64);
    const auto received = receive(*bitmap, 101, {raw_packet(kNewest, 4, ByteVector(8)), raw_packet(kNewest, 0x24, hex("62 00"))});
    EXPECT_NE(received.error.find("at bit 64 of 64"), std::string::npos) << received.error;
}

}  // namespace
}  // namespace drbd::wire
