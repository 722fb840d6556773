// SPDX-License-Identifier: GPL-2.0-or-later
// The network between the two hosts: TCP connections, each two ordered streams
// of bytes.
//
// In: listen, dial, send, consume, close; faults.  Out: what the host's process
// is told (LinkUser).  TCP loses and reorders nothing inside a stream; what can
// happen is latency, a window that is full, a stall, an end (FIN, or RST, which
// discards what the receiver had not read), silence, and a dial that is refused
// or not answered.  Connections live in the host: bytes that a killed process
// had sent arrive; after a loss of power everything is silence until somebody
// sends to the host that is up again, who gets a RST.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "event_queue.h"
#include "payload.h"
#include "rng.h"
#include "trace.h"

namespace drbd::sim {

// One end of a connection.
using End = uint32_t;
constexpr End kNoEnd = ~0u;

class LinkUser {
  public:
    virtual void on_dial_done(uint64_t cookie, End end, const char* error) = 0;  // kNoEnd: failed
    virtual void on_incoming(End end) = 0;
    virtual void on_readable(End end) = 0;   // bytes, or the end of the stream
    virtual void on_writable(End end) = 0;   // there is room again

  protected:
    ~LinkUser() = default;
};

struct LinkTimes {
    Time latency = 100;      // one way
    Time jitter = 50;
    uint64_t window = 256 << 10;
};

class Network {
  public:
    Network(EventQueue& queue, Trace& trace, Rng random, const LinkTimes& times)
        : queue_(queue), trace_(trace), random_(random), times_(times) {}

    void set_user(int host, LinkUser* user) { hosts_[host].user = user; }

    // Somebody reads along what processes send.
    // `wire`: the same bytes as they go on their way.
    using Tap = std::function<void(int host, End end, std::span<const uint8_t> bytes, const WireBytes& wire)>;
    void add_tap(Tap tap) { taps_.push_back(std::move(tap)); }

    // What a process does.
    void listen(int host, bool on) { hosts_[host].listening = on; }
    void dial(int host, uint64_t cookie, Time timeout);
    uint64_t room(End end);                       // 0: on_writable() follows
    void send(End end, std::span<const uint8_t> bytes);
    size_t readable(End end) const;               // bytes of the first piece of what can be read
    std::span<const uint8_t> look(End end);       // at them; until the next look
    [[nodiscard]] bool copy(End end, size_t bytes, uint8_t* to) const;  // WireBytes::copy()
    void consume(End end, size_t bytes);
    bool at_end(End end) const;                   // everything is read, and no more comes
    bool is_reset(End end) const;
    void close(End end);

    // What happens to hosts.
    void process_killed(int host);
    void power_lost(int host);
    void power_on(int host) { hosts_[host].powered = true; }

    // Faults.
    void set_partition(bool on);                  // nothing passes, nothing is lost
    bool is_partitioned() const { return partitioned_; }
    void stall(End end, Time until);              // nothing comes in here until then
    void cut(End end, bool reset, bool both_ways); // an end of the stream, after some of what is under way
    void silence(End end);                        // what is sent here goes nowhere; TCP tells the sender, see below
    // How long TCP tries to bring something to the other host; 0: its own quarter of an hour.
    void set_user_timeout(int host, Time time) { hosts_[host].user_timeout = time; }
    void corrupt_next(int host) { corrupts_[host] = has_corrupted_ = true; }  // a bit of the next large piece that it sends
    bool has_corrupted() const { return has_corrupted_; }
    std::vector<End> live_ends() const;
    // One that stands, on which nothing arrives any more, and nobody is told.
    bool has_silent_stream() const;

  private:
    struct Segment {
        Time arrival;
        WireBytes bytes;
        enum Kind : uint8_t { Data, Fin, Rst } kind = Data;
    };
    struct Half {
        int host = 0;
        bool closed = false, vanished = false;  // by its process; by a loss of power
        bool incoming = false;                  // accepted by the host, not by the process
        bool fin = false, reset = false;
        bool deaf = false, unheard = false;     // and something was sent to it
        bool wants_room = false;
        std::deque<Segment> under_way, arrived;
        size_t bytes_under_way = 0, bytes_arrived = 0, first_consumed = 0;
        Time last_arrival = 0, stalled_until = 0;
    };
    struct Tcp {
        Half half[2];
    };
    struct Host {
        LinkUser* user = nullptr;
        bool listening = false, powered = true;
        Time user_timeout = 0;
    };

    Half* find(End end) const;
    static End other(End end) { return end ^ 1; }
    void queue_segment(End to, WireBytes bytes, Segment::Kind kind);
    void arrive(End end);
    void is_unheard(End end);
    void arrive_one(End end, Half& half, Segment segment);
    void syn_arrives(int from, uint64_t cookie, Time deadline);
    Time transit() { return times_.latency + random_.below(times_.jitter + 1); }
    void forget_if_over(End end);
    std::vector<uint8_t> take_buffer();

    EventQueue& queue_;
    Trace& trace_;
    Rng random_;
    LinkTimes times_;
    std::vector<Tap> taps_;
    Host hosts_[2];
    bool partitioned_ = false;
    bool corrupts_[2] = {false, false}, has_corrupted_ = false;
    std::vector<std::unique_ptr<Tcp>> connections_;
    std::vector<std::vector<uint8_t>> buffers_;
    std::vector<uint8_t> looked_at_;
};

}  // namespace drbd::sim
