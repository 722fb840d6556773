// SPDX-License-Identifier: GPL-2.0-or-later
// One node for event sequences: what a shim plays around the core, every step of
// it when the input says so.
//
// In: calls that say what happens next (the input chooses which).  Out: calls of
// the C border in an order that drbd-core.h allows, whatever is asked: what has
// no place now is passed over.  What the core sends goes to a PeerSide, what the
// peer sends comes by give().
// Invariants: all of the core's contract that a caller can see is asserted (a
// wake-up for who waits, buffers given back once, numbers that are free); memory
// is of the size that was asked for and freed when the core may no longer look
// at it, so that the sanitizers see who does.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "drbd-core.h"
#include "input.h"
#include "played_disk.h"

namespace drbd::fuzz {

// What is done after every event without being asked for, with success.
enum Automatic : unsigned {
    kAutoNet = 1,      // sockets are closed, dials fail
    kAutoWake = 2,     // who is woken goes on
    kAutoJobs = 4,
    kAutoGuest = 8,    // copies, local I/O, ends
    kAutoPeerIo = 16,
    kAutoSend = 32,
    kAutoReceive = 64,
    kAutoAll = 127,
};

// A line on stderr, if DRBD_FUZZ_TRACE is set: to understand one input.
[[gnu::format(printf, 1, 2)]] void trace(const char* format, ...);

class PeerSide {
  public:
    virtual void on_output(unsigned socket, std::span<const uint8_t> bytes) = 0;
    virtual void on_opened(unsigned socket, bool by_peer) = 0;
    virtual void on_gone(unsigned socket) = 0;

  protected:
    ~PeerSide() = default;
};

struct Setup {
    unsigned volumes = 1;
    unsigned max_requests = 64;
    uint64_t image_bytes = 64ull << 20;
    bool internal = false;
    unsigned al_extents = 0;
    DrbdOnIoError on_io_error = DRBD_ON_IO_ERROR_DETACH;
    unsigned digest_size = 0;  // of data-integrity-alg
    unsigned max_buffers = 0;  // pages; 0 = default
};

class Node {
  public:
    Node(const Setup& setup, PeerSide& peer);
    ~Node();
    Node(const Node&) = delete;

    DrbdResource* core() { return core_; }
    const Setup& setup() const { return setup_; }
    PlayedDisk& metadata(unsigned volume) { return setup_.internal ? images_[volume] : metadata_[volume]; }
    DrbdDiskConfig disk_config(unsigned volume) const;
    DrbdVolumeStatus status(unsigned volume) const;
    DrbdConnectionStatus connection_status() const;
    bool is_open(unsigned volume) const { return open_[volume]; }

    // Empties the queues, as far as that is automatic.
    void settle(unsigned automatic);
    // Everything ends well, the peer goes, the disks are given up, nothing is left.
    void come_to_rest();

    // Volumes.
    void open(unsigned volume);
    void close(unsigned volume);
    void drain(unsigned volume, bool begin);
    // Nobody may write while a node leaves its disk.
    void set_leaving(unsigned volume) { leaving_[volume] = true; }

    // The guest.
    void begin_request(unsigned volume, DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags);
    void act(uint64_t which, int result);  // the next step of one that can do one
    void take_wake();

    // Metadata.
    void take_job(unsigned volume);
    void end_job(unsigned volume, int result, bool written);

    // The image, for the peer.
    void take_peer_io();
    void end_peer_io(uint64_t which, int result);

    // Time and network.
    uint64_t now_ms() const { return now_ms_; }
    void advance(uint64_t ms);
    void advance_to_deadline();
    void take_net_action();
    void end_dial(uint64_t which, bool works);
    void end_close(uint64_t which);
    bool is_listening() const { return listening_; }
    void fail_to_listen();
    int accept();  // -1: not wanted
    void send(unsigned socket, uint64_t bytes_max, bool ends_later);
    void end_send(unsigned socket, uint64_t bytes);
    void give(unsigned socket, std::span<const uint8_t> bytes);
    bool can_give(unsigned socket) const { return sockets_[socket].use == Use::Open; }
    void receive(unsigned socket, uint64_t bytes_max, bool digest_ok);
    void end_stream(unsigned socket, bool reset);

  private:
    enum class Use : uint8_t { Free, Dialling, Open, Ended, Closing };
    struct Socket {
        Use use = Use::Free;
        bool stalled = false;
        bool sending = false;
        std::unique_ptr<DrbdSend> send;
        std::vector<uint8_t> inbox;
        size_t at = 0;  // of inbox, is taken
        bool in_bulk = false;
        DrbdBulk bulk{};
        void* buffer = nullptr;
        size_t got = 0;
    };
    struct Guest {
        unsigned volume;
        DrbdRequestKind kind;
        uint64_t offset, bytes;
        unsigned flags;
        DrbdWaiter waiter{};
        DrbdRequest* core = nullptr;
        DrbdStep step = DRBD_STEP_WAIT;
        bool woken = false;
        std::unique_ptr<uint8_t[]> payload, digests;
        uint64_t delivered = 0;
    };
    using Guests = std::list<std::unique_ptr<Guest>>;

    void tell_time() { drbd_on_time(core_, now_ms_); }
    bool settle_once(unsigned automatic);
    bool settle_net(unsigned automatic);
    void take_notices();
    void take_releases();
    void stepped(Guest& guest, DrbdStep step);
    static bool can_act(const Guest& guest);
    bool act_on_first(bool (*is_it)(const Guest& guest));
    void act_on(Guests::iterator at, int result);
    void copy(Guest& guest);
    void deliver(Guest& guest);
    void do_job(unsigned volume, const DrbdJob& job, bool written);
    void* new_buffer(size_t bytes);
    void free_buffer(void* buffer, size_t bytes);
    bool receive_bulk(unsigned socket, uint64_t bytes_max, bool digest_ok);
    void closed(unsigned socket);
    void forget_input(Socket& socket);
    void check_bounds() const;
    void give_disk_up(unsigned volume);
    const char* what_is_left() const;

    Setup setup_;
    PeerSide& peer_;
    DrbdResource* core_ = nullptr;
    std::deque<PlayedDisk> images_, metadata_;
    std::vector<bool> open_, leaving_;
    std::vector<unsigned> drained_;
    std::vector<const DrbdJob*> jobs_;
    Guests guests_;
    std::vector<DrbdPeerIo> peer_ios_;
    std::map<void*, size_t> buffers_;
    Socket sockets_[DRBD_MAX_SOCKETS];
    bool listening_ = false;
    uint64_t now_ms_ = 1000;
};

}  // namespace drbd::fuzz
