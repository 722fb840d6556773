// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/resync/bitmap_exchange.h"

namespace drbd {

void BitmapExchange::begin(Direction direction, wire::RunLengths run_lengths) {
    DRBD_ASSERT(direction != Direction::None);
    end(Step::Idle);
    if (!parts_.link.is_up())
        return;  // dropped in this event
    if (is_half_sent_) {
        parts_.link.drop(ConnectionState::NetworkFailure,
                         "volume %u: a disk came back while half of the bitmap for the one before was sent: the nodes meet anew",
                         parts_.volume);
        return;
    }
    direction_ = direction;
    run_lengths_ = run_lengths;
    if (direction == Direction::Source) {
        step_ = Step::Sending;
        sender_.emplace(parts_.disk.bitmap, parts_.to(), run_lengths);
    } else {
        step_ = Step::Receiving;
    }
}

void BitmapExchange::stop() {
    const bool half_sent = step_ == Step::Sending && sender_->position().bit != 0 && !sender_->is_done();
    is_half_sent_ = parts_.link.is_up() && (is_half_sent_ || half_sent);
    was_cut_short_ = parts_.link.is_up() && (was_cut_short_ || is_running());
    end(step_ != Step::Idle && parts_.link.is_up() ? Step::Stopped : Step::Idle);
}

void BitmapExchange::conclude() {
    if (step_ == Step::Answered)
        end(Step::Idle);
}

// The answer may have been that to an exchange before, which holds all that the target
// has of its own; the one to this exchange is still to come then.
void BitmapExchange::source_is_done() {
    end(was_cut_short_ ? Step::Stopped : Step::Idle);
}

void BitmapExchange::end(Step step) {
    step_ = step;
    has_more_ = has_answer_ = false;
    sender_.reset();
    receiver_.reset();
}

Result<bool> BitmapExchange::on_packet(const wire::Frame& frame) {
    if (step_ == Step::Stopped)
        return false;
    if (step_ == Step::Idle)
        return Error::of(ErrorCode::Protocol, "%s: volume %u: no exchange of bitmaps is under way", frame.row->name,
                         parts_.volume);
    if (!receiver_)
        receiver_.emplace(parts_.disk.bitmap);
    const auto transfer = receiver_->on_packet(frame);
    if (!transfer)
        return transfer.error();
    if (transfer.value() == wire::BitmapTransfer::Continues)
        return false;
    receiver_.reset();
    if (step_ == Step::Receiving && direction_ == Direction::Source) {
        source_is_done();
        return true;
    }
    if (step_ == Step::Receiving) {
        sender_.emplace(parts_.disk.bitmap, parts_.to(), run_lengths_);
        step_ = Step::Sending;
    }
    has_answer_ = true;
    return false;
}

bool BitmapExchange::pump() {
    if (step_ != Step::Sending)
        return false;
    has_more_ = fill_packets();
    if (!sender_->is_done())
        return false;
    sender_.reset();
    if (direction_ == Direction::Target) {
        step_ = Step::Answered;
        return true;
    }
    if (has_answer_) {
        source_is_done();
        return true;
    }
    step_ = Step::Receiving;
    return false;
}

bool BitmapPackets::is_any_in_use() const {
    for (const BitmapPacket& packet : all)
        if (packet.in_use)
            return true;
    return false;
}

BitmapPacket* BitmapExchange::free_packet() {
    for (BitmapPacket& packet : packets_->all)
        if (!packet.in_use)
            return &packet;
    return nullptr;
}

// True: it stopped because it has done enough for one event.
bool BitmapExchange::fill_packets() {
    const uint64_t first_bit = sender_->position().bit;
    while (!sender_->is_done() && parts_.link.is_up()) {
        if (sender_->position().bit - first_bit >= kBitmapWordsPerEvent * 64)
            return true;
        BitmapPacket* packet = free_packet();
        if (!packet)
            return false;
        packet->in_use = true;
        const wire::Encoded whole = sender_->next(packet->room);
        const size_t header = wire::header_size(parts_.link.agreement().version);
        const wire::Encoded rest = whole.subspan(header);
        parts_.link.send_data(whole.first(header), {rest.data(), static_cast<uint32_t>(rest.size())},
                              {PacketOwner::Bitmap, packet});
    }
    return false;
}

}  // namespace drbd
