// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest's write becomes on the wire (guest_io.h; spec 3.2, 6.2, design
// D16).  A write goes as P_DATA in as many packets as the version demands; all
// have the request's handle, their sectors tell them apart.  Zeroes go without
// payload where the peer must give zeroes for them, else as data.
#include <algorithm>
#include <cstring>

#include "core/request/guest_io.h"

namespace drbd {

namespace {

// What zeroes are sent from; never written.
alignas(4096) uint8_t zero_area[1u << 20];

using wire::DataFlag;
using wire::Feature;
using wire::Packet;
using wire::ReplicationProtocol;

}  // namespace

// Under A and B a flush is the image's, and the end of an epoch.  Without an
// image, or with one that follows the peer's, the peer's copy is all there is.
bool GuestIo::confirms_flushes() const {
    return link_.protocol() == ReplicationProtocol::C || rests_on_peer();
}

GuestIo::Shape GuestIo::shape_of(const Request& request) const {
    const wire::Agreement& agreement = link_.agreement();
    Shape shape;
    shape.piece = static_cast<uint32_t>(wire::peer_bio_max(agreement.version, peer_bio_max_).value);
    if (request.kind != DRBD_REQUEST_WRITE) {
        const bool unmap = request.may_unmap || request.kind == DRBD_REQUEST_DISCARD;
        const bool zeroes = agreement.features.has(Feature::WriteZeroes);
        // Below 95 a discard crashes a kernel peer (spec 11, row 87).  With an
        // integrity algorithm peers want a digest before P_ZEROES that nobody
        // sends (trap 56).  P_TRIM means zeroes only while P_ZEROES is not
        // agreed (trap 57).
        if (agreement.version >= 95 && zeroes && !link_.has_integrity())
            shape.packet = Packet::Zeroes;
        else if (agreement.version >= 95 && agreement.features.has(Feature::Trim) && !zeroes && unmap)
            shape.packet = Packet::Trim;
        else if (link_.has_integrity())
            return shape;  // as data, whose digest nobody has made
        if (shape.packet != Packet::Data)
            shape.piece = static_cast<uint32_t>(wire::zeroes_max(agreement.features).value);
    }
    shape.pieces = static_cast<uint32_t>(divide_up(request.bytes(), shape.piece));
    return shape;
}

DrbdStep GuestIo::ask_for_copy(Request& request, const Shape& shape) {
    request.peer.digest_piece = link_.has_integrity() ? shape.piece : 0;
    request.stage = Stage::Copy;
    return request.step = DRBD_STEP_COPY;
}

// Which answers will come, and which of them the guest waits for (spec 6.3).
void GuestIo::set_expectations(Request& request) {
    PeerSide& peer = request.peer;
    const unsigned version = link_.agreement().version;
    const ReplicationProtocol protocol = link_.protocol();
    const bool syncing = access_.may_set_in_sync;
    // A Primary without good data of its own behaves as under C, whatever is
    // configured.
    const bool wants_it_written = protocol == ReplicationProtocol::C || rests_on_peer();
    if (version >= 100) {
        peer.asks_write_ack = wants_it_written || syncing;
        peer.asks_receive_ack = protocol == ReplicationProtocol::B && !wants_it_written;
        peer.needs_confirmation = false;
        peer.place_needs_confirmation = false;
    } else {
        // The peer goes by its configuration alone.
        peer.asks_write_ack = protocol == ReplicationProtocol::C;
        peer.asks_receive_ack = protocol == ReplicationProtocol::B;
        peer.needs_confirmation = (rests_on_peer() && !peer.asks_write_ack) || (request.fua && version < 95);
        peer.place_needs_confirmation = syncing && !peer.asks_write_ack;
    }
    peer.completes_on_write_ack = wants_it_written && peer.asks_write_ack;
    peer.receive_acks_due = peer.asks_receive_ack ? peer.pieces : 0;
    peer.write_acks_due = peer.asks_write_ack ? peer.pieces : 0;
    peer.clearable = peer.may_clear = syncing && peer.asks_write_ack;
    const size_t words = (peer.pieces + 63) / 64 * sizeof peer.received[0];
    std::memset(peer.received, 0, words);
    std::memset(peer.written, 0, words);
    peer.unsent = peer.failed = peer.confirmed = peer.lost = false;
    peer.late_blocks = peer.kept_blocks = 0;
}

wire::DataFlags GuestIo::flags_of(const Request& request, Packet packet) const {
    wire::DataFlags flags;
    const unsigned version = link_.agreement().version;
    if (access_.may_set_in_sync)
        flags.set(DataFlag::MaySetInSync);
    if (request.fua)
        flags.set(version >= 95 ? DataFlag::Fua : DataFlag::RwSync);
    if (packet == Packet::Zeroes)
        flags.set(DataFlag::Zeroes);
    if (packet == Packet::Trim ||
        (packet == Packet::Zeroes && (request.may_unmap || request.kind == DRBD_REQUEST_DISCARD)))
        flags.set(DataFlag::Discard);
    if (version >= 100) {
        if (request.peer.asks_receive_ack)
            flags.set(DataFlag::SendReceiveAck);
        if (request.peer.asks_write_ack)
            flags.set(DataFlag::SendWriteAck);
    }
    return flags;
}

void GuestIo::send(Request& request, wire::Encoded header, const Payload& payload) {
    request.peer.in_outbox++;
    log_.packet_queued();
    link_.send_data(header, payload, {PacketOwner::GuestRequest, &request});
}

// All packets at once, and in one epoch.  If the connection is given up over
// it, the request is in the log all the same, and is lost with it.
void GuestIo::send_write(Request& request, const Shape& shape) {
    PeerSide& peer = request.peer;
    peer.pieces = static_cast<uint16_t>(shape.pieces);
    peer.piece_bytes = shape.piece;
    set_expectations(request);
    clearable_ += peer.clearable;
    unconfirmed_++;
    log_.prepare(shape.pieces);

    const uint32_t digest_size = shape.packet == Packet::Data ? link_.integrity_digest_size() : 0;
    if (digest_size != 0 && (!request.digest || peer.digest_piece != shape.piece)) {
        // It was copied for another connection.  A new one sends it by resync.
        link_.drop(ConnectionState::NetworkFailure, "data-integrity-alg changed under a write");
    }
    wire::DataWrite write;
    write.id = log_.handle_of(request);
    write.flags = flags_of(request, shape.packet);
    for (uint32_t i = 0; i < shape.pieces && link_.is_up(); i++) {
        const uint64_t offset = static_cast<uint64_t>(i) * shape.piece;
        const uint64_t bytes = std::min<uint64_t>(shape.piece, request.bytes() - offset);
        write.sector = Sector((request.range.start + offset) / kSectorSize);
        write.size = Bytes(bytes);
        write.sequence = link_.next_sequence(volume_);
        if (digest_size != 0)
            write.digest = {request.digest + static_cast<size_t>(i) * digest_size, digest_size};
        Payload payload;
        if (shape.packet == Packet::Data)
            payload = {request.payload ? request.payload + offset : zero_area, static_cast<uint32_t>(bytes)};
        send(request, wire::encode_write(link_.room(), link_.to(volume_), shape.packet, write), payload);
    }
    if (!link_.is_up())
        peer.unsent = true;
    counters_.sent_writes++;
    counters_.sent_bytes += request.bytes();
    log_.add(request);
    rhythm_.write_sent();
    // The guest waits for the confirmation, or soon will: nothing is gained by waiting.
    const bool ends_epoch = peer.needs_confirmation || (rhythm_.flush_is_next() && confirms_flushes());
    if (ends_epoch && !log_.is_closed(peer.epoch))
        log_.close_epoch();
}

// No guest waits for it: it lives in the log alone.
void GuestIo::send_empty_flush(Request& request) {
    request.io = this;
    request.kind = DRBD_REQUEST_FLUSH;
    request.stage = Stage::Done;
    request.step = DRBD_STEP_COMPLETE;
    request.ended = true;
    request.result = 0;
    request.range.start = request.range.end = 0;
    PeerSide& peer = request.peer;
    peer = {};
    peer.pieces = 1;
    outstanding_++;
    unconfirmed_++;
    wire::DataWrite write;
    write.id = log_.handle_of(request);
    write.flags.set(DataFlag::Flush);
    write.sequence = link_.next_sequence(volume_);
    peer.replicated = true;  // even if it cannot be sent, it is lost with the others
    send(request, wire::encode_write(link_.room(), link_.to(volume_), Packet::Data, write), {});
    log_.add(request);
}

void GuestIo::send_out_of_sync(Request& request) {
    if (!link_.is_up() || link_.agreement().version < 96)
        return;
    const wire::BlockRange range{Sector(request.range.start / kSectorSize), Bytes(request.bytes())};
    send(request, wire::encode_block_range(link_.room(), link_.to(volume_), Packet::OutOfSync, range), {});
}

void GuestIo::on_packet_left(Request& request, bool sent) {
    PeerSide& peer = request.peer;
    DRBD_ASSERT(peer.in_outbox > 0);
    peer.in_outbox--;
    if (!sent)
        peer.unsent = true;
    if (peer.in_outbox == 0) {
        advance(request);
        settle(request);
    }
    log_.packet_left(sent);
}

}  // namespace drbd
