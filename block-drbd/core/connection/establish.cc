// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/establish.h"

#include <algorithm>

namespace drbd {

namespace {

// Who dialled one stream leaves the other to the peer for so long.
constexpr uint64_t kPatienceMs = 400, kPatienceMaxMs = 800;
// After a stream was lost: long enough that two nodes come apart, doubled a few
// times, because somebody may be there who closes whatever we dial.
constexpr uint64_t kRetryMs = 50, kRetryMaxMs = 300;
constexpr unsigned kRetryDoublings = 4;

}  // namespace

void Establish::begin(const Times& times, uint64_t now_ms) {
    DRBD_ASSERT(!running_);
    times_ = times;
    running_ = true;
    data_ = meta_ = dialling_ = -1;
    accepted_meta_ = false;
    losses_ = 0;
    dial_ms_ = now_ms;
    on_time(now_ms);
}

void Establish::end() {
    running_ = false;
    data_ = meta_ = dialling_ = -1;
}

void Establish::on_dialled(unsigned number, bool worked, uint64_t now_ms) {
    if (static_cast<int>(number) != dialling_) {
        sockets_.close(number);
        return;
    }
    dialling_ = -1;
    if (!worked) {
        sockets_.close(number);
        // Two nodes shall not dial in step for ever.
        const uint64_t spread = times_.connect_ms / 7;
        dial_ms_ = now_ms + (toss() ? times_.connect_ms + spread : times_.connect_ms - spread);
        return;
    }
    const wire::Stream stream = data_ < 0 ? wire::Stream::Data : wire::Stream::Meta;
    Socket& socket = sockets_[number];
    uint8_t room[wire::kPacketSizeMax];
    if (!socket.outbox.push(wire::encode_initial(room, stream), {}, {})) {
        sockets_.close(number);
        dial_again_after_loss(now_ms);
        return;
    }
    adopt(number, stream, now_ms);
    dial_ms_ = now_ms + between(kPatienceMs, kPatienceMaxMs);
    on_time(now_ms);
}

bool Establish::on_first_packet(unsigned number, wire::Stream stream, uint64_t now_ms) {
    const int old = place_of(stream);
    const bool crossed = old >= 0 && sockets_[static_cast<unsigned>(old)].dialled;
    if (crossed && toss()) {
        sockets_.close(number);
        return false;
    }
    // The peer dialled a stream again that we have from it: that one is dead to it.
    if (old >= 0)
        sockets_.close(static_cast<unsigned>(old));
    adopt(number, stream, now_ms);
    dial_ms_ = crossed && toss() ? now_ms + between(kPatienceMs, kPatienceMaxMs) : now_ms;
    on_time(now_ms);
    return true;
}

void Establish::adopt(unsigned number, wire::Stream stream, uint64_t now_ms) {
    Socket& socket = sockets_[number];
    socket.use = stream == wire::Stream::Data ? SocketUse::Data : SocketUse::Meta;
    socket.reader.begin(stream);
    place_of(stream) = static_cast<int>(number);
    if (stream == wire::Stream::Meta)
        accepted_meta_ = !socket.dialled;
    if (!is_complete())
        return;
    stable_ms_ = now_ms + times_.socket_check_ms;
    if (dialling_ >= 0) {
        sockets_.close(static_cast<unsigned>(dialling_));
        dialling_ = -1;
    }
}

void Establish::on_eof(unsigned number, uint64_t now_ms) {
    const int ended = static_cast<int>(number);
    if (ended == dialling_) {
        dialling_ = -1;
        dial_again_after_loss(now_ms);
    } else if (ended == data_ || ended == meta_) {
        (ended == data_ ? data_ : meta_) = -1;
        dial_again_after_loss(now_ms);
    }
    sockets_.close(number);
}

void Establish::dial_again_after_loss(uint64_t now_ms) {
    const uint64_t wait = between(kRetryMs, kRetryMaxMs) << std::min(losses_++, kRetryDoublings);
    dial_ms_ = now_ms + std::min(wait, times_.connect_ms);
}

void Establish::on_time(uint64_t now_ms) {
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number].use == SocketUse::Fresh && now_ms >= sockets_[number].taken_ms + times_.first_packet_ms)
            sockets_.close(number);
    if (!running_ || is_complete() || dialling_ >= 0 || now_ms < dial_ms_)
        return;
    dialling_ = sockets_.take(SocketUse::Dialling, now_ms);
    if (dialling_ < 0)
        dial_again_after_loss(now_ms);  // those that are being closed hold all numbers
}

uint64_t Establish::next_deadline_ms() const {
    uint64_t deadline = UINT64_MAX;
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number].use == SocketUse::Fresh)
            deadline = std::min(deadline, sockets_[number].taken_ms + times_.first_packet_ms);
    if (running_ && is_complete())
        deadline = std::min(deadline, stable_ms_);
    else if (running_ && dialling_ < 0)
        deadline = std::min(deadline, dial_ms_);
    return deadline;
}

}  // namespace drbd
