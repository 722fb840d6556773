// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes into packets, packets to whom they concern.
// Who may be fed: a fresh socket, for its first packet; data, from the beginning
// of the handshake; meta, when the version is agreed.  What comes earlier stays
// with the caller.  A payload is announced, and the stream goes on when the
// caller has brought it.
#include "core/base/endian.h"
#include "core/connection/connection.h"
#include "core/connection/net_config.h"
#include "core/wire/decode.h"
#include "core/wire/encode.h"

#include <algorithm>
#include <cstring>

namespace drbd {

using wire::FeedOutcome;
using wire::Packet;

DrbdReceive Connection::on_bytes(unsigned number, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk) {
    taken = 0;
    Socket& socket = sockets_[number];
    if (is_lost())
        return DRBD_RECEIVE_CLOSED;
    if (socket.use == SocketUse::Fresh)
        return receive_first(number, bytes, taken, bulk);
    if (!socket.is_stream())
        return DRBD_RECEIVE_CLOSED;
    if (step_ == Step::Up && socket.use == SocketUse::Data && !bytes.empty())
        pings_.on_data_received();
    const bool is_meta = socket.use == SocketUse::Meta;
    const DrbdReceive result = receive(socket, bytes, taken, bulk);
    received_bytes_[is_meta] += taken;
    return result;
}

// The first packet of an accepted socket says which stream it is.
DrbdReceive Connection::receive_first(unsigned number, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk) {
    Socket& socket = sockets_[number];
    auto fed = socket.reader.feed(bytes);
    if (!fed) {
        sockets_.close(number);  // no peer of ours; the next one may be
        return DRBD_RECEIVE_CLOSED;
    }
    taken = fed.value().consumed;
    if (fed.value().outcome == FeedOutcome::NeedMore)
        return DRBD_RECEIVE_MORE;
    const bool data = socket.reader.frame().packet() == Packet::InitialData;
    if (step_ != Step::Establishing) {
        on_newcomer(number);
        return DRBD_RECEIVE_CLOSED;
    }
    if (!establish_.on_first_packet(number, data ? wire::Stream::Data : wire::Stream::Meta, now_ms()))
        return DRBD_RECEIVE_CLOSED;
    size_t rest = 0;
    const DrbdReceive result = receive(socket, bytes.subspan(taken), rest, bulk);
    taken += rest;
    return result;
}

// Somebody connects although both streams stand: perhaps the peer, started anew,
// and ours are dead and do not know it yet.  A ping tells; he will come again.
void Connection::on_newcomer(unsigned number) {
    sockets_.close(number);
    if (step_ == Step::Up && link_.is_up() && !pings_.is_outstanding())
        ping_due_ = true;
}

bool Connection::may_feed(const Socket& socket) const {
    if (socket.asks_listener)
        return false;
    if (step_ != Step::Up)
        return step_ == Step::Handshaking && socket.use == SocketUse::Data;
    return socket.use == SocketUse::Meta || !has_parameters_ || !listener_.is_stalled();
}

DrbdReceive Connection::receive(Socket& socket, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk) {
    socket.stalled = false;
    if (socket.is_granted)
        return announce_bulk(socket, bulk);
    for (;;) {
        if (!may_feed(socket)) {
            socket.stalled = socket.asks_listener || taken < bytes.size();
            return socket.stalled ? DRBD_RECEIVE_STALL : DRBD_RECEIVE_MORE;
        }
        DRBD_ASSERT(socket.bulk_due == 0);
        if (taken == bytes.size())
            return DRBD_RECEIVE_MORE;
        auto fed = socket.reader.feed(bytes.subspan(taken));
        if (!fed) {
            fail(fed.error());
            return DRBD_RECEIVE_CLOSED;
        }
        taken += fed.value().consumed;
        if (fed.value().outcome == FeedOutcome::NeedMore)
            return DRBD_RECEIVE_MORE;
        if (fed.value().outcome == FeedOutcome::BulkFollows) {
            if (grant_bulk(socket))
                return announce_bulk(socket, bulk);
            if (is_lost())
                return DRBD_RECEIVE_CLOSED;
            continue;
        }
        if (auto handled = on_frame(socket, nullptr); !handled)
            fail(handled.error());
        if (is_lost())
            return DRBD_RECEIVE_CLOSED;
    }
}

bool Connection::grant_bulk(Socket& socket) {
    const wire::Frame& frame = socket.reader.frame();
    socket.asks_listener = false;
    if (!has_parameters_) {
        fail(Error::of(ErrorCode::Protocol, "%s before P_PROTOCOL", frame.row->name));
        return false;
    }
    auto verdict = listener_.on_bulk(frame);
    if (!verdict) {
        fail(verdict.error());
        return false;
    }
    if (is_lost())
        return false;
    socket.asks_listener = verdict.value() == BulkVerdict::Stall;
    socket.discard_bulk = verdict.value() == BulkVerdict::Discard;
    socket.is_granted = !socket.asks_listener;
    return socket.is_granted;
}

DrbdReceive Connection::announce_bulk(Socket& socket, DrbdBulk& bulk) {
    const wire::Frame& frame = socket.reader.frame();
    socket.is_granted = false;
    socket.bulk_due = frame.bulk_length;
    bulk.bytes = frame.bulk_length;
    bulk.discard = socket.discard_bulk;
    bulk.has_digest = !bulk.discard && !frame.tail.empty();
    if (bulk.has_digest)
        std::memcpy(bulk.digest, frame.tail.data(), std::min<size_t>(frame.tail.size(), sizeof bulk.digest));
    return DRBD_RECEIVE_BULK;
}

void Connection::on_bulk(unsigned number, void* buffer, bool digest_ok) {
    Socket& socket = sockets_[number];
    const uint32_t bytes = socket.bulk_due;
    socket.bulk_due = 0;
    if (socket.use != SocketUse::Data || is_lost()) {
        if (buffer)
            listener_.on_buffer_unused(buffer, bytes);
        return;
    }
    DRBD_ASSERT(bytes != 0);
    socket.reader.on_bulk_received(bytes);
    received_bytes_[0] += bytes;
    pings_.on_data_received();
    if (!digest_ok && !socket.discard_bulk) {
        const wire::Frame& frame = socket.reader.frame();
        be64 sector;  // every packet with a payload begins with it
        std::memcpy(&sector, frame.fixed.data(), sizeof sector);
        if (buffer)
            listener_.on_buffer_unused(buffer, bytes);
        fail(Error::of(ErrorCode::Protocol, "%s: data-integrity-alg %s: digest mismatch of volume %u, sector %llu, %u "
                       "bytes; the network or a memory changes data", frame.row->name, config_.data_integrity_alg,
                       frame.volume, static_cast<unsigned long long>(sector.get()), bytes));
        return;
    }
    if (auto handled = on_frame(socket, buffer); !handled)
        fail(handled.error());
}

// Asked for in every pump(): has what the listener had no room for got some?
void Connection::resume_stalled() {
    Socket& data = sockets_[data_];
    if (data.asks_listener)
        (void)grant_bulk(data);
}

bool Connection::may_receive(unsigned number) const {
    const Socket& socket = sockets_[number];
    return !socket.stalled || may_feed(socket);
}

bool Connection::has_stalled_ready() const {
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number].is_stream() && sockets_[number].stalled && may_feed(sockets_[number]))
            return true;
    return false;
}

// ---- packets ----

Result<void> Connection::on_frame(Socket& socket, void* buffer) {
    const wire::Frame& frame = socket.reader.frame();
    if (socket.use == SocketUse::Meta) {
        pings_.on_meta_received(now_ms());
        return on_meta_frame(frame);
    }
    if (step_ == Step::Up)
        return on_data_frame(frame, buffer);
    if (auto handled = handshake_.on_frame(frame); !handled)
        return handled;
    step_ends_ms_ = now_ms() + step_timeout_ms();
    if (handshake_.is_done())
        go_up();
    return {};
}

Result<void> Connection::on_data_frame(const wire::Frame& frame, void* buffer) {
    switch (frame.packet()) {
    case Packet::Protocol: return on_protocol(frame);
    case Packet::AuthChallenge:
        return Error::of(ErrorCode::Protocol, "cram-hmac-alg: this node none, the peer wants one; configure both alike");
    case Packet::AuthResponse: return Error::of(ErrorCode::Protocol, "P_AUTH_RESPONSE out of place");
    case Packet::DelayProbe: return {};
    default: break;
    }
    if (!has_parameters_)
        return Error::of(ErrorCode::Protocol, "%s before P_PROTOCOL", frame.row->name);
    if (frame.packet() == Packet::ProtocolUpdate)
        return on_protocol_update(frame);
    return listener_.on_packet(frame, buffer);
}

Result<void> Connection::on_meta_frame(const wire::Frame& frame) {
    switch (frame.packet()) {
    case Packet::Ping:
        link_.send_meta(wire::encode_empty(link_.room(), link_.to_connection(), Packet::PingAck));
        return {};
    case Packet::PingAck:
        if (pings_.on_answer(now_ms()))
            listener_.on_ping_answered();
        return {};
    case Packet::DelayProbe: return {};
    default: return listener_.on_packet(frame, nullptr);
    }
}

Result<void> Connection::on_protocol(const wire::Frame& frame) {
    if (has_parameters_)
        return Error::of(ErrorCode::Protocol, "a second P_PROTOCOL on one connection");
    auto decoded = wire::decode_protocol(frame);
    if (!decoded)
        return decoded.error();
    peer_ = seen_from_here(decoded.value());
    if (peer_.dry_run && link_.agreement().version < 92)
        return Error::of(ErrorCode::Incompatible, "the peer wants a dry run at protocol %u; 92 is needed",
                         link_.agreement().version);
    if (auto compared = compare(parameters_of(config_, discard_my_data_), peer_); !compared)
        return compared;
    if (auto taken = take_integrity(peer_); !taken)
        return taken;
    has_parameters_ = true;
    return {};
}

// The peer's administrator changed options: they hold here, too (spec 3.2).
Result<void> Connection::on_protocol_update(const wire::Frame& frame) {
    auto decoded = wire::decode_protocol(frame);
    if (!decoded)
        return decoded.error();
    const wire::ProtocolParameters update = seen_from_here(decoded.value());
    if (update.two_primaries)
        return Error::of(ErrorCode::Incompatible, "allow-two-primaries: this node no, the peer yes (changed while "
                         "connected)");
    if (auto taken = take_integrity(update); !taken)
        return taken;
    adopt(config_, update);
    link_.set_protocol(update.protocol);
    return {};
}

// Which digest the peer puts before payload from now on.
Result<void> Connection::take_integrity(const wire::ProtocolParameters& peer) {
    if (peer.integrity_alg.length() != 0 && std::strcmp(peer.integrity_alg.text, config_.data_integrity_alg) != 0)
        return Error::of(ErrorCode::Incompatible, "data-integrity-alg: this node %s, the peer %s",
                         config_.data_integrity_alg[0] ? config_.data_integrity_alg : "none", peer.integrity_alg.text);
    sockets_[data_].reader.set_integrity_digest_size(peer.integrity_alg.length() != 0 ? config_.integrity_digest_size : 0);
    return {};
}

}  // namespace drbd
