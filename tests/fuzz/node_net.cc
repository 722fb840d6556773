// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: time and sockets.
#include <utility>

#include "node.h"

namespace drbd::fuzz {

bool Node::settle_net(unsigned automatic) {
    bool worked = false;
    const uint32_t pending = drbd_resource_pending(core_, DRBD_PENDING_ALL);
    if (automatic & kAutoNet) {
        if (pending & DRBD_PENDING_NET) {
            take_net_action();
            worked = true;
        }
        for (unsigned s = 0; s < DRBD_MAX_SOCKETS; s++)
            if (sockets_[s].use == Use::Closing && !sockets_[s].sending) {
                closed(s);
                worked = true;
            }
    }
    for (unsigned s = 0; s < DRBD_MAX_SOCKETS; s++) {
        if ((automatic & kAutoSend) && (drbd_pending_sockets(core_) >> s & 1) && sockets_[s].use == Use::Open &&
            !sockets_[s].sending) {
            send(s, UINT64_MAX, false);
            worked = true;
        }
        const Socket& socket = sockets_[s];
        const bool may_read = socket.use == Use::Open && (!socket.stalled || drbd_may_receive(core_, s));
        if ((automatic & kAutoReceive) && may_read && (socket.at < socket.inbox.size() || socket.stalled)) {
            receive(s, UINT64_MAX, true);
            worked = true;
        }
    }
    return worked;
}

void Node::advance(uint64_t ms) {
    now_ms_ += ms;
    tell_time();
}

void Node::advance_to_deadline() {
    const uint64_t deadline = drbd_next_deadline_ms(core_);
    if (deadline != UINT64_MAX)
        now_ms_ = std::max(now_ms_, deadline);
    tell_time();
}

void Node::take_net_action() {
    DrbdNetAction action;
    if (!drbd_next_net_action(core_, &action))
        return;
    DRBD_ASSERT(action.socket < DRBD_MAX_SOCKETS);
    Socket& socket = sockets_[action.socket];
    switch (action.kind) {
    case DRBD_NET_LISTEN:
        DRBD_ASSERT(!listening_);
        listening_ = true;
        return;
    case DRBD_NET_UNLISTEN:
        DRBD_ASSERT(listening_);
        listening_ = false;
        return;
    case DRBD_NET_DIAL:
        DRBD_ASSERT(socket.use == Use::Free);
        socket = {};
        socket.use = Use::Dialling;
        return;
    case DRBD_NET_CLOSE:
        DRBD_ASSERT(socket.use != Use::Free && socket.use != Use::Closing);
        forget_input(socket);
        socket.use = Use::Closing;
        peer_.on_gone(action.socket);
        return;
    }
}

void Node::fail_to_listen() {
    if (!listening_)
        return;
    tell_time();
    drbd_on_listen_failed(core_, "the address is in use");
}

void Node::end_dial(uint64_t which, bool works) {
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        const unsigned s = static_cast<unsigned>((which + i) % DRBD_MAX_SOCKETS);
        if (sockets_[s].use != Use::Dialling)
            continue;
        // A socket that did not come about is closed by the core's order.
        sockets_[s].use = works ? Use::Open : Use::Ended;
        tell_time();
        if (works)
            peer_.on_opened(s, false);
        drbd_on_dialled(core_, s, works ? nullptr : "Connection refused");
        return;
    }
}

void Node::end_close(uint64_t which) {
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        const unsigned s = static_cast<unsigned>((which + i) % DRBD_MAX_SOCKETS);
        if (sockets_[s].use != Use::Closing || sockets_[s].sending)
            continue;
        closed(s);
        return;
    }
}

void Node::closed(unsigned s) {
    sockets_[s] = {};
    tell_time();
    drbd_on_closed(core_, s);
}

void Node::forget_input(Socket& socket) {
    if (socket.buffer)
        free_buffer(socket.buffer, socket.bulk.bytes);
    socket.buffer = nullptr;
    socket.in_bulk = false;
    socket.inbox.clear();
    socket.at = 0;
}

int Node::accept() {
    if (!listening_)
        return -1;
    tell_time();
    const int s = drbd_on_accepted(core_);
    if (s < 0)
        return -1;
    DRBD_ASSERT(s < DRBD_MAX_SOCKETS && sockets_[s].use == Use::Free);
    sockets_[s] = {};
    sockets_[s].use = Use::Open;
    peer_.on_opened(static_cast<unsigned>(s), true);
    return s;
}

// ------------------------------------------------------------- sending --

void Node::send(unsigned s, uint64_t bytes_max, bool ends_later) {
    Socket& socket = sockets_[s];
    if (socket.use != Use::Open || socket.sending)
        return;
    socket.send = std::make_unique<DrbdSend>();
    if (!drbd_next_send(core_, s, socket.send.get()))
        return;
    DRBD_ASSERT(socket.send->bytes > 0 && socket.send->nr_parts <= DRBD_SEND_PARTS);
    socket.sending = true;
    if (!ends_later)
        end_send(s, bytes_max);
}

void Node::end_send(unsigned s, uint64_t bytes) {
    Socket& socket = sockets_[s];
    if (!socket.sending)
        return;
    socket.sending = false;
    const std::unique_ptr<DrbdSend> sent = std::move(socket.send);
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes, sent->bytes));
    std::vector<uint8_t> out;
    for (unsigned i = 0; i < sent->nr_parts && out.size() < n; i++) {
        const auto* data = static_cast<const uint8_t*>(sent->parts[i].data);
        out.insert(out.end(), data, data + std::min(sent->parts[i].bytes, n - out.size()));
    }
    drbd_on_sent(core_, s, n);
    if (socket.use == Use::Open)
        peer_.on_output(s, out);
}

// ----------------------------------------------------------- receiving --

void Node::give(unsigned s, std::span<const uint8_t> bytes) {
    constexpr size_t kInboxMax = 4 << 20;
    Socket& socket = sockets_[s];
    if (socket.use == Use::Open && socket.inbox.size() - socket.at < kInboxMax)
        socket.inbox.insert(socket.inbox.end(), bytes.begin(), bytes.end());
}

void Node::receive(unsigned s, uint64_t bytes_max, bool digest_ok) {
    Socket& socket = sockets_[s];
    if (socket.use != Use::Open || (socket.stalled && !drbd_may_receive(core_, s)))
        return;
    socket.stalled = false;
    tell_time();
    if (socket.in_bulk) {
        receive_bulk(s, bytes_max, digest_ok);
        return;
    }
    const size_t there = socket.inbox.size() - socket.at;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(bytes_max, there));
    if (n == 0)
        return;
    // A copy of its own, so that the sanitizers see who reads past the end.
    const std::vector<uint8_t> piece(socket.inbox.begin() + static_cast<ptrdiff_t>(socket.at),
                                     socket.inbox.begin() + static_cast<ptrdiff_t>(socket.at + n));
    size_t taken = 0;
    DrbdBulk bulk{};
    const DrbdReceive what = drbd_on_bytes(core_, s, piece.data(), n, &taken, &bulk);
    DRBD_ASSERT(taken <= n && (what != DRBD_RECEIVE_MORE || taken == n));
    socket.at += taken;
    if (socket.at == socket.inbox.size())
        socket.at = 0, socket.inbox.clear();
    if (what == DRBD_RECEIVE_STALL) {
        socket.stalled = true;
    } else if (what == DRBD_RECEIVE_CLOSED) {
        forget_input(socket);
        socket.use = Use::Ended;
    } else if (what == DRBD_RECEIVE_BULK) {
        DRBD_ASSERT(bulk.bytes > 0 && bulk.bytes <= 1 << 20);
        socket.in_bulk = true;
        socket.bulk = bulk;
        socket.got = 0;
        socket.buffer = bulk.discard ? nullptr : new_buffer(bulk.bytes);
    }
}

// True if something was taken.
bool Node::receive_bulk(unsigned s, uint64_t bytes_max, bool digest_ok) {
    Socket& socket = sockets_[s];
    const size_t there = socket.inbox.size() - socket.at;
    const size_t n = static_cast<size_t>(std::min<uint64_t>({bytes_max, there, socket.bulk.bytes - socket.got}));
    socket.at += n;
    socket.got += n;
    if (socket.got < socket.bulk.bytes)
        return n > 0;
    void* buffer = std::exchange(socket.buffer, nullptr);
    socket.in_bulk = false;
    drbd_on_bulk(core_, s, buffer, digest_ok || !socket.bulk.has_digest);
    return true;
}

void Node::end_stream(unsigned s, bool reset) {
    Socket& socket = sockets_[s];
    if (socket.use != Use::Open)
        return;
    forget_input(socket);
    socket.use = Use::Ended;
    tell_time();
    drbd_on_eof(core_, s, reset ? "Connection reset by peer" : nullptr);
}

}  // namespace drbd::fuzz
