// SPDX-License-Identifier: GPL-2.0-or-later
#include "packets.h"

#include <cctype>

#include "core/wire/layouts.h"

namespace drbd::wire {

ByteVector hex(std::string_view digits) {
    ByteVector bytes;
    int high = -1;
    for (char c : digits) {
        if (c == ' ')
            continue;
        const int digit = c <= '9' ? c - '0' : std::tolower(c) - 'a' + 10;
        DRBD_ASSERT(digit >= 0 && digit < 16);
        if (high >= 0)
            bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
        high = high >= 0 ? -1 : digit;
    }
    DRBD_ASSERT(high == -1);
    return bytes;
}

ByteVector to_vector(std::span<const uint8_t> bytes) {
    return {bytes.begin(), bytes.end()};
}

void append(ByteVector& bytes, std::span<const uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

template <typename Layout>
static ByteVector layout_bytes(const Layout& layout) {
    const auto* first = reinterpret_cast<const uint8_t*>(&layout);
    return {first, first + sizeof layout};
}

ByteVector raw_packet(const Agreement& agreement, uint16_t command, std::span<const uint8_t> payload, uint16_t volume) {
    const uint32_t length = static_cast<uint32_t>(payload.size());
    ByteVector bytes;
    if (agreement.version >= 100)
        bytes = layout_bytes(RawHeader100{kMagic100, volume, command, length, 0u});
    else if (agreement.version >= 95 && length > kLength80Max)
        bytes = layout_bytes(RawHeader95{kMagic95, command, length});
    else
        bytes = layout_bytes(RawHeader80{kMagic80, command, static_cast<uint16_t>(length)});
    append(bytes, payload);
    return bytes;
}

OnePacket::OnePacket(const Agreement& agreement, Stream stream, std::span<const uint8_t> bytes, uint32_t digest_size) {
    reader_.begin(stream);
    if (agreement.version != 0)
        reader_.agree(agreement);
    reader_.set_integrity_digest_size(digest_size);
    auto fed = reader_.feed(bytes);
    if (!fed) {
        error_ = std::make_unique<Error>(fed.error());
        return;
    }
    fed_ = fed.value();
    ok_ = fed_.outcome != FeedOutcome::NeedMore;
}

uint32_t digest_size_of(const AlgorithmName& name) {
    const std::map<std::string_view, uint32_t> sizes = {{"", 0}, {"crc32c", 4}, {"md5", 16}, {"sha1", 20}, {"sha256", 32}};
    const auto found = sizes.find(name.text);
    return found == sizes.end() ? 20 : found->second;
}

std::vector<ByteVector> send_bitmap(const Bitmap& bitmap, const To& to, RunLengths run_lengths) {
    BitmapSender sender(bitmap, to, run_lengths);
    std::vector<ByteVector> packets;
    ByteVector room(kPacketSizeMax);
    while (!sender.is_done())
        packets.push_back(to_vector(sender.next(std::span<uint8_t, kPacketSizeMax>(room.data(), kPacketSizeMax))));
    return packets;
}

Result<bool> Translator::translate_bitmap(const Frame& frame) {
    auto& incoming = incoming_[frame.volume];
    if (!incoming) {
        incoming = std::make_unique<Incoming>();
        const auto size = sizes_.find(frame.volume);
        DRBD_ASSERT(incoming->bitmap.allocate(size == sizes_.end() ? capacity_ : size->second).ok());
    }
    if (!incoming->receiver)
        incoming->receiver = std::make_unique<BitmapReceiver>(incoming->bitmap);
    incoming->packets.push_back(raw_packet(frame.agreement, static_cast<uint16_t>(frame.packet()), frame.tail, frame.volume));
    auto transfer = incoming->receiver->on_packet(frame);
    if (!transfer)
        return transfer.error();
    if (transfer.value() == BitmapTransfer::Continues)
        return true;
    To to = to_;
    to.volume = frame.volume;
    transfers_.push_back({std::move(incoming->packets), send_bitmap(incoming->bitmap, to, RunLengths::On),
                          send_bitmap(incoming->bitmap, to, RunLengths::Off)});
    incoming_.erase(frame.volume);
    return true;
}

Result<bool> Translator::translate(const Frame& frame, ByteVector& encoded) {
    uint8_t memory[kPacketSizeMax];
    const Room room(memory);
    const Packet packet = frame.packet();
    To to = to_;
    to.volume = frame.volume;
    Encoded done;
    // Decodes, and on success encodes `value`.
#define TRANSLATE(decoded, encode)          \
    {                                       \
        auto result = decoded;              \
        if (!result)                        \
            return result.error();          \
        const auto& value = result.value(); \
        (void)value;                        \
        done = encode;                      \
        break;                              \
    }
    switch (packet) {
    case Packet::InitialData: done = encode_initial(room, Stream::Data); break;
    case Packet::InitialMeta: done = encode_initial(room, Stream::Meta); break;
    case Packet::ConnectionFeatures: {
        auto offer = decode_features(frame);
        if (!offer)
            return offer.error();
        if (auto agreed = agree({}, offer.value()); !agreed)
            return agreed.error();
        if (offer.value().version_min < kVersionMin || offer.value().version_max > kVersionMax ||
            (offer.value().features.bits & ~kFeaturesKnown))
            return false;
        done = encode_features(room, offer.value());
        break;
    }
    case Packet::Ping:
    case Packet::PingAck:
    case Packet::UnplugRemote: done = encode_empty(room, to, packet); break;
    case Packet::AuthChallenge: {
        auto challenge = decode_challenge(frame);
        if (!challenge)
            return challenge.error();
        if (challenge.value().size() != kChallengeSize)
            return false;
        done = encode_challenge(room, to, challenge.value());
        break;
    }
    case Packet::AuthResponse: {
        const uint32_t size = frame.tail.size() == 16 || frame.tail.size() == 32 ? static_cast<uint32_t>(frame.tail.size()) : 20;
        TRANSLATE(decode_auth_response(frame, size), encode_auth_response(room, to, value));
    }
    case Packet::Protocol:
    case Packet::ProtocolUpdate: {
        auto parameters = decode_protocol(frame);
        if (!parameters)
            return parameters.error();
        integrity_digest_size_ = digest_size_of(parameters.value().integrity_alg);
        if (parameters.value().dry_run && frame.agreement.version < 92)
            return false;
        done = encode_protocol(room, to, packet, parameters.value());
        break;
    }
    case Packet::SyncParam:
    case Packet::SyncParam89: {
        auto parameters = decode_sync_parameters(frame);
        if (!parameters)
            return parameters.error();
        csums_digest_size_ = digest_size_of(parameters.value().csums_alg);
        verify_digest_size_ = digest_size_of(parameters.value().verify_alg);
        done = encode_sync_parameters(room, to, parameters.value());
        break;
    }
    case Packet::Sizes: {
        auto sizes = decode_sizes(frame);
        if (!sizes)
            return sizes.error();
        if (sizes.value().current_size.value != 0 && sizes.value().current_size <= capacity_)
            sizes_.insert_or_assign(frame.volume, sizes.value().current_size);
        done = encode_sizes(room, to, sizes.value());
        break;
    }
    case Packet::Uuids: {
        auto report = decode_uuids(frame);
        if (!report)
            return report.error();
        if (report.value().skip_initial_sync && frame.agreement.version < 90)
            return false;
        done = encode_uuids(room, to, report.value());
        break;
    }
    case Packet::State: TRANSLATE(decode_state(frame), encode_state(room, to, value));
    case Packet::SyncUuid: TRANSLATE(decode_sync_uuid(frame), encode_sync_uuid(room, to, value));
    case Packet::StateChangeRequest:
    case Packet::ConnectionStateChangeRequest:
        TRANSLATE(decode_state_change_request(frame), encode_state_change_request(room, to, packet, value));
    case Packet::StateChangeReply:
    case Packet::ConnectionStateChangeReply:
        TRANSLATE(decode_state_change_reply(frame), encode_state_change_reply(room, to, packet, value));
    case Packet::Data:
    case Packet::Trim:
    case Packet::Zeroes:
    case Packet::WriteSame: {
        auto write = decode_write(frame, capacity_);
        if (!write)
            return write.error();
        const bool before_flags = frame.agreement.version < 95 && packet != Packet::Data && packet != Packet::Trim;
        const uint64_t limit = packet == Packet::Data ? bulk_max(frame.agreement.version).value
                                                      : zeroes_max(frame.agreement.features).value;
        if (write.value().size.value == 0 || write.value().size.value > limit || before_flags)
            return false;  // taken, but not sent by us
        done = encode_write(room, to, packet, write.value(), packet == Packet::WriteSame ? frame.bulk_length : 0);
        break;
    }
    case Packet::DataReply:
    case Packet::RsDataReply:
        TRANSLATE(decode_data_reply(frame, capacity_), encode_data_reply(room, to, packet, value));
    case Packet::DataRequest:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::OvRequest:
        TRANSLATE(decode_block_request(frame, capacity_, 0), encode_block_request(room, to, packet, value));
    case Packet::CsumRsRequest:
        TRANSLATE(decode_block_request(frame, capacity_, csums_digest_size_), encode_block_request(room, to, packet, value));
    case Packet::OvReply:
        TRANSLATE(decode_block_request(frame, capacity_, verify_digest_size_), encode_block_request(room, to, packet, value));
    case Packet::OutOfSync:
    case Packet::RsDeallocated:
        TRANSLATE(decode_block_range(frame, capacity_), encode_block_range(room, to, packet, value));
    case Packet::RecvAck:
    case Packet::WriteAck:
    case Packet::RsWriteAck:
    case Packet::Superseded:
    case Packet::NegAck:
    case Packet::NegDReply:
    case Packet::NegRsDReply:
    case Packet::OvResult:
    case Packet::RsIsInSync:
    case Packet::RsCancel:
    case Packet::RetryWrite: {
        auto ack = decode_block_ack(frame, capacity_);
        if (!ack)
            return ack.error();
        if (ack.value().size.value == 0)
            return false;
        done = encode_block_ack(room, to, packet, ack.value());
        break;
    }
    case Packet::Barrier: TRANSLATE(decode_barrier(frame), encode_barrier(room, to, value));
    case Packet::BarrierAck: TRANSLATE(decode_barrier_ack(frame), encode_barrier_ack(room, to, value));
    case Packet::Bitmap:
    case Packet::CompressedBitmap: return translate_bitmap(frame);
    case Packet::DelayProbe: return false;
    }
#undef TRANSLATE
    encoded = to_vector(done);
    return true;
}

}  // namespace drbd::wire
