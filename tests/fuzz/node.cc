// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: queues, metadata, the image, the guest.
#include "node.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "core/base/limits.h"

namespace drbd::fuzz {

void trace(const char* format, ...) {
    static const bool wanted = std::getenv("DRBD_FUZZ_TRACE") != nullptr;
    if (!wanted)
        return;
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
}

Node::Node(const Setup& setup, PeerSide& peer)
    : setup_(setup), peer_(peer), open_(setup.volumes), leaving_(setup.volumes), drained_(setup.volumes),
      jobs_(setup.volumes) {
    char error[DRBD_ERROR_SIZE];
    const DrbdResourceConfig config = {.name = "fuzz", .nr_volumes = setup.volumes, .max_requests = setup.max_requests,
                                       .random_seed = {1, 2}};
    core_ = drbd_resource_new(&config, error);
    DRBD_ASSERT(core_);
    tell_time();
    for (unsigned v = 0; v < setup.volumes; v++) {
        constexpr uint64_t kMetadata = 96 << 10;  // superblock, ring and the bitmap of the largest image
        images_.emplace_back(setup.image_bytes, setup.internal ? kMetadata : 0);
        metadata_.emplace_back(kMetadata, setup.internal ? 0 : kMetadata);
        open(v);
    }
}

Node::~Node() {
    DRBD_ASSERT(!core_);  // come_to_rest() was called
}

DrbdDiskConfig Node::disk_config(unsigned volume) const {
    return {.image_bytes = images_[volume].bytes(),
            .metadata_bytes = setup_.internal ? images_[volume].bytes() : metadata_[volume].bytes(),
            .placement = setup_.internal ? DRBD_PLACEMENT_INTERNAL : DRBD_PLACEMENT_FLEXIBLE,
            .metadata_index = 0,
            .al_extents = setup_.al_extents,
            .on_io_error = setup_.on_io_error};
}

DrbdVolumeStatus Node::status(unsigned volume) const {
    DrbdVolumeStatus status;
    drbd_volume_status(core_, volume, &status);
    return status;
}

DrbdConnectionStatus Node::connection_status() const {
    DrbdConnectionStatus status;
    drbd_connection_status(core_, &status);
    return status;
}

void Node::open(unsigned volume) {
    char error[DRBD_ERROR_SIZE];
    if (open_[volume])
        return;
    open_[volume] = drbd_volume_open(core_, volume, error);
    DRBD_ASSERT(open_[volume]);
}

void Node::close(unsigned volume) {
    if (!open_[volume])
        return;
    const DrbdVolumeStatus now = status(volume);
    for (const auto& guest : guests_)
        if (guest->volume == volume)
            return;
    for (const DrbdPeerIo& io : peer_ios_)
        if (io.volume == volume)
            return;
    if (now.busy || drbd_volume_needs_disk(core_, volume) || now.in_flight != 0 || jobs_[volume])
        return;
    DrbdResourceStatus resource;
    drbd_resource_status(core_, &resource);
    if (resource.operations_pending != 0 || connection_status().unacknowledged != 0)
        return;
    while (drained_[volume] > 0)
        drain(volume, false);
    drbd_volume_close(core_, volume);
    open_[volume] = leaving_[volume] = false;
}

void Node::drain(unsigned volume, bool begin) {
    if (!open_[volume] || (begin ? drained_[volume] == 3 : drained_[volume] == 0))
        return;
    begin ? drbd_on_drain_begin(core_, volume) : drbd_on_drain_end(core_, volume);
    drained_[volume] += begin ? 1 : -1;
}

// -------------------------------------------------------------- queues --

void Node::settle(unsigned automatic) {
    constexpr unsigned kRoundsMax = 20000;
    unsigned rounds = 0;
    while (settle_once(automatic))
        DRBD_ASSERT(rounds++ < kRoundsMax);  // the queues run empty
    check_bounds();
}

bool Node::settle_once(unsigned automatic) {
    take_notices();
    take_releases();
    const uint32_t pending = drbd_resource_pending(core_, DRBD_PENDING_ALL);
    bool worked = settle_net(automatic);
    if (automatic & kAutoWake) {
        if (pending & DRBD_PENDING_WAKE) {
            take_wake();
            worked = true;
        }
        worked |= act_on_first([](const Guest& guest) { return guest.woken; });
    }
    for (unsigned v = 0; v < setup_.volumes && (automatic & kAutoJobs); v++)
        if (open_[v] && (jobs_[v] || (pending >> (DRBD_PENDING_JOB_SHIFT + v) & 1))) {
            const bool had = jobs_[v];
            take_job(v);
            worked |= had || jobs_[v];
            end_job(v, 0, true);
        }
    if (automatic & kAutoGuest)
        worked |= act_on_first([](const Guest& guest) { return can_act(guest) && !guest.woken; });
    if (automatic & kAutoPeerIo) {
        take_peer_io();
        if (!peer_ios_.empty()) {
            end_peer_io(0, 0);
            worked = true;
        }
    }
    return worked;
}

void Node::take_notices() {
    DrbdNotice notice;
    unsigned taken = 0;
    while (drbd_next_notice(core_, &notice)) {
        DRBD_ASSERT(taken++ <= kNoticesMax);
        trace("    %s %d: %s %s %s %s %s", notice.kind == DRBD_NOTICE_STATE ? "state" : "notice", notice.volume,
              notice.field ? notice.field : "", notice.new_value ? notice.new_value : "",
              notice.command ? notice.command : "", notice.kind != DRBD_NOTICE_OPERATION ? "" : notice.success ? "ok" : "failed",
              notice.text);
        if (notice.kind == DRBD_NOTICE_OPERATION && notice.volume >= 0)
            leaving_[static_cast<unsigned>(notice.volume)] = false;
    }
}

void Node::take_releases() {
    void* buffer;
    size_t bytes;
    while (drbd_next_release(core_, &buffer, &bytes))
        free_buffer(buffer, bytes);
}

void Node::check_bounds() const {
    DrbdResourceStatus resource;
    drbd_resource_status(core_, &resource);
    DRBD_ASSERT(resource.requests_in_use <= resource.requests_max);
    const DrbdConnectionStatus connection = connection_status();
    DRBD_ASSERT(connection.peer_requests <= connection.peer_requests_max);
    const uint64_t pages = setup_.max_buffers != 0 ? setup_.max_buffers : kPeerPagesDefault;
    DRBD_ASSERT(connection.peer_request_bytes <= std::max<uint64_t>(pages * kBlockSize, 1 << 20));
    DRBD_ASSERT(peer_ios_.size() <= kPeerRequestsMax + 16);
    for (unsigned v = 0; v < setup_.volumes; v++) {
        if (!open_[v])
            continue;
        const DrbdVolumeStatus now = status(v);
        DRBD_ASSERT(now.al_used <= now.al_extents);
        // While it is read the bitmap is there before the size.
        DRBD_ASSERT(std::strcmp(now.disk, "Attaching") == 0 || now.out_of_sync_bytes <= round_up(now.bytes, kBlockSize));
        DRBD_ASSERT(now.writes_in_flight <= now.in_flight);
    }
}

void* Node::new_buffer(size_t bytes) {
    void* buffer = std::aligned_alloc(512, round_up(bytes, 512));
    DRBD_ASSERT(buffer);
    std::memset(buffer, 0x5a, bytes);
    buffers_.emplace(buffer, bytes);
    return buffer;
}

void Node::free_buffer(void* buffer, size_t bytes) {
    const auto found = buffers_.find(buffer);
    DRBD_ASSERT(found != buffers_.end() && found->second == bytes);
    buffers_.erase(found);
    std::free(buffer);
}

// ------------------------------------------------------------ metadata --

void Node::take_job(unsigned volume) {
    if (open_[volume] && !jobs_[volume])
        jobs_[volume] = drbd_next_job(core_, volume);
}

void Node::end_job(unsigned volume, int result, bool written) {
    const DrbdJob* job = jobs_[volume];
    if (!job)
        return;
    if (result == 0 || written)
        do_job(volume, *job, written);
    jobs_[volume] = nullptr;
    drbd_on_job_done(core_, volume, result);
}

void Node::do_job(unsigned volume, const DrbdJob& job, bool written) {
    DRBD_ASSERT(job.nr_parts <= DRBD_JOB_MAX_PARTS);
    PlayedDisk& disk = job.target == DRBD_TARGET_IMAGE ? images_[volume] : metadata(volume);
    for (unsigned i = 0; i < job.nr_parts; i++) {
        const DrbdJobPart& part = job.parts[i];
        DRBD_ASSERT(part.offset % 512 == 0 && part.bytes % 512 == 0 && part.bytes > 0 && part.bytes <= 1 << 20);
        if (job.kind == DRBD_JOB_READ)
            disk.read(part.offset, part.buffer, part.bytes);
        else if (written)
            disk.write(part.offset, part.buffer, part.bytes);
    }
}

// ----------------------------------------------------------- for the peer --

void Node::take_peer_io() {
    DrbdPeerIo io;
    if (!drbd_next_peer_io(core_, &io))
        return;
    DRBD_ASSERT(io.volume < setup_.volumes && open_[io.volume]);
    DRBD_ASSERT(io.offset + io.bytes <= images_[io.volume].bytes());
    DRBD_ASSERT(io.kind == DRBD_PEER_FLUSH || io.bytes > 0);
    peer_ios_.push_back(io);
}

void Node::end_peer_io(uint64_t which, int result) {
    if (peer_ios_.empty())
        return;
    const size_t index = which % peer_ios_.size();
    const DrbdPeerIo io = peer_ios_[index];
    peer_ios_.erase(peer_ios_.begin() + static_cast<ptrdiff_t>(index));
    if (io.kind == DRBD_PEER_STATUS && result == 0)
        result = static_cast<int>(which / 16 % 2);
    void* buffer = nullptr;
    if (io.kind == DRBD_PEER_WRITE) {
        DRBD_ASSERT(buffers_.count(io.buffer) != 0);
        volatile uint8_t look = static_cast<const uint8_t*>(io.buffer)[io.bytes - 1];
        (void)look;
    } else if (io.kind == DRBD_PEER_READ && result == 0) {
        buffer = new_buffer(io.bytes);
    }
    const uint8_t digest[DRBD_DIGEST_SIZE] = {};
    drbd_on_peer_io_done(core_, io.id, result, buffer, io.wants_digest && buffer ? digest : nullptr);
}

// ---------------------------------------------------------- for the guest --

void Node::begin_request(unsigned volume, DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags) {
    constexpr size_t kGuestsMax = 128;
    if (!open_[volume] || leaving_[volume] || guests_.size() >= kGuestsMax)
        return;
    const uint64_t size = drbd_volume_bytes(core_, volume);
    if (offset > size || bytes > size - offset || (bytes == 0) != (kind == DRBD_REQUEST_FLUSH))
        return;
    guests_.push_back(std::make_unique<Guest>(Guest{.volume = volume, .kind = kind, .offset = offset, .bytes = bytes,
                                                    .flags = flags, .payload = {}, .digests = {}}));
    Guest& g = *guests_.back();
    trace("  request: volume %u, kind %d, offset %llu, bytes %llu, flags %u", volume, kind,
          static_cast<unsigned long long>(offset), static_cast<unsigned long long>(bytes), flags);
    stepped(g, drbd_on_guest_request(core_, volume, kind, offset, bytes, flags, &g, &g.waiter, &g.core));
}

void Node::stepped(Guest& guest, DrbdStep step) {
    guest.step = step;
    DRBD_ASSERT(guest.core || step == DRBD_STEP_RETRY);
    DRBD_ASSERT(step != DRBD_STEP_COPY || (guest.kind == DRBD_REQUEST_WRITE && !guest.payload));
    DRBD_ASSERT(step != DRBD_STEP_DELIVER || guest.kind == DRBD_REQUEST_READ);
}

bool Node::can_act(const Guest& guest) {
    const bool waits = guest.step == DRBD_STEP_WAIT || guest.step == DRBD_STEP_RETRY;
    return guest.woken || !waits;
}

void Node::take_wake() {
    void* owner = drbd_next_wake(core_);
    if (!owner)
        return;
    for (auto& guest : guests_)
        if (guest.get() == owner) {
            DRBD_ASSERT(!guest->woken && (guest->step == DRBD_STEP_WAIT || guest->step == DRBD_STEP_RETRY));
            guest->woken = true;
            return;
        }
    assertion_failed("somebody is woken who does not wait", __FILE__, __LINE__);
}

void Node::act(uint64_t which, int result) {
    unsigned able = 0;
    for (const auto& guest : guests_)
        able += can_act(*guest);
    if (able == 0)
        return;
    uint64_t skip = which % able;
    auto at = guests_.begin();
    while (!can_act(**at) || skip-- > 0)
        ++at;
    act_on(at, result);
}

bool Node::act_on_first(bool (*is_it)(const Guest& guest)) {
    for (auto at = guests_.begin(); at != guests_.end(); ++at)
        if (is_it(**at)) {
            act_on(at, 0);
            return true;
        }
    return false;
}

void Node::act_on(Guests::iterator at, int result) {
    Guest& g = **at;
    if (g.woken) {
        g.woken = false;
        if (g.step == DRBD_STEP_RETRY)
            stepped(g, drbd_on_guest_request(core_, g.volume, g.kind, g.offset, g.bytes, g.flags, &g, &g.waiter, &g.core));
        else
            stepped(g, drbd_request_step(g.core));
        DRBD_ASSERT(g.step != DRBD_STEP_WAIT || g.core);
        return;
    }
    switch (g.step) {
    case DRBD_STEP_COPY: copy(g); return;
    case DRBD_STEP_SUBMIT: stepped(g, drbd_on_local_done(g.core, result)); return;
    case DRBD_STEP_DELIVER: deliver(g); return;
    case DRBD_STEP_COMPLETE: {
        const int ended = drbd_request_end(g.core);
        trace("  completed: %d", ended);
        DRBD_ASSERT(ended <= 0);
        guests_.erase(at);
        return;
    }
    case DRBD_STEP_WAIT:
    case DRBD_STEP_RETRY: return;
    }
}

void Node::copy(Guest& g) {
    g.payload = std::make_unique<uint8_t[]>(g.bytes);
    if (const uint32_t piece = drbd_request_digest_piece(g.core); piece != 0)
        g.digests = std::make_unique<uint8_t[]>(divide_up(g.bytes, piece) * setup_.digest_size);
    stepped(g, drbd_on_copied(g.core, g.payload.get(), g.digests.get()));
}

void Node::deliver(Guest& g) {
    uint64_t offset;
    size_t bytes;
    const auto* answer = static_cast<const uint8_t*>(drbd_request_answer(g.core, &offset, &bytes));
    DRBD_ASSERT(bytes > 0 && offset <= g.bytes && bytes <= g.bytes - offset);
    volatile uint8_t look = static_cast<uint8_t>(answer[0] ^ answer[bytes - 1]);
    (void)look;
    g.delivered += bytes;
    DRBD_ASSERT(g.delivered <= g.bytes);
    stepped(g, drbd_on_delivered(g.core));
}

// -------------------------------------------------------------- at rest --

// What keeps the node from rest, or null.
const char* Node::what_is_left() const {
    DrbdResourceStatus resource;
    drbd_resource_status(core_, &resource);
    for (const Socket& socket : sockets_)
        if (socket.use != Use::Free)
            return "a socket";
    for (unsigned v = 0; v < setup_.volumes; v++)
        if (open_[v] && drbd_volume_needs_disk(core_, v))
            return "a disk";
    return resource.operations_pending != 0                               ? "an operation"
           : std::strcmp(connection_status().state, "StandAlone") != 0 ? "the connection"
           : !guests_.empty()                                            ? "a request of the guest"
           : resource.requests_in_use != 0                               ? "a request that has ended for the guest"
           : !buffers_.empty()                                           ? "a buffer of payload"
                                                                         : nullptr;
}

void Node::give_disk_up(unsigned volume) {
    char error[DRBD_ERROR_SIZE];
    if (open_[volume] && drbd_volume_needs_disk(core_, volume) && !status(volume).busy)
        drbd_on_detach(core_, volume, true, error);
}

void Node::come_to_rest() {
    char error[DRBD_ERROR_SIZE];
    for (unsigned v = 0; v < setup_.volumes; v++)
        while (drained_[v] > 0)
            drain(v, false);
    for (unsigned s = 0; s < DRBD_MAX_SOCKETS; s++)
        end_send(s, 0);
    settle(kAutoAll);
    constexpr unsigned kRoundsMax = 200;
    unsigned rounds = 0;
    while (const char* left = what_is_left()) {
        if (rounds++ == kRoundsMax) {
            std::fprintf(stderr, "the node does not come to rest: %s is left\n", left);
            for (const auto& guest : guests_)
                std::fprintf(stderr, "volume %u, kind %d, offset %llu, bytes %llu: step %d\n", guest->volume, guest->kind,
                             static_cast<unsigned long long>(guest->offset), static_cast<unsigned long long>(guest->bytes),
                             guest->step);
            std::abort();
        }
        if (std::strcmp(connection_status().state, "StandAlone") != 0)
            drbd_on_disconnect(core_, true, error);
        for (unsigned v = 0; v < setup_.volumes; v++)
            give_disk_up(v);
        settle(kAutoAll);
        advance_to_deadline();
        settle(kAutoAll);
    }
    const DrbdConnectionStatus connection = connection_status();
    DRBD_ASSERT(connection.peer_requests == 0 && connection.peer_request_bytes == 0);
    DRBD_ASSERT(connection.unacknowledged == 0 && connection.send_queue == 0);
    for (unsigned v = 0; v < setup_.volumes; v++) {
        DRBD_ASSERT(!open_[v] || status(v).in_flight == 0);
        close(v);
        DRBD_ASSERT(!open_[v]);
    }
    take_notices();
    take_releases();
    drbd_resource_free(core_);
    core_ = nullptr;
}

}  // namespace drbd::fuzz
