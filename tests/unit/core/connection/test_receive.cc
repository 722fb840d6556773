// SPDX-License-Identifier: GPL-2.0-or-later
// Packets to whom they concern, payload, and a stream that must wait.
#include <gtest/gtest.h>

#include "tests/unit/core/connection/scripted_peer.h"

namespace drbd {
namespace {

using test::Network;
using test::Node;
using test::ScriptedPeer;
using wire::Packet;

struct Up {
    Network net{1, 1};
    std::unique_ptr<ScriptedPeer> peer;
    uint8_t room[wire::kPacketSizeMax];

    explicit Up(const std::function<void(DrbdNetConfig&)>& configure = [](DrbdNetConfig&) {},
                const wire::ProtocolParameters& parameters = {}) {
        configure(net.a().config);
        net.start(0);
        peer = std::make_unique<ScriptedPeer>(net);
        EXPECT_TRUE(peer->connect_up({}, parameters));
    }
    Node& node() { return net.a(); }
    std::vector<uint8_t> data(uint32_t bytes, const std::vector<uint8_t>& digest = {}) {
        wire::DataWrite write;
        write.sector = Sector(24);
        write.size = Bytes(bytes);
        write.id = {1};
        write.sequence = 1;
        write.digest = digest;
        const auto head = wire::encode_write(room, peer->to(), Packet::Data, write);
        std::vector<uint8_t> packet(head.begin(), head.end());
        packet.resize(packet.size() + bytes, 0x5a);
        return packet;
    }
    std::vector<uint8_t> barrier(uint32_t number) {
        const auto head = wire::encode_barrier(room, peer->to(), {number});
        return {head.begin(), head.end()};
    }
    std::vector<Packet> packets() {
        std::vector<Packet> list;
        for (const auto& received : node().received)
            list.push_back(received.packet);
        return list;
    }
};

std::vector<uint8_t> operator+(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

TEST(Receive, PacketsAndPayloadInAnyPieces) {
    for (size_t piece : {size_t{1}, size_t{7}, size_t{100}, SIZE_MAX}) {
        Up up;
        up.net.behaviour.piece_max = piece;
        up.net.write(up.peer->data, up.barrier(1) + up.data(4096) + up.data(512) + up.barrier(2) + up.data(1u << 20));
        up.net.run(1);
        EXPECT_EQ(up.packets(), (std::vector<Packet>{Packet::Barrier, Packet::Data, Packet::Data, Packet::Barrier,
                                                     Packet::Data}));
        EXPECT_NE(up.node().received.at(1).buffer, nullptr);
        EXPECT_TRUE(up.node().up);
        EXPECT_TRUE(up.net.problems.empty());
        DrbdConnectionStatus status{};
        up.node().connection.fill_status(status);
        EXPECT_EQ(status.data_received_bytes, 72 + 16 + 25 + 8u + 2 * 24 + 3 * 40 + 4096 + 512 + (1u << 20) + (80 - 72 - 16 + 8));
    }
}

TEST(Receive, DiscardedPayloadComesWithoutABuffer) {
    Up up;
    up.node().verdict = BulkVerdict::Discard;
    up.net.write(up.peer->data, up.data(4096) + up.barrier(2));
    up.net.run(1);
    ASSERT_EQ(up.packets(), (std::vector<Packet>{Packet::Data, Packet::Barrier}));
    EXPECT_EQ(up.node().received[0].buffer, nullptr);
}

TEST(Receive, AStalledPayloadHoldsTheStreamUntilThereIsRoom) {
    for (BulkVerdict later : {BulkVerdict::Take, BulkVerdict::Discard}) {
        Up up;
        up.node().verdict = BulkVerdict::Stall;
        up.net.write(up.peer->data, up.barrier(1) + up.data(4096) + up.barrier(2));
        up.net.run(5000);
        EXPECT_EQ(up.packets(), (std::vector<Packet>{Packet::Barrier}));
        const unsigned data = up.node().connection.stream_sockets().first;
        EXPECT_FALSE(up.node().connection.may_receive(data));
        EXPECT_FALSE(up.node().connection.has_stalled_ready());
        EXPECT_GE(up.node().bulk_questions, 1u);
        up.node().verdict = later;
        const unsigned asked = up.node().bulk_questions;
        up.node().event([] {});
        EXPECT_EQ(up.packets(), (std::vector<Packet>{Packet::Barrier, Packet::Data, Packet::Barrier}));
        EXPECT_EQ(up.node().received[1].buffer == nullptr, later == BulkVerdict::Discard);
        // The first answer but Stall is the last question.
        EXPECT_EQ(up.node().bulk_questions, asked + 1);
        EXPECT_TRUE(up.net.problems.empty());
    }
}

TEST(Receive, ALossWhileAPayloadIsStalled) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.b().verdict = BulkVerdict::Stall;
    std::vector<uint8_t> payload(4096, 1);
    int owner = 0;
    net.a().event([&] {
        Link& link = net.a().connection.link();
        wire::DataWrite write;
        write.size = Bytes(4096);
        write.sequence = 1;
        link.send_data(wire::encode_write(link.room(), link.to(0), Packet::Data, write),
                       {payload.data(), 4096}, {PacketOwner::GuestRequest, &owner});
    });
    net.run(100);
    EXPECT_GE(net.b().bulk_questions, 1u);
    net.cut_all(nullptr);
    ASSERT_TRUE(net.run(20000, [&] { return net.a().ups == 2 && net.a().is_up() && net.b().is_up(); }));
    EXPECT_TRUE(net.b().received.empty());
    net.b().verdict = BulkVerdict::Take;
    net.run(100);
    EXPECT_TRUE(net.b().received.empty());  // nothing of the earlier connection
    EXPECT_TRUE(net.problems.empty());
}

TEST(Receive, TheListenerMayHoldDataBetweenPackets) {
    Up up;
    up.node().when_packet = [&](const wire::Frame&) { up.node().stalled = true; };
    up.net.write(up.peer->data, up.barrier(1) + up.barrier(2) + up.barrier(3));
    for (unsigned i = 1; i <= 3; i++) {
        up.net.run(100);
        EXPECT_EQ(up.node().received.size(), i);
        const unsigned data = up.node().connection.stream_sockets().first;
        EXPECT_EQ(up.node().connection.may_receive(data), i == 3);  // nothing more has come
        up.node().stalled = false;
        EXPECT_EQ(up.node().connection.has_stalled_ready(), i < 3);
        up.node().event([] {});
    }
}

TEST(Receive, AListenersErrorEndsTheConnectionAtOnce) {
    Up up;
    up.node().bad_packet = true;
    up.net.write(up.peer->data, up.barrier(1) + up.barrier(2));
    up.net.run(1);
    EXPECT_EQ(up.node().received.size(), 1u);
    ASSERT_EQ(up.node().lost_how.size(), 1u);
    EXPECT_EQ(up.node().lost_how[0], ConnectionState::ProtocolError);
    EXPECT_EQ(up.node().lost[0], "P_BARRIER is not liked");
}

TEST(Receive, AListenerThatDropsInTheMiddle) {
    Up up;
    up.node().when_packet = [&](const wire::Frame&) {
        up.node().connection.link().drop(ConnectionState::TearDown, "enough");
    };
    up.net.write(up.peer->data, up.data(512) + up.barrier(2));
    up.net.run(1);
    EXPECT_EQ(up.node().received.size(), 1u);
    EXPECT_EQ(up.node().lost_how.at(0), ConnectionState::TearDown);
}

TEST(Receive, DropWhileComingUp) {
    Network net;
    net.a().when_up = [&] { net.a().connection.link().drop(ConnectionState::Disconnecting, "not with you"); };
    net.start_all();
    ASSERT_TRUE(net.run(5000, [&] { return net.a().connection.phase() == ConnectionState::StandAlone; }));
    EXPECT_EQ(net.a().ups, 1u);
    EXPECT_EQ(net.a().lost, std::vector<std::string>{"not with you"});
    EXPECT_TRUE(net.problems.empty());
}

// Whatever a peer sends: no crash, no hang, and the next one is welcome, unless
// it made us stand alone.
TEST(Receive, MutatedStreams) {
    Random dice(2026, 11);
    unsigned came_up = 0, stood_alone = 0;
    for (unsigned round = 0; round < 3000; round++) {
        SCOPED_TRACE("round " + std::to_string(round));
        Network net(round + 1, 1);
        net.behaviour.piece_max = 1 + dice.next() % 100;
        net.start(0);
        ScriptedPeer peer(net);
        const wire::Agreement agreement{dice.next() % 2 ? 101u : 86 + static_cast<unsigned>(dice.next() % 15), {15}};
        uint8_t room[wire::kPacketSizeMax];
        std::vector<uint8_t> streams[2] = {{0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0},
                                           {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0}};
        const auto add = [&](unsigned stream, wire::Encoded packet) {
            streams[stream].insert(streams[stream].end(), packet.begin(), packet.end());
        };
        const wire::To to{agreement, 0};
        add(0, wire::encode_features(room, {86, agreement.version, {15}}));
        add(0, wire::encode_protocol(room, to, Packet::Protocol, {}));
        add(0, wire::encode_barrier(room, to, {1}));
        wire::DataWrite write;
        write.size = Bytes(512);
        add(0, wire::encode_write(room, to, Packet::Data, write));
        streams[0].resize(streams[0].size() + 512);
        add(0, wire::encode_empty(room, to, Packet::UnplugRemote));
        for (int i = 0; i < 3; i++)
            add(1, wire::encode_empty(room, to, i % 2 ? Packet::PingAck : Packet::Ping));
        for (unsigned n = static_cast<unsigned>(dice.next() % 4); n > 0; n--) {
            auto& bytes = streams[dice.next() % 3 == 0];
            const size_t at = 8 + dice.next() % (bytes.size() - 8);
            switch (dice.next() % 4) {
            case 0: bytes[at] = static_cast<uint8_t>(dice.next()); break;
            case 1: bytes[at] ^= static_cast<uint8_t>(1u << dice.next() % 8); break;
            case 2: bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at)); break;
            case 3: bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(dice.next())); break;
            }
        }
        peer.data = net.connect_raw(0);
        peer.meta = net.connect_raw(0);
        ASSERT_TRUE(peer.data && peer.meta);
        net.write(peer.data, streams[0]);
        net.write(peer.meta, streams[1]);
        net.run(700);
        came_up += net.a().ups;
        net.run(20000);  // nobody answers pings
        EXPECT_FALSE(net.a().up);
        EXPECT_TRUE(peer.is_closed());
        EXPECT_TRUE(net.problems.empty()) << net.problems.front();
        if (net.a().connection.phase() == ConnectionState::StandAlone) {
            stood_alone++;
            EXPECT_NE(net.a().connection.reason()[0], 0);
            continue;
        }
        EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
        net.behaviour.piece_max = SIZE_MAX;
        ScriptedPeer good(net);
        EXPECT_TRUE(good.connect_up());
    }
    EXPECT_GT(came_up, 1000u);
    EXPECT_GT(stood_alone, 50u);
}

// ---- data-integrity-alg ----

const std::function<void(DrbdNetConfig&)> kWithDigest = [](DrbdNetConfig& config) {
    std::snprintf(config.data_integrity_alg, sizeof config.data_integrity_alg, "sha1");
    config.integrity_digest_size = 20;
};

wire::ProtocolParameters with_digest() {
    wire::ProtocolParameters parameters;
    std::snprintf(parameters.integrity_alg.text, sizeof parameters.integrity_alg.text, "sha1");
    return parameters;
}

TEST(Integrity, DigestsAreHandedToTheCaller) {
    Up up(kWithDigest, with_digest());
    EXPECT_TRUE(up.node().connection.link().has_integrity());
    EXPECT_EQ(up.node().connection.link().integrity_digest_size(), 20u);
    std::vector<uint8_t> digest(20, 0xdd);
    const auto bytes = up.data(512, digest);
    // By hand: what is announced.
    const unsigned data = up.node().connection.stream_sockets().first;
    size_t taken = 0;
    DrbdBulk bulk{};
    up.node().event([&] {
        EXPECT_EQ(up.node().connection.on_bytes(data, bytes, taken, bulk), DRBD_RECEIVE_BULK);
    });
    EXPECT_EQ(taken, bytes.size() - 512);
    EXPECT_EQ(bulk.bytes, 512u);
    EXPECT_TRUE(bulk.has_digest);
    EXPECT_EQ(std::vector<uint8_t>(bulk.digest, bulk.digest + 20), digest);
    up.node().event([&] { up.node().connection.on_bulk(data, std::malloc(512), true); });
    EXPECT_EQ(up.node().received.size(), 1u);
}

TEST(Integrity, AMismatchIsAProtocolErrorThatNamesTheSector) {
    Up up(kWithDigest, with_digest());
    up.node().digests_are_good = false;
    up.net.write(up.peer->data, up.data(512, std::vector<uint8_t>(20, 1)));
    up.net.run(1);
    EXPECT_TRUE(up.node().received.empty());
    EXPECT_EQ(up.node().unused, 1u);
    ASSERT_EQ(up.node().lost_how.size(), 1u);
    EXPECT_EQ(up.node().lost_how[0], ConnectionState::ProtocolError);
    EXPECT_NE(up.node().lost[0].find("digest mismatch of volume 0, sector 24"), std::string::npos) << up.node().lost[0];
}

TEST(Integrity, AnUpdateTurnsThePeersDigestsOff) {
    Up up(kWithDigest, with_digest());
    wire::ProtocolParameters none;
    up.peer->send(wire::encode_protocol(up.room, up.peer->to(), Packet::ProtocolUpdate, none));
    up.net.write(up.peer->data, up.data(512) + up.barrier(1));
    up.net.run(1);
    EXPECT_EQ(up.packets(), (std::vector<Packet>{Packet::Data, Packet::Barrier}));
    EXPECT_TRUE(up.node().connection.link().has_integrity());  // ours stay
    // And to one that we have not: alone, with both names.
    wire::ProtocolParameters other;
    std::snprintf(other.integrity_alg.text, sizeof other.integrity_alg.text, "sha256");
    up.peer->send(wire::encode_protocol(up.room, up.peer->to(), Packet::ProtocolUpdate, other));
    up.net.run(1);
    EXPECT_EQ(up.node().connection.phase(), ConnectionState::StandAlone);
    EXPECT_EQ(up.node().lost.at(0), "data-integrity-alg: this node sha1, the peer sha256");
}

TEST(Receive, APayloadOfADyingSocketIsGivenBack) {
    Up up;
    const auto bytes = up.data(512);
    const unsigned data = up.node().connection.stream_sockets().first;
    size_t taken = 0;
    DrbdBulk bulk{};
    up.node().event([&] {
        EXPECT_EQ(up.node().connection.on_bytes(data, bytes, taken, bulk), DRBD_RECEIVE_BULK);
    });
    up.node().event([&] { up.node().connection.link().drop(ConnectionState::Timeout, "gone"); });
    up.node().event([&] { up.node().connection.on_bulk(data, std::malloc(512), true); });
    EXPECT_EQ(up.node().unused, 1u);
    EXPECT_TRUE(up.node().received.empty());
}

}  // namespace
}  // namespace drbd
