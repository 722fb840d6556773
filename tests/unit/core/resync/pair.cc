// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/core/resync/pair.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace drbd::test {

// ---- image ----

void CachedImage::write(uint64_t offset, const uint8_t* data, size_t bytes) {
    if (bytes == 0)
        return;
    std::memcpy(current.data() + offset, data, bytes);
    unflushed_.push_back({offset, std::vector<uint8_t>(data, data + bytes)});
}

void CachedImage::apply(const Piece& piece, std::mt19937_64* random) {
    for (size_t at = 0; at < piece.data.size(); at += kSectorSize)
        if (!random || (*random)() % 2)
            std::memcpy(stable_.data() + piece.offset + at, piece.data.data() + at, kSectorSize);
}

void CachedImage::flush_ends(uint64_t up_to) {
    for (; first_ < up_to && !unflushed_.empty(); first_++) {
        apply(unflushed_.front(), nullptr);
        unflushed_.pop_front();
    }
}

void CachedImage::all_stable() {
    first_ += unflushed_.size();
    unflushed_.clear();
    stable_ = current;
}

void CachedImage::lose_power(std::mt19937_64& random) {
    first_ += unflushed_.size();
    for (const Piece& piece : unflushed_)
        if (random() % 4)
            apply(piece, random() % 2 ? &random : nullptr);
    unflushed_.clear();
    current = stable_;
}

// ---- guest ----

void Guest::write(uint64_t sector, uint64_t sectors, uint8_t fill) {
    auto write = std::make_unique<GuestWrite>();
    write->range.start = sector * kSectorSize;
    write->range.end = (sector + sectors) * kSectorSize;
    write->fill = fill;
    write->id = next_id_++;
    order_.push_back({nullptr, write.get(), write->range});
    incomplete_++;
    writes_.push_back(std::move(write));
    go_on();
}

void Guest::lock_range(RangeLock& lock) {
    order_.push_back({&lock, nullptr, lock.range});
    go_on();
}

void Guest::unlock_range(RangeLock& lock) {
    const auto found = std::find_if(order_.begin(), order_.end(), [&](const Entry& e) { return e.lock == &lock; });
    ASSERT_NE(found, order_.end()) << "a lock that is not held nor waits";
    order_.erase(found);
    go_on();
}

unsigned Guest::locks() const {
    return static_cast<unsigned>(std::count_if(order_.begin(), order_.end(), [](const Entry& e) { return e.lock; }));
}

// First come, first served, among those that overlap.
void Guest::go_on() {
    again_ = true;
    if (going_on_)
        return;
    going_on_ = true;
    while (again_) {
        again_ = false;
        for (size_t i = 0; i < order_.size() && !again_; i++) {
            if (order_[i].granted)
                continue;
            const bool blocked = std::any_of(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(i),
                                             [&](const Entry& e) { return e.range.overlaps(order_[i].range); });
            if (blocked)
                continue;
            order_[i].granted = again_ = true;
            if (order_[i].lock)
                order_[i].lock->listener->on_range_locked(*order_[i].lock);
            else
                begin(*order_[i].write);
        }
    }
    going_on_ = false;
}

void Guest::begin(GuestWrite& write) {
    write.begun = true;
    write.epoch = epoch_;
    node_.add_local(write);
    if (!node_.link.link.is_up()) {
        write.peer_done = write.peer_failed = true;
        return;
    }
    writes_in_epoch_++;
    Link& link = node_.link.link;
    const size_t bytes = write.range.end - write.range.start;
    static std::vector<uint8_t> payloads[256];
    auto& payload = payloads[write.fill];
    if (payload.size() < bytes)
        payload.assign(1 << 20, write.fill);
    wire::DataFlags flags;
    flags.set(wire::DataFlag::SendWriteAck);
    if (node_.resync.is_running())
        flags.set(wire::DataFlag::MaySetInSync);
    link.send_data(wire::encode_write(link.room(), link.to(0), wire::Packet::Data,
                                      {Sector(write.range.start / kSectorSize), Bytes(bytes), {write.id},
                                       link.next_sequence(0), flags, {}}),
                   {payload.data(), static_cast<uint32_t>(bytes)});
}

void Guest::local_done(GuestWrite& write, bool failed) {
    write.local_done = true;
    write.local_failed = failed;
    judge(write);
}

Result<void> Guest::on_ack(wire::Packet packet, const wire::BlockAck& ack) {
    for (auto& write : writes_) {
        if (write->id != ack.id.value)
            continue;
        write->peer_done = true;
        write->peer_failed = packet == wire::Packet::NegAck;
        if (packet == wire::Packet::RsWriteAck && !write->local_failed)
            node_.set_in_sync(ack.sector, ack.size);
        judge(*write);
        return {};
    }
    return Error::of(ErrorCode::Protocol, "an acknowledgement of no write");
}

void Guest::judge(GuestWrite& write) {
    if (write.local_failed || write.peer_failed)
        node_.set_out_of_sync(Sector(write.range.start / kSectorSize), Bytes(write.range.end - write.range.start));
    if (!write.complete())
        return;
    leave(write);
}

void Guest::leave(const GuestWrite& write) {
    const auto found = std::find_if(order_.begin(), order_.end(), [&](const Entry& e) { return e.write == &write; });
    ASSERT_NE(found, order_.end());
    order_.erase(found);
    incomplete_--;
    completed_++;
    go_on();
}

void Guest::close_epoch() {
    Link& link = node_.link.link;
    if (writes_in_epoch_ == 0 || !link.is_up())
        return;
    link.send_data(wire::encode_barrier(link.room(), link.to(0), {epoch_}));
    node_.resync.on_barrier_sent(epoch_);
    epoch_++;
    writes_in_epoch_ = 0;
}

void Guest::on_barrier_ack(uint32_t number) {
    node_.resync.on_barrier_acknowledged(number);
    std::erase_if(writes_, [&](const auto& w) { return w->begun && w->epoch <= number && w->complete(); });
}

void Guest::link_lost() {
    writes_in_epoch_ = 0;
    epoch_++;
    for (auto& write : writes_)
        if (write->begun)
            node_.set_out_of_sync(Sector(write->range.start / kSectorSize),
                                  Bytes(write->range.end - write->range.start));
    std::vector<GuestWrite*> waiting;
    for (auto& write : writes_)
        if (write->begun && !write->peer_done)
            waiting.push_back(write.get());
    for (GuestWrite* write : waiting) {
        write->peer_done = write->peer_failed = true;
        judge(*write);
    }
}

// ---- node ----

Node::Node(Pair& p, const char* n, uint64_t sectors, uint64_t image_bytes, wire::Agreement agreement)
    : name(n), pair(p), link(agreement), peer_io(link.link, requests), requests(peer_io),
      image(image_bytes),
      resync_owner([&] {
          EXPECT_TRUE(requests.allocate(kPeerRequestsMax));
          EXPECT_TRUE(disk.bitmap.allocate(Sector(sectors)).ok());
          disk.size = Sector(sectors);
          return std::make_unique<Resync>(0, link.link, requests, peer_io, static_cast<ResyncLocks&>(guest), disk,
                                          *this, *this);
      }()),
      resync(*resync_owner) {
    peer_io.set_volume(0, this);
    link.on_left = [this](const Owner& owner, bool sent) {
        if (owner.kind == PacketOwner::Bitmap) {
            Resync::bitmap_packet_left(owner, sent);
        } else if (owner.kind == PacketOwner::ForPeer) {
            PeerRequest& request = *static_cast<PeerRequest*>(owner.object);
            if (request.work == PeerWork::ResyncRead)
                resync.on_packet_left(request, sent);
            else
                peer_io.on_packet_left(request, sent);
        }
    };
}

Node::~Node() {
    for (Op& op : ops_)
        std::free(op.buffer);
    // What was still queued gives its buffers back.
    if (link.link.is_up() || link.link.is_dropped())
        link.go_down();
    link.on_left = nullptr;
    void* buffer;
    size_t bytes;
    while (requests.next_release(buffer, bytes))
        std::free(buffer);
}

void Node::on_bitmaps_exchanged() {
    bitmaps_exchanged++;
    if (this != &pair.a)
        return;
    link.link.send_data(wire::encode_sync_uuid(link.link.room(), link.link.to(0), 0x1234));
    resync.begin(Direction::Source);
}

void Node::on_resync_answered(uint64_t failed) {
    answered++;
    answered_failed = failed;
}

bool Node::may_deliver(const SentPacket& packet) {
    if (!peer_io.may_receive() || !resync.may_receive())
        return false;
    const wire::Packet kind = packet.packet();
    if (kind != wire::Packet::RsDataReply && kind != wire::Packet::Data)
        return true;
    if (announced_)
        return true;
    auto verdict = kind == wire::Packet::Data ? peer_io.on_write_announced(packet.frame())
                                              : resync.on_reply_announced(packet.frame());
    if (!verdict) {
        error = verdict.error().text;
        link.link.drop(verdict.error());
        return true;
    }
    verdict_ = verdict.value();
    return verdict_ != BulkVerdict::Stall;
}

void Node::deliver(wire::Stream stream, const SentPacket& packet) {
    received.push_back(packet.packet());
    auto result = stream == wire::Stream::Data ? on_data(packet) : on_meta(packet);
    if (!result) {
        error = result.error().text;
        link.link.drop(result.error());
    }
}

Result<void> Node::on_data(const SentPacket& packet) {
    const wire::Frame& frame = packet.frame();
    void* buffer = nullptr;
    if (!packet.bulk().empty() && verdict_ == BulkVerdict::Take) {
        buffer = std::malloc(packet.bulk().size());
        std::memcpy(buffer, packet.bulk().data(), packet.bulk().size());
    }
    switch (frame.packet()) {
    case wire::Packet::Data: return peer_io.on_write(frame, buffer);
    case wire::Packet::Barrier: return peer_io.on_barrier(frame);
    case wire::Packet::Bitmap:
    case wire::Packet::CompressedBitmap: return resync.on_bitmap_packet(frame);
    case wire::Packet::RsDataRequest:
    case wire::Packet::RsThinRequest: {
        const auto request = wire::decode_block_request(frame, disk.size, 0);
        EXPECT_TRUE(request.ok());
        if (request)
            received_sizes.emplace_back(frame.packet(), request.value().size.value);
        return resync.on_request(frame);
    }
    case wire::Packet::RsDataReply: return resync.on_reply(frame, buffer);
    case wire::Packet::RsDeallocated: return resync.on_deallocated(frame);
    case wire::Packet::OutOfSync: {
        const auto range = wire::decode_block_range(frame, disk.size);
        if (!range)
            return range.error();
        set_out_of_sync(range.value().sector, range.value().size);
        return {};
    }
    case wire::Packet::SyncUuid:
        resync.begin(Direction::Target);
        return {};
    default: return Error::of(ErrorCode::Protocol, "%s is not expected", frame.row->name);
    }
}

Result<void> Node::on_meta(const SentPacket& packet) {
    const wire::Frame& frame = packet.frame();
    if (frame.packet() == wire::Packet::BarrierAck) {
        guest.on_barrier_ack(wire::decode_barrier_ack(frame).value().number.value);
        return {};
    }
    const auto ack = wire::decode_block_ack(frame, disk.size);
    if (!ack)
        return ack.error();
    if (ack.value().id == wire::kSyncerId || frame.packet() == wire::Packet::NegRsDReply ||
        frame.packet() == wire::Packet::RsCancel)
        return resync.on_ack(frame.packet(), ack.value());
    return guest.on_ack(frame.packet(), ack.value());
}

void Node::pump() {
    link.link.set_now(pair.now_ms);
    resync.pump();
    DrbdPeerIo io;
    while (requests.next(io))
        ops_.push_back({io, nullptr, 0, false, 0, nullptr});
    void* buffer;
    size_t bytes;
    while (requests.next_release(buffer, bytes))
        std::free(buffer);
    if (hold_packets || !pair.linked)
        return;
    auto& flight = pair.towards(pair.other(*this));
    for (auto& packet : link.take_data())
        flight.data.push_back(std::move(packet));
    for (auto& packet : link.take_meta())
        flight.meta.push_back(std::move(packet));
}

bool Node::step_io() {
    if (ops_.empty())
        return false;
    step_op(pair.random() % ops_.size());
    return true;
}

bool Node::step_io_of(DrbdPeerIoKind kind) {
    for (size_t i = 0; i < ops_.size(); i++)
        if (!ops_[i].write && ops_[i].io.kind == kind) {
            step_op(i);
            return true;
        }
    return false;
}

// Some of it is done at each of the three steps of an operation.
void Node::step_op(size_t chosen) {
    Op& op = ops_[chosen];
    switch (op.stage++) {
    case 0:
        begin_op(op);
        return;
    case 1:
        half(op, false);
        return;
    default:
        half(op, true);
        const Op done = op;
        ops_.erase(ops_.begin() + static_cast<ptrdiff_t>(chosen));
        end_op(done);
        return;
    }
}

void Node::begin_op(Op& op) {
    if (op.write) {
        op.fails = pair.chance(faults.write_error);
        return;
    }
    switch (op.io.kind) {
    case DRBD_PEER_READ:
        op.fails = pair.chance(faults.read_error);
        op.buffer = static_cast<uint8_t*>(std::malloc(op.io.bytes));
        reads++;
        return;
    case DRBD_PEER_STATUS:
        statuses++;
        return;
    case DRBD_PEER_FLUSH:
        op.fails = pair.chance(faults.flush_error);
        op.flush_up_to = image.flush_begins();
        flushes++;
        return;
    case DRBD_PEER_ZEROES:
        zeroes++;
        [[fallthrough]];
    case DRBD_PEER_WRITE:
        op.fails = pair.chance(faults.write_error);
        resync_writes++;
        return;
    }
}

void Node::half(Op& op, bool second) {
    if (op.fails && second)
        return;
    const uint64_t start = op.write ? op.write->range.start : op.io.offset;
    const uint64_t bytes = op.write ? op.write->range.end - start : op.io.bytes;
    const uint64_t middle = round_down(bytes / 2, kSectorSize);
    const uint64_t from = second ? middle : 0, length = second ? bytes - middle : middle;
    if (op.write) {
        const std::vector<uint8_t> data(length, op.write->fill);
        image.write(start + from, data.data(), length);
        return;
    }
    switch (op.io.kind) {
    case DRBD_PEER_READ:
        std::memcpy(op.buffer + from, image.current.data() + start + from, length);
        return;
    case DRBD_PEER_WRITE:
        image.write(start + from, static_cast<uint8_t*>(op.io.buffer) + from, length);
        return;
    case DRBD_PEER_ZEROES: {
        const std::vector<uint8_t> data(length, 0);
        image.write(start + from, data.data(), length);
        return;
    }
    case DRBD_PEER_FLUSH:
    case DRBD_PEER_STATUS:
        return;
    }
}

void Node::end_op(Op op) {
    if (op.write) {
        guest.local_done(*op.write, op.fails);
        return;
    }
    int result = op.fails ? -EIO : 0;
    if (op.io.kind == DRBD_PEER_FLUSH && !op.fails)
        image.flush_ends(op.flush_up_to);
    if (op.io.kind == DRBD_PEER_STATUS) {
        const auto first = image.current.begin() + static_cast<ptrdiff_t>(op.io.offset);
        result = std::all_of(first, first + op.io.bytes, [](uint8_t byte) { return byte == 0; });
    }
    if (op.io.kind == DRBD_PEER_READ && op.fails) {
        std::free(op.buffer);
        op.buffer = nullptr;
    }
    requests.done(op.io.id, result, op.buffer, nullptr);
}

void Node::link_lost() {
    link.go_down();
    peer_io.link_lost();
    if (pair.trusts_target)
        resync.abort();
    else
        resync.on_link_lost();
    guest.link_lost();
    pump();
}

// ---- both ----

Pair::Pair(uint64_t seed, uint64_t sectors, wire::Agreement agreement)
    : Pair(seed, sectors, sectors * kSectorSize, agreement) {}

Pair::Pair(uint64_t seed, uint64_t sectors, uint64_t image_bytes, wire::Agreement agreement)
    : random(seed), a(*this, "a", sectors, image_bytes, agreement), b(*this, "b", sectors, image_bytes, agreement) {
    a.link.link.set_now(now_ms);
    b.link.link.set_now(now_ms);
}

void Pair::make_different(unsigned blocks) {
    const uint64_t bits = a.disk.bitmap.bits();
    for (size_t at = 0; at < a.image.current.size(); at += kSectorSize) {
        const uint8_t value = static_cast<uint8_t>(at / kSectorSize / 1024 % 3 ? 1 + random() % 100 : 0);
        std::memset(a.image.current.data() + at, value, kSectorSize);
    }
    b.image.current = a.image.current;
    for (unsigned i = 0; i < blocks; i++) {
        const uint64_t first = random() % bits;
        const uint64_t run = random() % 4 ? 1 + random() % 4 : 1 + random() % 600;
        for (uint64_t block = first; block < std::min(bits, first + run); block++) {
            const size_t begin = block * kBlockSize;
            const size_t end = std::min<size_t>(begin + kBlockSize, b.image.current.size());
            std::fill(b.image.current.begin() + static_cast<ptrdiff_t>(begin),
                      b.image.current.begin() + static_cast<ptrdiff_t>(end),
                      static_cast<uint8_t>(random() % 5 ? 200 + random() % 50 : 0));
            (random() % 2 ? a : b).set_out_of_sync(Sector(block * kSectorsPerBlock),
                                                   Bytes(end - begin));
        }
    }
    a.image.all_stable();
    b.image.all_stable();
}

void Pair::exchange_bitmaps(wire::RunLengths run_lengths) {
    a.resync.begin_bitmap(Direction::Source, run_lengths);
    b.resync.begin_bitmap(Direction::Target, run_lengths);
    a.pump();
    b.pump();
}

bool Pair::deliver_one(Node& node, wire::Stream stream) {
    auto& queue = stream == wire::Stream::Data ? towards(node).data : towards(node).meta;
    if (queue.empty() || !linked || !node.link.link.is_up())
        return false;
    if (stream == wire::Stream::Data && !node.may_deliver(queue.front()))
        return false;
    if (!node.link.link.is_up())
        return true;
    const SentPacket packet = std::move(queue.front());
    queue.pop_front();
    node.deliver(stream, packet);
    delivered++;
    node.pump();
    if (delivered == packets_until_cut)
        cut();
    return true;
}

void Pair::guest_writes() {
    const uint64_t sectors = a.disk.size.value;
    const uint64_t length = std::min<uint64_t>(sectors, random() % 3 ? 8 * (1 + random() % 16) : 1 + random() % 40);
    uint64_t sector = random() % (sectors - length + 1);
    if (random() % 2)
        sector = round_down(sector, 8);
    writes_left--;
    writer->guest.write(sector, length, static_cast<uint8_t>(random() % 8 ? 101 + random() % 99 : 0));
    if (random() % 4 == 0)
        writer->guest.close_epoch();
    writer->pump();
}

bool Pair::step() {
    if (on_step)
        on_step();
    now_ms += random() % 8 == 0;
    for (unsigned tries = 0; tries < 16; tries++) {
        Node& node = random() % 2 ? a : b;
        switch (random() % 5) {
        case 0:
        case 1:
            if (deliver_one(node, wire::Stream::Data))
                return true;
            break;
        case 2:
            if (deliver_one(node, wire::Stream::Meta))
                return true;
            break;
        case 3:
            if (node.step_io()) {
                node.pump();
                return true;
            }
            break;
        case 4:
            if (writer && writes_left != 0 && writer->guest.incomplete() < 8 && random() % 4 == 0) {
                guest_writes();
                return true;
            }
            break;
        }
    }
    // Nobody was lucky; or there is nothing but time to wait for.
    for (Node* node : {&a, &b}) {
        if (deliver_one(*node, wire::Stream::Data) || deliver_one(*node, wire::Stream::Meta))
            return true;
        if (node->step_io()) {
            node->pump();
            return true;
        }
    }
    if (writer && writes_left == 0 && writer->guest.has_open_epoch() && linked) {
        writer->guest.close_epoch();
        writer->pump();
        return true;
    }
    const uint64_t deadline = std::min(a.resync.next_deadline_ms(), b.resync.next_deadline_ms());
    if (deadline != UINT64_MAX) {
        now_ms = std::max(now_ms, deadline);
        a.pump();
        b.pump();
        return true;
    }
    return writer && writes_left != 0 && writer->guest.incomplete() < 8;
}

bool Pair::run(const std::function<bool()>& until, unsigned steps_max) {
    for (unsigned i = 0; i < steps_max; i++) {
        if (until())
            return true;
        if (!step())
            return until();
    }
    return false;
}

bool Pair::at_rest() const {
    return !a.has_io() && !b.has_io() && to_a.data.empty() && to_a.meta.empty() && to_b.data.empty() &&
           to_b.meta.empty() && a.guest.incomplete() == 0 && b.guest.incomplete() == 0 && writes_left == 0 &&
           !a.guest.has_open_epoch() && !b.guest.has_open_epoch();
}

bool Pair::run_to_the_end() {
    return run([&] { return b.answered != 0 && at_rest(); });
}

void Pair::cut() {
    linked = false;
    for (Flight* flight : {&to_a, &to_b}) {
        flight->data.clear();
        flight->meta.clear();
    }
    // One hears of it before the other.
    Node& first = random() % 2 ? a : b;
    first.link_lost();
    for (unsigned steps = static_cast<unsigned>(random() % 20); steps > 0; steps--)
        (random() % 2 ? a : b).step_io();
    other(first).link_lost();
}

void Pair::finish_io() {
    writes_left = 0;
    do {
        (random() % 2 ? a : b).step_io();
        a.pump();
        b.pump();
    } while (a.has_io() || b.has_io());
}

void Pair::reconnect() {
    for (Node* node : {&a, &b}) {
        EXPECT_EQ(node->requests.in_use(), 0u) << node->name;
        EXPECT_EQ(node->guest.locks(), 0u) << node->name;
        EXPECT_EQ(node->guest.incomplete(), 0u) << node->name;
        node->answered = node->bitmaps_exchanged = 0;
        node->error.clear();
        node->faults = {};
        node->link.go_up();
    }
    packets_until_cut = ~0u;
    writer = nullptr;
    linked = true;
}

void Pair::lose_power(Node& node) {
    node.image.lose_power(random);
}

uint64_t Pair::differences() const {
    uint64_t found = 0;
    for (uint64_t block = 0; block < a.disk.bitmap.bits(); block++) {
        const size_t begin = block * kBlockSize, end = std::min<size_t>(begin + kBlockSize, a.image.current.size());
        found += std::memcmp(a.image.current.data() + begin, b.image.current.data() + begin, end - begin) != 0;
    }
    return found;
}

uint64_t Pair::unmarked_differences() const {
    uint64_t found = 0;
    for (uint64_t block = 0; block < a.disk.bitmap.bits(); block++) {
        const size_t begin = block * kBlockSize, end = std::min<size_t>(begin + kBlockSize, a.image.current.size());
        if (std::memcmp(a.image.current.data() + begin, b.image.current.data() + begin, end - begin) != 0)
            found += !a.disk.bitmap.is_set(block) && !b.disk.bitmap.is_set(block);
    }
    return found;
}

}  // namespace drbd::test
