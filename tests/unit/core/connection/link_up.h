// SPDX-License-Identifier: GPL-2.0-or-later
// A Link that is up, without a Connection: for tests of those who send.
// In: what was agreed.  Out: the packets that were queued, cut into frames as a
// peer would read them, and the owners that were told that theirs have left.
//
//   LinkUp peer({.version = 101, .features = {15}});
//   subject.do_something();               // sends on peer.link
//   auto sent = peer.take_data();         // they have left the socket now
//   EXPECT_EQ(sent[0].packet(), wire::Packet::Data);
//   auto write = wire::decode_write(sent[0].frame(), capacity);
//
// To make a packet of the peer, encode it and cut it: SentPacket from_peer(...).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/connection/link.h"
#include "core/wire/decode.h"
#include "core/wire/encode.h"
#include "core/wire/frame.h"

namespace drbd::test {

// One packet, with the reader that its spans point into.
class SentPacket {
  public:
    // Takes one packet from the front of `bytes`, which must hold it whole
    // unless its bulk is wanted without content.
    static SentPacket cut(std::vector<uint8_t>& bytes, wire::Stream stream, const wire::Agreement& agreement,
                          uint32_t integrity_digest_size) {
        SentPacket packet;
        packet.reader_->begin(stream);
        packet.reader_->agree(agreement);
        packet.reader_->set_integrity_digest_size(integrity_digest_size);
        auto fed = packet.reader_->feed(bytes);
        DRBD_ASSERT(fed.ok() && fed.value().outcome != wire::FeedOutcome::NeedMore);
        const std::span<const uint8_t> rest = std::span<const uint8_t>(bytes).subspan(fed.value().consumed);
        const auto bulk = packet.reader_->take_bulk(rest);
        packet.bulk_.assign(bulk.begin(), bulk.end());
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(fed.value().consumed + bulk.size()));
        return packet;
    }

    const wire::Frame& frame() const { return reader_->frame(); }
    wire::Packet packet() const { return frame().packet(); }
    uint16_t volume() const { return frame().volume; }
    const std::vector<uint8_t>& bulk() const { return bulk_; }

  private:
    std::unique_ptr<wire::FrameReader> reader_ = std::make_unique<wire::FrameReader>();
    std::vector<uint8_t> bulk_;
};

class LinkUp : public PacketListener {
  public:
    struct Left {
        Owner owner;
        bool sent;
    };

    explicit LinkUp(wire::Agreement agreement = {101, {wire::kFeaturesKnown}}, bool resolve_conflicts = false,
                    unsigned packets = 4096)
        : link(*this), agreement_(agreement), resolve_conflicts_(resolve_conflicts) {
        DRBD_ASSERT(pool_.allocate(packets));
        go_up();
    }

    void go_up() {
        data_.emplace(pool_, *this);
        meta_.emplace(pool_, *this);
        link.go_up(*data_, *meta_, agreement_, resolve_conflicts_);
    }

    // As Connection ends it: down first, then what is queued is thrown away.
    void go_down() {
        link.go_down();
        data_->discard();
        meta_->discard();
    }

    // Everything queued has been sent, whole; its owners are told.
    std::vector<SentPacket> take_data() { return take(*data_, wire::Stream::Data); }
    std::vector<SentPacket> take_meta() { return take(*meta_, wire::Stream::Meta); }
    unsigned queued_data() const { return data_->packets(); }
    unsigned queued_meta() const { return meta_->packets(); }
    Outbox& data() { return *data_; }
    Outbox& meta() { return *meta_; }

    // A packet of the peer, made by `encode(room, to)`, with its payload.
    SentPacket from_peer(wire::Stream stream, const std::function<wire::Encoded(wire::Room, const wire::To&)>& encode,
                         uint16_t volume = 0, const std::vector<uint8_t>& bulk = {}) {
        std::vector<uint8_t> room(wire::kPacketSizeMax);
        const wire::Encoded head = encode(room, wire::To{agreement_, volume});
        std::vector<uint8_t> bytes(head.begin(), head.end());
        bytes.insert(bytes.end(), bulk.begin(), bulk.end());
        return SentPacket::cut(bytes, stream, agreement_, link.integrity_digest_size());
    }

    void on_packet_left(const Owner& owner, bool sent) override {
        left.push_back({owner, sent});
        if (on_left)
            on_left(owner, sent);
    }

    Link link;
    std::vector<Left> left;
    std::function<void(const Owner&, bool)> on_left;  // what the hub would do

  private:
    std::vector<SentPacket> take(Outbox& outbox, wire::Stream stream) {
        std::vector<uint8_t> bytes;
        auto send = std::make_unique<DrbdSend>();
        while (outbox.hand_out(*send)) {
            for (unsigned i = 0; i < send->nr_parts; i++) {
                const auto* data = static_cast<const uint8_t*>(send->parts[i].data);
                bytes.insert(bytes.end(), data, data + send->parts[i].bytes);
            }
            outbox.sent(send->bytes);
        }
        std::vector<SentPacket> packets;
        while (!bytes.empty())
            packets.push_back(SentPacket::cut(bytes, stream, agreement_, link.integrity_digest_size()));
        return packets;
    }

    wire::Agreement agreement_;
    bool resolve_conflicts_;
    OutgoingPool pool_;
    std::optional<Outbox> data_, meta_;
};

}  // namespace drbd::test
