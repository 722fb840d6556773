// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/api/resource.h"

#include <cstdio>
#include <new>

using namespace drbd;

DrbdResource::DrbdResource(const DrbdResourceConfig& config)
    : nr_volumes_(config.nr_volumes),
      random_(config.random_seed[0], config.random_seed[1]),
      connection_(*this, *this, random_, config.name),
      peer_io_(connection_.link(), peer_requests_),
      peer_requests_(peer_io_),
      log_(connection_.link(), pool_) {
    std::snprintf(name_, sizeof name_, "%s", config.name);
    log_.set_listener(*this);
    connection_.set_volumes(nr_volumes_);
}

bool DrbdResource::allocate(unsigned max_requests) {
    // Packets that can wait at once: a write and a barrier for each request of
    // the guest, two answers for each of the peer's, and what belongs to none.
    const unsigned packets =
        TransferLog::packets_max(max_requests) + 2 * kPeerRequestsMax + kControlPacketsMax + 512 * nr_volumes_;
    peer_requests_.set_bytes_max(uint64_t{kPeerPagesDefault} * kBlockSize);
    return pool_.allocate(max_requests) && connection_.allocate(packets) && peer_requests_.allocate(kPeerRequestsMax);
}

Result<void> DrbdResource::open_volume(unsigned number) {
    if (number >= nr_volumes_)
        return Error::of(ErrorCode::Invalid, "volume %u: resource '%s' has volumes 0 to %u (option 'volumes')", number,
                         name_, nr_volumes_ - 1);
    if (volumes_[number])
        return Error::of(ErrorCode::InUse, "volume %u of resource '%s' is open already, by another node", number, name_);
    volumes_[number].reset(new (std::nothrow) Volume(*this, number, connection_.phase()));
    if (!volumes_[number])
        return Error::of(ErrorCode::Exhausted, "not enough memory for volume %u", number);
    if (role_ == Role::Primary)
        volumes_[number]->take_role(0, role_, "the resource is Primary");
    if (connection_.link().is_up()) {
        handshake_since_ms_ = now_ms();
        volumes_[number]->link_up();
    }
    return {};
}

void DrbdResource::close_volume(unsigned number) {
    DRBD_ASSERT(volume(number) && volumes_[number]->is_at_rest());
    // What of its bitmap waits to be sent yet is read by the sender.
    std::erase_if(packets_of_closed_, [](const auto& packets) { return !packets->is_any_in_use(); });
    if (volumes_[number]->resync().has_packets_queued())
        packets_of_closed_.push_back(volumes_[number]->resync().bitmap_packets());
    volumes_[number].reset();
    if (connection_.link().is_up()) {
        closed_volumes_ |= 1u << number;
        on_handshake_over(number);  // nobody waits for the peer's word of it
    }
    on_left();
}

uint32_t DrbdResource::pending(uint32_t queues) const {
    uint32_t pending = 0;
    if (pool_.has_wake())
        pending |= DRBD_PENDING_WAKE;
    if (!notices_.empty())
        pending |= DRBD_PENDING_NOTICE;
    if ((queues & DRBD_PENDING_NETWORK) != 0 && connection_.is_configured()) {
        if (connection_.has_action())
            pending |= DRBD_PENDING_NET;
        if (has_peer_io())
            pending |= DRBD_PENDING_PEER_IO;
        if (peer_requests_.has_release())
            pending |= DRBD_PENDING_RELEASE;
        if (connection_.pending_sockets() != 0)
            pending |= DRBD_PENDING_SEND;
        if (connection_.has_stalled_ready())
            pending |= DRBD_PENDING_RECEIVE;
        if ((queues & DRBD_PENDING_TIMER) != 0 && deadline_ms() < told_deadline_ms_)
            pending |= DRBD_PENDING_TIMER;
    }
    if (queues >> DRBD_PENDING_JOB_SHIFT != 0)
        for (unsigned i = 0; i < nr_volumes_; i++)
            if (volumes_[i] && volumes_[i]->has_job())
                pending |= 1u << (DRBD_PENDING_JOB_SHIFT + i);
    return pending & queues;
}

void DrbdResource::on_activated(Role role) {
    take_role(role, "activated in the role of before", 0);
}

// The last disk was left in an orderly way: nobody can write any more.  A volume without a disk may have a guest that
// lives on the peer's; its role ends when it is left itself.
void DrbdResource::on_left() {
    for (const auto& volume : volumes_)
        if (volume && (volume->is_attached() || volume->operation().pending() || volume->state().role == Role::Primary))
            return;
    take_role(Role::Secondary, "the last volume was closed", 0);
}

