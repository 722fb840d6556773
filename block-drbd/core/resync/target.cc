// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/target.h"

#include <algorithm>
#include <bit>

namespace drbd {

ResyncTarget::ResyncTarget(const ResyncParts& parts) : parts_(parts) {
    for (TargetRange& range : ranges_) {
        range.listener = this;
        free_.push_back(range);
    }
}

void ResyncTarget::begin() {
    DRBD_ASSERT(!running_ && active_ == 0 && asked_.empty());
    running_ = true;
    paused_ = answered_ = has_more_ = again_ = false;
    position_ = 0;
    retry_at_ms_ = UINT64_MAX;
    failed_blocks_ = 0;
    window_.begin();
}

void ResyncTarget::stop() {
    running_ = has_more_ = false;
    retry_at_ms_ = UINT64_MAX;
    for (TargetRange& range : ranges_)
        if (range.step != TargetStep::Free)
            abandon(range);
    if (set_aside_ && !parts_.link.is_up()) {
        parts_.requests.finish(*set_aside_);
        set_aside_ = nullptr;
    }
}

// ---- asking ----

bool ResyncTarget::may_ask() const {
    return running_ && !paused_ && !answered_ && position_ < parts_.disk.bitmap.bits() && !free_.empty() &&
           bytes_ahead_ < kResyncWindow.value && bytes_asked_ < window_.bytes() && parts_.link.is_up();
}

void ResyncTarget::ask_more() {
    Bitmap& bitmap = parts_.disk.bitmap;
    const uint64_t scan_end = std::min(bitmap.bits(), position_ + kBitmapWordsPerEvent * 64);
    while (may_ask()) {
        position_ = position_ < scan_end ? bitmap.next_set(position_, scan_end) : position_;
        if (position_ >= scan_end) {
            has_more_ = position_ < bitmap.bits();
            return;
        }
        const uint64_t blocks = blocks_to_ask(position_, bitmap.bits());
        TargetRange& range = *free_.pop_front();
        range.range = {};
        range.range.start = position_ * kBlockSize;
        range.range.end = std::min((position_ + blocks) * kBlockSize, to_bytes(parts_.peer_volume.capacity()).value);
        range.step = TargetStep::Locking;
        range.times_up = parts_.link.times_up();
        range.io = nullptr;
        range.thin = range.abandoned = range.marked = range.is_zero = false;
        position_ += blocks;
        active_++;
        bytes_ahead_ += range.size().value;
        range.locked = true;
        parts_.locks.lock_range(range);
    }
}

// Set bits from `first` on, as many as one request may have: no more than its
// start is aligned to, so that none crosses a larger unit (spec 7.2, trap 70).
uint64_t ResyncTarget::blocks_to_ask(uint64_t first, uint64_t end) const {
    const uint64_t most = std::min(wire::bulk_max(parts_.link.agreement().version), kWriteMax).value;
    const uint64_t max = std::min(most, window_.request_bytes()) / kBlockSize;
    const uint64_t aligned = first == 0 ? max : uint64_t{1} << std::countr_zero(first);
    const uint64_t stop = std::min(end, first + std::min(max, aligned));
    return parts_.disk.bitmap.next_clear(first, stop) - first;
}

void ResyncTarget::on_range_locked(RangeLock& lock) {
    TargetRange& range = static_cast<TargetRange&>(lock);
    DRBD_ASSERT(range.step == TargetStep::Locking && !range.abandoned);
    if (!running_)
        return;  // stop() is about to come to it
    if (paused_) {
        position_ = std::min(position_, first_block_of(range.range));
        release(range);
        return;
    }
    ask(range);
}

void ResyncTarget::ask(TargetRange& range) {
    // A write that was waited for may have brought the blocks into sync.
    if (parts_.disk.bitmap.count(first_block_of(range.range), end_block_of(range.range)) == 0) {
        release(range);
        return;
    }
    range.thin = parts_.link.agreement().features.has(wire::Feature::ThinResync);
    range.step = TargetStep::Asked;
    range.marked = false;
    range.asked_ms = parts_.link.now_ms();
    asked_.push_back(range);
    bytes_asked_ += range.size().value;
    parts_.link.send_data(wire::encode_block_request(
        parts_.link.room(), parts_.to(), range.thin ? wire::Packet::RsThinRequest : wire::Packet::RsDataRequest,
        {range.sector(), range.size(), wire::kSyncerId, {}}));
}

// ---- answers of the source ----

void ResyncTarget::no_longer_asked(TargetRange& range) {
    asked_.erase(range);
    bytes_asked_ -= range.size().value;
}

void ResyncTarget::answered(TargetRange& range) {
    window_.on_answer(range.size().value, range.asked_ms, parts_.link.now_ms());
    no_longer_asked(range);
}

// Answers come mostly in order.
TargetRange* ResyncTarget::find_asked(Sector sector, Bytes size) {
    for (TargetRange* range = asked_.first(); range; range = RangeList::next(*range))
        if (range->sector() == sector && range->size() == size)
            return range;
    return nullptr;
}

namespace {

Error not_asked(const wire::Frame& frame, Sector sector, Bytes size) {
    return Error::of(ErrorCode::Protocol, "%s: volume %u: sector %llu, %llu bytes were not asked for", frame.row->name,
                     frame.volume, static_cast<unsigned long long>(sector.value),
                     static_cast<unsigned long long>(size.value));
}

}  // namespace

Result<BulkVerdict> ResyncTarget::on_reply_announced(const wire::Frame& frame) {
    const auto reply = wire::decode_data_reply(frame, parts_.peer_volume.capacity());
    if (!reply)
        return reply.error();
    const TargetRange* range = find_asked(reply.value().sector, reply.value().size);
    if (!range || reply.value().id != wire::kSyncerId)
        return not_asked(frame, reply.value().sector, reply.value().size);
    if (range->abandoned || !parts_.peer_volume.peer_may_write())
        return BulkVerdict::Discard;
    if (!set_aside_)
        set_aside_ = parts_.requests.take(parts_.volume, PeerWork::ResyncWrite, reply.value().size.value);
    return set_aside_ ? BulkVerdict::Take : BulkVerdict::Stall;
}

Result<void> ResyncTarget::on_reply(const wire::Frame& frame, void* buffer) {
    PeerRequest* write = set_aside_;
    set_aside_ = nullptr;
    const auto reply = wire::decode_data_reply(frame, parts_.peer_volume.capacity());
    TargetRange* range = reply ? find_asked(reply.value().sector, reply.value().size) : nullptr;
    if (!range || !write || !buffer || range->abandoned || !parts_.peer_volume.peer_may_write()) {
        parts_.requests.release(buffer, frame.bulk_length);
        if (write)
            parts_.requests.finish(*write);
        if (!reply)
            return reply.error();
        if (!range)
            return not_asked(frame, reply.value().sector, reply.value().size);
        refuse(*range);
        return {};
    }
    answered(*range);
    parts_.peer_volume.count_received(range->size().value);
    write->io = DRBD_PEER_WRITE;
    write->buffer = buffer;
    enter(*range, *write);
    return {};
}

Result<void> ResyncTarget::on_deallocated(const wire::Frame& frame) {
    const auto answer = wire::decode_block_range(frame, parts_.peer_volume.capacity());
    if (!answer)
        return answer.error();
    TargetRange* range = find_asked(answer.value().sector, answer.value().size);
    if (!range || !range->thin)
        return not_asked(frame, answer.value().sector, answer.value().size);
    if (range->abandoned || !parts_.peer_volume.peer_may_write()) {
        refuse(*range);
        return {};
    }
    answered(*range);
    range->step = TargetStep::Answered;
    answered_zero_.push_back(*range);
    serve_answered();
    return {};
}

Result<void> ResyncTarget::on_refused(wire::Packet packet, const wire::BlockAck& ack) {
    TargetRange* range = find_asked(ack.sector, ack.size);
    if (!range)
        return Error::of(ErrorCode::Protocol, "%s: volume %u: sector %llu, %llu bytes were not asked for",
                         wire::name_of(packet), parts_.volume, static_cast<unsigned long long>(ack.sector.value),
                         static_cast<unsigned long long>(ack.size.value));
    no_longer_asked(*range);
    if (range->abandoned)
        ;  // of a resync that has ended
    else if (packet == wire::Packet::RsCancel)
        again_ = true;
    else
        failed_blocks_ += parts_.disk.bitmap.count(first_block_of(range->range), end_block_of(range->range));
    release(*range);
    return {};
}

// ---- at the image ----

void ResyncTarget::serve_answered() {
    while (TargetRange* range = answered_zero_.first()) {
        PeerRequest* request = parts_.requests.take(parts_.volume, PeerWork::ResyncWrite, 0);
        if (!request)
            return;
        answered_zero_.erase(*range);
        // It takes its place in the order before it looks: a newer write of the
        // peer must not be taken for old data, and zeroed.
        request->io = DRBD_PEER_STATUS;
        enter(*range, *request);
    }
}

void ResyncTarget::enter(TargetRange& range, PeerRequest& request) {
    request.range = {};
    request.range.start = range.range.start;
    request.range.end = range.range.end;
    request.block_id = wire::kSyncerId;
    request.times_up = range.times_up;
    request.slot = static_cast<uint32_t>(&range - ranges_);
    range.io = &request;
    range.step = TargetStep::Ordering;
    if (parts_.peer_io.enter(request, *this))
        on_peer_range_granted(request);
}

void ResyncTarget::on_peer_range_granted(PeerRequest& request) {
    ranges_[request.slot].step = TargetStep::AtImage;
    parts_.requests.submit(request);
}

void ResyncTarget::write_zeroes(TargetRange& range, PeerRequest& request) {
    DRBD_ASSERT(range.step == TargetStep::AtImage);
    request.io = DRBD_PEER_ZEROES;
    request.may_unmap = true;
    parts_.requests.submit(request);
}

bool ResyncTarget::is_writing_on() const {
    return !running_ && std::ranges::any_of(ranges_, [](const TargetRange& range) { return range.io != nullptr; });
}

void ResyncTarget::on_peer_io_done(PeerRequest& request) {
    if (request.work == PeerWork::ResyncFlush) {
        flush_done(request);
        return;
    }
    TargetRange& range = ranges_[request.slot];
    DRBD_ASSERT(range.io == &request && range.step == TargetStep::AtImage);
    const bool was_status = request.io == DRBD_PEER_STATUS;
    if (was_status && !range.abandoned && request.result != 1) {
        write_zeroes(range, request);
        return;
    }
    const int result = request.result;
    const DrbdRequestKind kind = request.io == DRBD_PEER_WRITE ? DRBD_REQUEST_WRITE : DRBD_REQUEST_ZEROES;
    range.io = nullptr;
    parts_.peer_io.leave(request);
    parts_.requests.finish(request);
    if (range.abandoned) {
        send_ack(range, wire::Packet::NegAck);
        release(range);
        return;
    }
    if (result < 0) {
        const uint64_t start = range.range.start, bytes = range.size().value;
        fail(range);
        parts_.listener.on_resync_disk_error(kind, start, bytes, result);
        return;
    }
    range.step = TargetStep::Written;
    range.is_zero = was_status;
    if (range.is_zero)
        bytes_ahead_ -= range.size().value;
    else
        bytes_written_ += range.size().value;
    if (written_.empty())
        written_since_ms_ = parts_.link.now_ms();
    written_.push_back(range);
}

// ---- flush ----

void ResyncTarget::begin_flush_if_due() {
    if (flush_ || written_.empty())
        return;
    const bool nothing_else = active_ == written_.size() && !has_more_;
    if (!nothing_else && bytes_written_ < kResyncFlushBytes.value &&
        parts_.link.now_ms() < written_since_ms_ + kResyncFlushMs)
        return;
    while (TargetRange* range = written_.pop_front()) {
        range->step = TargetStep::Flushing;
        flushing_.push_back(*range);
    }
    bytes_written_ = 0;
    flush_ = parts_.requests.take(parts_.volume, PeerWork::ResyncFlush, 0);
    flush_->io = DRBD_PEER_FLUSH;
    parts_.requests.submit(*flush_);
}

void ResyncTarget::flush_done(PeerRequest& request) {
    DRBD_ASSERT(&request == flush_);
    const int result = request.result;
    flush_ = nullptr;
    parts_.requests.finish(request);
    bool failed = false;
    while (TargetRange* range = flushing_.first()) {
        if (result < 0) {
            fail(*range);
            failed = true;
            continue;
        }
        flushing_.erase(*range);
        if (range->marked) {
            again_ = true;
            send_ack(*range, wire::Packet::NegAck);
        } else {
            parts_.peer_volume.set_in_sync(range->sector(), range->size());
            send_ack(*range, wire::Packet::RsWriteAck);
        }
        release(*range);
    }
    if (failed)
        parts_.listener.on_resync_disk_error(DRBD_REQUEST_FLUSH, 0, 0, result);
}

// ---- the end ----

// Whoever set a bit had a reason that the answer on its way does not know of.
void ResyncTarget::on_marked(uint64_t first_block, uint64_t end_block) {
    if (active_ == 0)
        return;
    for (TargetRange& range : ranges_)
        if (range.step != TargetStep::Free && first_block < end_block_of(range.range) &&
            first_block_of(range.range) < end_block)
            range.marked = true;
}

void ResyncTarget::finish_if_done() {
    const Bitmap& bitmap = parts_.disk.bitmap;
    if (!running_ || paused_ || answered_ || active_ != 0 || position_ < bitmap.bits() || !parts_.link.is_up())
        return;
    if (bitmap.count() != 0 && (again_ || bitmap.count() > failed_blocks_)) {
        if (retry_at_ms_ == UINT64_MAX)
            retry_at_ms_ = parts_.link.now_ms() + kResyncRetryMs;
        return;
    }
    answered_ = true;
    parts_.listener.on_resync_answered(bitmap.count());
}

void ResyncTarget::pump() {
    if (!running_ || answered_)
        return;
    if (parts_.link.now_ms() >= retry_at_ms_ && !paused_) {
        retry_at_ms_ = UINT64_MAX;
        position_ = 0;
        failed_blocks_ = 0;
        again_ = false;
    }
    serve_answered();
    has_more_ = false;
    if (may_ask())
        ask_more();
    begin_flush_if_due();
    finish_if_done();
}

uint64_t ResyncTarget::next_deadline_ms() const {
    if (!running_ || answered_)
        return UINT64_MAX;
    uint64_t at = paused_ ? UINT64_MAX : retry_at_ms_;
    if (has_more_ && may_ask())
        at = parts_.link.now_ms();
    if (!flush_ && !written_.empty())
        at = std::min(at, written_since_ms_ + kResyncFlushMs);
    return at;
}

uint64_t ResyncTarget::oldest_asked_ms() const {
    const TargetRange* range = asked_.first();
    while (range && range->abandoned)
        range = RangeList::next(*range);
    return range ? range->asked_ms : UINT64_MAX;
}

// The source is told that its answer is not taken.
void ResyncTarget::refuse(TargetRange& range) {
    no_longer_asked(range);
    if (!range.abandoned)
        failed_blocks_ += parts_.disk.bitmap.count(first_block_of(range.range), end_block_of(range.range));
    send_ack(range, wire::Packet::NegAck);
    release(range);
}

void ResyncTarget::fail(TargetRange& range) {
    if (TargetStep::Flushing == range.step)
        flushing_.erase(range);
    failed_blocks_ += parts_.disk.bitmap.count(first_block_of(range.range), end_block_of(range.range));
    send_ack(range, wire::Packet::NegAck);
    release(range);
}

void ResyncTarget::send_ack(const TargetRange& range, wire::Packet packet) {
    if (range.times_up == parts_.link.times_up())
        parts_.send_ack(packet, range.sector(), range.size(), wire::kSyncerId);
}

void ResyncTarget::abandon(TargetRange& range) {
    const bool link_up = parts_.link.is_up();
    if (!range.abandoned) {
        range.abandoned = true;
        active_--;
        bytes_ahead_ -= range.is_zero ? 0 : range.size().value;
    }
    switch (range.step) {
    case TargetStep::Free:
    case TargetStep::AtImage:  // locked until the image has answered
        return;
    case TargetStep::Locking:
        break;
    case TargetStep::Asked:
        if (link_up) {
            // The answer is still to come.
            unlock(range);
            return;
        }
        no_longer_asked(range);
        break;
    case TargetStep::Answered:
        answered_zero_.erase(range);
        send_ack(range, wire::Packet::NegAck);
        break;
    case TargetStep::Ordering:
        parts_.peer_io.leave(*range.io);
        parts_.requests.finish(*range.io);
        send_ack(range, wire::Packet::NegAck);
        break;
    case TargetStep::Written:
        bytes_written_ -= range.is_zero ? 0 : range.size().value;
        written_.erase(range);
        send_ack(range, wire::Packet::NegAck);
        break;
    case TargetStep::Flushing:
        flushing_.erase(range);
        send_ack(range, wire::Packet::NegAck);
        break;
    }
    release(range);
}

void ResyncTarget::release(TargetRange& range) {
    if (!range.abandoned) {
        active_--;
        bytes_ahead_ -= range.is_zero ? 0 : range.size().value;
    }
    range.step = TargetStep::Free;
    range.io = nullptr;
    free_.push_back(range);
    unlock(range);
}

// Others may be granted theirs from within: last.
void ResyncTarget::unlock(TargetRange& range) {
    if (!range.locked)
        return;
    range.locked = false;
    parts_.locks.unlock_range(range);
}

}  // namespace drbd
