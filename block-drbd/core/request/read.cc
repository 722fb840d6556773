// SPDX-License-Identifier: GPL-2.0-or-later
// Guest reads (guest_io.h, spec 6.9): from the image where it is good, else
// from the peer.  A read that fails on one side is tried on the other.
#include <algorithm>

#include "core/request/guest_io.h"

namespace drbd {

DrbdStep GuestIo::route_read(Request& request, bool ask_peer_too) {
    bool local = access_.image_reads;
    if (!local && access_.image_reads_in_sync && has_disk_)
        local = disk_.bitmap.next_set(request.range.start / kBlockSize) * kBlockSize >= request.range.end;
    if (local) [[likely]]
        return submit(request);
    if (ask_peer_too && access_.peer_reads && link_.agreement().version != 0)
        return ask_peer(request, 0);
    return finish(request, -EIO);
}

// Before 95 an answer is small: such a read is asked for and delivered piece
// by piece.
DrbdStep GuestIo::ask_peer(Request& request, uint64_t offset) {
    const unsigned version = link_.agreement().version;
    const uint64_t most = version < 95 ? wire::bulk_max(version).value : wire::kBulkSizeMax;
    request.answer_offset = offset;
    request.answer_bytes = static_cast<uint32_t>(std::min(most, request.bytes() - offset));
    request.peer.pieces = 1;
    if (!log_.has_room(1)) {
        request.stage = Stage::WaitSend;
        log_.wait_for_room(request);
        return request.step = DRBD_STEP_WAIT;
    }
    counters_.remote_reads++;
    log_.add_read(request);
    request.stage = Stage::WaitPeer;
    request.step = DRBD_STEP_WAIT;
    if (link_.is_up()) {
        const wire::BlockRequest wanted{Sector((request.range.start + offset) / kSectorSize),
                                        Bytes(request.answer_bytes), log_.handle_of(request), {}};
        send(request, wire::encode_block_request(link_.room(), link_.to(volume_), wire::Packet::DataRequest, wanted), {});
    }
    return DRBD_STEP_WAIT;
}

DrbdStep GuestIo::read_done(Request& request) {
    if (request.result == 0)
        return finish(request, 0);
    counters_.read_errors++;
    // The peer's copy may be good where this one is not (spec 6.9).
    kept_blocks_ += mark_out_of_sync(request.range);
    listener_.on_disk_error(request.kind, request.range.start, request.bytes(), request.result);
    if (access_.peer_reads && link_.agreement().version != 0)
        return ask_peer(request, 0);
    return finish(request, request.result);
}

Result<void> GuestIo::on_data_reply(const wire::DataReply& reply, void* buffer) {
    Request* request = log_.find(reply.id);
    if (!buffer || !request || request->io != this || request->kind != DRBD_REQUEST_READ ||
        to_bytes(reply.sector).value != request->range.start + request->answer_offset ||
        reply.size.value != request->answer_bytes) {
        if (buffer)
            buffers_.release_buffer(buffer, reply.size.value);
        return Error::of(ErrorCode::Protocol, "P_DATA_REPLY of block_id 0x%llx, sector %llu, %llu bytes: nothing of the kind was asked for",
                         static_cast<unsigned long long>(reply.id.value),
                         static_cast<unsigned long long>(reply.sector.value),
                         static_cast<unsigned long long>(reply.size.value));
    }
    log_.remove_read(*request);
    request->answer = buffer;
    request->stage = Stage::Deliver;
    request->step = DRBD_STEP_DELIVER;
    pool_.wake(*request);
    return {};
}

DrbdStep GuestIo::delivered(Request& request) {
    DRBD_ASSERT(request.stage == Stage::Deliver);
    buffers_.release_buffer(request.answer, request.answer_bytes);
    request.answer = nullptr;
    const uint64_t done = request.answer_offset + request.answer_bytes;
    if (done == request.bytes())
        return finish(request, 0);
    if (access_.peer_reads && link_.agreement().version != 0)
        return ask_peer(request, done);
    return route_read(request, false);
}

Result<void> GuestIo::on_negative_reply(const wire::BlockAck& ack) {
    Request* request = log_.find(ack.id);
    if (!request || request->io != this || request->kind != DRBD_REQUEST_READ ||
        to_bytes(ack.sector).value != request->range.start + request->answer_offset)
        return Error::of(ErrorCode::Protocol, "P_NEG_DREPLY of block_id 0x%llx, sector %llu: nothing of the kind was asked for",
                         static_cast<unsigned long long>(ack.id.value),
                         static_cast<unsigned long long>(ack.sector.value));
    log_.remove_read(*request);
    const bool again = !request->retried;
    request->retried = true;
    if (again)
        retry_read(*request, true);
    else
        finish_and_wake(*request, -EIO);
    return {};
}

void GuestIo::retry_read(Request& request, bool ask_peer_too) {
    if (access_.hold)
        hold(request);
    else if (access_.read_error != 0)
        finish_and_wake(request, access_.read_error);
    else
        wake_unless_waiting(request, route_read(request, ask_peer_too));
}

}  // namespace drbd
