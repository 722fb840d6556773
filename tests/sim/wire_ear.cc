// SPDX-License-Identifier: GPL-2.0-or-later
// The reader of wire_ear.h.
#include "wire_ear.h"

#include "disk.h"

namespace drbd::sim {

namespace {

using wire::Packet;

constexpr size_t kLengthMax = 64 << 20;

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

// A digest before the content (data-integrity-alg) is what is more than whole sectors.
void read_content(TappedPacket& packet, const uint8_t* at, size_t bytes) {
    at += bytes % 512;
    bytes -= bytes % 512;
    packet.bytes = bytes;
    for (size_t i = 0; i + 512 <= bytes; i += 512)
        packet.values.push_back(value_of(at + i));
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
        else
            read_content(packet, at + 24, length - 24);
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

void WireEar::on_sent(int host, End end, std::span<const uint8_t> bytes) {
    if (end >= streams_.size())
        streams_.resize(end + 1);
    if (!streams_[end])
        streams_[end] = std::make_unique<Stream>();
    Stream& stream = *streams_[end];
    if (stream.senseless)
        return;
    stream.bytes.insert(stream.bytes.end(), bytes.begin(), bytes.end());
    size_t at = 0;
    while (!stream.senseless) {
        const size_t taken = read_packet(stream, host, end / 2, std::span<const uint8_t>(stream.bytes).subspan(at));
        if (taken == 0)
            break;
        at += taken;
    }
    stream.bytes.erase(stream.bytes.begin(), stream.bytes.begin() + static_cast<long>(at));
}

size_t WireEar::read_packet(Stream& stream, int host, uint32_t tcp, std::span<const uint8_t> bytes) {
    if (bytes.size() < 8)
        return 0;
    const Header header = read_header(bytes.data(), bytes.size());
    if (!header.known || header.length > kLengthMax) {
        stream.senseless = true;
        return 0;
    }
    if (bytes.size() < header.size + header.length)
        return 0;
    const wire::PacketRow* row = wire::find_row(header.command);
    // Some are shorter in older versions; what is read here is in all of them.
    const bool whole = row && (row->place == wire::Place::First || header.length >= std::min<size_t>(row->fixed, 24));
    if (whole) {
        TappedPacket packet{};
        packet.packet = row->packet;
        packet.volume = header.volume;
        read_fields(packet, bytes.data() + header.size, header.length);
        listener_.on_packet(host, tcp, packet);
    }
    return header.size + header.length;
}

}  // namespace drbd::sim
