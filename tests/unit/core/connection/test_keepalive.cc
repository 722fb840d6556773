// SPDX-License-Identifier: GPL-2.0-or-later
// Pings, silence, streams that the peer does not read, and callers that sleep.
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

    explicit Up(const std::function<void(DrbdNetConfig&)>& configure = [](DrbdNetConfig&) {}) {
        configure(net.a().config);
        net.start(0);
        peer = std::make_unique<ScriptedPeer>(net);
        EXPECT_TRUE(peer->connect_up());
    }
    Node& node() { return net.a(); }
    Link& link() { return net.a().connection.link(); }
    // The peer answers what has come.
    void answer_pings() {
        for (unsigned i = peer->count_meta(Packet::Ping); i > 0; i--)
            peer->send_ping(Packet::PingAck);
        net.run(1);
    }
    void send_barrier() {
        uint8_t room[wire::kPacketSizeMax];
        peer->send(wire::encode_barrier(room, peer->to(), {1}));
        net.run(0);
    }
};

TEST(Keepalive, AnIdlePeerIsPingedEveryPingInt) {
    Up up([](DrbdNetConfig& config) { config.ping_int = 3; });
    up.net.run(2999);  // P_PROTOCOL was a sign of life
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 0u);
    for (int i = 0; i < 10; i++) {
        up.net.run(2900);
        EXPECT_EQ(up.peer->count_meta(Packet::Ping), 0u);
        up.net.run(100);
        EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u);
        up.peer->send_ping(Packet::PingAck);
        up.net.run(0);
    }
    EXPECT_TRUE(up.node().up);
    EXPECT_EQ(up.node().pings_answered, 0u);  // nobody asked
    DrbdConnectionStatus status{};
    up.node().connection.fill_status(status);
    EXPECT_EQ(status.pings_sent, 10u);
    EXPECT_EQ(status.pings_answered, 10u);
}

TEST(Keepalive, AnUnansweredPingIsTheEnd) {
    Up up([](DrbdNetConfig& config) { config.ping_int = 3; });
    ASSERT_TRUE(up.net.run(6000, [&] { return !up.peer->meta->inbox.empty(); }));
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u);
    up.net.run(499);
    EXPECT_TRUE(up.node().up);
    up.net.run(2);
    EXPECT_FALSE(up.node().up);
    EXPECT_EQ(up.node().lost_how.at(0), ConnectionState::NetworkFailure);
    EXPECT_NE(up.node().lost.at(0).find("ping-timeout 500 ms"), std::string::npos);
    EXPECT_TRUE(up.peer->is_closed());
}

TEST(Keepalive, DataIsASignOfLife) {
    Up up([](DrbdNetConfig& config) { config.ping_int = 3; });
    for (int i = 0; i < 50; i++) {
        up.net.run(400);
        up.send_barrier();
    }
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 0u);
    EXPECT_TRUE(up.node().up);
}

// One stream alone is cut: data goes on, meta says nothing.
TEST(Keepalive, APingUnansweredForTimeoutIsTheEndWhateverComesOnData) {
    Up up;
    up.node().event([&] { up.link().request_ping(); });
    for (int i = 0; i < 59; i++) {
        up.net.run(100);
        up.send_barrier();
        ASSERT_TRUE(up.node().up) << i;
    }
    up.net.run(200);
    EXPECT_FALSE(up.node().up);
}

TEST(Keepalive, PingsAreAnsweredAtOnceWhateverElseWaits) {
    Up up;
    up.node().stalled = true;  // data is not read
    up.node().verdict = BulkVerdict::Stall;
    up.peer->meta->inbox.clear();
    for (int i = 0; i < 3; i++)
        up.peer->send_ping();
    up.net.run(0);
    EXPECT_EQ(up.peer->count_meta(Packet::PingAck), 3u);
}

TEST(Keepalive, ARequestedPingIsABarrierOnMeta) {
    Up up;
    up.node().event([&] {
        up.link().request_ping();
        up.link().request_ping();  // the same
    });
    up.net.run(0);
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u);
    // Asked for after the first was sent: its answer is not enough.
    up.node().event([&] { up.link().request_ping(); });
    up.net.run(0);
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u);
    up.peer->send_ping(Packet::PingAck);
    up.net.run(0);
    EXPECT_EQ(up.node().pings_answered, 0u);
    up.peer->send_ping(Packet::PingAck);
    up.net.run(0);
    EXPECT_EQ(up.node().pings_answered, 1u);
    // Answers to nothing are harmless.
    up.peer->send_ping(Packet::PingAck);
    up.net.run(0);
    EXPECT_EQ(up.node().pings_answered, 1u);
    EXPECT_TRUE(up.node().up);
}

TEST(Keepalive, ARequestDoesNotOutliveItsConnection) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.silence_all();
    net.a().event([&] { net.a().connection.link().request_ping(); });
    ASSERT_TRUE(net.run(30000, [&] { return net.a().ups == 2 && net.a().is_up() && net.b().is_up(); }));
    net.run(30000);
    EXPECT_EQ(net.a().pings_answered, 0u);
}

// ---- send timeouts ----

void send_on(Link& link, bool meta) {
    if (meta)
        link.send_meta(wire::encode_empty(link.room(), link.to_connection(), Packet::PingAck));
    else
        link.send_data(wire::encode_barrier(link.room(), link.to_connection(), {1}));
}

TEST(SendTimeout, DataGetsKoCountTries) {
    Up up([](DrbdNetConfig& config) {
        config.ko_count_given = true;
        config.ko_count = 3;
        config.timeout = 20;
    });
    up.peer->meta->inbox.clear();
    up.peer->data->room = 0;
    up.node().event([&] { send_on(up.link(), false); });
    for (unsigned i = 1; i < 3; i++) {
        up.net.run(1999);
        EXPECT_EQ(up.peer->count_meta(Packet::Ping), 0u);
        up.net.run(1);
        EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u) << i;
        up.peer->send_ping(Packet::PingAck);
        up.net.run(0);
        EXPECT_TRUE(up.node().up);
    }
    up.net.run(2000);
    EXPECT_FALSE(up.node().up);
    EXPECT_EQ(up.node().lost_how.at(0), ConnectionState::Timeout);
    EXPECT_NE(up.node().lost.at(0).find("ko-count 3"), std::string::npos);
}

TEST(SendTimeout, AnyProgressBeginsAnew) {
    Up up([](DrbdNetConfig& config) {
        config.ko_count_given = true;
        config.ko_count = 1;
        config.timeout = 20;
        config.ping_int = 120;
    });
    up.peer->data->room = 0;
    up.node().event([&] {
        for (int i = 0; i < 100; i++)
            send_on(up.link(), false);
    });
    for (int i = 0; i < 20; i++) {
        up.net.run(1900);
        up.peer->data->room = 1;  // a byte
        up.node().event([] {});
        ASSERT_TRUE(up.node().up) << i;
    }
    up.net.run(2100);
    EXPECT_FALSE(up.node().up);
}

TEST(SendTimeout, WithoutKoCountAPeerThatAnswersPingsMayTakeForEver) {
    Up up([](DrbdNetConfig& config) { config.ko_count_given = true; });
    up.peer->data->room = 0;
    up.node().event([&] { send_on(up.link(), false); });
    for (int i = 0; i < 1000; i++) {
        up.net.run(300);
        up.answer_pings();
    }
    EXPECT_TRUE(up.node().up);
}

TEST(SendTimeout, MetaGetsOneTry) {
    Up up([](DrbdNetConfig& config) { config.timeout = 20; });
    up.peer->meta->room = 0;
    up.node().event([&] { send_on(up.link(), true); });
    up.net.run(1999);
    EXPECT_TRUE(up.node().up);
    up.net.run(2);
    EXPECT_FALSE(up.node().up);
    EXPECT_EQ(up.node().lost_how.at(0), ConnectionState::Timeout);
}

// ---- a caller that sleeps ----

// The process was stopped for long: the answer to our ping may be in the socket.
TEST(Lateness, OneMorePingTimeoutForWhoSlept) {
    Up up([](DrbdNetConfig& config) { config.ping_int = 3; });
    ASSERT_TRUE(up.net.run(6000, [&] { return !up.peer->meta->inbox.empty(); }));
    EXPECT_EQ(up.peer->count_meta(Packet::Ping), 1u);
    up.peer->meta->other->frozen = true;
    up.peer->send_ping(Packet::PingAck);
    up.net.behaviour.lateness = 60000;
    up.net.run(60600);
    EXPECT_TRUE(up.node().up);
    // It is the only grace.
    up.net.behaviour.lateness = 200;
    up.net.run(1000);
    EXPECT_FALSE(up.node().up);
}

TEST(Lateness, TimersThatAreAlwaysLateStillFindADeadPeer) {
    for (uint64_t late : {1u, 150u, 5000u}) {
        Network net(late);
        net.behaviour.lateness = late;
        net.start_all();
        ASSERT_TRUE(net.run_until_up(120000));
        net.silence_all();
        ASSERT_TRUE(net.run(60000, [&] { return !net.a().lost.empty() && !net.b().lost.empty(); }));
        EXPECT_TRUE(net.run(120000, [&] { return net.a().ups >= 2 && net.a().is_up() && net.b().is_up(); }));
        EXPECT_TRUE(net.problems.empty());
    }
}

TEST(Lateness, DeadlinesAreNeverBehindUs) {
    Network net;
    net.start_all();
    for (int i = 0; i < 3000; i++) {
        net.run(7);
        for (unsigned n : {0u, 1u}) {
            net.node(n).event([] {});
            EXPECT_GT(net.node(n).connection.next_deadline_ms(), net.now());
        }
    }
}

}  // namespace
}  // namespace drbd
