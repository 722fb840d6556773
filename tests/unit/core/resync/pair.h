// SPDX-License-Identifier: GPL-2.0-or-later
// Two nodes that resync one volume, source a and target b, wired back to back:
// real Resync, PeerIo and PeerRequests over two Links, images in memory, and
// everything that happens in an order drawn from a seed.
//
// Images have a volatile cache: what is not flushed may be lost, sector by
// sector, with a loss of power.  Reads and writes happen in two halves, so that
// two that should not be at the image at once leave a mixture.  A guest writes
// on one of the nodes, with a simple model of what GuestIo does: overlapping
// writes and locks in the order in which they came, a packet to the peer, bits
// by what both disks said, everything that no barrier confirmed marked when the
// peer is lost.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "core/resync/resync.h"
#include "tests/unit/core/connection/link_up.h"

namespace drbd::test {

class Pair;

struct Faults {
    unsigned read_error = 0, write_error = 0, flush_error = 0;  // one in so many; 0: never
};

// An image with a cache that forgets.
class CachedImage {
  public:
    explicit CachedImage(size_t bytes) : current(bytes), stable_(bytes) {}

    void write(uint64_t offset, const uint8_t* data, size_t bytes);
    uint64_t flush_begins() const { return first_ + unflushed_.size(); }
    void flush_ends(uint64_t up_to);
    void lose_power(std::mt19937_64& random);
    void all_stable();

    std::vector<uint8_t> current;

  private:
    struct Piece {
        uint64_t offset;
        std::vector<uint8_t> data;
    };
    void apply(const Piece& piece, std::mt19937_64* random);

    std::vector<uint8_t> stable_;
    std::deque<Piece> unflushed_;
    uint64_t first_ = 0;  // number of the first of unflushed_
};

struct GuestWrite {
    Interval range;
    uint8_t fill = 0;
    uint64_t id = 0;
    uint32_t epoch = 0;
    bool begun = false, local_done = false, peer_done = false, local_failed = false, peer_failed = false;
    bool complete() const { return local_done && peer_done; }
};

// The guest's writes and the locks of the resync, in one order.
class Guest final : public ResyncLocks {
  public:
    explicit Guest(class Node& node) : node_(node) {}

    void write(uint64_t sector, uint64_t sectors, uint8_t fill);
    void local_done(GuestWrite& write, bool failed);
    Result<void> on_ack(wire::Packet packet, const wire::BlockAck& ack);
    void on_barrier_ack(uint32_t number);
    void close_epoch();
    void link_lost();
    unsigned incomplete() const { return incomplete_; }
    unsigned completed() const { return completed_; }
    unsigned locks() const;
    bool has_open_epoch() const { return writes_in_epoch_ != 0; }

    void lock_range(RangeLock& lock) override;
    void unlock_range(RangeLock& lock) override;

  private:
    struct Entry {
        RangeLock* lock;
        GuestWrite* write;
        Interval range;
        bool granted = false;
    };
    void go_on();
    void begin(GuestWrite& write);
    void judge(GuestWrite& write);
    void leave(const GuestWrite& write);

    Node& node_;
    std::deque<Entry> order_;
    std::vector<std::unique_ptr<GuestWrite>> writes_;  // not confirmed by a barrier
    uint64_t next_id_ = 1;
    uint32_t epoch_ = 1;
    unsigned writes_in_epoch_ = 0, incomplete_ = 0, completed_ = 0;
    bool going_on_ = false, again_ = false;
};

class Node final : public PeerVolume, public ResyncListener {
  public:
    Node(Pair& pair, const char* name, uint64_t sectors, uint64_t image_bytes, wire::Agreement agreement);
    ~Node();

    // PeerVolume
    bool peer_may_write() const override { return may_write; }
    bool takes_replicated_writes() const override { return may_write; }
    bool peer_may_read() const override { return may_read; }
    bool is_syncing() const override { return resync.is_running(); }
    bool peer_has_no_disk() const override { return false; }
    void set_out_of_sync(Sector start, Bytes length) override {
        disk.bitmap.set_out_of_sync(start, whole_sectors(length));
    }
    void set_in_sync(Sector start, Bytes length) override {
        disk.bitmap.set_in_sync(start, whole_sectors(length));
    }
    bool want_bits_stable(Sector, Bytes) override { return true; }
    Sector capacity() const override { return disk.size; }
    void on_peer_disk_error(DrbdRequestKind, uint64_t, uint64_t, int) override { disk_errors++; }
    void count_received(uint64_t) override {}
    void count_peer_read() override {}
    // ResyncListener
    void on_bitmaps_exchanged() override;
    void on_resync_answered(uint64_t failed) override;
    void on_resync_disk_error(DrbdRequestKind, uint64_t, uint64_t, int) override { disk_errors++; }

    // What the core's hub does with a packet.
    void deliver(wire::Stream stream, const SentPacket& packet);
    bool may_deliver(const SentPacket& packet);
    void pump();
    // One step of one operation at the image.  False: none is under way.
    bool step_io();
    bool step_io_of(DrbdPeerIoKind kind);
    void add_local(GuestWrite& write) { ops_.push_back({{}, &write, 0, false, 0, nullptr}); }
    bool has_io() const { return !ops_.empty(); }
    void link_lost();

    const char* name;
    Pair& pair;
    LinkUp link;
    PeerIo peer_io;
    PeerRequests requests;
    Guest guest{*this};
    Disk disk;
    CachedImage image;
    std::unique_ptr<Resync> resync_owner;
    Resync& resync;
    Faults faults;
    bool may_write = true, may_read = true;
    unsigned disk_errors = 0, bitmaps_exchanged = 0, answered = 0;
    uint64_t answered_failed = 0;
    unsigned flushes = 0, reads = 0, statuses = 0, zeroes = 0, resync_writes = 0;
    std::string error;
    std::vector<wire::Packet> received;
    std::vector<std::pair<wire::Packet, uint64_t>> received_sizes;  // requests of a resync
    bool hold_packets = false;  // they stay in the outboxes

  private:
    struct Op {
        DrbdPeerIo io;
        GuestWrite* write;
        unsigned stage;
        bool fails;
        uint64_t flush_up_to;
        uint8_t* buffer;
    };
    void step_op(size_t chosen);
    void begin_op(Op& op);
    void half(Op& op, bool second);
    void end_op(Op op);
    Result<void> on_data(const SentPacket& packet);
    Result<void> on_meta(const SentPacket& packet);

    std::vector<Op> ops_;
    BulkVerdict verdict_ = BulkVerdict::Take;
    void* announced_ = nullptr;
};

class Pair {
  public:
    explicit Pair(uint64_t seed, uint64_t sectors = 8192, wire::Agreement agreement = {101, {wire::kFeaturesKnown}});
    // Volumes larger than their images, of which nothing is read or written.
    Pair(uint64_t seed, uint64_t sectors, uint64_t image_bytes, wire::Agreement agreement);

    // Different images, bits for what differs, some on each side, and some more.
    void make_different(unsigned blocks);
    void exchange_bitmaps(wire::RunLengths run_lengths = wire::RunLengths::On);
    // Events until the condition holds; false: nothing happens any more, or too much.
    bool run(const std::function<bool()>& until, unsigned steps_max = 1'000'000);
    bool step();
    // The target has said that all is answered, and nothing is under way.
    bool run_to_the_end();
    bool at_rest() const;
    // Both streams are cut: some of what was under way still arrives.
    void cut();
    void lose_power(Node& node);
    // All I/O has ended; then the nodes find each other again.
    void finish_io();
    void reconnect();

    // Blocks that differ and that no bitmap names.
    uint64_t unmarked_differences() const;
    uint64_t differences() const;
    Node& other(Node& node) { return &node == &a ? b : a; }
    unsigned chance(unsigned in) { return in != 0 && random() % in == 0; }

    std::mt19937_64 random;
    uint64_t now_ms = 1000;
    Node a, b;
    Node* writer = nullptr;        // where the guest writes, at random
    unsigned writes_left = 0;
    std::function<void()> on_step;
    unsigned packets_until_cut = ~0u;
    unsigned delivered = 0;
    bool linked = true;
    // What the target acknowledged is taken for stable although no barrier says
    // so: it flushes by itself.  Else it is marked again, by large extents, and
    // covers what a test wants to see.
    bool trusts_target = true;

    struct Flight {
        std::deque<SentPacket> data, meta;
    };
    Flight to_a, to_b;
    Flight& towards(const Node& node) { return &node == &a ? to_a : to_b; }

  private:
    bool deliver_one(Node& node, wire::Stream stream);
    void guest_writes();
};

}  // namespace drbd::test
