// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/sockets.h"

namespace drbd {

Sockets::Sockets(OutgoingPool& pool, PacketListener& listener) {
    for (auto& socket : sockets_)
        socket.emplace(pool, listener);
}

int Sockets::take(SocketUse use, uint64_t now_ms) {
    DRBD_ASSERT(use == SocketUse::Dialling || use == SocketUse::Fresh);
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++) {
        Socket& socket = *sockets_[number];
        if (socket.use != SocketUse::Free)
            continue;
        socket.use = use;
        socket.dialled = socket.action_due = use == SocketUse::Dialling;
        socket.closed = socket.stalled = socket.asks_listener = socket.is_granted = false;
        socket.bulk_due = 0;
        socket.taken_ms = now_ms;
        socket.outbox.begin();
        socket.reader.begin_accepted();
        return static_cast<int>(number);
    }
    return -1;
}

unsigned Sockets::count(SocketUse use) const {
    unsigned n = 0;
    for (const auto& socket : sockets_)
        n += socket->use == use;
    return n;
}

int Sockets::oldest_fresh() const {
    int oldest = -1;
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number]->use == SocketUse::Fresh &&
            (oldest < 0 || sockets_[number]->taken_ms < sockets_[static_cast<unsigned>(oldest)]->taken_ms))
            oldest = static_cast<int>(number);
    return oldest;
}

void Sockets::close(unsigned number) {
    Socket& socket = (*this)[number];
    DRBD_ASSERT(socket.use != SocketUse::Free);
    if (socket.use == SocketUse::Closing)
        return;
    // A dial that nobody has begun needs no end.
    const bool never_begun = socket.use == SocketUse::Dialling && socket.action_due;
    socket.use = SocketUse::Closing;
    socket.stalled = socket.asks_listener = socket.is_granted = false;
    socket.action_due = !never_begun;
    socket.closed = never_begun;
    socket.outbox.discard();
    free_if_ended(socket);
}

void Sockets::close_all(SocketUse use) {
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number]->use == use)
            close(number);
}

void Sockets::on_closed(unsigned number) {
    Socket& socket = (*this)[number];
    DRBD_ASSERT(socket.use == SocketUse::Closing && !socket.action_due);
    socket.closed = true;
    free_if_ended(socket);
}

void Sockets::on_sent(unsigned number, size_t bytes) {
    Socket& socket = (*this)[number];
    socket.outbox.sent(bytes);
    free_if_ended(socket);
}

void Sockets::free_if_ended(Socket& socket) {
    if (socket.use == SocketUse::Closing && socket.closed && !socket.outbox.is_handed_out())
        socket.use = SocketUse::Free;
}

bool Sockets::has_action() const {
    if (listen_wanted_ != listen_told_)
        return true;
    for (const auto& socket : sockets_)
        if (socket->action_due)
            return true;
    return false;
}

bool Sockets::next_action(DrbdNetAction& action, unsigned dial_timeout_ms) {
    if (listen_wanted_ != listen_told_) {
        listen_told_ = listen_wanted_;
        action = {listen_wanted_ ? DRBD_NET_LISTEN : DRBD_NET_UNLISTEN, 0, 0};
        return true;
    }
    // What ends goes first: then no number is held longer than it must.
    for (const SocketUse use : {SocketUse::Closing, SocketUse::Dialling}) {
        for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++) {
            Socket& socket = *sockets_[number];
            if (socket.use != use || !socket.action_due)
                continue;
            socket.action_due = false;
            const bool dial = use == SocketUse::Dialling;
            action = {dial ? DRBD_NET_DIAL : DRBD_NET_CLOSE, number, dial ? dial_timeout_ms : 0};
            return true;
        }
    }
    return false;
}

}  // namespace drbd
