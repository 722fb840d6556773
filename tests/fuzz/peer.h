// SPDX-License-Identifier: GPL-2.0-or-later
// The peer of an event sequence: hostile or half plausible, as the input says.
//
// In: what the node sends, which is parsed and must be right.  Out: packets whose
// header, volume, ranges and handles are mostly such that they get far into the
// node, right answers to what it has asked, and bytes of no meaning.
// It knows the protocol of one connection at a time; where it has sent bytes
// whose meaning it does not know, it stops to understand the stream.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "node.h"
#include "packets.h"

namespace drbd::fuzz {

// A packed layout of core/wire as bytes.
template <typename Layout>
wire::ByteVector bytes_of(const Layout& layout) {
    const auto* first = reinterpret_cast<const uint8_t*>(&layout);
    return {first, first + sizeof layout};
}

class Peer final : public PeerSide {
  public:
    void set_node(Node* node) { node_ = node; }
    // What the node is configured with: a plausible peer has the same.
    void set_parameters(const wire::ProtocolParameters& parameters, uint32_t digest_size, uint32_t hmac_size);
    // Answers are given at once, right ones, a few for each event.
    void set_helpful(bool helpful) { helpful_ = helpful; }
    void begin_event() { answers_left_ = 8; }

    void on_output(unsigned socket, std::span<const uint8_t> bytes) override;
    void on_opened(unsigned socket, bool by_peer) override;
    void on_gone(unsigned socket) override;

    // Two sockets, first packets, features, parameters of every volume.
    void connect(Input& input, unsigned automatic);
    void say_first(unsigned socket, wire::Stream stream);
    // One packet of any kind.
    void say(Input& input);
    // What should come next in the life of a volume, by the node's state.
    void go_on(unsigned volume, Input& input);
    // Something that the node waits for.
    void answer(Input& input);
    void say_raw(Input& input);
    void end(wire::Stream stream, bool reset);

    // The HMAC that both ends have for authentication.
    static void hmac(std::span<const uint8_t> data, uint8_t digest[DRBD_DIGEST_SIZE]);

  private:
    static constexpr unsigned kVolumesMax = 2;
    static constexpr size_t kRemembered = 64;

    struct Line {
        bool open = false, opaque = false;
        std::optional<wire::Stream> stream;
        std::unique_ptr<wire::FrameReader> reader;
    };
    // A block of which the node has spoken.
    struct Block {
        wire::Packet packet;
        uint16_t volume;
        uint64_t sector;
        uint32_t size;
        uint64_t id;
        uint32_t sequence;
    };

    // peer.cc
    int socket_of(wire::Stream stream) const;
    void forget_connection();
    void parse(unsigned socket, std::span<const uint8_t> bytes);
    void on_frame(Line& line, const wire::Frame& frame);
    void remember(const wire::Frame& frame);
    void remember_block(const wire::Frame& frame);
    void agree_if_possible();
    void help();
    void answer_block(std::deque<Block>& from, size_t index, uint8_t how);
    void send(wire::Packet packet, std::span<const uint8_t> payload, uint16_t volume = 0);
    void send_with_bulk(wire::Packet packet, const wire::ByteVector& fixed, uint32_t bytes, uint16_t volume);

    // peer_packets.cc
    wire::ByteVector payload_of(wire::Packet packet, uint16_t volume, Input& input, uint32_t& bulk);
    void damage(wire::ByteVector& payload, Input& input);
    const Block* some_block(Input& input) const;
    uint64_t some_sector(uint16_t volume, Input& input) const;
    uint32_t some_size(Input& input) const;
    uint64_t some_id(Input& input) const;
    uint64_t some_uuid(uint16_t volume, Input& input) const;
    State some_state(Input& input) const;
    wire::ByteVector sizes_of(uint64_t disk_sectors, uint64_t current_sectors) const;
    wire::ByteVector uuids_of(uint16_t volume, uint8_t kind, Input& input) const;
    void say_features(Input& input);
    void say_protocol(bool discard);
    void say_parameters(uint16_t volume, Input& input);
    void say_state(uint16_t volume, const State& state);
    void say_bitmap(uint16_t volume, Input& input);
    wire::ByteVector ack_of(const Block& block, uint64_t id);

    Node* node_ = nullptr;
    wire::ProtocolParameters parameters_;
    uint32_t digest_size_ = 0, hmac_size_ = 0;
    bool helpful_ = false;
    unsigned answers_left_ = 0;
    Line lines_[DRBD_MAX_SOCKETS];

    std::optional<wire::FeatureOffer> node_offer_, own_offer_;
    wire::Agreement agreement_;  // version 0: none yet
    wire::ByteVector challenge_;
    std::optional<metafmt::Uuids> node_uuids_[kVolumesMax];
    uint32_t sequence_[kVolumesMax] = {};
    uint32_t barrier_ = 0;
    std::deque<Block> writes_, reads_, resync_requests_, replies_;
    uint32_t epoch_writes_ = 0;
    std::deque<wire::BarrierAck> barriers_;
    std::deque<Block> questions_;
    unsigned pings_ = 0;
};

}  // namespace drbd::fuzz
