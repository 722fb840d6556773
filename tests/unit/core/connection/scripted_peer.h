// SPDX-License-Identifier: GPL-2.0-or-later
// A peer that a test plays by hand against one node of a network: it dials both
// streams and says what the test tells it, right or wrong.
#pragma once

#include "tests/unit/core/connection/network.h"

namespace drbd::test {

class ScriptedPeer {
  public:
    explicit ScriptedPeer(Network& network) : network_(network) {
        // The node's own dials find nobody.
        network_.behaviour.refuses = [](unsigned) { return true; };
        reader_.begin(wire::Stream::Data);
    }

    // Both streams, and past the stability check.
    bool connect() {
        data = network_.connect_raw(0);
        meta = network_.connect_raw(0);
        if (!data || !meta)
            return false;
        network_.write(data, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0});
        network_.write(meta, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0});
        network_.run(510);
        return true;
    }
    void send_features(const wire::FeatureOffer& offer = {}) {
        uint8_t room[wire::kPacketSizeMax];
        send(wire::encode_features(room, offer));
    }
    // What both agree on from here; also for what is read.
    void agree(const wire::Agreement& agreed) {
        agreement = agreed;
        reader_.agree(agreed);
    }
    // Features and P_PROTOCOL, all as the node's defaults.
    bool connect_up(const wire::FeatureOffer& offer = {}, const wire::ProtocolParameters& parameters = {}) {
        if (!connect())
            return false;
        send_features(offer);
        network_.run(1);
        if (!next())
            return false;
        agree({offer.version_max, {offer.features.bits & wire::kFeaturesKnown}});
        send_protocol(parameters);
        network_.run(1);
        return network_.a().is_up() && next() && frame().packet() == wire::Packet::Protocol;
    }
    void send_protocol(const wire::ProtocolParameters& parameters) {
        uint8_t room[wire::kPacketSizeMax];
        send(wire::encode_protocol(room, to(), wire::Packet::Protocol, parameters));
    }
    void send(wire::Encoded packet) { network_.write(data, {packet.begin(), packet.end()}); }
    void send_meta(wire::Encoded packet) { network_.write(meta, {packet.begin(), packet.end()}); }
    void send_ping(wire::Packet packet = wire::Packet::Ping) {
        uint8_t room[wire::kPacketSizeMax];
        send_meta(wire::encode_empty(room, to(), packet));
    }
    wire::To to(uint16_t volume = 0) const { return {agreement, volume}; }

    // The next packet on data; false: there is none, whole.
    bool next() {
        auto fed = reader_.feed(data->inbox);
        if (!fed)
            return false;
        data->inbox.erase(data->inbox.begin(), data->inbox.begin() + static_cast<ptrdiff_t>(fed.value().consumed));
        return fed.value().outcome == wire::FeedOutcome::Complete;
    }
    const wire::Frame& frame() const { return reader_.frame(); }

    // Headers on meta: how many of this packet have come (and forgets them).
    unsigned count_meta(wire::Packet packet) {
        unsigned count = 0;
        const size_t header = agreement.version >= 100 ? 16 : 8;
        for (size_t at = 0; at + header <= meta->inbox.size(); at += header)
            count += meta->inbox[at + (header == 16 ? 7 : 5)] == static_cast<uint8_t>(packet);
        meta->inbox.clear();
        return count;
    }
    bool is_closed() const { return data->ended && meta->ended; }

    std::shared_ptr<End> data, meta;
    wire::Agreement agreement;

  private:
    Network& network_;
    wire::FrameReader reader_;
};

}  // namespace drbd::test
