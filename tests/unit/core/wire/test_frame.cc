// SPDX-License-Identifier: GPL-2.0-or-later
// The table of packets, and the reader of frames against every row of it:
// lengths at and beyond their limits, places, versions, pieces, bulk.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/wire/layouts.h"
#include "packets.h"

namespace drbd::wire {
namespace {

constexpr unsigned kVersions[] = {86, 87, 88, 89, 94, 95, 97, 99, 100, 101};

Stream stream_of(const PacketRow& row) {
    return row.place == Place::Meta ? Stream::Meta : Stream::Data;
}

bool is_agreed(const PacketRow& row) {
    return row.place == Place::Data || row.place == Place::Meta || row.place == Place::Either;
}

uint16_t number(const PacketRow& row) {
    return static_cast<uint16_t>(row.packet);
}

bool says(const Error& error, const std::string& text) {
    return std::string(error.text).find(text) != std::string::npos;
}

// The header of a packet whose payload nobody sends yet.
ByteVector header_of(const Agreement& agreement, const PacketRow& row, uint32_t length) {
    auto packet = raw_packet(agreement, number(row), ByteVector(length));
    packet.resize(header_size(agreement.version));
    return packet;
}

TEST(PacketTable, OneRowAPacketAndNothingElse) {
    std::set<std::string> names;
    unsigned found = 0;
    for (const PacketRow& row : packet_rows()) {
        EXPECT_EQ(find_row(number(row)), &row);
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_TRUE(std::string(row.name).starts_with("P_"));
        EXPECT_LE(row.version_min, row.version_max);
    }
    for (uint32_t any = 0; any <= 0xffff; any++)
        found += find_row(static_cast<uint16_t>(any)) != nullptr;
    EXPECT_EQ(found, packet_rows().size());
    EXPECT_EQ(found, 50u);
}

TEST(PacketTable, SizesAreThoseOfTheLayouts) {
    const std::pair<Packet, size_t> rows[] = {
        {Packet::Data, sizeof(RawData)}, {Packet::DataReply, sizeof(RawData)}, {Packet::RsDataReply, sizeof(RawData)},
        {Packet::Barrier, sizeof(RawBarrier)}, {Packet::DataRequest, sizeof(RawBlockRequest)},
        {Packet::RsDataRequest, sizeof(RawBlockRequest)}, {Packet::SyncParam, sizeof(RawSyncParam)},
        {Packet::Protocol, sizeof(RawProtocol)}, {Packet::Uuids, sizeof(RawUuids)},
        {Packet::Sizes, offsetof(RawSizes, physical_block_size)}, {Packet::State, sizeof(RawState)},
        {Packet::SyncUuid, sizeof(RawSyncUuid)}, {Packet::StateChangeRequest, sizeof(RawStateChangeRequest)},
        {Packet::BarrierAck, sizeof(RawBarrierAck)}, {Packet::StateChangeReply, sizeof(RawReply)},
        {Packet::OvRequest, sizeof(RawBlockRequest)}, {Packet::OvReply, sizeof(RawBlockRequest)},
        {Packet::CsumRsRequest, sizeof(RawBlockRequest)}, {Packet::SyncParam89, sizeof(RawSyncParam89)},
        {Packet::OutOfSync, sizeof(RawBlockRange)}, {Packet::ConnectionStateChangeRequest, sizeof(RawStateChangeRequest)},
        {Packet::ConnectionStateChangeReply, sizeof(RawReply)}, {Packet::ProtocolUpdate, sizeof(RawProtocol)},
        {Packet::Trim, sizeof(RawSizedData)}, {Packet::RsThinRequest, sizeof(RawBlockRequest)},
        {Packet::RsDeallocated, sizeof(RawBlockRange)}, {Packet::WriteSame, sizeof(RawSizedData)},
        {Packet::Zeroes, sizeof(RawSizedData)}, {Packet::ConnectionFeatures, sizeof(RawFeatures)}};
    for (const auto& [packet, size] : rows)
        EXPECT_EQ(row_of(packet).fixed, size) << name_of(packet);
    for (const PacketRow& row : packet_rows())
        if (is_block_ack(row.packet))
            EXPECT_EQ(row.fixed, sizeof(RawBlockAck)) << row.name;
}

// Every packet at every version: the smallest and the largest length are
// taken, one byte less and one more are not.
TEST(FrameReader, LengthsAtTheLimits) {
    unsigned checked = 0;
    for (unsigned version : kVersions)
        for (uint32_t features : {0u, 15u})
            for (uint32_t digest : {0u, 20u})
                for (const PacketRow& row : packet_rows()) {
                    const Agreement agreement{version, {features}};
                    if (!is_agreed(row) || !row.is_known_to(agreement))
                        continue;
                    const uint32_t before_bulk = row.tail == Tail::Bulk ? digest : 0;
                    const uint32_t min = fixed_size(row, agreement) + before_bulk;
                    const uint32_t max = payload_max(row, agreement, before_bulk);
                    const uint32_t limit = version >= 95 ? max : std::min(max, 0xffffu);  // of the header
                    SCOPED_TRACE(std::string(row.name) + " at " + std::to_string(version));
                    for (uint32_t length : {min, limit}) {
                        OnePacket packet(agreement, stream_of(row), raw_packet(agreement, number(row), ByteVector(length)), digest);
                        ASSERT_TRUE(packet.ok()) << length;
                        EXPECT_EQ(packet.frame().fixed.size(), fixed_size(row, agreement));
                        EXPECT_EQ(packet.frame().fixed.size() + packet.frame().tail.size() + packet.frame().bulk_length, length);
                    }
                    if (min > 0) {
                        OnePacket less(agreement, stream_of(row), raw_packet(agreement, number(row), ByteVector(min - 1)), digest);
                        ASSERT_FALSE(less.ok());
                        EXPECT_TRUE(says(less.error(), row.name) && says(less.error(), std::to_string(min - 1))) << less.error().text;
                        EXPECT_EQ(less.error().code, ErrorCode::Protocol);
                    }
                    if (limit == max) {
                        OnePacket more(agreement, stream_of(row), header_of(agreement, row, max + 1), digest);
                        ASSERT_FALSE(more.ok());
                        EXPECT_TRUE(says(more.error(), row.name)) << more.error().text;
                    }
                    checked++;
                }
    EXPECT_GT(checked, 1000u);
}

TEST(FrameReader, LengthsOfFourGigabytes) {
    ByteVector header = hex("8620ec20 0000 0000 ffffffff 00000000");
    for (const PacketRow& row : packet_rows()) {
        if (!is_agreed(row) || !row.is_known_to(kNewest))
            continue;
        header[6] = static_cast<uint8_t>(number(row) >> 8);
        header[7] = static_cast<uint8_t>(number(row));
        OnePacket packet(kNewest, stream_of(row), header, 64);
        EXPECT_FALSE(packet.ok() || packet.fed().outcome == FeedOutcome::BulkFollows) << row.name;
    }
}

// A packet in the wrong place, of another version, or of none: data drops the
// connection, meta gives the peer up.
TEST(FrameReader, OnlyWhatBelongsHere) {
    for (const Agreement agreement : {Agreement{86, {0}}, Agreement{95, {15}}, Agreement{101, {0}}, Agreement{101, {15}}})
        for (Stream stream : {Stream::Data, Stream::Meta})
            for (uint32_t command = 0; command <= 0xffff; command += command < 0x100 || command >= 0xfff0 ? 1 : 0xef0) {
                const PacketRow* row = find_row(static_cast<uint16_t>(command));
                const Place here = stream == Stream::Data ? Place::Data : Place::Meta;
                const bool belongs = row && (row->place == here || row->place == Place::Either) && row->is_known_to(agreement);
                const ByteVector payload(row ? fixed_size(*row, agreement) : 0);
                OnePacket packet(agreement, stream, raw_packet(agreement, static_cast<uint16_t>(command), payload));
                ASSERT_EQ(packet.ok(), belongs) << command << " at " << agreement.version;
                if (!belongs)
                    EXPECT_EQ(packet.error().code, stream == Stream::Data ? ErrorCode::Protocol : ErrorCode::Incompatible);
            }
}

TEST(FrameReader, TrimIsTakenWithoutItsFeature) {
    EXPECT_TRUE(OnePacket({101, {0}}, Stream::Data, raw_packet({101, {0}}, 0x31, ByteVector(28))).ok());
    EXPECT_FALSE(OnePacket({101, {0}}, Stream::Data, raw_packet({101, {0}}, 0x36, ByteVector(28))).ok());
}

TEST(FrameReader, Magics) {
    struct Row { unsigned version; const char* bytes; bool ok; };
    const Row rows[] = {
        {86, "83740267 0013 0000", true},  {99, "83740267 0013 0000", true},  {95, "835a 0013 00000000", true},
        {86, "835a 0013 00000000", true},  {100, "83740267 0013 0000", false}, {100, "835a 0013 00000000", false},
        {101, "8620ec20", true},           {99, "8620ec20", false},           {101, "8620ec21", false},
        {101, "83740267", false},          {86, "83740268", false},           {101, "00000000", false},
        {86, "47455420", false},           {101, "8620ec20 0000 0013 00000000 00000001", false},
    };
    for (const Row& row : rows) {
        FrameReader reader;
        reader.begin(Stream::Meta);
        reader.agree({row.version, {}});
        const auto fed = reader.feed(hex(row.bytes));
        EXPECT_EQ(fed.ok(), row.ok) << row.version << ' ' << row.bytes;
    }
}

TEST(FrameReader, BeforeTheFeatures) {
    // An accepted socket: one of two packets, and nothing else.
    for (const auto& [bytes, ok] : {std::pair{"83740267 fff2 0000", true}, {"83740267 fff1 0000", true},
                                    {"83740267 fffe 0048", false}, {"83740267 fff2 0001", false},
                                    {"83740267 0013 0000", false}, {"835a fff2 00000000", false}}) {
        FrameReader reader;
        reader.begin_accepted();
        EXPECT_EQ(reader.feed(hex(bytes)).ok(), ok) << bytes;
    }
    // Then the features, or we shall never agree.
    for (const auto& [bytes, ok] : {std::pair{"83740267 fffe 0048", true}, {"83740267 fffe 0047", false},
                                    {"83740267 fffe 0049", false}, {"83740267 000b 0018", false},
                                    {"83740267 fff2 0000", false}}) {
        FrameReader reader;
        reader.begin(Stream::Data);
        const auto fed = reader.feed(hex(bytes));
        ASSERT_EQ(fed.ok(), ok) << bytes;
        if (!ok)
            EXPECT_EQ(fed.error().code, ErrorCode::Incompatible);
    }
}

TEST(FrameReader, SaysHowMuchIsMissing) {
    FrameReader reader;
    reader.begin(Stream::Data);
    reader.agree(kNewest);
    EXPECT_EQ(reader.feed({}).value().needed, 16u);
    const ByteVector packet = raw_packet(kNewest, 0x00, ByteVector(24 + 4096));
    const auto part = [&](size_t from, size_t to) { return std::span(packet).subspan(from, to - from); };
    EXPECT_EQ(reader.feed(part(0, 5)).value().needed, 11u);
    EXPECT_EQ(reader.feed(part(5, 16)).value().needed, 24u + 4096);
    EXPECT_EQ(reader.feed(part(16, 20)).value().needed, 20u + 4096);
    const auto fed = reader.feed(part(20, packet.size()));
    EXPECT_EQ(fed.value().outcome, FeedOutcome::BulkFollows);
    EXPECT_EQ(fed.value().consumed, 20u);
    EXPECT_EQ(reader.bulk_remaining(), 4096u);
}

// Half from the piece at hand, half straight from the socket, then the next
// packet from the rest of the piece.
TEST(FrameReader, BulkGoesToTheCaller) {
    FrameReader reader;
    reader.begin(Stream::Data);
    reader.agree(kNewest);
    reader.set_integrity_digest_size(4);
    ByteVector payload(24 + 4 + 1024);
    for (size_t i = 0; i < payload.size(); i++)
        payload[i] = static_cast<uint8_t>(i * 7);
    ByteVector bytes = raw_packet(kNewest, 0x00, payload, 9);
    const size_t end = bytes.size();
    append(bytes, raw_packet(kNewest, 0x07, {}));
    const std::span<const uint8_t> first = std::span(bytes).first(16 + 28 + 500);

    const auto fed = reader.feed(first);
    ASSERT_EQ(fed.value().outcome, FeedOutcome::BulkFollows);
    EXPECT_EQ(reader.frame().volume, 9);
    EXPECT_EQ(to_vector(reader.frame().fixed), ByteVector(payload.begin(), payload.begin() + 24));
    EXPECT_EQ(to_vector(reader.frame().tail), ByteVector(payload.begin() + 24, payload.begin() + 28));
    EXPECT_EQ(reader.frame().bulk_length, 1024u);
    EXPECT_EQ(to_vector(reader.take_bulk(first.subspan(fed.value().consumed))),
              ByteVector(payload.begin() + 28, payload.begin() + 528));
    EXPECT_EQ(reader.bulk_remaining(), 524u);
    reader.on_bulk_received(24);
    const auto rest = std::span(bytes).subspan(end - 500);
    EXPECT_EQ(reader.take_bulk(rest).size(), 500u);
    const auto next = reader.feed(rest.subspan(500));
    ASSERT_TRUE(next.ok());
    EXPECT_EQ(next.value().outcome, FeedOutcome::Complete);
    EXPECT_EQ(reader.frame().packet(), Packet::UnplugRemote);
}

TEST(FrameReader, VolumesAndTheConnection) {
    OnePacket state(kNewest, Stream::Data, raw_packet(kNewest, 0x0e, ByteVector(4), 0xffff));
    ASSERT_TRUE(state.ok());
    EXPECT_EQ(state.frame().volume, 0xffff);
    OnePacket barrier(kNewest, Stream::Data, raw_packet(kNewest, 0x03, ByteVector(8), 5));
    ASSERT_TRUE(barrier.ok());
    EXPECT_EQ(barrier.frame().volume, 0);
}

TEST(Features, Agree) {
    struct Row { FeatureOffer peer; unsigned version; uint32_t features; };
    const Row rows[] = {{{86, 101, {15}}, 101, 15}, {{86, 86, {0}}, 86, 0}, {{86, 95, {0xf}}, 95, 15},
                        {{101, 101, {5}}, 101, 5},  {{86, 121, {0xffffffff}}, 101, 15}, {{80, 86, {1}}, 86, 1},
                        {{102, 117, {15}}, 0, 0},   {{80, 85, {0}}, 0, 0}};
    for (const Row& row : rows) {
        const auto agreed = agree({}, row.peer);
        ASSERT_EQ(agreed.ok(), row.version != 0) << row.peer.version_max;
        if (agreed)
            EXPECT_EQ(agreed.value(), (Agreement{row.version, {row.features}}));
        else
            EXPECT_EQ(agreed.error().code, ErrorCode::Incompatible);
    }
    EXPECT_FALSE(agree({100, 101, {15}}, {86, 95, {0}}).ok());
}

TEST(Features, LimitsByVersion) {
    struct Row { unsigned version; uint32_t offered; uint64_t bulk, bio; };
    const Row rows[] = {{86, 4096, 32768, 4096}, {86, 131072, 32768, 32768}, {90, 5000, 32768, 4096}, {93, 8191 + 512, 32768, 8192}, {93, 0, 32768, 4096}, {94, 4096, 32768, 32768},
                        {95, 4096, 131072, 131072}, {99, 1 << 20, 131072, 131072}, {100, 4096, 1 << 20, 1 << 20}};
    for (const Row& row : rows) {
        EXPECT_EQ(bulk_max(row.version).value, row.bulk) << row.version;
        EXPECT_EQ(peer_bio_max(row.version, row.offered).value, row.bio) << row.version;
    }
    EXPECT_EQ(zeroes_max({0}).value, 4u << 20);
    EXPECT_EQ(zeroes_max({4}).value, 128u << 20);
    EXPECT_TRUE(has_verify_stop_sector(97) && !has_verify_stop_sector(100) && has_verify_stop_sector(101));
    EXPECT_FALSE(has_verify_stop_sector(96));
}

}  // namespace
}  // namespace drbd::wire
