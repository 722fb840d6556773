// SPDX-License-Identifier: GPL-2.0-or-later
// Guest requests and the transfer log on a Link that is up, without a hub: for
// tests of what is sent, what the answers do, and when a request completes.  A
// test does every step itself: take() is what the peer reads, ack() and its
// like are what it answers.
// Extents 0 to 7 (32 MiB) are hot from the start, so a write needs no
// transaction.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "../connection/link_up.h"
#include "core/request/guest_io.h"

namespace drbd::test {

using wire::DataFlag;
using wire::Packet;
using wire::ReplicationProtocol;

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB;

struct GuestWrite {
    Request* request = nullptr;
    DrbdStep step = DRBD_STEP_WAIT;
    std::optional<int> result;
    unsigned wakes = 0, volume = 0;
    DrbdWaiter waiter{};
    std::vector<uint8_t> payload;
    const uint8_t* digest = nullptr;
    bool copy_by_hand = false;
    std::vector<uint8_t> answer;
};

// What the peer read.
struct Sent {
    Packet packet = Packet::Data;
    uint64_t offset = 0, bytes = 0;
    wire::BlockId id;
    uint32_t sequence = 0;
    wire::DataFlags flags;
    wire::BarrierNumber barrier;
    uint32_t set_size = 0;  // of a barrier: the writes before it
    std::vector<uint8_t> bulk;
    uint16_t volume = 0;
    size_t digest_bytes = 0;
};

struct TestVolume final : GuestIoListener, BufferReturn {
    TestVolume(RequestPool& pool, TransferLog& log, Link& link, unsigned number)
        : io(pool, disk, *this, log, link, *this, number) {
        disk.size = Sector(512 * kMiB / 512);
        EXPECT_TRUE(disk.bitmap.allocate(disk.size).ok());
        EXPECT_TRUE(disk.activity_log.allocate(67, {}).ok());
        EXPECT_TRUE(disk.activity_log.reserve({0, 7}));
        disk.activity_log.commit();
        disk.activity_log.drop({0, 7}, 0);
        io.disk_came();
    }
    void on_disk_error(DrbdRequestKind kind, uint64_t, uint64_t, int error) override {
        disk_errors++;
        if (on_bad_disk && kind != DRBD_REQUEST_DISCARD && error != -ENOSPC)
            on_bad_disk();
        if (on_error)
            on_error();
    }
    void on_generation_wanted() override { generations++; }
    void on_peer_write_failed() override {
        peer_failures++;
        if (generation_on_peer_failure)
            io.begin_generation();
    }
    void release_buffer(void* buffer, uint64_t bytes) override {
        released += bytes;
        delete[] static_cast<uint8_t*>(buffer);
    }
    bool bit(uint64_t offset) const { return disk.bitmap.is_set(offset / 4096); }

    Disk disk;
    GuestIo io;
    unsigned disk_errors = 0, generations = 0, peer_failures = 0;
    uint64_t released = 0;
    bool generation_on_peer_failure = false;
    std::function<void()> on_error, on_bad_disk;
};

class RequestWorld {
  public:
    explicit RequestWorld(ReplicationProtocol protocol = ReplicationProtocol::C, wire::Agreement agreement = {101, {15}},
                          unsigned requests = 64, unsigned volumes = 1)
        : peer(agreement), log(peer.link, pool), protocol_(protocol) {
        EXPECT_TRUE(pool.allocate(requests));
        for (unsigned v = 0; v < volumes; v++) {
            volumes_.push_back(std::make_unique<TestVolume>(pool, log, peer.link, v));
            access(v) = {.read_error = 0, .write_error = 0, .image = true, .image_reads = true, .peer_reads = true,
                         .replicate = true};
            set_access(v);
            // As Volume does: where the peer has a good copy this one is not called good any more.
            volumes_.back()->on_bad_disk = [this, v] {
                access(v).image_alone &= keeps_bad_disk || !access(v).peer_reads;
                set_access(v);
            };
        }
        peer.link.set_protocol(protocol);
        peer.link.set_now(1000);
        peer.on_left = [](const Owner& owner, bool has_left) {
            if (owner.kind == PacketOwner::GuestRequest) {
                Request* request = static_cast<Request*>(owner.object);
                request->io->on_packet_left(*request, has_left);
            }
        };
    }
    ~RequestWorld() {
        if (!testing::Test::HasFailure())
            EXPECT_EQ(pool.in_use(), 0u) << "a request is left over";
    }

    bool keeps_bad_disk = false;  // the peer is behind (pass-on)

    TestVolume& volume(unsigned v = 0) { return *volumes_[v]; }
    GuestIo& io(unsigned v = 0) { return volumes_[v]->io; }
    Access& access(unsigned v = 0) { return access_[v]; }
    void set_access(unsigned v = 0) { io(v).set_access(access_[v]); }
    void change(const std::function<void(Access&)>& how, unsigned v = 0) {
        how(access_[v]);
        set_access(v);
    }

    GuestWrite& begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags = 0, unsigned v = 0) {
        GuestWrite& g = guests_.emplace_back();
        g.volume = v;
        if (kind == DRBD_REQUEST_WRITE) {
            g.payload.resize(bytes);
            for (size_t i = 0; i < bytes; i++)
                g.payload[i] = static_cast<uint8_t>(offset / 512 + i / 512 + guests_.size());
        }
        return stepped(g, io(v).begin(kind, offset, bytes, flags, &g, g.waiter, &g.request));
    }
    GuestWrite& write(uint64_t offset, uint64_t bytes = 4096, unsigned flags = 0, unsigned v = 0) {
        return begin(DRBD_REQUEST_WRITE, offset, bytes, flags, v);
    }
    GuestWrite& read(uint64_t offset, uint64_t bytes = 4096) { return begin(DRBD_REQUEST_READ, offset, bytes); }
    GuestWrite& flush(unsigned v = 0) { return begin(DRBD_REQUEST_FLUSH, 0, 0, 0, v); }

    void local_done(GuestWrite& g, int result = 0) {
        ASSERT_EQ(g.step, DRBD_STEP_SUBMIT);
        stepped(g, io(g.volume).local_done(*g.request, result));
    }
    // Everybody who was woken goes on; how many.
    unsigned wake_all() {
        unsigned woken = 0;
        while (void* owner = pool.next_wake()) {
            GuestWrite& g = *static_cast<GuestWrite*>(owner);
            g.wakes++;
            woken++;
            stepped(g, g.request->step);
        }
        return woken;
    }

    // What the peer has read since the last time; it stays in `sent`.
    std::vector<Sent> take() {
        std::vector<Sent> now;
        for (SentPacket& p : peer.take_data()) {
            Sent s;
            s.packet = p.packet();
            s.volume = p.volume();
            s.bulk = p.bulk();
            if (p.packet() == Packet::Barrier) {
                s.barrier = wire::decode_barrier(p.frame()).value();
                s.set_size = std::exchange(in_epoch_, 0);
            } else if (p.packet() == Packet::DataRequest) {
                const auto r = wire::decode_block_request(p.frame(), capacity(), 0);
                s.offset = r.value().sector.value * 512;
                s.bytes = r.value().size.value;
                s.id = r.value().id;
            } else if (p.packet() == Packet::OutOfSync) {
                const auto r = wire::decode_block_range(p.frame(), capacity());
                s.offset = r.value().sector.value * 512;
                s.bytes = r.value().size.value;
            } else {
                const auto w = wire::decode_write(p.frame(), capacity());
                EXPECT_TRUE(w.ok()) << w.error().text;
                s.offset = w.value().sector.value * 512;
                s.bytes = w.value().size.value;
                s.id = w.value().id;
                s.flags = w.value().flags;
                s.sequence = w.value().sequence;
                s.digest_bytes = w.value().digest.size();
                in_epoch_++;
            }
            now.push_back(s);
            sent.push_back(s);
        }
        wake_all();
        return now;
    }
    Sector capacity() const { return Sector(512 * kMiB / 512); }
    std::vector<Packet> take_packets() {
        std::vector<Packet> packets;
        for (const Sent& s : take())
            packets.push_back(s.packet);
        return packets;
    }

    Result<void> answer(Packet packet, const Sent& to) {
        auto result = io(to.volume).on_ack(packet, {Sector(to.offset / 512), Bytes(to.bytes), to.id, 1});
        wake_all();
        return result;
    }
    void ack(const Sent& to, Packet packet = Packet::WriteAck) {
        const auto result = answer(packet, to);
        EXPECT_TRUE(result.ok()) << result.error().text;
    }
    Result<void> confirm_with(uint32_t number, uint32_t set_size) {
        auto result = log.on_barrier_ack({{number}, set_size});
        wake_all();
        return result;
    }
    void confirm(const Sent& barrier) {
        EXPECT_EQ(barrier.packet, Packet::Barrier);
        const auto result = confirm_with(barrier.barrier.value, barrier.set_size);
        EXPECT_TRUE(result.ok()) << result.error().text;
    }
    // The peer takes, acknowledges and confirms everything.
    void serve() {
        const bool acks = protocol_ == ReplicationProtocol::C;
        for (bool some = true; some;) {
            some = false;
            for (const Sent& s : take()) {
                some = true;
                if (s.packet == Packet::Barrier)
                    confirm(s);
                else if (s.flags.has(DataFlag::SendWriteAck) || (acks && s.id.value != 0))
                    ack(s);
            }
        }
    }
    // Ends the epoch and confirms it: for the end of a test.
    void settle() {
        log.close_epoch();
        serve();
    }
    Result<void> reply(const Sent& to, uint8_t fill = 7) {
        uint8_t* buffer = new uint8_t[to.bytes];
        std::memset(buffer, fill, to.bytes);
        auto result = io(to.volume).on_data_reply({Sector(to.offset / 512), Bytes(to.bytes), to.id, {}}, buffer);
        wake_all();
        return result;
    }
    void deliver(GuestWrite& g) {
        ASSERT_EQ(g.step, DRBD_STEP_DELIVER);
        const uint8_t* from = static_cast<const uint8_t*>(GuestIo::answer(*g.request));
        EXPECT_EQ(g.request->answer_offset, g.answer.size());
        g.answer.insert(g.answer.end(), from, from + g.request->answer_bytes);
        stepped(g, io(g.volume).delivered(*g.request));
    }

    // As the hub does it.  With `generation` a new one is wanted first.
    void lose_peer(bool generation = true, unsigned slice = 1000) {
        peer.link.drop(ConnectionState::NetworkFailure, "test");
        for (unsigned v = 0; v < volumes_.size(); v++) {
            if (generation)
                io(v).begin_generation();
            access_[v].replicate = access_[v].peer_reads = false;
            access_[v].write_error = access_[v].read_error = access_[v].image ? 0 : -EIO;
            set_access(v);
        }
        peer.go_down();
        while (!log.lose_peer(slice)) {
        }
        wake_all();
    }
    void generation_stable(unsigned v = 0) {
        io(v).generation_stable();
        wake_all();
    }
    void lose_disk(unsigned v = 0) {
        access_[v].image = access_[v].image_reads = false;
        set_access(v);
        io(v).disk_went(false);
        io(v).fail_waiting(-EIO);
        wake_all();
    }
    void at_time(uint64_t ms) {
        peer.link.set_now(ms);
        log.on_time();
    }

    GuestWrite& stepped(GuestWrite& g, DrbdStep step) {
        g.step = step;
        if (step == DRBD_STEP_COPY && !g.copy_by_hand)
            return stepped(g, io(g.volume).copied(*g.request, g.payload.data(), g.digest));
        if (step == DRBD_STEP_COMPLETE)
            g.result = io(g.volume).end(*g.request);
        return g;
    }

    LinkUp peer;
    RequestPool pool;
    TransferLog log;
    std::vector<Sent> sent;

  private:
    ReplicationProtocol protocol_;
    std::vector<std::unique_ptr<TestVolume>> volumes_;
    Access access_[DRBD_MAX_VOLUMES];
    std::deque<GuestWrite> guests_;
    uint32_t in_epoch_ = 0;
};

using Packets = std::vector<Packet>;

}  // namespace drbd::test
