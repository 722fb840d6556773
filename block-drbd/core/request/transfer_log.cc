// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/request/transfer_log.h"

#include <algorithm>

#include "core/request/guest_io.h"

namespace drbd {

// ---- epochs ----

void TransferLog::prepare(unsigned packets) {
    if (current_packets_ + packets > max_epoch_size_)
        close_epoch();
}

void TransferLog::add(Request& request) {
    PeerSide& peer = request.peer;
    peer.epoch = current_;
    peer.sent_ms = link_.now_ms();
    peer.replicated = true;
    writes_.push_back(request);
    if (current_writes_++ == 0)
        current_first_ = &request;
    current_packets_ += peer.pieces;
    counters_.writes_sent++;
    if (peer.receive_acks_due + peer.write_acks_due != 0) {
        unanswered_++;
        if (!cursor_)
            cursor_ = &request;
    }
    // A quarter of the pool: what is confirmed late is missing there.
    if (current_packets_ >= max_epoch_size_ || current_writes_ >= (pool_.size() + 3) / 4)
        close_epoch();
}

uint64_t TransferLog::close_epoch() {
    if (current_writes_ != 0) {
        current_first_->peer.barrier_ms = link_.now_ms();
        if (link_.is_up()) {
            const wire::BarrierNumber number{static_cast<uint32_t>(current_)};
            link_.send_data(wire::encode_barrier(link_.room(), link_.to_connection(), number));
        }
        counters_.epochs_closed++;
        current_++;
        current_writes_ = current_packets_ = 0;
        current_first_ = nullptr;
        if (listener_)
            listener_->on_barrier_sent(current_ - 1);
    }
    return current_ - 1;
}

void TransferLog::send_empty_flush(unsigned volume) {
    GuestIo* io = volumes_[volume];
    if (!io || !link_.is_up() || link_.agreement().version < 100 || link_.has_integrity() || !has_room(1))
        return;
    Request* request = pool_.take();
    if (!request)
        return;
    close_epoch();
    io->send_empty_flush(*request);
    close_epoch();
}

void TransferLog::completing(Request& request) {
    if (request.peer.over())
        return;
    if (!request.peer.failed && request.peer.epoch > completed_)
        completed_ = request.peer.epoch;
    if (link_.protocol() != wire::ReplicationProtocol::C && request.peer.epoch == current_)
        close_epoch();
}

uint64_t TransferLog::epoch_to_flush() {
    if (completed_ == current_)
        close_epoch();
    return is_confirmed(completed_) ? 0 : completed_;
}

void TransferLog::on_time() {
    if (current_first_ && link_.now_ms() >= current_first_->peer.sent_ms + kEpochAgeMs)
        close_epoch();
}

uint64_t TransferLog::next_deadline_ms() const {
    return current_first_ ? current_first_->peer.sent_ms + kEpochAgeMs : UINT64_MAX;
}

Result<void> TransferLog::on_barrier_ack(const wire::BarrierAck& ack) {
    const Request* first = writes_.first();
    if (!first || first->peer.epoch == current_)
        return Error::of(ErrorCode::Protocol, "P_BARRIER_ACK 0x%08x: no P_BARRIER waits for one", ack.number.value);
    const uint64_t epoch = first->peer.epoch;
    if (ack.number.value != static_cast<uint32_t>(epoch))
        return Error::of(ErrorCode::Protocol, "P_BARRIER_ACK 0x%08x: the oldest epoch is 0x%08x", ack.number.value,
                         static_cast<uint32_t>(epoch));
    uint64_t packets = 0;
    for (const Request* r = first; r && r->peer.epoch == epoch; r = LogList::next(*r)) {
        packets += r->peer.pieces;
        if (r->peer.receive_acks_due + r->peer.write_acks_due != 0)
            return Error::of(ErrorCode::Protocol,
                             "P_BARRIER_ACK 0x%08x: the write of volume %u at byte %llu is not acknowledged",
                             ack.number.value, r->io->volume(), static_cast<unsigned long long>(r->range.start));
    }
    if (packets != ack.set_size)
        return Error::of(ErrorCode::Protocol, "P_BARRIER_ACK 0x%08x: %u writes, but %llu were sent", ack.number.value,
                         ack.set_size, static_cast<unsigned long long>(packets));
    confirmed_through_ = epoch;
    for (Request* r = writes_.first(); r && r->peer.epoch == epoch; r = writes_.first()) {
        forget(*r);
        r->peer.confirmed = true;
        r->io->on_confirmed(*r);
    }
    if (listener_)
        listener_->on_epoch_confirmed(epoch);
    tell_volumes();
    return {};
}

void TransferLog::tell_volumes() {
    for (GuestIo* io : volumes_)
        if (io)
            io->on_epochs_confirmed();
}

// ---- who is meant ----

wire::BlockId TransferLog::handle_of(const Request& request) const {
    return {static_cast<uint64_t>(request.uses) << 32 | request.index};
}

Request* TransferLog::find(wire::BlockId id) {
    Request* request = pool_.at(static_cast<uint32_t>(id.value));
    return request && request->log.linked && request->uses == id.value >> 32 ? request : nullptr;
}

void TransferLog::add_read(Request& request) {
    request.peer.sent_ms = link_.now_ms();
    reads_.push_back(request);
}

void TransferLog::forget(Request& request) {
    if (cursor_ == &request)
        cursor_ = LogList::next(request);
    if (request.peer.receive_acks_due + request.peer.write_acks_due != 0)
        unanswered_--;
    if (current_first_ == &request) {
        current_first_ = nullptr;
        current_writes_ = current_packets_ = 0;
    }
    writes_.erase(request);
}

void TransferLog::acknowledged(Request&) {
    DRBD_ASSERT(unanswered_ > 0);
    unanswered_--;
}

const Request* TransferLog::first_unacknowledged() const {
    while (cursor_ && cursor_->peer.receive_acks_due + cursor_->peer.write_acks_due == 0)
        cursor_ = LogList::next(*cursor_);
    return cursor_;
}

uint64_t TransferLog::oldest_unanswered_ms() const {
    uint64_t oldest = UINT64_MAX;
    if (const Request* write = first_unacknowledged())
        oldest = write->peer.sent_ms;
    // Its P_BARRIER was sent; the epochs behind it are younger.
    if (const Request* first = writes_.first(); first && is_closed(first->peer.epoch))
        oldest = std::min(oldest, first->peer.barrier_ms);
    if (const Request* read = reads_.first())
        oldest = std::min(oldest, read->peer.sent_ms);
    return oldest;
}

void TransferLog::forbid_clearing(const GuestIo& io, const Interval& range, const Bitmap& bitmap, bool there) {
    const Interval blocks{.start = round_down(range.start, kBlockSize), .end = round_up(range.end, kBlockSize)};
    for (Request* r = writes_.first(); r; r = LogList::next(*r)) {
        if (r->io != &io || !r->range.overlaps(blocks))
            continue;
        r->peer.may_clear = false;
        uint64_t kept = count_bits(bitmap, r->range);
        if (there)
            kept -= count_bits(bitmap, {.start = std::max(r->range.start, blocks.start), .end = std::min(r->range.end, blocks.end)});
        r->peer.kept_blocks = std::max(r->peer.kept_blocks, static_cast<uint32_t>(kept));
    }
}

// ---- room in the queue of packets ----

void TransferLog::packet_left(bool sent) {
    DRBD_ASSERT(queued_ > 0);
    queued_--;
    if (sent)
        resume_waiting();
}

void TransferLog::resume_waiting() {
    while (Request* request = wait_send_.first()) {
        if (!has_room(request->peer.pieces))
            return;
        wait_send_.erase(*request);
        request->io->on_room(*request);
    }
}

// ---- the peer is lost ----

void TransferLog::peer_disk_lost(unsigned volume) {
    for (const Request* r = writes_.first(); r; r = LogList::next(*r))
        if (r->io == volumes_[volume])
            r->io->on_peer_disk_lost(*r);
}

uint64_t TransferLog::blocks_to_clear(unsigned volume, const Bitmap& bitmap) const {
    uint64_t blocks = 0;
    for (const Request* r = writes_.first(); r; r = LogList::next(*r))
        if (r->io == volumes_[volume] && r->peer.clearable && !r->peer.failed)
            blocks += count_bits(bitmap, r->range);
    return blocks;
}

bool TransferLog::lose_peer(unsigned slice) {
    if (!losing_) {
        losing_ = true;
        // No barrier: who would read it?
        if (!writes_.empty())
            lost_through_ = current_;
        current_++;
        current_writes_ = current_packets_ = 0;
        current_first_ = nullptr;
    }
    for (; slice > 0; slice--) {
        if (Request* write = writes_.first()) {
            forget(*write);
            write->peer.lost = true;
            write->io->on_peer_lost(*write);
        } else if (Request* read = reads_.first()) {
            reads_.erase(*read);
            read->io->on_peer_lost(*read);
        } else {
            break;
        }
    }
    if (!writes_.empty() || !reads_.empty())
        return false;
    losing_ = false;
    resume_waiting();
    tell_volumes();
    completed_ = 0;
    return true;
}

}  // namespace drbd
