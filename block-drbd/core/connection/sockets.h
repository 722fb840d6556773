// SPDX-License-Identifier: GPL-2.0-or-later
// The sockets of a resource: what each number is used for, what the caller is
// to do with it next, and what belongs to it: its outbox and its reader.
//
// Life of a number: Free - Dialling (our DIAL) or Fresh (accepted; its first
// packet is awaited) - Data or Meta - Closing, until on_closed() has come and
// the last send has ended - Free.
// Invariants: at most one action is due for a number, so the queue of actions
// has a bound; what is handed out of an outbox outlives the socket's use; a
// number is not given again while anything of its last use is under way.
#pragma once

#include <optional>

#include "core/connection/outbox.h"
#include "core/wire/frame.h"

namespace drbd {

enum class SocketUse : uint8_t { Free, Dialling, Fresh, Data, Meta, Closing };

struct Socket {
    Socket(OutgoingPool& pool, PacketListener& listener) : outbox(pool, listener) {}

    SocketUse use = SocketUse::Free;
    Outbox outbox;
    wire::FrameReader reader;
    bool dialled = false;      // by us; else accepted
    bool action_due = false;   // DIAL or CLOSE, by use
    bool closed = false;       // on_closed() has come, a send is still out
    uint64_t taken_ms = 0;

    // Receiving (receive.cc).
    bool stalled = false;       // the caller was told to read no more
    bool asks_listener = false; // ... because the listener has no room for a payload
    bool is_granted = false;    // it has now; the caller has not come back yet
    bool discard_bulk = false;
    uint32_t bulk_due = 0;      // the caller is getting so much payload

    bool is_stream() const { return use == SocketUse::Data || use == SocketUse::Meta; }
};

class Sockets {
  public:
    Sockets(OutgoingPool& pool, PacketListener& listener);

    Socket& operator[](unsigned number) {
        DRBD_ASSERT(number < DRBD_MAX_SOCKETS);
        return *sockets_[number];
    }
    const Socket& operator[](unsigned number) const {
        DRBD_ASSERT(number < DRBD_MAX_SOCKETS);
        return *sockets_[number];
    }

    // A number for a dial (whose action is due then) or an accepted socket; -1:
    // all are in use.
    int take(SocketUse use, uint64_t now_ms);
    unsigned count(SocketUse use) const;
    // The Fresh one that has said nothing for the longest time; -1: none.
    int oldest_fresh() const;

    void close(unsigned number);
    void close_all(SocketUse use);
    void on_closed(unsigned number);
    void on_sent(unsigned number, size_t bytes);
    // Nothing of an earlier use is under way.
    bool all_ended() const { return count(SocketUse::Closing) == 0; }

    void set_listening(bool wanted) { listen_wanted_ = wanted; }
    bool is_listening() const { return listen_wanted_; }
    bool has_action() const;
    bool next_action(DrbdNetAction& action, unsigned dial_timeout_ms);

  private:
    void free_if_ended(Socket& socket);

    std::optional<Socket> sockets_[DRBD_MAX_SOCKETS];
    bool listen_wanted_ = false;
    bool listen_told_ = false;
};

}  // namespace drbd
