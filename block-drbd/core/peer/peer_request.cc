// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/peer/peer_request.h"

#include <cstring>
#include <new>

namespace drbd {

namespace {

// A buffer that nobody reads any more is long enough to say what follows it.
struct Released {
    void* next;
    uint64_t bytes;
};

Released read_released(const void* buffer) {
    Released released;
    std::memcpy(&released, buffer, sizeof released);
    return released;
}

void write_released(void* buffer, const Released& released) { std::memcpy(buffer, &released, sizeof released); }

}  // namespace

bool PeerRequests::allocate(unsigned requests) {
    DRBD_ASSERT(!requests_ && requests > 0);
    const unsigned all = requests + kReserved;
    requests_.reset(new (std::nothrow) PeerRequest[all]);
    if (!requests_)
        return false;
    for (unsigned i = 0; i < all; i++) {
        requests_[i].id = i;
        free_.push_back(requests_[i]);
    }
    size_ = requests;
    return true;
}

bool PeerRequests::has_room(uint64_t bytes) const {
    if (ordinary_ >= size_)
        return false;
    return bytes_ == 0 || bytes_ + bytes <= bytes_max_;
}

PeerRequest* PeerRequests::take(unsigned volume, PeerWork work, uint64_t bytes) {
    DRBD_ASSERT(volume < DRBD_MAX_VOLUMES);
    if (!is_reserved(work) && !has_room(bytes))
        return nullptr;
    PeerRequest* request = free_.pop_front();
    DRBD_ASSERT(request);
    const uint32_t id = request->id;
    *request = PeerRequest{};
    request->id = id;
    request->volume = volume;
    request->work = work;
    request->counted_bytes = bytes;
    bytes_ += bytes;
    ordinary_ += !is_reserved(work);
    in_use_[volume]++;
    total_++;
    return request;
}

void PeerRequests::submit(PeerRequest& request) {
    DRBD_ASSERT(!request.at_image);
    DRBD_ASSERT(request.io != DRBD_PEER_WRITE || request.buffer);
    to_do_[request.volume].push_back(request);
    ready_ |= 1u << request.volume;
}

void PeerRequests::finish(PeerRequest& request) {
    DRBD_ASSERT(!request.at_image && !PeerRequestList::is_linked(request) && !request.range.in_tree);
    DRBD_ASSERT(in_use_[request.volume] > 0 && bytes_ >= request.counted_bytes);
    release(request.buffer, request.bytes());
    request.buffer = nullptr;
    bytes_ -= request.counted_bytes;
    ordinary_ -= !is_reserved(request.work);
    in_use_[request.volume]--;
    total_--;
    free_.push_back(request);
}

void PeerRequests::release(void* buffer, uint64_t bytes) {
    if (!buffer)
        return;
    DRBD_ASSERT(bytes >= sizeof(Released));
    write_released(buffer, {nullptr, bytes});
    if (last_released_)
        write_released(last_released_, {buffer, read_released(last_released_).bytes});
    else
        first_released_ = buffer;
    last_released_ = buffer;
}

bool PeerRequests::next_release(void*& buffer, size_t& bytes) {
    if (!first_released_)
        return false;
    const Released released = read_released(first_released_);
    buffer = first_released_;
    bytes = released.bytes;
    first_released_ = released.next;
    if (!first_released_)
        last_released_ = nullptr;
    return true;
}

void PeerRequests::fail_queued(unsigned volume, PeerWork first, PeerWork last, int error) {
    PeerRequestList failed;
    PeerRequestList& queue = to_do_[volume];
    for (PeerRequest* request = queue.first(); request;) {
        PeerRequest* following = PeerRequestList::next(*request);
        if (request->work >= first && request->work <= last) {
            queue.erase(*request);
            failed.push_back(*request);
        }
        request = following;
    }
    if (queue.empty())
        ready_ &= ~(1u << volume);
    while (PeerRequest* request = failed.pop_front()) {
        request->result = error;
        tell_owner(*request);
    }
}

// The volumes take turns, so that a busy one does not starve the others.
bool PeerRequests::next(DrbdPeerIo& io, uint32_t volumes) {
    if (!has_next(volumes))
        return false;
    while (!(ready_ & volumes & 1u << next_volume_))
        next_volume_ = (next_volume_ + 1) % DRBD_MAX_VOLUMES;
    const unsigned volume = next_volume_;
    next_volume_ = (volume + 1) % DRBD_MAX_VOLUMES;
    PeerRequest& request = *to_do_[volume].pop_front();
    if (to_do_[volume].empty())
        ready_ &= ~(1u << volume);
    request.at_image = true;
    io.kind = request.io;
    io.id = request.id;
    io.volume = volume;
    io.offset = request.range.start;
    io.bytes = static_cast<uint32_t>(request.bytes());
    io.buffer = request.io == DRBD_PEER_WRITE ? request.buffer : nullptr;
    io.fua = request.fua;
    io.may_unmap = request.may_unmap;
    io.wants_digest = request.wants_digest;
    return true;
}

void PeerRequests::done(uint32_t id, int result, void* buffer, const uint8_t* digest) {
    DRBD_ASSERT(id < size_ + kReserved && requests_[id].at_image);
    PeerRequest& request = requests_[id];
    request.at_image = false;
    request.result = result;
    if (request.io == DRBD_PEER_READ) {
        DRBD_ASSERT((result == 0) == (buffer != nullptr));
        request.buffer = buffer;
        DRBD_ASSERT(result != 0 || !request.wants_digest || digest);
        if (digest && request.wants_digest)
            std::memcpy(request.digest, digest, sizeof request.digest);
    }
    tell_owner(request);
}

PeerRequestOwner* PeerRequests::owner_of(const PeerRequest& request) const {
    return request.work <= PeerWork::EpochFlush ? &peer_io_ : resync_[request.volume];
}

// The volume may have been closed meanwhile: then nobody wants to know.
void PeerRequests::tell_owner(PeerRequest& request) {
    if (PeerRequestOwner* owner = owner_of(request))
        owner->on_peer_io_done(request);
    else
        finish(request);
}

}  // namespace drbd
