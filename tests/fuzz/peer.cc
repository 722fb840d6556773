// SPDX-License-Identifier: GPL-2.0-or-later
// The peer of peer.h: what the node says, and answers to it.
#include "peer.h"

#include <cstring>

#include "core/wire/decode.h"
#include "core/wire/layouts.h"

namespace drbd::fuzz {

using wire::ByteVector;
using wire::Packet;
using wire::Stream;

namespace {

template <typename T>
T need(const Result<T>& result) {
    DRBD_ASSERT(result.ok());  // what a node sends it would take itself
    return result.value();
}

constexpr Sector kAnyCapacity{1ull << 40};

}  // namespace

void Peer::set_parameters(const wire::ProtocolParameters& parameters, uint32_t digest_size, uint32_t hmac_size) {
    parameters_ = parameters;
    digest_size_ = digest_size;
    hmac_size_ = hmac_size;
}

void Peer::hmac(std::span<const uint8_t> data, uint8_t digest[DRBD_DIGEST_SIZE]) {
    uint32_t hash = 2166136261u;
    for (uint8_t byte : data)
        hash = (hash ^ byte) * 16777619u;
    for (unsigned i = 0; i < DRBD_DIGEST_SIZE; i++)
        digest[i] = static_cast<uint8_t>(hash >> (i % 4 * 8));
}

// -------------------------------------------------------------- sockets --

int Peer::socket_of(Stream stream) const {
    for (int s = DRBD_MAX_SOCKETS - 1; s >= 0; s--)
        if (lines_[s].open && lines_[s].stream == stream && node_->can_give(static_cast<unsigned>(s)))
            return s;
    return -1;
}

void Peer::on_opened(unsigned socket, bool by_peer) {
    Line& line = lines_[socket];
    line = {};
    line.open = true;
    line.reader = std::make_unique<wire::FrameReader>();
    if (!by_peer)
        line.reader->begin_accepted();
}

void Peer::on_gone(unsigned socket) {
    const bool was_stream = lines_[socket].stream.has_value();
    lines_[socket] = {};
    if (was_stream)
        forget_connection();
}

void Peer::forget_connection() {
    node_offer_.reset();
    own_offer_.reset();
    agreement_ = {};
    challenge_.clear();
    for (unsigned v = 0; v < kVolumesMax; v++) {
        node_uuids_[v].reset();
        sequence_[v] = 0;
    }
    writes_.clear();
    reads_.clear();
    resync_requests_.clear();
    replies_.clear();
    barriers_.clear();
    questions_.clear();
    epoch_writes_ = pings_ = 0;
    // What still stands belongs to a connection of which nothing is known.
    for (Line& line : lines_)
        line.opaque |= line.open && line.stream.has_value();
}

void Peer::end(Stream stream, bool reset) {
    if (const int socket = socket_of(stream); socket >= 0)
        node_->end_stream(static_cast<unsigned>(socket), reset);
}

// --------------------------------------------------- what the node says --

void Peer::on_output(unsigned socket, std::span<const uint8_t> bytes) {
    Line& line = lines_[socket];
    if (!line.open || line.opaque)
        return;
    parse(socket, bytes);
    help();
}

void Peer::parse(unsigned socket, std::span<const uint8_t> bytes) {
    Line& line = lines_[socket];
    while (!bytes.empty() && !line.opaque) {
        if (line.reader->bulk_remaining() != 0) {
            bytes = bytes.subspan(line.reader->take_bulk(bytes).size());
            continue;
        }
        if (line.stream == Stream::Meta && agreement_.version == 0) {
            line.opaque = true;
            return;
        }
        const auto fed = line.reader->feed(bytes);
        DRBD_ASSERT(fed.ok());
        bytes = bytes.subspan(fed.value().consumed);
        if (fed.value().outcome != wire::FeedOutcome::NeedMore)
            on_frame(line, line.reader->frame());
    }
}

void Peer::on_frame(Line& line, const wire::Frame& frame) {
    trace("    node: %s volume %u", frame.row->name, frame.volume);
    switch (frame.packet()) {
    case Packet::InitialData:
    case Packet::InitialMeta:
        line.stream = frame.packet() == Packet::InitialData ? Stream::Data : Stream::Meta;
        line.reader->begin(*line.stream);
        return;
    case Packet::ConnectionFeatures:
        node_offer_ = need(wire::decode_features(frame));
        agree_if_possible();
        return;
    case Packet::AuthChallenge:
        challenge_ = wire::to_vector(need(wire::decode_challenge(frame)));
        return;
    case Packet::Protocol:
    case Packet::ProtocolUpdate:
        line.reader->set_integrity_digest_size(need(wire::decode_protocol(frame)).integrity_alg.length() != 0 ? digest_size_ : 0);
        return;
    default:
        remember(frame);
        return;
    }
}

// From here on both readers need the agreement.
void Peer::agree_if_possible() {
    const int data = socket_of(Stream::Data), meta = socket_of(Stream::Meta);
    if (!node_offer_ || !own_offer_ || agreement_.version != 0 || data < 0 || meta < 0 || lines_[data].opaque)
        return;
    const auto agreed = wire::agree(*node_offer_, *own_offer_);
    if (!agreed)
        return;
    agreement_ = agreed.value();
    lines_[data].reader->agree(agreement_);
    if (!lines_[meta].opaque)
        lines_[meta].reader->agree(agreement_);
}

void Peer::remember(const wire::Frame& frame) {
    switch (frame.packet()) {
    case Packet::Ping: pings_ = std::min(pings_ + 1, 8u); return;
    case Packet::Uuids:
        if (frame.volume < kVolumesMax)
            node_uuids_[frame.volume] = need(wire::decode_uuids(frame)).uuids;
        return;
    case Packet::Sizes: (void)need(wire::decode_sizes(frame)); return;
    case Packet::State: (void)need(wire::decode_state(frame)); return;
    case Packet::SyncParam:
    case Packet::SyncParam89: (void)need(wire::decode_sync_parameters(frame)); return;
    case Packet::SyncUuid: (void)need(wire::decode_sync_uuid(frame)); return;
    case Packet::Barrier:
        barriers_.push_back({need(wire::decode_barrier(frame)), epoch_writes_});
        epoch_writes_ = 0;
        return;
    case Packet::BarrierAck: (void)need(wire::decode_barrier_ack(frame)); return;
    case Packet::StateChangeRequest:
    case Packet::ConnectionStateChangeRequest:
        (void)need(wire::decode_state_change_request(frame));
        questions_.push_back({frame.packet(), frame.volume, 0, 0, 0, 0});
        return;
    case Packet::StateChangeReply:
    case Packet::ConnectionStateChangeReply: (void)need(wire::decode_state_change_reply(frame)); return;
    default: remember_block(frame); return;
    }
}

void Peer::remember_block(const wire::Frame& frame) {
    const Packet packet = frame.packet();
    const auto keep = [&](std::deque<Block>& list, Sector sector, Bytes size, wire::BlockId id, uint32_t sequence) {
        list.push_back({packet, frame.volume, sector.value, static_cast<uint32_t>(size.value), id.value, sequence});
        if (list.size() > kRemembered)
            list.pop_front();
    };
    if (packet == Packet::Data || packet == Packet::Trim || packet == Packet::Zeroes || packet == Packet::WriteSame) {
        const auto write = need(wire::decode_write(frame, kAnyCapacity));
        epoch_writes_++;
        keep(writes_, write.sector, write.size, write.id, write.sequence);
    } else if (packet == Packet::DataRequest || packet == Packet::RsDataRequest || packet == Packet::RsThinRequest) {
        const auto request = need(wire::decode_block_request(frame, kAnyCapacity, 0));
        keep(packet == Packet::DataRequest ? reads_ : resync_requests_, request.sector, request.size, request.id, 0);
    } else if (packet == Packet::DataReply || packet == Packet::RsDataReply) {
        const auto reply = need(wire::decode_data_reply(frame, kAnyCapacity));
        keep(replies_, reply.sector, reply.size, reply.id, 0);
    } else if (packet == Packet::OutOfSync || packet == Packet::RsDeallocated) {
        const auto range = need(wire::decode_block_range(frame, kAnyCapacity));
        keep(replies_, range.sector, range.size, wire::kSyncerId, 0);
    } else if (wire::is_block_ack(packet)) {
        (void)need(wire::decode_block_ack(frame, kAnyCapacity));
    }
}

// ------------------------------------------------------------- answers --

// Right answers at once, as far as they are not too many for one event.
void Peer::help() {
    if (!helpful_)
        return;
    const std::vector<uint8_t> nothing;
    Input plain(nothing.data(), 0);
    while (answers_left_ > 0 && (pings_ > 0 || !barriers_.empty() || !questions_.empty() || !writes_.empty() ||
                                 !reads_.empty() || !resync_requests_.empty())) {
        answers_left_--;
        answer(plain);
    }
}

// Input: how, which.  Without any: the oldest, as a good peer would.
void Peer::answer(Input& input) {
    const uint8_t how = input.u8();
    const uint8_t which = input.u8();
    if (pings_ > 0) {
        pings_--;
        send(Packet::PingAck, {});
    } else if (!questions_.empty()) {
        const Block question = questions_.front();
        questions_.pop_front();
        constexpr int32_t kCodes[] = {1, 2, 0, -1, -10, -16, 17, INT32_MIN};
        const bool of_connection = question.packet == Packet::ConnectionStateChangeRequest;
        send(of_connection ? Packet::ConnectionStateChangeReply : Packet::StateChangeReply,
             bytes_of(wire::RawReply{kCodes[how % std::size(kCodes)]}), question.volume);
    } else if (!reads_.empty()) {
        answer_block(reads_, which, how);
    } else if (!resync_requests_.empty()) {
        answer_block(resync_requests_, which, how);
    } else if (!writes_.empty()) {
        answer_block(writes_, which, how);
    } else if (!barriers_.empty()) {
        const wire::BarrierAck ack = barriers_.front();
        barriers_.pop_front();
        send(Packet::BarrierAck, bytes_of(wire::RawBarrierAck{ack.number.value, ack.set_size + how / 200}));
    } else if (!replies_.empty()) {
        answer_block(replies_, which, how);
    }
}

ByteVector Peer::ack_of(const Block& block, uint64_t id) {
    uint32_t& sequence = sequence_[block.volume % kVolumesMax];
    return bytes_of(wire::RawBlockAck{block.sector, id, block.size, ++sequence});
}

void Peer::answer_block(std::deque<Block>& from, size_t index, uint8_t how) {
    index %= from.size();
    const Block block = from[index];
    from.erase(from.begin() + static_cast<ptrdiff_t>(index));
    const ByteVector data = bytes_of(wire::RawData{block.sector, block.id, 0, 0});
    const ByteVector ack = ack_of(block, block.id);
    switch (block.packet) {
    case Packet::DataRequest:
        how % 4 == 3 ? send(Packet::NegDReply, ack, block.volume)
                     : send_with_bulk(Packet::DataReply, data, block.size, block.volume);
        return;
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
        if (how % 8 == 7)
            send(how & 8 ? Packet::RsCancel : Packet::NegRsDReply, ack, block.volume);
        else if (block.packet == Packet::RsThinRequest && how % 2 == 1)
            send(Packet::RsDeallocated, bytes_of(wire::RawBlockRange{block.sector, block.size, 0u}), block.volume);
        else
            send_with_bulk(Packet::RsDataReply, data, block.size, block.volume);
        return;
    case Packet::RsDataReply:
    case Packet::RsDeallocated:
        send(how % 8 == 7 ? Packet::NegAck : Packet::RsWriteAck, ack_of(block, wire::kSyncerId.value), block.volume);
        return;
    default: {
        constexpr Packet kAnswers[] = {Packet::WriteAck, Packet::RecvAck, Packet::NegAck, Packet::Superseded,
                                       Packet::RetryWrite, Packet::WriteAck, Packet::RsWriteAck, Packet::WriteAck};
        const bool received = parameters_.protocol == wire::ReplicationProtocol::B && how == 0;
        if (parameters_.protocol != wire::ReplicationProtocol::A || how != 0)
            send(received ? Packet::RecvAck : kAnswers[how % std::size(kAnswers)], ack, block.volume);
        return;
    }
    }
}

void Peer::send(Packet packet, std::span<const uint8_t> payload, uint16_t volume) {
    trace("    peer: %s volume %u, %zu bytes", wire::name_of(packet), volume, payload.size());
    const bool meta = wire::row_of(packet).place == wire::Place::Meta;
    const int socket = socket_of(meta ? Stream::Meta : Stream::Data);
    if (socket >= 0 && (agreement_.version != 0 || packet == Packet::ConnectionFeatures))
        node_->give(static_cast<unsigned>(socket), wire::raw_packet(agreement_, static_cast<uint16_t>(packet), payload, volume));
}

void Peer::send_with_bulk(Packet packet, const ByteVector& fixed, uint32_t bytes, uint16_t volume) {
    ByteVector payload = fixed;
    payload.resize(fixed.size() + digest_size_ + bytes);
    send(packet, payload, volume);
}

}  // namespace drbd::fuzz
