// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/resync.h"

#include <algorithm>
#include <cerrno>

namespace drbd {

Resync::Resync(unsigned volume, Link& link, PeerRequests& requests, PeerIo& peer_io, GuestIo& io, Disk& disk,
               PeerVolume& peer_volume, ResyncListener& listener)
    : guest_locks_(io), parts_{volume, link, requests, peer_io, *guest_locks_, disk, peer_volume, listener},
      bitmap_exchange_(parts_), target_(parts_), source_(parts_, unconfirmed_) {
    disk.bitmap.set_watcher(this);
    requests.set_resync(volume, this);
}

Resync::Resync(unsigned volume, Link& link, PeerRequests& requests, PeerIo& peer_io, ResyncLocks& locks, Disk& disk,
               PeerVolume& peer_volume, ResyncListener& listener)
    : parts_{volume, link, requests, peer_io, locks, disk, peer_volume, listener}, bitmap_exchange_(parts_),
      target_(parts_), source_(parts_, unconfirmed_) {
    disk.bitmap.set_watcher(this);
    requests.set_resync(volume, this);
}

Resync::~Resync() {
    parts_.disk.bitmap.set_watcher(nullptr);
    parts_.requests.set_resync(parts_.volume, nullptr);
}

// ---- bitmaps ----

void Resync::begin_bitmap(Direction direction, wire::RunLengths run_lengths) {
    bitmap_exchange_.begin(direction, run_lengths);
}

Result<void> Resync::on_bitmap_packet(const wire::Frame& frame) {
    const auto complete = bitmap_exchange_.on_packet(frame);
    if (!complete)
        return complete.error();
    if (complete.value())
        parts_.listener.on_bitmaps_exchanged();
    return {};
}

// ---- begin and end ----

void Resync::begin(Direction direction) {
    DRBD_ASSERT(direction != Direction::None);
    bitmap_exchange_.conclude();
    stop();
    progress_.begin(parts_.disk.bitmap.count(), parts_.link.now_ms());
    if (direction == Direction::Target) {
        target_.begin();
        return;
    }
    if (auto ready = unconfirmed_.prepare(parts_.disk.size); !ready) {
        parts_.link.drop(ConnectionState::Disconnecting, "volume %u: %s", parts_.volume, ready.error().text);
        return;
    }
    source_.begin();
}

void Resync::stop() {
    hurry_ = false;
    bitmap_exchange_.stop();
    target_.stop();
    source_.stop();
    // Nobody waits for what the image has not begun.
    parts_.requests.fail_queued(parts_.volume, PeerWork::ResyncRead, PeerWork::ResyncWrite, -ECANCELED);
}

void Resync::abort() {
    stop();
}

bool Resync::on_link_lost() {
    stop();
    return on_peer_disk_lost();
}

bool Resync::on_peer_disk_lost() {
    const bool some = !unconfirmed_.empty();
    unconfirmed_.mark_again(parts_.disk.bitmap);
    return some;
}

ResyncProgress Resync::progress(uint64_t now_ms) const {
    ResyncProgress progress;
    progress.running = is_running();
    if (!progress.running)
        return progress;
    progress.source = source_.is_running();
    // What failed may have been asked for again, and come.
    const uint64_t left = parts_.disk.bitmap.count();
    progress.failed_blocks = std::min(left, progress.source ? source_.failed_blocks() : target_.failed_blocks());
    progress_.fill(progress, left, now_ms);
    return progress;
}

// ---- packets ----

Result<BulkVerdict> Resync::on_reply_announced(const wire::Frame& frame) {
    return target_.on_reply_announced(frame);
}

Result<void> Resync::on_request(const wire::Frame& frame) {
    return source_.on_request(frame);
}

Result<void> Resync::on_reply(const wire::Frame& frame, void* buffer) {
    return target_.on_reply(frame, buffer);
}

Result<void> Resync::on_deallocated(const wire::Frame& frame) {
    return target_.on_deallocated(frame);
}

Result<void> Resync::on_ack(wire::Packet packet, const wire::BlockAck& ack) {
    if (packet == wire::Packet::NegRsDReply || packet == wire::Packet::RsCancel)
        return target_.on_refused(packet, ack);
    return source_.on_ack(packet, ack);
}

// Below 100 and with digests there is no flush without data.
bool Resync::may_confirm() const {
    return parts_.link.is_up() && parts_.link.agreement().version >= 100 && !parts_.link.has_integrity();
}

bool Resync::may_ask_for_confirmation() const {
    return may_confirm() && unconfirmed_.oldest_ms() != UINT64_MAX;
}

bool Resync::wants_confirmation() const {
    return may_ask_for_confirmation() &&
           (hurry_ || parts_.link.now_ms() >= unconfirmed_.oldest_ms() + kResyncConfirmMs);
}

void Resync::bitmap_packet_left(const Owner& owner, bool) {
    DRBD_ASSERT(owner.kind == PacketOwner::Bitmap);
    static_cast<BitmapPacket*>(owner.object)->in_use = false;
}

void Resync::on_packet_left(PeerRequest& request, bool) {
    source_.on_packet_left(request);
}

// ---- I/O, marks, time ----

void Resync::on_peer_io_done(PeerRequest& request) {
    if (request.work == PeerWork::ResyncRead)
        source_.on_peer_io_done(request);
    else
        target_.on_peer_io_done(request);
}

void Resync::on_marked(uint64_t first_block, uint64_t end_block) {
    target_.on_marked(first_block, end_block);
    source_.on_marked(first_block, end_block);
}

void Resync::pump() {
    if (bitmap_exchange_.is_running() && bitmap_exchange_.pump())
        parts_.listener.on_bitmaps_exchanged();
    if (!is_running())
        return;
    progress_.update(parts_.disk.bitmap.count(), parts_.link.now_ms());
    source_.pump();
    target_.pump();
}

uint64_t Resync::next_deadline_ms() const {
    uint64_t at = target_.next_deadline_ms();
    if (bitmap_exchange_.has_more())
        at = std::min(at, parts_.link.now_ms());
    // The hub is to look at wants_confirmation(); when it is due already, the
    // hub has looked.
    if (may_ask_for_confirmation() && !wants_confirmation())
        at = std::min(at, unconfirmed_.oldest_ms() + kResyncConfirmMs);
    return at;
}

}  // namespace drbd
