// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: one packet of every kind, header and length right, its fields any
// bytes, at any version.  What the decoder takes and the encoder makes of it
// must decode to the same packet again.
// Input: version, features, command (2 bytes; if there is none: any row), volume,
// size of the integrity digest, sectors of bulk, how the length errs; then the
// fields.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "input.h"
#include "packets.h"

namespace {

using namespace drbd;
using namespace drbd::wire;

struct Header {
    Agreement agreement;
    const PacketRow* row = nullptr;
    uint16_t volume = 0;
    uint32_t digest_size = 0;
};

Stream stream_of(const PacketRow& row) {
    return row.place == Place::Meta ? Stream::Meta : Stream::Data;
}

// Fields as given, as long as the row wants them.
ByteVector payload_of(const Header& header, fuzz::Input& input) {
    const uint32_t bulk = input.u8() * static_cast<uint32_t>(kSectorSize);
    const uint8_t error = input.u8();
    const std::span<const uint8_t> given = input.rest();
    const uint32_t fixed = fixed_size(*header.row, header.agreement);
    size_t length = fixed;
    if (header.row->tail == Tail::Bulk)
        length += header.digest_size + bulk;
    else if (header.row->tail != Tail::None)
        length = std::max<size_t>(fixed, given.size());
    if (error >= 0xf0)
        length = given.size();  // any length whatever
    ByteVector payload(length);
    std::copy_n(given.begin(), std::min(given.size(), length), payload.begin());
    return payload;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::Input input(data, size);
    Header header;
    header.agreement.version = kVersionMin + static_cast<unsigned>(input.below(kVersionMax - kVersionMin + 1));
    header.agreement.features = {input.u8() & kFeaturesKnown};
    const uint16_t command = input.u16();
    header.row = find_row(command);
    if (!header.row)
        header.row = &packet_rows()[command % packet_rows().size()];
    if (header.row->place == Place::First || header.row->place == Place::Features)
        header.agreement = {};
    header.volume = input.u8() % 20;
    header.digest_size = static_cast<uint32_t>(input.below(kDigestSizeMax + 1));
    const ByteVector payload = payload_of(header, input);
    if (payload.size() > UINT16_MAX && header.agreement.version < 95)
        return 0;
    const uint16_t number = static_cast<uint16_t>(header.row->packet);
    OnePacket packet(header.agreement, stream_of(*header.row), raw_packet(header.agreement, number, payload, header.volume),
                     header.digest_size);
    if (!packet.ok())
        return 0;
    Translator translator(header.agreement, Sector(131072));
    ByteVector encoded;
    const auto decoded = translator.translate(packet.frame(), encoded);
    if (!decoded || !decoded.value() || encoded.empty())
        return 0;
    OnePacket again(header.agreement, stream_of(*header.row), encoded, header.digest_size);
    DRBD_ASSERT(again.ok());
    Translator second(header.agreement, Sector(131072));
    ByteVector encoded_again;
    const auto decoded_again = second.translate(again.frame(), encoded_again);
    DRBD_ASSERT(decoded_again.ok());
    DRBD_ASSERT(encoded_again == encoded);
    return 0;
}
