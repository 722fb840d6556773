// SPDX-License-Identifier: GPL-2.0-or-later
// Every packet of the protocol, one row each: number, name, the stream it
// travels on, its size, what may follow the fixed part, and the versions and
// feature that know it (docs/WIRE.md, "Packets").  The reader of frames, the
// decoders and the encoders all ask this table; there is no second list.
#pragma once

#include <cstdint>
#include <span>

#include "core/wire/features.h"

namespace drbd::wire {

enum class Packet : uint16_t {
    Data = 0x00, DataReply = 0x01, RsDataReply = 0x02, Barrier = 0x03, Bitmap = 0x04,
    UnplugRemote = 0x07, DataRequest = 0x08, RsDataRequest = 0x09, SyncParam = 0x0a,
    Protocol = 0x0b, Uuids = 0x0c, Sizes = 0x0d, State = 0x0e, SyncUuid = 0x0f,
    AuthChallenge = 0x10, AuthResponse = 0x11, StateChangeRequest = 0x12, Ping = 0x13,
    PingAck = 0x14, RecvAck = 0x15, WriteAck = 0x16, RsWriteAck = 0x17, Superseded = 0x18,
    NegAck = 0x19, NegDReply = 0x1a, NegRsDReply = 0x1b, BarrierAck = 0x1c,
    StateChangeReply = 0x1d, OvRequest = 0x1e, OvReply = 0x1f, OvResult = 0x20,
    CsumRsRequest = 0x21, RsIsInSync = 0x22, SyncParam89 = 0x23, CompressedBitmap = 0x24,
    DelayProbe = 0x27, OutOfSync = 0x28, RsCancel = 0x29, ConnectionStateChangeRequest = 0x2a,
    ConnectionStateChangeReply = 0x2b, RetryWrite = 0x2c, ProtocolUpdate = 0x2d, Trim = 0x31,
    RsThinRequest = 0x32, RsDeallocated = 0x33, WriteSame = 0x34, Zeroes = 0x36,
    InitialMeta = 0xfff1, InitialData = 0xfff2, ConnectionFeatures = 0xfffe,
};

enum class Stream : uint8_t { Data, Meta };

// Where a packet may appear.  First packets are read before the stream has a
// name; P_DELAY_PROBE came on both.
enum class Place : uint8_t { First, Features, Data, Meta, Either };

// What follows the fixed part.
enum class Tail : uint8_t {
    None,
    Bulk,          // [digest] and content of blocks, into a buffer of the caller's
    Digest,        // of content that is not sent
    Text,          // a name with its terminating zero
    BitmapChunk,   // as much as fits into 4096 bytes with the header
    Secret,        // challenge or response
};

// Connection: the header's volume is 0 and means nothing.
enum class Scope : uint8_t { Connection, Volume };

struct PacketRow {
    Packet packet;
    const char* name;
    Place place;
    Scope scope;
    uint16_t fixed;  // bytes; see fixed_size
    Tail tail;
    uint8_t version_min;
    uint8_t version_max;
    Feature feature;  // without it the packet is an error

    bool is_known_to(const Agreement& agreement) const {
        return agreement.version >= version_min && agreement.version <= version_max &&
               agreement.features.has(feature);
    }
};

std::span<const PacketRow> packet_rows();

// Null: no such packet, or one that 8.4 dropped.
const PacketRow* find_row(uint16_t number);
const PacketRow& row_of(Packet packet);
inline const char* name_of(Packet packet) { return row_of(packet).name; }

// The packets on meta that say what became of a block (layout RawBlockAck).
// They take a number of the volume's sequence, as writes do.
constexpr bool is_block_ack(Packet packet) {
    const uint16_t number = static_cast<uint16_t>(packet);
    return (number >= static_cast<uint16_t>(Packet::RecvAck) && number <= static_cast<uint16_t>(Packet::NegRsDReply)) ||
           packet == Packet::OvResult || packet == Packet::RsIsInSync || packet == Packet::RsCancel ||
           packet == Packet::RetryWrite;
}

// The fixed part of a packet; two of them grew.
uint32_t fixed_size(const PacketRow& row, const Agreement& agreement);

constexpr uint32_t kBulkSizeMax = 1u << 20;  // accepted at any version
constexpr uint32_t kDigestSizeMax = 64;      // SHA-512
constexpr uint32_t kNameSizeMax = 64;        // of an algorithm, with the zero
constexpr uint32_t kChallengeSize = 64;      // what we send
constexpr uint32_t kChallengeSizeMax = 128;  // what we take
constexpr uint32_t kPacketSizeMax = 4096;    // header and everything but bulk

}  // namespace drbd::wire
