// SPDX-License-Identifier: GPL-2.0-or-later
// What the decoders refuse, and what they take although it looks odd.  One
// row a rule: a valid packet, the bytes that change, and what the error says.
#include <gtest/gtest.h>

#include <string>

#include "packets.h"

namespace drbd::wire {
namespace {

constexpr Sector kCapacity{1000};
constexpr Agreement kOld{86, {}};

constexpr const char* kOk = nullptr;

struct Row {
    const char* what;
    Packet packet;
    Agreement agreement;
    size_t at;           // in the payload
    const char* bytes;   // replace what is there
    const char* error;   // part of its text, kOk: none
};

// A payload that decodes.
ByteVector valid_payload(Packet packet, const Agreement& agreement) {
    switch (packet) {
    case Packet::Data: case Packet::DataReply: case Packet::RsDataReply: {
        ByteVector bytes = hex("0000000000000008 a0f2b80f8088ffff 00000001 00000100");
        bytes.resize(24 + 4096);
        return bytes;
    }
    case Packet::Trim: return hex("0000000000000008 a0f2b80f8088ffff 00000001 00000140 00010000");
    case Packet::Zeroes: return hex("0000000000000008 a0f2b80f8088ffff 00000001 00000540 00010000");
    case Packet::WriteSame: {
        ByteVector bytes = hex("0000000000000008 a0f2b80f8088ffff 00000001 00000300 00010000");
        bytes.resize(28 + 512);
        return bytes;
    }
    case Packet::DataRequest: case Packet::RsDataRequest: case Packet::OvRequest: case Packet::RsThinRequest:
        return hex("0000000000000008 ffffffffffffffff 00001000 00000000");
    case Packet::CsumRsRequest: case Packet::OvReply: {
        ByteVector bytes = hex("0000000000000008 ffffffffffffffff 00001000 00000000");
        bytes.resize(24 + 20);
        return bytes;
    }
    case Packet::OutOfSync: case Packet::RsDeallocated: return hex("0000000000000008 00001000 00000000");
    case Packet::OvResult: return hex("0000000000000008 0000000000001267 00001000 00000001");
    case Packet::BarrierAck: return hex("01000000 00000001");
    case Packet::ConnectionFeatures: {
        ByteVector bytes = hex("00000056 0000000f 00000065");
        bytes.resize(72);
        return bytes;
    }
    case Packet::Protocol: {
        ByteVector bytes = hex("00000003 00000000 00000000 00000000 00000000 00000000");
        if (agreement.version >= 87)
            append(bytes, hex("736861310000"));
        return bytes;
    }
    case Packet::SyncParam: return agreement.version < 88 ? hex("000000fa") : hex("000000fa 736861310000");
    case Packet::SyncParam89: return ByteVector(fixed_size(row_of(packet), agreement));
    case Packet::Sizes: return ByteVector(fixed_size(row_of(packet), agreement));
    case Packet::Uuids: return ByteVector(48);
    case Packet::State: return hex("000110aa");
    case Packet::StateChangeRequest: return hex("00000003 00000001");
    case Packet::AuthChallenge: return ByteVector(64);
    default:
        if (is_block_ack(packet))
            return hex("0000000000000008 a0f2b80f8088ffff 00001000 00000001");
        DRBD_ASSERT(false);
        return {};
    }
}

constexpr const char* kHuge = "ffffffffffffffff";

const Row kRows[] = {
    {"valid", Packet::ConnectionFeatures, {}, 0, "", kOk},
    {"max 0 is min", Packet::ConnectionFeatures, {}, 8, "00000000", kOk},
    {"no version", Packet::ConnectionFeatures, {}, 0, "00000000", "protocols 0 to 101"},
    {"min above max", Packet::ConnectionFeatures, {}, 0, "00000066", "protocols 102 to 101"},
    {"node ids of DRBD 9", Packet::ConnectionFeatures, {}, 12, "0000000100000002", kOk},

    {"valid", Packet::Protocol, kNewest, 0, "", kOk},
    {"protocol 0", Packet::Protocol, kNewest, 0, "00000000", "P_PROTOCOL: protocol is 0"},
    {"protocol D", Packet::Protocol, kNewest, 0, "00000004", "P_PROTOCOL: protocol is 4"},
    {"after-sb-0pri", Packet::Protocol, kNewest, 4, "0000000b", "after-sb-0pri is 11"},
    {"after-sb-1pri", Packet::Protocol, kNewest, 8, "0000000b", "after-sb-1pri is 11"},
    {"after-sb-2pri", Packet::Protocol, kNewest, 12, "ffffffff", "after-sb-2pri is 4294967295"},
    {"unknown flags", Packet::Protocol, kNewest, 16, "fffffffc", kOk},
    {"two-primaries", Packet::Protocol, kNewest, 20, "00000002", "two-primaries is 2"},
    {"name without end", Packet::Protocol, kNewest, 24, "736861317878", "data-integrity-alg has no end in 6 bytes"},
    {"name with a control character", Packet::Protocol, kNewest, 24, "731b", "data-integrity-alg has character 0x1b"},
    {"name with a blank", Packet::Protocol, kNewest, 24, "2000", "character 0x20"},
    {"86 has no name", Packet::Protocol, kOld, 0, "", kOk},

    {"86", Packet::SyncParam, kOld, 0, "", kOk},
    {"88", Packet::SyncParam, {88, {}}, 0, "", kOk},
    {"88, no end", Packet::SyncParam, {88, {}}, 4, "616161616161", "verify-alg has no end"},
    {"89", Packet::SyncParam89, {89, {}}, 0, "", kOk},
    {"verify-alg without end", Packet::SyncParam89, kNewest, 4,
     "61616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161",
     "P_SYNC_PARAM89: verify-alg has no end in 64 bytes"},
    {"csums-alg", Packet::SyncParam89, kNewest, 68, "7f", "csums-alg has character 0x7f"},

    {"valid", Packet::Sizes, kNewest, 0, "", kOk},
    {"86 with the long form", Packet::Sizes, {86, {4}}, 0, "", kOk},
    {"disk size", Packet::Sizes, kNewest, 0, "0008000000000001", "disk size is 2251799813685249"},
    {"1 EiB", Packet::Sizes, kNewest, 0, "0008000000000000", kOk},
    {"user size", Packet::Sizes, kNewest, 8, kHuge, "user size is"},
    {"current size", Packet::Sizes, kNewest, 16, kHuge, "current size is"},
    {"logical block 520", Packet::Sizes, kNewest, 36, "00000208", "logical block size is 520"},
    {"logical block 256", Packet::Sizes, kNewest, 36, "00000100", "logical block size is 256"},
    {"logical block 4096", Packet::Sizes, kNewest, 36, "00001000", kOk},
    {"physical block", Packet::Sizes, kNewest, 32, "80000000", "physical block size is 2147483648"},
    {"misaligned queue", Packet::Sizes, kNewest, 40, "ffffffff", kOk},

    {"bits", Packet::Uuids, kNewest, 32, "0001000000000001", "number of set bits is 281474976710657"},
    {"unknown flags", Packet::Uuids, kNewest, 40, kHuge, kOk},

    {"valid", Packet::State, kNewest, 0, "", kOk},
    {"own role", Packet::State, kNewest, 0, "000110a8", "P_STATE: role (Unknown)"},
    {"role 3", Packet::State, kNewest, 0, "000110ab", "role is 3"},
    {"own disk", Packet::State, kNewest, 0, "00010caa", "P_STATE: disk (DUnknown) is 6"},
    {"disk 15", Packet::State, kNewest, 0, "00011eaa", "disk is 15"},
    {"connection 31", Packet::State, kNewest, 0, "000111fa", "connection is 31"},
    {"part of a mask", Packet::StateChangeRequest, kNewest, 0, "0000000200000000", "P_STATE_CHG_REQ: state change: mask"},

    {"valid", Packet::Data, kNewest, 0, "", kOk},
    {"86", Packet::Data, kOld, 0, "", kOk},
    {"last sector", Packet::Data, kNewest, 0, "00000000000003e0", kOk},
    {"past the end", Packet::Data, kNewest, 0, "00000000000003e1", "P_DATA: range exceeds the volume: sector 993"},
    {"sector wraps", Packet::Data, kNewest, 0, kHuge, "range exceeds the volume"},
    {"handle of resync", Packet::Data, kNewest, 8, kHuge, "P_DATA: block_id is the one of resync"},
    {"reply past the end", Packet::DataReply, kNewest, 0, "00000000000003e1", "P_DATA_REPLY: range exceeds"},
    {"resync reply past the end", Packet::RsDataReply, kNewest, 0, kHuge, "P_RS_DATA_REPLY: range exceeds"},
    {"handle of resync", Packet::RsDataReply, kNewest, 8, kHuge, kOk},

    {"valid", Packet::Trim, kNewest, 0, "", kOk},
    {"flags of 86", Packet::Trim, kOld, 20, "00000002", kOk},
    {"not a discard", Packet::Trim, kNewest, 20, "00000100", "P_TRIM: dp_flags 0x100"},
    {"zeroes", Packet::Trim, kNewest, 20, "00000540", "P_TRIM: dp_flags 0x540"},
    {"empty", Packet::Trim, kNewest, 24, "00000000", "P_TRIM: empty range"},
    {"odd size", Packet::Trim, kNewest, 24, "00000201", "no multiple of 512"},
    {"above 128 MiB", Packet::Trim, kNewest, 24, "08000200", "size above the limit"},
    {"past the end", Packet::Trim, kNewest, 24, "0007c200", "exceeds the volume"},
    {"to the end", Packet::Trim, kNewest, 24, "0007c000", kOk},
    {"valid", Packet::Zeroes, kNewest, 0, "", kOk},
    {"not zeroes", Packet::Zeroes, kNewest, 20, "00000040", "P_ZEROES: dp_flags 0x40"},
    {"valid", Packet::WriteSame, kNewest, 0, "", kOk},
    {"not write same", Packet::WriteSame, kNewest, 20, "00000100", "P_WSAME: dp_flags"},
    {"odd size", Packet::WriteSame, kNewest, 24, "00000100", "no multiple of 512"},

    {"valid", Packet::DataRequest, kNewest, 0, "", kOk},
    {"garbage in the pad", Packet::DataRequest, kNewest, 20, "deadbeef", kOk},
    {"empty", Packet::DataRequest, kNewest, 16, "00000000", "P_DATA_REQUEST: empty range"},
    {"odd", Packet::RsDataRequest, kNewest, 16, "00000fff", "no multiple"},
    {"above 1 MiB", Packet::RsDataRequest, kNewest, 16, "00100200", "size above the limit"},
    {"answer fits no header", Packet::RsDataRequest, kOld, 16, "00010000", "size above the limit"},
    {"32 KiB at 86", Packet::RsDataRequest, kOld, 16, "00008000", kOk},
    {"past the end", Packet::OvRequest, kNewest, 0, "00000000000003e1", "P_OV_REQUEST: range exceeds"},
    {"valid", Packet::CsumRsRequest, kNewest, 0, "", kOk},
    {"valid", Packet::OvReply, kNewest, 0, "", kOk},
    {"past the end", Packet::RsThinRequest, kNewest, 0, "00000000000003e1", "P_RS_THIN_REQ: range exceeds"},

    {"valid", Packet::OutOfSync, kNewest, 0, "", kOk},
    {"pad", Packet::OutOfSync, kNewest, 12, "ffffffff", kOk},
    {"past the end", Packet::OutOfSync, kNewest, 0, "00000000000003e8", "P_OUT_OF_SYNC: range exceeds"},
    {"empty", Packet::RsDeallocated, kNewest, 8, "00000000", "P_RS_DEALLOCATED: empty range"},

    {"valid", Packet::WriteAck, kNewest, 0, "", kOk},
    {"past the end", Packet::WriteAck, kNewest, 0, "00000000000003e1", "P_WRITE_ACK: range exceeds"},
    {"empty", Packet::RsWriteAck, kNewest, 16, "00000000", "P_RS_WRITE_ACK: empty range"},
    {"without a size", Packet::NegAck, kNewest, 16, "00000000", kOk},
    {"with a size that wrapped", Packet::NegAck, kNewest, 16, "ffffffe4", kOk},
    {"sector past the end", Packet::NegAck, kNewest, 0, "00000000000003e8", "P_NEG_ACK: range exceeds"},
    {"wrong size", Packet::NegRsDReply, kNewest, 16, "ffffffe4", "P_NEG_RS_DREPLY: size is no multiple"},
    {"verdict", Packet::OvResult, kNewest, 8, "0000000000001268", kOk},
    {"no verdict", Packet::OvResult, kNewest, 8, "0000000000001269", "P_OV_RESULT: block_id 4713"},
    {"verdict in the other byte order", Packet::OvResult, kNewest, 8, "6812000000000000", "is no verdict"},
    {"empty epoch", Packet::BarrierAck, kNewest, 4, "00000000", "P_BARRIER_ACK: epoch 0x01000000 without a write"},
};

TEST(Decode, EveryRule) {
    for (const Row& row : kRows) {
        SCOPED_TRACE(std::string(name_of(row.packet)) + ": " + row.what);
        ByteVector payload = valid_payload(row.packet, row.agreement);
        const ByteVector change = hex(row.bytes);
        ASSERT_LE(row.at + change.size(), payload.size());
        std::copy(change.begin(), change.end(), payload.begin() + static_cast<ptrdiff_t>(row.at));
        const Stream stream = row_of(row.packet).place == Place::Meta ? Stream::Meta : Stream::Data;
        OnePacket packet(row.agreement, stream, raw_packet(row.agreement, static_cast<uint16_t>(row.packet), payload, 0));
        ASSERT_TRUE(packet.ok()) << packet.error().text;
        Translator translator(row.agreement, kCapacity);
        ByteVector encoded;
        const auto translated = translator.translate(packet.frame(), encoded);
        if (!row.error) {
            EXPECT_TRUE(translated.ok()) << translated.error().text;
            continue;
        }
        ASSERT_FALSE(translated.ok());
        EXPECT_NE(std::string(translated.error().text).find(row.error), std::string::npos) << translated.error().text;
        EXPECT_TRUE(translated.error().code == ErrorCode::Protocol || row.packet == Packet::ConnectionFeatures);
    }
}

// Lengths that the reader of frames takes and one packet's decoder does not.
TEST(Decode, LengthsWithinAPacket) {
    struct LengthRow { Packet packet; Agreement agreement; size_t length; const char* error; };
    const LengthRow rows[] = {
        {Packet::AuthChallenge, kNewest, 63, "63 bytes, must be 64 to 128"},
        {Packet::AuthChallenge, kNewest, 64, kOk},
        {Packet::AuthChallenge, kNewest, 128, kOk},
        {Packet::AuthChallenge, kNewest, 129, "129 bytes, must be 64 to 128"},
        {Packet::AuthResponse, kNewest, 65, "65 bytes"},
        {Packet::AuthResponse, kNewest, 19, "19 bytes"},
        {Packet::Protocol, kNewest, 24, "no end in 0 bytes"},
        {Packet::Protocol, kOld, 25, "length is 25"},
        {Packet::SyncParam, kOld, 5, "length is 5"},
        {Packet::SyncParam, {88, {}}, 4, "no end in 0 bytes"},
        {Packet::Data, kNewest, 24, "empty range"},
        {Packet::Data, kNewest, 24 + 511, "no multiple of 512"},
        {Packet::CsumRsRequest, kNewest, 24 + 19, "digest of 19 bytes, the algorithm here makes 20"},
        {Packet::OvReply, kNewest, 24, "digest of 0 bytes"},
    };
    for (const LengthRow& row : rows) {
        ByteVector payload(row.length);
        if (row.packet == Packet::Protocol)
            payload[3] = 3;
        OnePacket packet(row.agreement, Stream::Data, raw_packet(row.agreement, static_cast<uint16_t>(row.packet), payload));
        ASSERT_TRUE(packet.ok()) << packet.error().text;
        Translator translator(row.agreement, kCapacity);
        ByteVector encoded;
        const auto translated = translator.translate(packet.frame(), encoded);
        ASSERT_EQ(translated.ok(), row.error == kOk) << name_of(row.packet) << row.length;
        if (row.error)
            EXPECT_NE(std::string(translated.error().text).find(row.error), std::string::npos) << translated.error().text;
    }
}

TEST(Decode, AnEmptyFlushIsAWrite) {
    const ByteVector payload = hex("0000000000000000 a0f2b80f8088ffff 00000001 00000120");
    OnePacket packet(kNewest, Stream::Data, raw_packet(kNewest, 0, payload));
    const auto write = decode_write(packet.frame(), kCapacity);
    ASSERT_TRUE(write.ok());
    EXPECT_EQ(write.value().size, Bytes(0));
    EXPECT_TRUE(write.value().flags.has(DataFlag::Flush));
}

TEST(Decode, WriteSameCarriesOneBlock) {
    for (const auto& [block, ok] : {std::pair{512u, true}, {4096u, true}, {1024u, true}, {0u, false}, {8192u, false}, {1536u, false}}) {
        ByteVector payload = valid_payload(Packet::WriteSame, kNewest);
        payload.resize(28 + block);
        OnePacket packet(kNewest, Stream::Data, raw_packet(kNewest, 0x34, payload));
        ASSERT_TRUE(packet.ok());
        EXPECT_EQ(decode_write(packet.frame(), kCapacity).ok(), ok) << block;
    }
    ByteVector payload = valid_payload(Packet::WriteSame, kNewest);
    payload.resize(28 + 4096);
    payload[26] = 0x02;  // 0x10200 bytes are no whole number of 4096
    OnePacket packet(kNewest, Stream::Data, raw_packet(kNewest, 0x34, payload));
    EXPECT_FALSE(decode_write(packet.frame(), kCapacity).ok());
}

TEST(Decode, ANegativeAckKeepsOnlyWhatIsOfUse) {
    OnePacket packet(kNewest, Stream::Meta, raw_packet(kNewest, 0x19, hex("0000000000000008 a0f2b80f8088ffff ffffffe4 00000002")));
    const auto ack = decode_block_ack(packet.frame(), kCapacity);
    ASSERT_TRUE(ack.ok());
    EXPECT_EQ(ack.value(), (BlockAck{Sector(8), Bytes(0), {0xa0f2b80f8088ffff}, 2}));
}

// Values that are at no limit go there and back, at every version.
TEST(RoundTrip, Values) {
    uint8_t memory[kPacketSizeMax];
    for (unsigned version : {86u, 87u, 88u, 89u, 90u, 92u, 95u, 99u, 100u, 101u})
        for (uint32_t features : {0u, 15u}) {
            const Agreement agreement{version, {features}};
            const To to{agreement, static_cast<uint16_t>(version >= 100 ? 7 : 0)};
            const To connection{agreement, 0};
            const auto frame_of = [&](Encoded bytes, Stream stream) {
                auto packet = std::make_unique<OnePacket>(agreement, stream, bytes);
                DRBD_ASSERT(packet->ok());
                return packet;
            };
            ProtocolParameters protocol{ReplicationProtocol::A, AfterSplitBrain::DiscardLocal, AfterSplitBrain::Consensus,
                                        AfterSplitBrain::ViolentlyAs0p, true, version >= 92, true,
                                        version >= 87 ? AlgorithmName{"sha1"} : AlgorithmName{}};
            EXPECT_EQ(decode_protocol(frame_of(encode_protocol(memory, connection, Packet::Protocol, protocol), Stream::Data)->frame()).value(), protocol);
            SyncParameters parameters;
            parameters.resync_rate_kib = 12345;
            if (version >= 88)
                parameters.verify_alg = {"md5"};
            if (version >= 89)
                parameters.csums_alg = {"a-name-of-63-characters-is-the-longest-that-fits-into-its-field"};
            if (version >= 95) {
                parameters.plan_ahead_ds = 1;
                parameters.delay_target_ds = 2;
                parameters.fill_target_sectors = 3;
                parameters.max_rate_kib = 4;
            }
            EXPECT_EQ(decode_sync_parameters(frame_of(encode_sync_parameters(memory, to, parameters), Stream::Data)->frame()).value(), parameters);
            Sizes sizes{Sector(1), Sector(2), Sector(3), 4096, true, true, {}};
            if (features)
                sizes.limits = QueueLimits{4096, 512, 5, 6, 7, true, false, true};
            EXPECT_EQ(decode_sizes(frame_of(encode_sizes(memory, to, sizes), Stream::Data)->frame()).value(), sizes);
            const GenerationReport report{{1, 2, {3, 4}}, 5, true, false, true, version >= 90};
            EXPECT_EQ(decode_uuids(frame_of(encode_uuids(memory, to, report), Stream::Data)->frame()).value(), report);
            const auto uuids = frame_of(encode_sync_uuid(memory, to, 0xfedcba9876543210), Stream::Data);
            EXPECT_EQ(uuids->frame().volume, to.volume);
            EXPECT_EQ(decode_sync_uuid(uuids->frame()).value(), 0xfedcba9876543210);
            const BlockAck ack{Sector(9), Bytes(512), {0x0123456789abcdef}, 0xffffffff};
            EXPECT_EQ(decode_block_ack(frame_of(encode_block_ack(memory, to, Packet::Superseded, ack), Stream::Meta)->frame(), kCapacity).value(), ack);
            if (version >= 96) {
                const BlockRange range{Sector(0), Bytes(512000)};
                EXPECT_EQ(decode_block_range(frame_of(encode_block_range(memory, to, Packet::OutOfSync, range), Stream::Data)->frame(), kCapacity).value(), range);
            }
            EXPECT_EQ(decode_barrier(frame_of(encode_barrier(memory, connection, {77}), Stream::Data)->frame()).value(), BarrierNumber{77});
            EXPECT_EQ(decode_barrier_ack(frame_of(encode_barrier_ack(memory, connection, {{77}, 3}), Stream::Meta)->frame()).value(), (BarrierAck{{77}, 3}));
            EXPECT_EQ(decode_state_change_reply(frame_of(encode_state_change_reply(memory, to, Packet::StateChangeReply, -7), Stream::Meta)->frame()).value(), -7);
        }
}

}  // namespace
}  // namespace drbd::wire
