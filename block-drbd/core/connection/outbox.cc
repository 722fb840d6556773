// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/outbox.h"

#include <cstring>
#include <new>
#include <type_traits>

namespace drbd {

bool OutgoingPool::allocate(unsigned size) {
    static_assert(alignof(Outgoing) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ && std::is_trivially_destructible_v<Outgoing>);
    memory_.reset(new (std::nothrow) std::byte[size * sizeof(Outgoing)]);
    size_ = memory_ ? size : 0;
    return memory_ != nullptr;
}

Outgoing* OutgoingPool::take() {
    Outgoing* packet = free_.pop_front();
    if (!packet && made_ < size_)
        packet = new (&memory_[made_++ * sizeof(Outgoing)]) Outgoing;
    return packet;
}

bool Outbox::push(wire::Encoded header, const Payload& payload, const Owner& owner) {
    DRBD_ASSERT(header.size() > 0 && header.size() <= kInlinePacketMax);
    DRBD_ASSERT(!discarded_);
    Outgoing* packet = pool_.take();
    if (!packet)
        return false;
    std::memcpy(packet->header, header.data(), header.size());
    packet->header_bytes = static_cast<uint32_t>(header.size());
    packet->payload = payload;
    packet->owner = owner;
    queue_.push_back(*packet);
    return true;
}

bool Outbox::hand_out(DrbdSend& send) {
    if (!has_work())
        return false;
    send.nr_parts = 0;
    send.bytes = 0;
    nr_handed_out_ = 0;
    uint64_t skip = first_sent_;
    for (Outgoing* packet = queue_.first(); packet && send.nr_parts + 2 <= DRBD_SEND_PARTS;
         packet = List<Outgoing, &Outgoing::link>::next(*packet)) {
        nr_handed_out_++;
        const DrbdSendPart parts[2] = {{packet->header, packet->header_bytes},
                                       {packet->payload.data, packet->payload.bytes}};
        for (const DrbdSendPart& part : parts) {
            if (skip >= part.bytes) {
                skip -= part.bytes;
                continue;
            }
            send.parts[send.nr_parts++] = {static_cast<const uint8_t*>(part.data) + skip, part.bytes - skip};
            send.bytes += part.bytes - skip;
            skip = 0;
        }
    }
    DRBD_ASSERT(send.bytes > 0);
    handed_out_ = true;
    return true;
}

void Outbox::sent(size_t bytes) {
    DRBD_ASSERT(handed_out_);
    handed_out_ = false;
    bytes_sent_ += bytes;
    uint64_t gone = first_sent_ + bytes;
    while (Outgoing* packet = queue_.first()) {
        if (gone < packet->bytes())
            break;
        gone -= packet->bytes();
        DRBD_ASSERT(nr_handed_out_ > 0);
        nr_handed_out_--;
        first_sent_ = 0;
        remove_first(true);
    }
    first_sent_ = gone;
    nr_handed_out_ = 0;
    if (discarded_)
        drop_rest();
}

void Outbox::discard() {
    discarded_ = true;
    if (!handed_out_) {
        drop_rest();
        return;
    }
    // What a sendmsg() may be reading stays until sent().
    while (queue_.size() > nr_handed_out_) {
        Outgoing* packet = queue_.last();
        queue_.erase(*packet);
        const Owner owner = packet->owner;
        pool_.give_back(*packet);
        if (owner.kind != PacketOwner::None)
            listener_.on_packet_left(owner, false);
    }
}

void Outbox::drop_rest() {
    while (!queue_.empty())
        remove_first(false);
    first_sent_ = 0;
}

void Outbox::remove_first(bool sent) {
    Outgoing* packet = queue_.pop_front();
    const Owner owner = packet->owner;
    pool_.give_back(*packet);
    if (owner.kind != PacketOwner::None)
        listener_.on_packet_left(owner, sent);
}

}  // namespace drbd
