// SPDX-License-Identifier: GPL-2.0-or-later
// What the peer hears of its writes (peer_io.h): which answers a write wants,
// and when each is sent (spec 3.2; traps 44 to 51).
#include "core/peer/peer_io.h"

namespace drbd {

// From 100 on the flags say which answers are wanted; before, the protocol does.
wire::DataFlags PeerIo::wanted_answers(wire::DataFlags flags) const {
    if (link_.agreement().version >= 100)
        return flags;
    wire::DataFlags wanted;
    if (flags.has(wire::DataFlag::MaySetInSync))
        wanted.set(wire::DataFlag::MaySetInSync);
    switch (link_.protocol()) {
    case wire::ReplicationProtocol::A: break;
    case wire::ReplicationProtocol::B: wanted.set(wire::DataFlag::SendReceiveAck); break;
    case wire::ReplicationProtocol::C: wanted.set(wire::DataFlag::SendWriteAck); break;
    }
    return wanted;
}

bool PeerIo::may_answer(const PeerRequest& request) const {
    return link_.is_up() && request.times_up == link_.times_up();
}

void PeerIo::send_ack(unsigned volume, wire::Packet packet, Sector sector, Bytes size, wire::BlockId id) {
    if (!link_.is_up())
        return;
    const wire::BlockAck ack{sector, size, id, link_.next_sequence(volume)};
    link_.send_meta(wire::encode_block_ack(link_.room(), link_.to(volume), packet, ack));
}

// A flush without data is answered by the acknowledgement of its epoch alone:
// there is no block to speak of.
void PeerIo::acknowledge_reception(const PeerRequest& request) {
    if (request.bytes() != 0 && request.flags.has(wire::DataFlag::SendReceiveAck))
        send_ack(request.volume, wire::Packet::RecvAck, request.sector(), Bytes(request.bytes()), request.block_id);
}

void PeerIo::acknowledge_write(const PeerRequest& request) {
    if (request.bytes() == 0 || !may_answer(request))
        return;
    PeerVolume& volume = *volumes_[request.volume].volume;
    const Bytes size(request.bytes());
    wire::Packet packet = wire::Packet::WriteAck;
    if (request.result != 0) {
        // Whatever the protocol: the peer would believe that we have it.
        packet = wire::Packet::NegAck;
    } else if (!request.flags.has(wire::DataFlag::SendWriteAck)) {
        return;
    } else if (request.flags.has(wire::DataFlag::MaySetInSync) && !request.peer_has_no_disk && volume.is_syncing()) {
        // The peer clears its bits when it gets this, so ours go as well.
        volume.set_in_sync(request.sector(), size);
        packet = wire::Packet::RsWriteAck;
    }
    send_ack(request.volume, packet, request.sector(), size, request.block_id);
}

void PeerIo::acknowledge_epoch() {
    if (link_.is_up() && times_up_ == link_.times_up())
        link_.send_meta(wire::encode_barrier_ack(link_.room(), link_.to_connection(), epochs_.oldest_answer()));
}

}  // namespace drbd
