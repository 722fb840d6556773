// SPDX-License-Identifier: GPL-2.0-or-later
// Finds the two sockets of a connection (spec 1.2): dials and accepts until one
// is `data` and one is `meta`, and both have stood for socket-check-timeout.
//
// In: ends of dials, first packets of accepted sockets, ends of sockets, time.
// Out: dials and first packets (on Sockets), and found().
// Both nodes run this at once.  Whoever accepted one stream dials the other at
// once (spec trap 5); whoever dialled one waits a little for the peer to do so.
// When the two nodes' dials cross, each tosses a coin whether its own or the
// peer's socket stays: if they disagree both lose theirs, and wait for random
// times.  A kernel always takes the newest, which fits either side of the coin.
// Invariants: one dial at a time; accepted sockets that say nothing are bounded
// in number and time; a stream that ends before found() is forgotten.
#pragma once

#include "core/base/random.h"
#include "core/connection/sockets.h"

namespace drbd {

class Establish {
  public:
    struct Times {
        uint64_t connect_ms = 10000;
        uint64_t first_packet_ms = 2000;  // 4 x ping-timeout
        uint64_t socket_check_ms = 500;
    };

    Establish(Sockets& sockets, Random& random) : sockets_(sockets), random_(random) {}

    void begin(const Times& times, uint64_t now_ms);
    void end();  // found, or given up: the sockets are somebody else's now
    bool is_running() const { return running_; }

    void on_dialled(unsigned number, bool worked, uint64_t now_ms);
    // The socket's first packet.  False: it is not wanted, and is being closed.
    bool on_first_packet(unsigned number, wire::Stream stream, uint64_t now_ms);
    void on_eof(unsigned number, uint64_t now_ms);
    void on_time(uint64_t now_ms);
    uint64_t next_deadline_ms() const;

    bool found(uint64_t now_ms) const { return data_ >= 0 && meta_ >= 0 && now_ms >= stable_ms_; }
    unsigned data() const { return static_cast<unsigned>(data_); }
    unsigned meta() const { return static_cast<unsigned>(meta_); }
    bool has_data() const { return data_ >= 0; }
    bool has_meta() const { return meta_ >= 0; }
    // RC-flag (spec 1.3): this end accepted meta.
    bool accepted_meta() const { return accepted_meta_; }

  private:
    int& place_of(wire::Stream stream) { return stream == wire::Stream::Data ? data_ : meta_; }
    bool is_complete() const { return data_ >= 0 && meta_ >= 0; }
    bool toss() { return random_.next() >> 63; }
    uint64_t between(uint64_t from, uint64_t to) { return from + random_.next() % (to - from); }
    void adopt(unsigned number, wire::Stream stream, uint64_t now_ms);
    void dial_again_after_loss(uint64_t now_ms);

    Sockets& sockets_;
    Random& random_;
    Times times_;
    bool running_ = false;
    int data_ = -1, meta_ = -1;
    bool accepted_meta_ = false;
    int dialling_ = -1;
    uint64_t dial_ms_ = 0;    // when to dial next
    uint64_t stable_ms_ = 0;  // when both have stood for long enough
    unsigned losses_ = 0;     // of streams, since begin()
};

}  // namespace drbd
