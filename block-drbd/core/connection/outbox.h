// SPDX-License-Identifier: GPL-2.0-or-later
// The packets that wait to be sent on one socket, in their order.  In: packets,
// each with its header inline and perhaps a borrowed payload.  Out: pieces for
// one sendmsg(), as much as fits, and word to the owner of a packet when it has
// left: then its payload is not read any more.
// Invariants: packets leave in the order in which they came, each whole; what
// is handed out stays as it is until sent() says how much of it went, even if
// the queue is discarded meanwhile.  Nothing is allocated: packets come from a
// pool that all sockets of a resource share.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/wire/encode.h"
#include "drbd-core.h"

namespace drbd {

struct Payload {
    const void* data = nullptr;
    uint32_t bytes = 0;
};

// Who is told when the packet has left, or will never leave.
enum class PacketOwner : uint8_t { None, GuestRequest, ForPeer, Bitmap };

struct Owner {
    PacketOwner kind = PacketOwner::None;
    void* object = nullptr;
};

class PacketListener {
  public:
    // `sent`: to the socket, whole; else the connection was given up before.
    virtual void on_packet_left(const Owner& owner, bool sent) = 0;

  protected:
    ~PacketListener() = default;
};

struct Outgoing {
    ListLink<Outgoing> link;
    Owner owner;
    Payload payload;
    uint32_t header_bytes = 0;
    uint8_t header[kInlinePacketMax];

    uint64_t bytes() const { return header_bytes + payload.bytes; }
};

// The memory of a packet is not touched before it is taken for the first time.
class OutgoingPool {
  public:
    bool allocate(unsigned size);
    Outgoing* take();
    void give_back(Outgoing& packet) { free_.push_back(packet); }

  private:
    std::unique_ptr<std::byte[]> memory_;
    unsigned size_ = 0;
    unsigned made_ = 0;  // packets that were taken once
    List<Outgoing, &Outgoing::link> free_;
};

class Outbox {
  public:
    Outbox(OutgoingPool& pool, PacketListener& listener) : pool_(pool), listener_(listener) {}

    // Before the first use, and again when its socket's number is given anew.
    void begin() {
        DRBD_ASSERT(queue_.empty() && !handed_out_);
        discarded_ = false;
        first_sent_ = bytes_sent_ = 0;
    }

    // False: no packet is free (the peer does not read).  Then nothing is
    // queued, and the owner is not told anything.
    [[nodiscard]] bool push(wire::Encoded header, const Payload& payload, const Owner& owner);

    bool has_work() const { return !handed_out_ && !queue_.empty(); }
    bool is_handed_out() const { return handed_out_; }
    bool empty() const { return queue_.empty(); }
    unsigned packets() const { return queue_.size(); }
    uint64_t bytes_sent() const { return bytes_sent_; }

    bool hand_out(DrbdSend& send);
    void sent(size_t bytes);

    // The connection is given up.  Owners of what is not handed out are told
    // now, the others with sent(), which discards the rest.
    void discard();

  private:
    void drop_rest();
    void remove_first(bool sent);

    OutgoingPool& pool_;
    PacketListener& listener_;
    List<Outgoing, &Outgoing::link> queue_;
    uint64_t first_sent_ = 0;       // bytes of the first packet that have gone
    unsigned nr_handed_out_ = 0;    // packets, the last perhaps in part
    bool handed_out_ = false;
    bool discarded_ = false;
    uint64_t bytes_sent_ = 0;
};

}  // namespace drbd
