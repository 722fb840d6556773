// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/source.h"

#include <algorithm>

namespace drbd {

void SourceRequest::add_marked(uint64_t first, uint64_t end) {
    first_marked = first_marked == end_marked ? first : std::min(first_marked, first);
    end_marked = std::max(end_marked, end);
}

ResyncSource::ResyncSource(const ResyncParts& parts, Unconfirmed& unconfirmed)
    : parts_(parts), unconfirmed_(unconfirmed) {
    for (SourceRequest& request : requests_)
        free_.push_back(request);
    for (SourceRead& read : reads_) {
        read.listener = this;
        free_reads_.push_back(read);
    }
}

void ResyncSource::begin() {
    running_ = true;
    was_asked_ = false;
    failed_blocks_ = kept_blocks_ = 0;
}

void ResyncSource::stop() {
    running_ = false;
    while (SourceRequest* request = queued_.pop_front())
        refuse(*request);
    for (SourceRead& read : reads_)
        if (read.request)
            abandon(read);
    if (!parts_.link.is_up()) {
        while (SourceRequest* request = answered_.pop_front())
            free_.push_back(*request);
        return;
    }
    // Acknowledgements are still to come; what they would clear is unknown.
    for (SourceRequest* request = answered_.first(); request; request = RequestList::next(*request))
        request->add_marked(first_block_of(request->range()), end_block_of(request->range()));
}

// ---- requests ----

Result<void> ResyncSource::on_request(const wire::Frame& frame) {
    // A peer that resyncs by checksum says what it has (csums-alg).  Nobody here
    // compares: the data are a good answer as well (spec 3.2).
    const bool by_checksum = frame.packet() == wire::Packet::CsumRsRequest;
    const auto decoded = wire::decode_block_request(frame, parts_.peer_volume.capacity(),
                                                    by_checksum ? static_cast<uint32_t>(frame.tail.size()) : 0);
    if (!decoded)
        return decoded.error();
    SourceRequest* request = free_.pop_front();
    DRBD_ASSERT(request);
    request->sector = decoded.value().sector;
    request->size = decoded.value().size;
    request->id = decoded.value().id;
    request->thin = frame.packet() == wire::Packet::RsThinRequest;
    request->first_marked = request->end_marked = 0;
    was_asked_ |= running_;
    if (!running_ || !parts_.peer_volume.peer_may_read())
        refuse(*request);
    else
        queued_.push_back(*request);
    return {};
}

void ResyncSource::refuse(SourceRequest& request) {
    parts_.send_ack(wire::Packet::NegRsDReply, request.sector, request.size, request.id);
    free_.push_back(request);
}

bool ResyncSource::has_room(uint64_t bytes) const {
    const PeerRequests& pool = parts_.requests;
    return pool.in_use() < pool.size() / 2 && pool.bytes() + bytes <= std::max(pool.bytes_max() / 2, bytes);
}

void ResyncSource::pump() {
    while (SourceRequest* request = queued_.first()) {
        if (!parts_.peer_volume.peer_may_read()) {
            queued_.erase(*request);
            refuse(*request);
            continue;
        }
        if (free_reads_.empty() || !has_room(request->size.value))
            return;
        PeerRequest* io = parts_.requests.take(parts_.volume, PeerWork::ResyncRead, request->size.value);
        if (!io)
            return;
        queued_.erase(*request);
        SourceRead& read = *free_reads_.pop_front();
        read.range = request->range();
        read.request = request;
        read.io = io;
        read.at_image = false;
        parts_.locks.lock_range(read);
    }
}

void ResyncSource::on_range_locked(RangeLock& lock) {
    SourceRead& read = static_cast<SourceRead&>(lock);
    if (running_)
        begin_io(read);  // else stop() is about to come to it
}

void ResyncSource::begin_io(SourceRead& read) {
    PeerRequest& io = *read.io;
    io.range = read.request->range();
    io.slot = static_cast<uint32_t>(&read - reads_);
    io.block_id = read.request->id;
    io.times_up = parts_.link.times_up();
    io.thin = read.request->thin;
    io.wants_digest = parts_.link.has_integrity();
    io.io = io.thin ? DRBD_PEER_STATUS : DRBD_PEER_READ;
    read.at_image = true;
    parts_.requests.submit(io);
}

// ---- answers ----

void ResyncSource::on_peer_io_done(PeerRequest& io) {
    SourceRead& read = reads_[io.slot];
    DRBD_ASSERT(read.io == &io && read.at_image);
    if (!read.request) {
        parts_.requests.finish(io);
        read.io = nullptr;
        free_reads_.push_back(read);
        return;
    }
    if (io.io == DRBD_PEER_STATUS && io.result != 1) {
        io.io = DRBD_PEER_READ;
        parts_.requests.submit(io);
        return;
    }
    if (io.result >= 0) {
        answer(read, io, io.io == DRBD_PEER_STATUS);
        return;
    }
    SourceRequest& request = *read.request;
    const Interval range = io.range;
    const int error = io.result;
    failed_blocks_ += end_block_of(range) - first_block_of(range);
    read.request = nullptr;
    read.io = nullptr;
    free_reads_.push_back(read);
    parts_.requests.finish(io);
    refuse(request);
    parts_.locks.unlock_range(read);
    parts_.listener.on_resync_disk_error(DRBD_REQUEST_READ, range.start, range.end - range.start, error);
}

// The lock is given back when the answer is queued: whatever the guest writes
// now comes behind it on the data stream (trap 71).
void ResyncSource::answer(SourceRead& read, PeerRequest& io, bool deallocated) {
    SourceRequest& request = *read.request;
    answered_.push_back(request);
    read.request = nullptr;
    read.io = nullptr;
    free_reads_.push_back(read);
    Link& link = parts_.link;
    const Owner owner{PacketOwner::ForPeer, &io};
    if (deallocated) {
        link.send_data(wire::encode_block_range(link.room(), parts_.to(), wire::Packet::RsDeallocated,
                                                {request.sector, request.size}), {}, owner);
    } else {
        const std::span<const uint8_t> digest(io.digest, io.wants_digest ? link.integrity_digest_size() : 0);
        link.send_data(wire::encode_data_reply(link.room(), parts_.to(), wire::Packet::RsDataReply,
                                               {request.sector, request.size, request.id, digest}),
                       {io.buffer, static_cast<uint32_t>(request.size.value)}, owner);
    }
    parts_.locks.unlock_range(read);
}

void ResyncSource::on_packet_left(PeerRequest& io) {
    parts_.requests.finish(io);
}

// ---- acknowledgements ----

// They come mostly in order.  A P_NEG_ACK may have lost its size (trap 47).
SourceRequest* ResyncSource::find_answered(Sector sector, Bytes size) {
    for (SourceRequest* request = answered_.first(); request; request = RequestList::next(*request))
        if (request->sector == sector && (request->size == size || size.value == 0))
            return request;
    return nullptr;
}

// More than there are, if the target asks for some of them twice.
uint64_t ResyncSource::unacknowledged_blocks() const {
    uint64_t blocks = 0;
    for (const SourceRequest* request = answered_.first(); request; request = RequestList::next(*request))
        blocks += parts_.disk.bitmap.count(first_block_of(request->range()), end_block_of(request->range()));
    return blocks;
}

Result<void> ResyncSource::on_ack(wire::Packet packet, const wire::BlockAck& ack) {
    SourceRequest* request = find_answered(ack.sector, ack.size);
    if (!request)
        return Error::of(ErrorCode::Protocol, "%s: volume %u: no resync answer of sector %llu, %llu bytes waits for it",
                         wire::name_of(packet), parts_.volume, static_cast<unsigned long long>(ack.sector.value),
                         static_cast<unsigned long long>(ack.size.value));
    answered_.erase(*request);
    free_.push_back(*request);
    if (packet == wire::Packet::RsWriteAck)
        clear_bits(*request);
    else
        failed_blocks_ += end_block_of(request->range()) - first_block_of(request->range());
    return {};
}

void ResyncSource::clear_bits(const SourceRequest& request) {
    const Interval range = request.range();
    unconfirmed_.on_acknowledged(range.start, range.end, parts_.link.now_ms());
    if (request.first_marked == request.end_marked) {
        parts_.peer_volume.set_in_sync(request.sector, request.size);
        return;
    }
    // The target has cleared them all.  Behind an end nobody asks, and there may be no disk.
    if (running_)
        kept_blocks_ += parts_.disk.bitmap.count(std::max(request.first_marked, first_block_of(range)),
                                                 std::min(request.end_marked, end_block_of(range)));
    const uint64_t first = request.first_marked * kBlockSize, end = request.end_marked * kBlockSize;
    if (range.start < first)
        parts_.peer_volume.set_in_sync(request.sector, Bytes(std::min(first, range.end) - range.start));
    if (end < range.end)
        parts_.peer_volume.set_in_sync(Sector(std::max(end, range.start) / kSectorSize),
                                       Bytes(range.end - std::max(end, range.start)));
}

void ResyncSource::on_marked(uint64_t first_block, uint64_t end_block) {
    if (answered_.empty() && free_reads_.size() == kResyncReadsMax)
        return;
    const auto mark = [&](SourceRequest& request) {
        if (first_block < end_block_of(request.range()) && first_block_of(request.range()) < end_block)
            request.add_marked(first_block, end_block);
    };
    for (SourceRequest* request = answered_.first(); request; request = RequestList::next(*request))
        mark(*request);
    for (SourceRead& read : reads_)
        if (read.request)
            mark(*read.request);
}

void ResyncSource::abandon(SourceRead& read) {
    SourceRequest& request = *read.request;
    read.request = nullptr;
    if (!read.at_image) {
        parts_.requests.finish(*read.io);
        read.io = nullptr;
        free_reads_.push_back(read);
    }
    refuse(request);
    parts_.locks.unlock_range(read);
}

}  // namespace drbd
