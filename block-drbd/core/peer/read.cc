// SPDX-License-Identifier: GPL-2.0-or-later
// What the peer reads from our image because its own cannot answer (peer_io.h;
// spec 3.2, 6.9).  A read takes its place in the order: a write that came before
// it may be complete for the peer's guest (protocols A and B) and still wait here
// for its epoch; the read must see it.
#include <cerrno>

#include "core/peer/peer_io.h"

namespace drbd {

Result<void> PeerIo::on_read_request(const wire::Frame& frame) {
    auto volume = volume_of(frame);
    if (!volume)
        return volume.error();
    auto decoded = wire::decode_block_request(frame, volume.value()->capacity(), 0);
    if (!decoded)
        return decoded.error();
    const wire::BlockRequest& read = decoded.value();
    if (!volume.value()->peer_may_read()) {
        refuse_read(frame.volume, read.sector, read.size, read.id);
        return {};
    }
    PeerRequest* request = requests_.take(frame.volume, PeerWork::Read, read.size.value);
    if (!request)
        return Error::of(ErrorCode::Protocol, "P_DATA_REQUEST: no request is free, %u are in use with %llu bytes",
                         requests_.in_use(), static_cast<unsigned long long>(requests_.bytes()));
    request->io = DRBD_PEER_READ;
    request->range.start = to_bytes(read.sector).value;
    request->range.end = request->range.start + read.size.value;
    request->block_id = read.id;
    request->times_up = link_.times_up();
    request->wants_digest = link_.has_integrity();
    volume.value()->count_peer_read();
    if (volumes_[frame.volume].order.enter(*request, epochs_.oldest()))
        requests_.submit(*request);
    return {};
}

// What it waited for may have failed, and the image be no longer good for it.
bool PeerIo::begin_read(PeerRequest& request) {
    PerVolume& v = volumes_[request.volume];
    if (v.volume->peer_may_read()) {
        requests_.submit(request);
        return true;
    }
    request.result = -EIO;
    v.order.leave(request);
    if (may_answer(request))
        refuse_read(request.volume, request.sector(), Bytes(request.bytes()), request.block_id);
    requests_.finish(request);
    return false;
}

void PeerIo::refuse_read(unsigned volume, Sector sector, Bytes size, wire::BlockId id) {
    send_ack(volume, wire::Packet::NegDReply, sector, size, id);
}

void PeerIo::read_done(PeerRequest& request) {
    const unsigned number = request.volume;
    const int error = request.result;
    const uint64_t offset = request.range.start, bytes = request.bytes();
    PerVolume& v = volumes_[number];
    v.order.leave(request);
    if (v.order.has_blocked())
        go_on(v);
    // The algorithm may have changed since; the peer asks again.
    const bool digest_fits = request.wants_digest == link_.has_integrity();
    if (error == 0 && may_answer(request) && digest_fits) {
        const wire::DataReply reply{request.sector(), Bytes(bytes), request.block_id,
                                    {request.digest, link_.integrity_digest_size()}};
        // Ours until on_packet_left(), which may be now.
        link_.send_data(wire::encode_data_reply(link_.room(), link_.to(number), wire::Packet::DataReply, reply),
                        {request.buffer, static_cast<uint32_t>(bytes)}, {PacketOwner::ForPeer, &request});
        return;
    }
    if (may_answer(request))
        refuse_read(number, request.sector(), Bytes(bytes), request.block_id);
    requests_.finish(request);
    if (error != 0 && error != -ECANCELED && v.volume && !v.disk_lost)
        v.volume->on_peer_disk_error(DRBD_REQUEST_READ, offset, bytes, error);
}

void PeerIo::on_packet_left(PeerRequest& request, bool) {
    DRBD_ASSERT(request.work == PeerWork::Read);
    requests_.finish(request);
}

}  // namespace drbd
