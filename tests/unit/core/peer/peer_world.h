// SPDX-License-Identifier: GPL-2.0-or-later
// PeerIo with a link that is up, volumes that say what a test tells them, and
// an image whose I/O ends when and how the test wants.
//
//   PeerWorld world;
//   world.write(0, {.start = 0, .bytes = 4096, .id = 7});  // as the hub would pass it on
//   world.take_io();                     // handed out: world.running
//   world.end(world.running[0].id);      // the image has done it
//   world.acks();                        // what left on meta
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "core/peer/peer_io.h"
#include "tests/unit/core/connection/link_up.h"

namespace drbd::test {

constexpr uint64_t kVolumeBytes = 64ull << 20;
constexpr uint32_t kAckWritten = static_cast<uint32_t>(wire::DataFlag::SendWriteAck);
constexpr uint32_t kAckReceived = static_cast<uint32_t>(wire::DataFlag::SendReceiveAck);
constexpr uint32_t kMayClear = static_cast<uint32_t>(wire::DataFlag::MaySetInSync);
constexpr uint32_t kFua = static_cast<uint32_t>(wire::DataFlag::Fua);
constexpr uint32_t kFlush = static_cast<uint32_t>(wire::DataFlag::Flush);
constexpr uint32_t kDiscard = static_cast<uint32_t>(wire::DataFlag::Discard);
constexpr uint32_t kZeroes = static_cast<uint32_t>(wire::DataFlag::Zeroes);

struct DiskError {
    DrbdRequestKind kind;
    uint64_t offset, bytes;
    int error;
};

class FakeVolume final : public PeerVolume {
  public:
    bool may_write = true, may_read = true, syncing = false, peer_diskless = false, bits_stable = true;
    bool stale = false;  // neither UpToDate nor in a resync
    Sector size{kVolumeBytes / kSectorSize};
    std::vector<std::pair<uint64_t, uint64_t>> marked, cleared;  // offset, bytes
    std::vector<DiskError> errors;
    std::function<void()> on_error, on_marked;  // what the hub does about it
    uint64_t received = 0;
    unsigned reads = 0, bits_wanted = 0;

    bool peer_may_write() const override { return may_write; }
    bool takes_replicated_writes() const override { return may_write && !stale; }
    bool peer_may_read() const override { return may_read; }
    bool is_syncing() const override { return syncing; }
    bool peer_has_no_disk() const override { return peer_diskless; }
    void set_out_of_sync(Sector start, Bytes length) override {
        marked.emplace_back(to_bytes(start).value, length.value);
        if (on_marked)
            on_marked();
    }
    void set_in_sync(Sector start, Bytes length) override {
        cleared.emplace_back(to_bytes(start).value, length.value);
    }
    bool want_bits_stable(Sector, Bytes) override {
        bits_wanted++;
        return bits_stable;
    }
    Sector capacity() const override { return size; }
    void on_peer_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) override {
        errors.push_back({kind, offset, bytes, error});
        if (on_error)
            on_error();
    }
    void count_received(uint64_t bytes) override { received += bytes; }
    void count_peer_read() override { reads++; }
};

struct Write {
    uint64_t start = 0, bytes = 4096;
    uint64_t id = 1;
    uint32_t flags = kAckWritten;
    wire::Packet packet = wire::Packet::Data;
};

struct Ack {
    wire::Packet packet;
    unsigned volume;
    wire::BlockAck block;      // unless packet is BarrierAck
    wire::BarrierAck barrier;
};

class PeerWorld : public PeerRangeWaiter {
  public:
    // PeerRequests and PeerIo know each other.
    struct Parts final : PeerRequestOwner {
        explicit Parts(Link& link) : requests(*this), io(link, requests) {}
        void on_peer_io_done(PeerRequest& request) override { io.on_peer_io_done(request); }
        PeerRequests requests;
        PeerIo io;
    };

    explicit PeerWorld(wire::Agreement agreement = {101, {wire::kFeaturesKnown}}, unsigned volumes = 1,
                       unsigned pool = 256, bool resolve_conflicts = false)
        : link_up(agreement, resolve_conflicts), parts_(std::make_unique<Parts>(link_up.link)),
          requests(parts_->requests), io(parts_->io) {
        EXPECT_TRUE(requests.allocate(pool));
        volume_.resize(volumes);
        for (unsigned i = 0; i < volumes; i++) {
            volume_[i] = std::make_unique<FakeVolume>();
            io.set_volume(i, volume_[i].get());
        }
        link_up.on_left = [this](const Owner& owner, bool sent) {
            if (owner.kind == PacketOwner::ForPeer)
                io.on_packet_left(*static_cast<PeerRequest*>(owner.object), sent);
        };
    }
    ~PeerWorld() {
        release();
        EXPECT_TRUE(buffers.empty()) << "a buffer was not given back";
    }

    FakeVolume& volume(unsigned number = 0) { return *volume_[number]; }

    // ---- the peer's packets ----

    SentPacket encode_write(unsigned volume, const Write& w) {
        const bool bulk = w.packet == wire::Packet::Data;
        return link_up.from_peer(
            wire::Stream::Data,
            [&](wire::Room room, const wire::To& to) {
                const std::vector<uint8_t> digest(bulk ? link_up.link.integrity_digest_size() : 0, 0x5a);
                const wire::DataWrite write{Sector(w.start / kSectorSize), Bytes(w.bytes), {w.id}, ++sequence_[volume],
                                            {w.flags}, digest};
                return wire::encode_write(room, to, w.packet, write);
            },
            static_cast<uint16_t>(volume), std::vector<uint8_t>(bulk ? w.bytes : 0, 0xd7));
    }

    // The way of the hub; Stall is the test's failure.
    Result<void> write(unsigned volume, const Write& w) { return pass_on(encode_write(volume, w)); }

    Result<void> pass_on(const SentPacket& packet) {
        const uint32_t bulk = packet.frame().bulk_length;
        if (bulk == 0)
            return io.on_write(packet.frame(), nullptr);
        auto verdict = io.on_write_announced(packet.frame());
        if (!verdict)
            return verdict.error();
        last_verdict = verdict.value();
        EXPECT_NE(last_verdict, BulkVerdict::Stall);
        return io.on_write(packet.frame(), last_verdict == BulkVerdict::Take ? new_buffer(bulk) : nullptr);
    }

    Result<void> barrier(uint32_t number) {
        return io.on_barrier(link_up
                                 .from_peer(wire::Stream::Data,
                                            [&](wire::Room room, const wire::To& to) {
                                                return wire::encode_barrier(room, to, {number});
                                            })
                                 .frame());
    }

    Result<void> read(unsigned volume, uint64_t start, uint64_t bytes, uint64_t id) {
        return io.on_read_request(link_up
                                      .from_peer(
                                          wire::Stream::Data,
                                          [&](wire::Room room, const wire::To& to) {
                                              const wire::BlockRequest request{
                                                  Sector(start / kSectorSize), Bytes(bytes), {id}, {}};
                                              return wire::encode_block_request(room, to, wire::Packet::DataRequest,
                                                                                request);
                                          },
                                          static_cast<uint16_t>(volume))
                                      .frame());
    }

    // As Connection and hub do it.
    void lose_link() {
        link_up.go_down();
        io.link_lost();
    }

    // ---- the image ----

    // Everything that is to do is under way.
    std::vector<DrbdPeerIo>& take_io(uint32_t volumes = ~0u) {
        DrbdPeerIo next;
        while (requests.next(next, volumes))
            running.push_back(next);
        return running;
    }
    void end(uint32_t id, int result = 0) {
        for (size_t i = 0; i < running.size(); i++) {
            if (running[i].id != id)
                continue;
            const DrbdPeerIo done = running[i];
            running.erase(running.begin() + static_cast<ptrdiff_t>(i));
            void* buffer = done.kind == DRBD_PEER_READ && result == 0 ? new_buffer(done.bytes) : nullptr;
            uint8_t digest[DRBD_DIGEST_SIZE];
            std::memset(digest, 0xab, sizeof digest);
            requests.done(id, result, buffer, done.wants_digest && buffer ? digest : nullptr);
            return;
        }
        FAIL() << "request " << id << " is not at the image";
    }
    // The one that is under way, or the first of that kind.
    void end_first(DrbdPeerIoKind kind, int result = 0) {
        take_io();
        for (const DrbdPeerIo& at_image : running)
            if (at_image.kind == kind)
                return end(at_image.id, result);
        FAIL() << "nothing of that kind is at the image";
    }
    // Until nothing is to do.
    void end_all() {
        while (!take_io().empty())
            end(running.front().id);
    }
    unsigned nr_running(DrbdPeerIoKind kind) {
        take_io();
        unsigned nr = 0;
        for (const DrbdPeerIo& at_image : running)
            nr += at_image.kind == kind;
        return nr;
    }

    // ---- what came of it ----

    std::vector<Ack> acks() {
        std::vector<Ack> acks;
        for (const SentPacket& packet : link_up.take_meta()) {
            Ack ack{packet.packet(), packet.volume(), {}, {}};
            if (packet.packet() == wire::Packet::BarrierAck)
                ack.barrier = wire::decode_barrier_ack(packet.frame()).value();
            else
                ack.block = wire::decode_block_ack(packet.frame(), volume(ack.volume).size).value();
            acks.push_back(ack);
        }
        return acks;
    }
    std::vector<wire::Packet> ack_packets() {
        std::vector<wire::Packet> packets;
        for (const Ack& ack : acks())
            packets.push_back(ack.packet);
        return packets;
    }

    // ---- a resync's part ----

    PeerRequest& enter_resync(uint64_t start, uint64_t bytes, bool expect_granted) {
        PeerRequest* request = requests.take(0, PeerWork::ResyncWrite, 0);
        EXPECT_NE(request, nullptr);
        request->range.start = start;
        request->range.end = start + bytes;
        const bool was_granted = io.enter(*request, *this);
        EXPECT_EQ(was_granted, expect_granted);
        if (was_granted)
            granted.push_back(request);
        return *request;
    }
    void on_peer_range_granted(PeerRequest& request) override { granted.push_back(&request); }
    void leave_resync(PeerRequest& request) {
        io.leave(request);
        requests.finish(request);
    }

    void* new_buffer(size_t bytes) {
        void* buffer = std::aligned_alloc(512, round_up(bytes, 512));
        std::memset(buffer, 0x77, bytes);
        EXPECT_TRUE(buffers.emplace(buffer, bytes).second);
        return buffer;
    }
    void release() {
        void* buffer;
        size_t bytes;
        while (requests.next_release(buffer, bytes)) {
            auto found = buffers.find(buffer);
            ASSERT_NE(found, buffers.end()) << "a buffer was given back twice";
            EXPECT_EQ(found->second, bytes);
            buffers.erase(found);
            std::free(buffer);
        }
    }

    LinkUp link_up;

  private:
    std::unique_ptr<Parts> parts_;
    std::vector<std::unique_ptr<FakeVolume>> volume_;
    uint32_t sequence_[DRBD_MAX_VOLUMES] = {};

  public:
    PeerRequests& requests;
    PeerIo& io;
    std::vector<DrbdPeerIo> running;
    std::vector<PeerRequest*> granted;
    std::map<void*, size_t> buffers;
    BulkVerdict last_verdict = BulkVerdict::Take;
};

}  // namespace drbd::test
