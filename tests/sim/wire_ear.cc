// SPDX-License-Identifier: GPL-2.0-or-later
// The reader of wire_ear.h.
#include "wire_ear.h"

#include <algorithm>
#include <cstring>

#include "disk.h"

namespace drbd::sim {

namespace {

using wire::Packet;

constexpr size_t kLengthMax = 64 << 20;
constexpr size_t kHeaderMin = 8;
constexpr size_t kFixedMax = 24;  // before the content
constexpr size_t kSector = 512;

uint64_t big_endian(const uint8_t* at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

struct Header {
    bool known = false;
    size_t size = 0;
    uint16_t command = 0;
    unsigned volume = 0;
    size_t length = 0;
};

Header read_header(const uint8_t* at, size_t bytes) {
    const uint64_t magic = big_endian(at, 4);
    if (magic == 0x83740267)
        return {true, 8, static_cast<uint16_t>(big_endian(at + 4, 2)), 0, big_endian(at + 6, 2)};
    if (magic >> 16 == 0x835a)
        return {true, 8, static_cast<uint16_t>(magic & 0xffff), 0, big_endian(at + 4, 4)};
    if (magic != 0x8620ec20)
        return {};
    if (bytes < 16)
        return {true, 16, 0, 0, 0};
    return {true, 16, static_cast<uint16_t>(big_endian(at + 6, 2)), static_cast<unsigned>(big_endian(at + 4, 2)),
            big_endian(at + 8, 4)};
}

void read_parameters(TappedParameters& parameters, const uint8_t* at, size_t length) {
    parameters.protocol = static_cast<uint32_t>(big_endian(at, 4));
    for (unsigned i = 0; i < 3; i++)
        parameters.after_sb[i] = static_cast<uint32_t>(big_endian(at + 4 + 4 * i, 4));
    for (size_t i = 24; i < length && at[i] != 0; i++)
        parameters.integrity += static_cast<char>(at[i]);
}

void read_generations(TappedGenerations& generations, const uint8_t* at) {
    uint64_t* const fields[] = {&generations.current,    &generations.bitmap, &generations.history[0],
                                &generations.history[1], &generations.bits,   &generations.flags};
    for (unsigned i = 0; i < 6; i++)
        *fields[i] = big_endian(at + 8 * i, 8);
    generations.known = true;
}

// The fields of those packets that the checkers judge by.
void read_fields(TappedPacket& packet, const uint8_t* at, size_t length) {
    const bool has_range = length >= 16;
    switch (packet.packet) {
    case Packet::Protocol:
    case Packet::ProtocolUpdate: read_parameters(packet.parameters, at, length); return;
    case Packet::Uuids:
        if (length >= 48)
            read_generations(packet.generations, at);
        return;
    case Packet::StateChangeRequest:
    case Packet::ConnectionStateChangeRequest:
        packet.mask = static_cast<uint32_t>(big_endian(at, 4));
        packet.value = static_cast<uint32_t>(big_endian(at + 4, 4));
        return;
    case Packet::StateChangeReply:
    case Packet::ConnectionStateChangeReply: packet.value = static_cast<uint32_t>(big_endian(at, 4)); return;
    case Packet::Barrier:
    case Packet::BarrierAck:
        packet.number = static_cast<uint32_t>(big_endian(at, 4));
        packet.set_size = static_cast<uint32_t>(big_endian(at + 4, 4));
        return;
    case Packet::Data:
    case Packet::RsDataReply:
    case Packet::Trim:
    case Packet::Zeroes:
        packet.sector = big_endian(at, 8);
        packet.block_id = big_endian(at + 8, 8);
        packet.flags = static_cast<uint32_t>(big_endian(at + 20, 4));
        if (packet.packet == Packet::Trim || packet.packet == Packet::Zeroes)
            packet.bytes = big_endian(at + 24, 4);
        return;
    case Packet::RsDeallocated:
    case Packet::OutOfSync:
        packet.sector = big_endian(at, 8);
        packet.bytes = big_endian(at + 8, 4);
        return;
    default:
        if (has_range && wire::is_block_ack(packet.packet)) {
            packet.sector = big_endian(at, 8);
            packet.block_id = big_endian(at + 8, 8);
            packet.bytes = big_endian(at + 16, 4);
        }
        return;
    }
}

}  // namespace

void WireEar::on_sent(int host, End end, std::span<const uint8_t> bytes, const WireBytes& wire) {
    if (end >= streams_.size())
        streams_.resize(end + 1);
    if (!streams_[end])
        streams_[end] = std::make_unique<Stream>();
    Stream& stream = *streams_[end];
    while (!bytes.empty() && !stream.senseless) {
        if (stream.head_size == 0 || stream.head.size() < stream.head_size)
            read_head(stream, bytes);
        else
            read_content(stream, bytes, wire);
        if (stream.head_size != 0 && stream.head.size() == stream.head_size && stream.content_got == stream.content_size)
            end_packet(stream, host, end / 2);
    }
}

void WireEar::read_head(Stream& stream, std::span<const uint8_t>& bytes) {
    const size_t wanted = stream.head_size != 0 ? stream.head_size : stream.header_size != 0 ? stream.header_size : kHeaderMin;
    const size_t n = std::min(wanted - stream.head.size(), bytes.size());
    stream.head.insert(stream.head.end(), bytes.begin(), bytes.begin() + static_cast<long>(n));
    bytes = bytes.subspan(n);
    if (stream.head.size() < wanted || stream.head_size != 0)
        return;
    const Header header = read_header(stream.head.data(), stream.head.size());
    if (!header.known || header.length > kLengthMax) {
        stream.senseless = true;
        return;
    }
    stream.header_size = header.size;
    if (stream.head.size() < header.size)
        return;
    const wire::PacketRow* row = wire::find_row(header.command);
    // Some are shorter in older versions; what is read here is in all of them.
    stream.is_known = row && (row->place == wire::Place::First || header.length >= std::min<size_t>(row->fixed, kFixedMax));
    if (stream.is_known) {
        stream.packet.packet = row->packet;
        stream.packet.volume = header.volume;
    }
    // A digest before the content (data-integrity-alg) is what is more than whole sectors.
    const bool has_content = stream.is_known && header.length >= kFixedMax && (row->packet == Packet::Data || row->packet == Packet::RsDataReply);
    stream.content_size = has_content ? (header.length - kFixedMax) / kSector * kSector : 0;
    stream.head_size = header.size + header.length - stream.content_size;
}

void WireEar::read_content(Stream& stream, std::span<const uint8_t>& bytes, const WireBytes& wire) {
    std::vector<uint64_t>& values = stream.packet.values;
    const size_t n = std::min(stream.content_size - stream.content_got, bytes.size());
    for (size_t at = 0; at < n;) {
        const size_t got = (stream.content_got + at) % kSector, piece = std::min(kSector - got, n - at);
        const uint8_t* ends = piece == kSector ? wire.ends_at(wire.size() - bytes.size() + at) : nullptr;
        if (ends) {
            const size_t sectors = (n - at) / kSector;
            for (size_t i = 0; i < sectors; i++)
                values.push_back(value_of_ends(ends + i * 16, ends + i * 16 + 8));
            at += sectors * kSector;
            continue;
        }
        if (piece == kSector) {
            values.push_back(value_of(bytes.data() + at));
        } else {
            std::memcpy(stream.sector + got, bytes.data() + at, piece);
            if (got + piece == kSector)
                values.push_back(value_of(stream.sector));
        }
        at += piece;
    }
    stream.content_got += n;
    bytes = bytes.subspan(n);
}

void WireEar::end_packet(Stream& stream, int host, uint32_t tcp) {
    if (stream.is_known) {
        stream.packet.bytes = stream.content_size;
        read_fields(stream.packet, stream.head.data() + stream.header_size, stream.head.size() - stream.header_size);
        listener_.on_packet(host, tcp, stream.packet);
    }
    std::vector<uint64_t> room = std::move(stream.packet.values);
    room.clear();
    stream.packet = TappedPacket{};
    stream.packet.values = std::move(room);
    stream.head.clear();
    stream.head_size = stream.header_size = stream.content_size = stream.content_got = 0;
}

}  // namespace drbd::sim
