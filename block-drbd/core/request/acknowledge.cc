// SPDX-License-Identifier: GPL-2.0-or-later
// What comes back from the peer for a guest's write: acknowledgements of its
// packets, the confirmation of its epoch, or the end of the connection
// (guest_io.h; spec 6.3, 6.4, 6.6).  Each packet is acknowledged once, by the
// handle of its request and its own sector; anything else breaks the protocol.
#include <algorithm>

#include "core/request/guest_io.h"

namespace drbd {

namespace {

using wire::Packet;

bool test_and_set(uint64_t* words, unsigned bit) {
    const uint64_t mask = 1ull << (bit % 64);
    const bool was = words[bit / 64] & mask;
    words[bit / 64] |= mask;
    return was;
}

Error bad_ack(Packet packet, const wire::BlockAck& ack, const char* why) {
    return Error::of(ErrorCode::Protocol, "%s of block_id 0x%llx, sector %llu, %llu bytes: %s", wire::name_of(packet),
                     static_cast<unsigned long long>(ack.id.value), static_cast<unsigned long long>(ack.sector.value),
                     static_cast<unsigned long long>(ack.size.value), why);
}

}  // namespace

Result<void> GuestIo::on_ack(Packet packet, const wire::BlockAck& ack) {
    const bool negative = packet == Packet::NegAck;
    if (packet != Packet::RecvAck && packet != Packet::WriteAck && packet != Packet::RsWriteAck && !negative)
        return bad_ack(packet, ack, "only two Primaries have writes in conflict, and there is one");
    Request* request = log_.find(ack.id);
    if (request && request->io == this && request->kind == DRBD_REQUEST_FLUSH && negative)
        return {};  // a peer without a disk: nothing to flush
    if (!request || request->io != this || !request->changes_data())
        return on_unknown_ack(packet, ack);
    const PeerSide& peer = request->peer;
    const uint64_t start = to_bytes(ack.sector).value;
    if (start < request->range.start || start >= request->range.end ||
        (start - request->range.start) % peer.piece_bytes != 0)
        return on_unknown_ack(packet, ack);
    const unsigned piece = static_cast<unsigned>((start - request->range.start) / peer.piece_bytes);
    // A peer without a disk refuses P_TRIM and P_ZEROES with a size of no use
    // (trap 47).
    const uint64_t bytes = std::min<uint64_t>(peer.piece_bytes, request->range.end - start);
    if (!negative && ack.size.value != bytes)
        return bad_ack(packet, ack, "another size was sent");
    return on_write_ack(*request, packet, piece);
}

// A P_NEG_ACK may come for a write that is not known any more: what it names
// differs.
Result<void> GuestIo::on_unknown_ack(Packet packet, const wire::BlockAck& ack) {
    if (packet != Packet::NegAck)
        return bad_ack(packet, ack, "nothing of the kind was sent");
    counters_.negative_acks++;
    log_.count_ack(true);
    const uint64_t start = to_bytes(ack.sector).value;
    mark_out_of_sync({.start = start, .end = start + std::max<uint64_t>(ack.size.value, kSectorSize)});
    return {};
}

Result<void> GuestIo::on_write_ack(Request& request, Packet packet, unsigned piece) {
    PeerSide& peer = request.peer;
    const bool negative = packet == Packet::NegAck;
    const wire::BlockAck named{Sector(request.range.start / kSectorSize), Bytes(request.bytes()),
                               log_.handle_of(request), 0};
    const bool were_due = peer.receive_acks_due + peer.write_acks_due != 0;
    if (packet == Packet::RecvAck) {
        if (!peer.asks_receive_ack)
            return bad_ack(packet, named, "this write did not ask for it");
        if (test_and_set(peer.received, piece))
            return bad_ack(packet, named, "it came twice");
        peer.receive_acks_due--;
    } else {
        if (!negative && !peer.asks_write_ack)
            return bad_ack(packet, named, "this write did not ask for it");
        if (packet == Packet::RsWriteAck && !peer.clearable)
            return bad_ack(packet, named, "the peer was not allowed to clear bits for it");
        if (test_and_set(peer.written, piece))
            return bad_ack(packet, named, "it came twice");
        if (peer.asks_write_ack)
            peer.write_acks_due--;
        // An error is all that comes for the packet.
        if (negative && peer.asks_receive_ack && !test_and_set(peer.received, piece))
            peer.receive_acks_due--;
    }
    log_.count_ack(negative);
    if (were_due && peer.receive_acks_due + peer.write_acks_due == 0)
        log_.acknowledged(request);
    if (packet == Packet::WriteAck)
        peer.may_clear = false;  // the peer keeps its bit
    if (negative) {
        peer.failed = true;
        counters_.negative_acks++;
        const uint64_t start = request.range.start + static_cast<uint64_t>(piece) * peer.piece_bytes;
        mark_out_of_sync({.start = start, .end = std::min<uint64_t>(start + peer.piece_bytes, request.range.end)}, true);
        note_loss_there(request);
        listener_.on_peer_write_failed();
    }
    advance(request);
    settle(request);
    return {};
}

void GuestIo::on_confirmed(Request& request) {
    DRBD_ASSERT(unconfirmed_ > 0);
    unconfirmed_--;
    clearable_ -= request.peer.clearable;
    clear_bits_if_earned(request);
    if (request.peer.clearable && has_disk_)
        count_uncleared(request);
    advance(request);
    settle(request);
}

// What the peer has cleared with this write, and is set here: for good, where another one failed
// beside it, or until the image has the write as well.
void GuestIo::count_uncleared(Request& request) {
    if (!request.peer.may_clear) {
        kept_blocks_ += request.peer.kept_blocks;
    } else if (!request.local_over) {
        request.peer.late_blocks = static_cast<uint32_t>(count_bits(disk_.bitmap, request.range));
        late_blocks_ += request.peer.late_blocks;
    }
}

// The peer may have it or not; nobody will ever say.
void GuestIo::on_peer_lost(Request& request) {
    if (request.kind == DRBD_REQUEST_READ) {
        retry_read(request, false);
        return;
    }
    DRBD_ASSERT(unconfirmed_ > 0);
    unconfirmed_--;
    clearable_ -= request.peer.clearable;
    mark_out_of_sync(request.range);
    note_loss_there(request);
    advance(request);
    settle(request);
}

// The peer does not have it, or nobody knows; the guest may have been told that it is done.
void GuestIo::note_loss_there(const Request& request) {
    if (request.stage != Stage::Done || request.result != 0 || !request.changes_data())
        return;
    if (!request.local_ok || rests_on_peer() || request.attachment != attachment_)
        lost_writes_ = owes_loss_ = true;
    else
        local_only_generation_ = written_generation_;
}

// It keeps what it has acknowledged: its image still has that when the disk comes back.
void GuestIo::on_peer_disk_lost(const Request& request) {
    mark_out_of_sync(request.range);
    if (!request.peer.asks_write_ack)
        note_loss_there(request);
}

uint64_t GuestIo::mark_out_of_sync(const Interval& range, bool there) {
    if (!has_disk_)
        return 0;
    if (clearable_ != 0)
        log_.forbid_clearing(*this, range, disk_.bitmap, there);
    const uint64_t end = std::min(divide_up(range.end, kSectorSize), disk_.size.value);
    const Sector start(range.start / kSectorSize);
    return start.value < end ? disk_.bitmap.set_out_of_sync(start, Sector(end) - start) : 0;
}

}  // namespace drbd
