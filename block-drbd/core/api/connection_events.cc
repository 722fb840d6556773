// SPDX-License-Identifier: GPL-2.0-or-later
// What the connection's coming and going, and time, mean for the resource
// (resource.h; spec 1.4, 1.7, 4.1; design D14 and section 6, "Drain").
#include <algorithm>
#include <cstdio>

#include "core/api/resource.h"

using namespace drbd;

namespace {

// Requests of a lost peer that are judged in one event, of all that there can be.
constexpr unsigned kPartLostAtOnce = 8;
constexpr uint64_t kConfirmationEveryMs = 1000;
// Of a resync whose target is done, which nothing else keeps from its end.
constexpr uint64_t kLastConfirmationEveryMs = 20;

uint64_t confirmation_interval_ms(const Resync& resync) {
    return resync.is_hurried() ? kLastConfirmationEveryMs : kConfirmationEveryMs;
}

}  // namespace

Result<void> DrbdResource::configure(const DrbdNetConfig& config) {
    if (auto good = connection_.configure(config); !good)
        return good;
    log_.configure(connection_.config().max_epoch_size);
    // A source has one request in hand while it reads on, or two nodes that are source of
    // a volume each wait for each other with both lines full.
    peer_requests_.set_bytes_max(std::max(uint64_t{connection_.config().max_buffers} * kBlockSize, 2 * kWriteMax.value));
    return {};
}

Result<uint64_t> DrbdResource::connect(bool discard_my_data) {
    if (!connection_.is_configured())
        return Error::of(ErrorCode::Invalid, "connect is refused: resource '%s' has no addresses (local and peer)", name_);
    if (connection_.phase() != ConnectionState::StandAlone)
        return Error::of(ErrorCode::Refused, "connect is refused: the resource is %s already",
                         name_of(connection_state()));
    if (discard_my_data && role_ == Role::Primary)
        return Error::of(ErrorCode::Refused, "connect with discard-my-data is refused: this node is Primary and its data "
                                             "is in use; make it Secondary first");
    const uint64_t number = new_operation_number();
    connection_.connect(discard_my_data);
    notices_.operation(-1, number, "connect", true, "");
    return number;
}

void DrbdResource::on_phase(ConnectionState phase, const char* reason) {
    for (auto& volume : volumes_)
        if (volume)
            volume->set_phase(phase, reason);
}

void DrbdResource::on_connection_up() {
    handshake_since_ms_ = now_ms();
    closed_volumes_ = 0;
    asked_ = {};
    to_answer_ = {};
    for (auto& volume : volumes_)
        if (volume)
            volume->link_up();
    // What was told just now is about to change: both nodes could be promoted, or judge by different roles.
    if (change_.number != 0 && change_.phase == RolePhase::Record)
        connection_.link().drop(ConnectionState::NetworkFailure,
                                "a change of the role is being recorded: the peer will be met after it");
}

// The order matters: the new generation is pending before any request hears
// that it has no peer (design D14).
void DrbdResource::on_connection_lost(ConnectionState how, const char* reason) {
    notices_.peer_lost(reason);
    handshake_since_ms_ = kNotTimed;
    drain_since_ms_ = kNotTimed;
    asked_ = {};
    to_answer_ = {};
    peer_io_.link_lost();
    for (auto& volume : volumes_)
        if (volume) {
            volume->note_progress();
            volume->resync_link_lost();
            volume->link_lost(how, reason);
        }
    losing_peer_ = true;
    role_link_lost();
    if (ending_.number != 0)
        end_connection(false);
}

int DrbdResource::volume_in_handshake() const {
    for (unsigned i = 0; i < nr_volumes_; i++)
        if (volumes_[i] && volumes_[i]->in_handshake())
            return static_cast<int>(i);
    return -1;
}

void DrbdResource::on_handshake_over(unsigned) {
    if (volume_in_handshake() >= 0)
        return;
    handshake_since_ms_ = kNotTimed;
    connection_.clear_discard_my_data();
    go_on_with_role();
}

void DrbdResource::on_ping_answered() {
    for (auto& volume : volumes_)
        if (volume)
            volume->ping_answered();
    if (change_.phase == RolePhase::Ping)
        go_on_with_role();
}

bool DrbdResource::drained_guest_waits() const {
    for (const auto& volume : volumes_)
        if (volume && volume->is_drained() && volume->io().in_flight() > 0)
            return true;
    return false;
}

// Nothing of the last connection is left: its writes for the peer are on the
// disk, and every request of ours knows what became of it.
bool DrbdResource::may_reconnect() const {
    if (losing_peer_ || peer_requests_.in_use() != 0 ||
        (change_.number != 0 && change_.phase == RolePhase::Record))
        return false;
    for (const auto& volume : volumes_)
        if (volume && volume->has_transition())
            return false;
    return true;
}

void DrbdResource::on_packet_left(const Owner& owner, bool sent) {
    switch (owner.kind) {
    case PacketOwner::GuestRequest: {
        Request& request = *static_cast<Request*>(owner.object);
        request.io->on_packet_left(request, sent);
        return;
    }
    case PacketOwner::ForPeer: {
        PeerRequest& request = *static_cast<PeerRequest*>(owner.object);
        if (request.work == PeerWork::ResyncRead || request.work == PeerWork::ResyncStatus)
            volumes_[request.volume]->resync().on_packet_left(request, sent);
        else
            peer_io_.on_packet_left(request, sent);
        return;
    }
    case PacketOwner::Bitmap:
        Resync::bitmap_packet_left(owner, sent);
        return;
    case PacketOwner::None:
        break;
    }
    assertion_failed("owner of a packet", __FILE__, __LINE__);
}

void DrbdResource::on_barrier_sent(uint64_t epoch) {
    for (auto& volume : volumes_)
        if (volume)
            volume->resync().on_barrier_sent(epoch);
}

void DrbdResource::on_epoch_confirmed(uint64_t epoch) {
    for (auto& volume : volumes_)
        if (volume)
            volume->resync().on_barrier_acknowledged(epoch);
}

// ---- the image for the peer, and drains ----

// I/O for the peer parks while its volume is drained, but for a guest request that the
// drain waits for: that may wait for it, on whatever volume.  What another volume's
// guest has in flight no drain waits for, and it does not end.
uint32_t DrbdResource::volumes_that_may_work() const {
    uint32_t may = ~0u;
    if (drained_guest_waits())
        return may;
    for (unsigned i = 0; i < nr_volumes_; i++)
        if (volumes_[i] && volumes_[i]->is_drained())
            may &= ~(1u << i);
    return may;
}

bool DrbdResource::has_peer_io() const {
    return peer_requests_.in_use() != 0 && peer_requests_.has_next(volumes_that_may_work());
}

bool DrbdResource::next_peer_io(DrbdPeerIo& io) { return peer_requests_.next(io, volumes_that_may_work()); }

// Volumes that only this node has are no error (spec 4.1), and must not keep the others, nor their own guest, for
// ever: where the peer has told of another volume and of this one nothing, it has none.
bool DrbdResource::go_on_without_volumes() {
    bool told = false;
    for (const auto& volume : volumes_) {
        told |= volume && volume->is_connected();
        if (volume && volume->in_handshake() && volume->has_heard())
            return false;
    }
    if (!told)
        return false;
    for (auto& volume : volumes_)
        if (volume && volume->in_handshake())
            if (auto gone_on = volume->go_on_without_peers_volume(); !gone_on)
                connection_.link().drop(gone_on.error());
    return true;
}

// ---- time ----

void DrbdResource::on_time(uint64_t now_ms) {
    connection_.on_time(now_ms);
    log_.on_time();
    for (auto& volume : volumes_)
        if (volume)
            volume->on_time(now_ms);
    check_timeouts(now_ms);
    confirm_resync();
}

void DrbdResource::check_timeouts(uint64_t now_ms) {
    Link& link = connection_.link();
    if (!link.is_up())
        return;
    const DrbdNetConfig& config = connection_.config();
    if (handshake_since_ms_ != kNotTimed && now_ms >= handshake_since_ms_ + connection_.timeout_ms() && !go_on_without_volumes())
        link.drop(ConnectionState::NetworkFailure,
                  "volume %d: the peer did not tell the state of its disk within %u.%u s: see there whether it has that "
                  "volume, and whether it is open",
                  volume_in_handshake(), config.timeout / 10, config.timeout % 10);
    const uint64_t give_up_ms = connection_.answer_ms();
    if (connection_.gives_requests_up()) {
        const uint64_t oldest = log_.oldest_unanswered_ms();
        if (oldest != UINT64_MAX && now_ms >= oldest + give_up_ms)
            link.drop(ConnectionState::Timeout, "the peer did not answer a request within ko-count x timeout (%llu ms)",
                      static_cast<unsigned long long>(give_up_ms));
    }
    if (asked_.question != Question::None && now_ms >= asked_.since_ms + give_up_ms)
        link.drop(ConnectionState::Timeout, "the peer did not answer a change of state within %llu ms",
                  static_cast<unsigned long long>(give_up_ms));

    if (now_ms >= role_deadline_ms())
        go_on_with_role();

    if (!drained_guest_waits())
        drain_since_ms_ = kNotTimed;
    else if (drain_since_ms_ == kNotTimed)
        drain_since_ms_ = now_ms;
    else if (now_ms >= drain_since_ms_ + uint64_t{config.drain_timeout} * 100)
        link.drop(ConnectionState::Timeout, "the guest's requests did not end within drain-timeout (%u.%u s)",
                  config.drain_timeout / 10, config.drain_timeout % 10);
}

// Design D15: what a target wrote is confirmed by a flush of its disk, which
// only a barrier asks for.  Without writes of the guest an empty one does.
void DrbdResource::confirm_resync() {
    Link& link = connection_.link();
    if (!link.is_up())
        return;
    for (unsigned i = 0; i < nr_volumes_; i++) {
        if (!volumes_[i] || !volumes_[i]->wants_confirmation() ||
            now_ms() < last_confirmation_ms_ + confirmation_interval_ms(volumes_[i]->resync()))
            continue;
        last_confirmation_ms_ = now_ms();
        log_.send_empty_flush(i);
        return;
    }
}

uint64_t DrbdResource::deadline_ms() const {
    uint64_t deadline = connection_.next_deadline_ms();
    for (const auto& volume : volumes_)
        if (volume)
            deadline = std::min(deadline, volume->io().next_deadline_ms());
    if (!connection_.link().is_up())
        return losing_peer_ ? 0 : deadline;
    const DrbdNetConfig& config = connection_.config();
    deadline = std::min({deadline, log_.next_deadline_ms(), role_deadline_ms()});
    if (handshake_since_ms_ != kNotTimed)
        deadline = std::min(deadline, handshake_since_ms_ + connection_.timeout_ms());
    if (connection_.gives_requests_up()) {
        const uint64_t oldest = log_.oldest_unanswered_ms();
        if (oldest != UINT64_MAX)
            deadline = std::min(deadline, oldest + connection_.answer_ms());
    }
    if (asked_.question != Question::None)
        deadline = std::min(deadline, asked_.since_ms + connection_.answer_ms());
    for (const auto& volume : volumes_) {
        if (!volume)
            continue;
        deadline = std::min(deadline, volume->next_deadline_ms());
        if (volume->wants_confirmation())
            deadline = std::min(deadline, last_confirmation_ms_ + confirmation_interval_ms(volume->resync()));
        if (volume->is_drained() && volume->io().in_flight() > 0)
            deadline = drain_since_ms_ == kNotTimed
                           ? 0
                           : std::min(deadline, drain_since_ms_ + uint64_t{config.drain_timeout} * 100);
    }
    return deadline;
}

uint64_t DrbdResource::next_deadline_ms() { return told_deadline_ms_ = deadline_ms(); }

// ---- status ----

// The least that all volumes have reached.
ConnectionState DrbdResource::connection_state() const {
    const ConnectionState phase = connection_.phase();
    if (phase != ConnectionState::WFReportParams)
        return phase;
    for (const auto& volume : volumes_)
        if (volume && !volume->is_connected())
            return volume->state().connection;
    return ConnectionState::Connected;
}

void DrbdResource::fill_status(DrbdConnectionStatus& status) const {
    connection_.fill_status(status);
    status.state = name_of(connection_state());
    Role peer = Role::Unknown;
    for (const auto& volume : volumes_)
        if (volume && volume->state().peer != Role::Unknown && peer != Role::Primary)
            peer = volume->state().peer;
    status.peer_role = name_of(peer);
    status.epochs = log_.epochs();
    status.unacknowledged = log_.unconfirmed();
    status.peer_requests = peer_requests_.in_use();
    status.peer_requests_max = peer_requests_.size();
    status.peer_request_bytes = peer_requests_.bytes();
    status.peer_request_bytes_max = peer_requests_.bytes_max();
}

// ---- the end of an event ----

void DrbdResource::settle() {
    if (!connection_.is_configured())
        return;
    connection_.pump();
    if (losing_peer_)
        losing_peer_ = !log_.lose_peer(pool_.size() / kPartLostAtOnce + 1);
    // What one volume leaves free another takes: each is the first in its turn.
    first_to_settle_ = (first_to_settle_ + 1) % nr_volumes_;
    for (unsigned i = 0; i < nr_volumes_; i++)
        if (Volume* volume = volumes_[(first_to_settle_ + i) % nr_volumes_].get())
            volume->settle_down();
    answer_when_recorded();
    if (change_.phase == RolePhase::PeerDemotion)
        go_on_with_role();
    if (ending_.number != 0 && !ending_.is_asked && asked_.question == Question::None)
        ask_for_end();
    connection_.pump();
}
