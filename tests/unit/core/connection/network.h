// SPDX-License-Identifier: GPL-2.0-or-later
// Connections wired back to back in memory, in virtual time: what drbd-core.h
// asks of a shim, done by a network that a test bends.
//
// In: nodes (a Connection each, with a listener that takes notes), a seed, delays,
// and cuts.  Out: what the nodes did, in order.  A raw end is a peer that the
// test writes byte by byte.
// Invariants: bytes of one direction arrive in order, in any pieces; an end that
// is closed is an end of the stream for the other, behind what was sent; the
// same seed gives the same run.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/connection/connection.h"
#include "tests/unit/core/connection/link_up.h"

namespace drbd::test {

class Network;

// A HMAC for tests: keyed, of any size, worth nothing.
struct TestSecret {
    std::string secret = "secret";
    unsigned digest_size = 20;
    uint64_t random_state = 1;
    bool works = true;

    DrbdCrypto crypto();
};

struct Received {
    wire::Packet packet;
    uint16_t volume;
    void* buffer;
};

class Node final : public ConnectionListener, public PacketListener {
  public:
    Node(Network& network, unsigned index, uint64_t seed);

    // drbd-core.h's events, with what follows them.
    void event(const std::function<void()>& what);

    void on_phase(ConnectionState phase, const char* reason) override;
    void on_connection_up() override;
    void on_connection_lost(ConnectionState how, const char* reason) override;
    void on_ping_answered() override { pings_answered++; }
    Result<BulkVerdict> on_bulk(const wire::Frame& frame) override;
    Result<void> on_packet(const wire::Frame& frame, void* buffer) override;
    void on_buffer_unused(void* buffer, uint32_t bytes) override;
    bool may_reconnect() const override { return reconnect; }
    bool is_stalled() const override { return stalled; }
    void on_packet_left(const Owner&, bool sent) override { (sent ? left_sent : left_unsent)++; }

    bool is_up() const { return connection.link().is_up() && connection.has_peer_parameters(); }
    std::string last_reason() const { return lost.empty() ? std::string(connection.reason()) : lost.back(); }

    Network& network;
    const unsigned index;
    Random random;
    Connection connection;
    TestSecret secret;
    DrbdNetConfig config{};

    bool reconnect = true;
    bool stands_alone_when_lost = false;  // as a hub that has asked for an orderly end
    bool stalled = false;
    BulkVerdict verdict = BulkVerdict::Take;
    bool bad_packet = false;       // on_packet() answers with an error
    bool digests_are_good = true;  // what the caller says of payload
    std::function<void()> when_up;
    std::function<void(const wire::Frame&)> when_packet;

    bool up = false;
    unsigned ups = 0, pings_answered = 0, left_sent = 0, left_unsent = 0, unused = 0, bulk_questions = 0;
    std::vector<std::string> phases;
    std::vector<std::string> lost;  // reasons
    std::vector<ConnectionState> lost_how;
    std::vector<Received> received;
};

// One end of a TCP connection.
struct End {
    int node = -1;  // -1: raw
    unsigned socket = 0;
    std::shared_ptr<End> other;
    std::vector<uint8_t> inbox;
    bool open = true;
    bool ended = false;           // the stream has ended behind the inbox
    std::string error;
    bool told_end = false;
    uint32_t bulk = 0;            // payload being received
    bool discard = false;
    uint64_t last_arrival = 0;    // at the other end
    bool frozen = false;          // reads nothing: what comes stays in the network
    std::vector<uint8_t> network; // ... here
    size_t room = SIZE_MAX;       // bytes that the other end may still send (a peer that does not read)
    bool cut = false;             // what is sent vanishes, nothing is told: half open
};

class Network {
  public:
    explicit Network(uint64_t seed = 1, unsigned nodes = 2);
    ~Network();

    Node& node(unsigned index) { return *nodes_[index]; }
    Node& a() { return node(0); }
    Node& b() { return node(1); }
    // With what stands in node.config; connects.
    void start(unsigned index, bool discard_my_data = false);
    void start_all() {
        for (unsigned i = 0; i < nodes_.size(); i++)
            start(i);
    }

    // Until the condition holds; false: not within so many milliseconds.
    bool run(uint64_t ms, const std::function<bool()>& until = [] { return false; });
    bool run_until_up(uint64_t ms = 60000) {
        return run(ms, [this] { return a().is_up() && b().is_up(); });
    }
    uint64_t now() const { return now_; }
    void after(uint64_t ms, std::function<void()> what);

    // A raw peer connects to a node; null: refused.
    std::shared_ptr<End> connect_raw(unsigned to);
    void write(const std::shared_ptr<End>& end, std::vector<uint8_t> bytes);
    void close(const std::shared_ptr<End>& end, const char* error = nullptr);
    std::shared_ptr<End> end_of(unsigned node, unsigned socket);
    // Of the streams of a node that is up: the end of `stream`.
    std::shared_ptr<End> stream_of(unsigned node, wire::Stream stream);
    // Every connection breaks, at both ends; or is silent from now on.
    void cut_all(const char* error);
    void silence_all();
    // A process dies: its ends close, and it is started anew.
    void restart(unsigned index);

    struct Behaviour {
        uint64_t delay_min = 0, delay_max = 0;
        size_t piece_max = SIZE_MAX;     // of one arrival and of one send
        std::function<bool(unsigned from)> refuses;  // dials of a node fail
        bool dials_hang = false;
        uint64_t cut_after_bytes = UINT64_MAX;       // of everything
        uint64_t lateness = 0;           // of timers
    } behaviour;
    // Dials to a node whose peer is no node: the test answers them.
    std::function<std::shared_ptr<End>(unsigned from)> raw_listener;
    uint64_t total_bytes = 0;
    std::vector<std::string> problems;  // what must never happen

  private:
    friend class Node;

    std::shared_ptr<End> new_end(int node);

    void act(Node& node);
    void send(Node& node, unsigned socket);
    void deliver(const std::shared_ptr<End>& end);
    void dial(Node& node, unsigned socket, unsigned timeout_ms);
    void arrive(const std::shared_ptr<End>& from, std::vector<uint8_t> bytes);
    void stop(Node& node, unsigned socket);
    uint64_t delay() {
        const uint64_t span = behaviour.delay_max - behaviour.delay_min;
        return behaviour.delay_min + (span ? random_.next() % (span + 1) : 0);
    }
    size_t piece(size_t most) {
        return behaviour.piece_max == SIZE_MAX ? most : std::min<size_t>(most, 1 + random_.next() % behaviour.piece_max);
    }

    Random random_;
    uint64_t now_ = 1000;
    uint64_t order_ = 0;
    std::multimap<std::pair<uint64_t, uint64_t>, std::function<void()>> events_;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<std::unique_ptr<Node>> dead_;
    std::vector<std::map<unsigned, std::shared_ptr<End>>> sockets_;
    std::vector<std::shared_ptr<End>> ends_;  // all there ever were: pairs hold each other
    std::vector<bool> listening_;
    std::vector<bool> acting_;
};

}  // namespace drbd::test
