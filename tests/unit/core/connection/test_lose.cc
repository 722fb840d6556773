// SPDX-License-Identifier: GPL-2.0-or-later
// Every way to lose the peer ends on one road: the loss is told once, everything
// of it ends, and the next connection is as good as the first.
#include <gtest/gtest.h>

#include "tests/unit/core/connection/scripted_peer.h"

namespace drbd {
namespace {

using test::End;
using test::Network;
using test::Node;
using test::ScriptedPeer;
using wire::Packet;

void expect_usable(Network& net) {
    for (const std::string& problem : net.problems)
        ADD_FAILURE() << problem;
    const unsigned answers = net.a().pings_answered;
    net.a().event([&] { net.a().connection.link().request_ping(); });
    EXPECT_TRUE(net.run(2000, [&] { return net.a().pings_answered == answers + 1; }));
}

// Wherever the handshake is cut, by the byte.
TEST(Lose, CutAtEveryByteOfTheHandshake) {
    Network whole(5);
    whole.start_all();
    ASSERT_TRUE(whole.run_until_up());
    const uint64_t bytes = whole.total_bytes;
    ASSERT_GT(bytes, 200u);
    for (bool secret : {false, true}) {
        for (uint64_t cut = 1; cut <= bytes + (secret ? 300 : 40); cut++) {
            SCOPED_TRACE("cut after " + std::to_string(cut) + " bytes");
            Network net(5);
            net.behaviour.piece_max = 1;
            net.behaviour.cut_after_bytes = cut;
            if (secret)
                for (unsigned i : {0u, 1u})
                    std::snprintf(net.node(i).config.cram_hmac_alg, DRBD_NAME_SIZE, "sha1");
            net.start_all();
            ASSERT_TRUE(net.run(60000, [&] { return net.behaviour.cut_after_bytes == UINT64_MAX; }));
            net.run(1);
            ASSERT_TRUE(net.run_until_up(60000));
            expect_usable(net);
        }
    }
}

// Silence instead: nothing arrives any more, nobody is told.
TEST(Lose, SilenceInEveryPhase) {
    for (uint64_t at = 0; at < 2500; at += 37) {
        SCOPED_TRACE("silent after " + std::to_string(at) + " ms");
        Network net(at + 1);
        net.behaviour.delay_max = 20;
        net.start_all();
        net.run(at);
        net.silence_all();
        net.run(1);
        // Dead within ping-int + ping-timeout if it was up, then found again.
        const unsigned before_a = net.a().ups, before_b = net.b().ups;
        ASSERT_TRUE(net.run(60000, [&] {
            return net.a().is_up() && net.b().is_up() && (!before_a || net.a().ups > before_a) &&
                   (!before_b || net.b().ups > before_b);
        }));
        // One stream may be of the silent time still: a ping finds it.
        const unsigned answers = net.a().pings_answered;
        for (int i = 0; i < 30 && net.a().pings_answered == answers; i++) {
            net.a().event([&] { net.a().connection.link().request_ping(); });
            net.run(1000);
        }
        ASSERT_TRUE(net.run_until_up());
        expect_usable(net);
    }
}

TEST(Lose, OneStreamAlone) {
    for (const wire::Stream stream : {wire::Stream::Data, wire::Stream::Meta}) {
        for (const char* error : {static_cast<const char*>(nullptr), "connection reset"}) {
            Network net;
            net.start_all();
            ASSERT_TRUE(net.run_until_up());
            auto end = net.stream_of(0, stream);
            end->ended = true;
            end->error = error ? error : "";
            net.a().event([] {});
            net.run(1);
            ASSERT_EQ(net.a().lost.size(), 1u);
            EXPECT_EQ(net.a().lost_how[0], error || stream == wire::Stream::Meta ? ConnectionState::NetworkFailure
                                                                                  : ConnectionState::BrokenPipe);
            ASSERT_TRUE(net.run_until_up());
            EXPECT_EQ(net.a().ups, 2u);
            expect_usable(net);
        }
    }
}

TEST(Lose, NextAttemptAfterASecondAndNotBeforeAllHasEnded) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.a().reconnect = false;
    net.cut_all(nullptr);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::Unconnected);
    net.run(20000);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::Unconnected);
    EXPECT_EQ(net.a().connection.next_deadline_ms(), UINT64_MAX);
    net.a().reconnect = true;
    net.a().event([] {});
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
    ASSERT_TRUE(net.run_until_up());

    net.cut_all(nullptr);
    net.run(999);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::Unconnected);
    net.run(1);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
}

TEST(Lose, StandAloneByTheAdministrator) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.a().event([&] {
        net.a().connection.stand_alone("by the administrator");
        net.a().connection.stand_alone("twice");
    });
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
    ASSERT_EQ(net.a().lost_how.size(), 1u);
    EXPECT_EQ(net.a().lost_how[0], ConnectionState::Disconnecting);
    net.run(5000);
    EXPECT_EQ(net.b().connection.phase(), ConnectionState::WFConnection);
    EXPECT_EQ(net.a().phases.back(), "StandAlone");
    net.start(0);
    EXPECT_TRUE(net.run_until_up());
    expect_usable(net);
}

// The administrator's word goes before a loss of the same event.
TEST(Lose, StandAloneInTheSameEventAsALoss) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.a().event([&] {
        net.a().connection.link().drop(ConnectionState::Timeout, "slow");
        net.a().connection.stand_alone("by the administrator");
    });
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
    EXPECT_STREQ(net.a().connection.reason(), "by the administrator");
}

// A peer that answers the request to disconnect hangs up: its end of the stream may
// be here before its answer.
TEST(Lose, StandAloneOutOfTheLossItself) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.a().stands_alone_when_lost = true;
    net.a().event([&] { net.a().connection.link().drop(ConnectionState::NetworkFailure, "end of the stream"); });
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
    EXPECT_STREQ(net.a().connection.reason(), "by the administrator");
    net.run(5000);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
    EXPECT_EQ(net.a().connection.next_deadline_ms(), UINT64_MAX);
}

TEST(Lose, StandAloneInEveryPhase) {
    for (uint64_t at = 0; at < 1200; at += 3) {
        Network net(at + 1);
        net.behaviour.delay_max = 30;
        net.start_all();
        net.run(at);
        net.a().event([&] { net.a().connection.stand_alone("by the administrator"); });
        ASSERT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
        ASSERT_EQ(net.a().up, false);
        net.run(500);
        ASSERT_EQ(net.a().connection.next_deadline_ms(), UINT64_MAX);
        net.start(0);
        ASSERT_TRUE(net.run_until_up());
        expect_usable(net);
    }
}

TEST(Lose, AnExpectedEndIsNoError) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.b().event([&] { net.b().connection.expect_end(); });
    net.a().event([&] { net.a().connection.stand_alone("by the administrator"); });
    net.run(10);
    ASSERT_EQ(net.b().lost_how.size(), 1u);
    EXPECT_EQ(net.b().lost_how[0], ConnectionState::TearDown);
    net.run(3000);
    EXPECT_EQ(net.b().connection.phase(), ConnectionState::WFConnection);
}

TEST(Lose, AnExpectedEndThatDoesNotComeIsMade) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.b().event([&] { net.b().connection.expect_end(); });
    net.run(1999);
    EXPECT_TRUE(net.b().up);
    net.run(2);
    EXPECT_EQ(net.b().lost_how.at(0), ConnectionState::TearDown);
    ASSERT_TRUE(net.run_until_up());
    expect_usable(net);
}

// A kernel closes both streams behind its answer; data may be read first.
TEST(Lose, TheEndOfDataWaitsForTheAnswerToADisconnect) {
    for (const bool meta_ends : {false, true}) {
        Network net;
        net.start_all();
        ASSERT_TRUE(net.run_until_up());
        net.a().event([&] { net.a().connection.expect_answer_to_end(); });
        net.close(net.stream_of(1, wire::Stream::Data));
        net.run(400);
        EXPECT_TRUE(net.a().up);
        if (meta_ends) {
            net.close(net.stream_of(1, wire::Stream::Meta));
            net.run(2);
            EXPECT_FALSE(net.a().up);
        }
        net.run(200);
        ASSERT_FALSE(net.a().up) << "ping-timeout is over";
        EXPECT_EQ(net.a().lost_how.at(0), meta_ends ? ConnectionState::NetworkFailure : ConnectionState::BrokenPipe);
        ASSERT_TRUE(net.run_until_up());
        expect_usable(net);
        // It was refused: data is waited for no more.
        net.a().event([&] {
            net.a().connection.expect_answer_to_end();
            net.a().connection.answer_to_end_came();
        });
        net.close(net.stream_of(1, wire::Stream::Data));
        net.run(2);
        EXPECT_FALSE(net.a().up);
        ASSERT_TRUE(net.run_until_up());
    }
}

TEST(Lose, RestartedPeerAgainAndAgain) {
    Network net(11);
    net.behaviour.delay_max = 5;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    for (unsigned i = 0; i < 40; i++) {
        net.run(i * 13);
        net.restart(i % 2);
        ASSERT_TRUE(net.run_until_up(20000)) << i;
        net.run(10);
        ASSERT_TRUE(net.a().is_up() && net.b().is_up());
    }
    expect_usable(net);
}

// The peer's host lost its power and is back: our streams are half open.  Its
// dial is what tells us.
TEST(Lose, NewcomersTellOfHalfOpenStreams) {
    Network net(2);
    net.a().config.ping_int = 120;
    net.b().config.ping_int = 120;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.silence_all();
    net.restart(1);
    EXPECT_TRUE(net.run_until_up(8000));
    EXPECT_EQ(net.a().lost_how.at(0), ConnectionState::NetworkFailure);
    expect_usable(net);
}

TEST(Lose, StrangersDoNotBreakAStandingConnection) {
    Network net(2);
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    std::vector<std::shared_ptr<End>> strangers;
    for (int i = 0; i < 500; i++) {
        auto end = net.connect_raw(0);
        if (end) {
            strangers.push_back(end);
            switch (i % 4) {
            case 0: net.write(end, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0}); break;
            case 1: net.write(end, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0}); break;
            case 2: net.write(end, {1, 2, 3, 4, 5}); break;
            case 3: break;  // says nothing
            }
        }
        net.run(5);
    }
    EXPECT_GT(strangers.size(), 300u);
    net.run(3000);
    for (auto& end : strangers)
        EXPECT_TRUE(end->ended);
    EXPECT_TRUE(net.a().lost.empty() && net.b().lost.empty());
    expect_usable(net);
}

// ---- what was queued ----

TEST(Lose, OwnersHearAfterTheLossAndFramesOfTheOldConnectionNever) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    auto end = net.stream_of(1, wire::Stream::Data);
    end->room = 0;  // nothing leaves
    int owners[5];
    net.a().event([&] {
        Link& link = net.a().connection.link();
        for (int& owner : owners)
            link.send_data(wire::encode_barrier(link.room(), link.to_connection(), {1}), {},
                           {PacketOwner::GuestRequest, &owner});
    });
    EXPECT_EQ(net.a().left_sent + net.a().left_unsent, 0u);
    net.cut_all(nullptr);
    EXPECT_EQ(net.a().left_unsent, 5u);
    ASSERT_TRUE(net.run_until_up());
    EXPECT_TRUE(net.b().received.empty());
    expect_usable(net);
}

// A send is under way while the connection is lost: the number and the packet
// stay until it ends.
TEST(Lose, ASendUnderWayHoldsItsSocket) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    Connection& connection = net.a().connection;
    const unsigned data = connection.stream_sockets().first;
    net.stream_of(1, wire::Stream::Data)->room = 0;
    int owner = 0;
    net.a().event([&] {
        Link& link = connection.link();
        link.send_data(wire::encode_barrier(link.room(), link.to_connection(), {1}), {}, {PacketOwner::GuestRequest, &owner});
    });
    auto send = std::make_unique<DrbdSend>();
    ASSERT_TRUE(connection.next_send(data, *send));
    net.cut_all(nullptr);
    net.run(20000);
    EXPECT_EQ(net.a().left_unsent, 0u);
    EXPECT_EQ(connection.phase(), ConnectionState::Unconnected);
    net.a().event([&] { connection.on_sent(data, send->bytes); });
    EXPECT_EQ(net.a().left_sent, 1u);
    EXPECT_TRUE(net.run_until_up());
    expect_usable(net);
}

// ---- what the peer may do wrong ----

struct Wrong {
    const char* name;
    bool on_meta;
    std::vector<uint8_t> bytes;
    ConnectionState how;
};

TEST(Lose, PacketsThatDoNotBelong) {
    const Wrong cases[] = {
        {"unknown on data", false, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0},
         ConnectionState::ProtocolError},
        {"unknown on meta", true, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x44, 0, 0, 0, 0, 0, 0, 0, 0},
         ConnectionState::Disconnecting},
        {"of data on meta", true, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x03, 0, 0, 0, 8, 0, 0, 0, 0},
         ConnectionState::Disconnecting},
        {"of meta on data", false, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x13, 0, 0, 0, 0, 0, 0, 0, 0},
         ConnectionState::ProtocolError},
        {"magic on data", false, {0x83, 0x74, 0x02, 0x67, 0, 3, 0, 8}, ConnectionState::ProtocolError},
        {"magic on meta", true, {0x83, 0x74, 0x02, 0x67, 0, 0x13, 0, 0}, ConnectionState::ProtocolError},
        {"pad", true, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x13, 0, 0, 0, 0, 0, 0, 0, 1}, ConnectionState::ProtocolError},
        {"size on meta", true, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x13, 0, 0, 0, 4, 0, 0, 0, 0},
         ConnectionState::ProtocolError},
        {"features again", false, {0x86, 0x20, 0xec, 0x20, 0, 0, 0xff, 0xfe, 0, 0, 0, 72, 0, 0, 0, 0},
         ConnectionState::ProtocolError},
        {"challenge out of place", false, {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0},
         ConnectionState::ProtocolError},
    };
    for (const Wrong& wrong : cases) {
        SCOPED_TRACE(wrong.name);
        Network net(1, 1);
        net.start(0);
        ScriptedPeer peer(net);
        ASSERT_TRUE(peer.connect_up());
        net.write(wrong.on_meta ? peer.meta : peer.data, wrong.bytes);
        net.run(1);
        ASSERT_EQ(net.a().lost_how.size(), 1u);
        EXPECT_EQ(net.a().lost_how[0], wrong.how) << net.a().lost[0];
        EXPECT_EQ(net.a().connection.phase(), wrong.how == ConnectionState::Disconnecting ? ConnectionState::StandAlone
                                                                                         : ConnectionState::Unconnected);
        EXPECT_TRUE(peer.is_closed());
        EXPECT_TRUE(net.a().received.empty());
        EXPECT_TRUE(net.problems.empty());
    }
}

// A bounded answer to a peer that asks without reading.
TEST(Lose, APingFloodWithoutReadingIsBounded) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    ASSERT_TRUE(peer.connect_up());
    peer.meta->room = 0;
    for (int i = 0; i < 4000 && net.a().up; i++) {
        peer.send_ping();
        net.run(0);
    }
    EXPECT_FALSE(net.a().up);
    EXPECT_EQ(net.a().lost_how.at(0), ConnectionState::NetworkFailure);
}

}  // namespace
}  // namespace drbd
