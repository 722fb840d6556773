// SPDX-License-Identifier: GPL-2.0-or-later
// Finding the two sockets: who dials what, crossed dials, refusals, strangers;
// and that two nodes come together whatever the delays and the coins.
#include <gtest/gtest.h>

#include "tests/unit/core/connection/network.h"

namespace drbd {
namespace {

using test::Network;

void expect_good(Network& net) {
    for (const std::string& problem : net.problems)
        ADD_FAILURE() << problem;
    EXPECT_NE(net.a().connection.link().resolve_conflicts(), net.b().connection.link().resolve_conflicts());
    // Their streams are the same two TCP connections.
    for (const wire::Stream stream : {wire::Stream::Data, wire::Stream::Meta})
        EXPECT_EQ(net.stream_of(0, stream)->other, net.stream_of(1, stream));
}

TEST(Establish, EitherNodeFirst) {
    for (unsigned first : {0u, 1u}) {
        for (uint64_t gap : {0u, 1u, 700u, 3000u, 9999u, 25000u}) {
            SCOPED_TRACE("first " + std::to_string(first) + " gap " + std::to_string(gap));
            Network net(first + gap + 1);
            net.behaviour.delay_min = net.behaviour.delay_max = 1;
            net.start(first);
            net.run(gap);
            net.start(1 - first);
            const uint64_t began = net.now();
            ASSERT_TRUE(net.run_until_up());
            // socket-check-timeout 0.5 s, and the patience of who dialled data
            if (gap > 1)
                EXPECT_LE(net.now() - began, 1000u);
            expect_good(net);
        }
    }
}

TEST(Establish, PhasesInOrder) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    EXPECT_EQ(net.a().phases, (std::vector<std::string>{"Unconnected", "WFConnection", "WFReportParams"}));
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFReportParams);
}

// Any delays, any pieces, refusals for a while: they converge.
TEST(Establish, ThousandInterleavingsConverge) {
    uint64_t worst = 0, sum = 0, failed_attempts = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Network net(seed);
        Random dice(seed, 9);
        net.behaviour.delay_min = dice.next() % 3;
        net.behaviour.delay_max = net.behaviour.delay_min + dice.next() % (dice.next() % 2 ? 4 : 120);
        if (dice.next() % 2)
            net.behaviour.piece_max = 1 + dice.next() % 40;
        const uint64_t refused_until = dice.next() % 4 == 0 ? net.now() + dice.next() % 2000 : 0;
        const unsigned refused = dice.next() % 2;
        net.behaviour.refuses = [&](unsigned from) { return from == refused && net.now() < refused_until; };
        net.start(0);
        const uint64_t gap = dice.next() % 2 ? 0 : dice.next() % 300;
        net.run(gap);
        net.start(1);
        const uint64_t began = net.now();
        ASSERT_TRUE(net.run_until_up(60000));
        worst = std::max(worst, net.now() - began);
        sum += net.now() - began;
        // Only where neither could reach the other is connect-int waited for.
        if (refused_until == 0)
            EXPECT_LT(net.now() - began, 3000u);
        failed_attempts += net.a().phases.size() > 3 || net.b().phases.size() > 3;
        expect_good(net);
        // And it lasts.
        net.run(30000);
        EXPECT_TRUE(net.a().is_up() && net.b().is_up());
        EXPECT_EQ(net.a().ups, 1u);
    }
    RecordProperty("worst_ms", static_cast<int>(worst));
    RecordProperty("mean_ms", static_cast<int>(sum / 1000));
    RecordProperty("with_a_failed_attempt", static_cast<int>(failed_attempts));
    EXPECT_LT(worst, 15000u);
    EXPECT_LT(sum / 1000, 2500u);
}

TEST(Establish, SilentStrangersAreClosedAndKeepNobodyOut) {
    Network net;
    net.start(0);
    std::vector<std::shared_ptr<test::End>> strangers;
    for (int i = 0; i < 50; i++) {
        if (auto end = net.connect_raw(0))
            strangers.push_back(end);
        net.run(3);
    }
    EXPECT_GT(strangers.size(), 10u);
    net.start(1);
    ASSERT_TRUE(net.run_until_up(3000));
    net.run(2100);
    for (auto& end : strangers)
        EXPECT_TRUE(end->ended);
    EXPECT_TRUE(net.a().lost.empty());
    EXPECT_TRUE(net.problems.empty());
}

TEST(Establish, GarbageAsFirstPacketIsClosedAtOnce) {
    Network net(1, 1);
    net.start(0);
    const std::vector<std::vector<uint8_t>> garbage = {
        {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'},
        {0x83, 0x74, 0x02, 0x67, 0xff, 0xf3, 0, 0},
        {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 1},
        {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
        {0x83, 0x5a, 0xff, 0xf2, 0, 0, 0, 0},
    };
    for (const auto& bytes : garbage) {
        auto end = net.connect_raw(0);
        ASSERT_TRUE(end);
        net.write(end, bytes);
        net.run(1);
        EXPECT_TRUE(end->ended);
    }
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
    DrbdConnectionStatus status{};
    net.a().connection.fill_status(status);
    EXPECT_FALSE(status.has_data);
    EXPECT_FALSE(status.has_meta);
}

// While dials hang, whoever is dialled answers with the other stream; a dial
// that ends when both stand is closed.
TEST(Establish, LateEndOfADialIsOfNoUse) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    // A dial that was stopped is told no more; should it be all the same, it is
    // none of ours.
    net.a().event([&] { net.a().connection.on_dialled(7, nullptr); });
    net.a().event([&] { net.a().connection.on_dialled(6, "no route"); });
    net.run(20000);
    EXPECT_TRUE(net.a().is_up() && net.b().is_up());
    EXPECT_TRUE(net.a().lost.empty());
}

TEST(Establish, HangingDialsOfOneNode) {
    Network net;
    net.behaviour.dials_hang = true;
    net.start(0);  // its dial hangs for connect-int
    net.run(5);
    net.behaviour.dials_hang = false;
    net.start(1);
    ASSERT_TRUE(net.run_until_up(2500));  // b dials data, is patient, dials meta
    EXPECT_TRUE(net.a().connection.link().resolve_conflicts());
    expect_good(net);
}

TEST(Establish, RefusedDialsAreTriedAgainEveryConnectInt) {
    Network net(3, 1);
    unsigned dials = 0;
    net.behaviour.refuses = [&](unsigned) { dials++; return true; };
    net.start(0);
    net.run(100 * 1000);
    EXPECT_GE(dials, 8u);
    EXPECT_LE(dials, 13u);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
}

// Somebody takes our dials and closes them: not a storm of dials.
TEST(Establish, APortThatClosesWhateverComes) {
    Network net(3, 1);
    unsigned dials = 0;
    net.raw_listener = [&](unsigned) {
        dials++;
        auto end = std::make_shared<test::End>();
        net.after(1, [&net, end] { net.close(end); });
        return end;
    };
    net.start(0);
    net.run(60 * 1000);
    EXPECT_GE(dials, 10u);
    EXPECT_LE(dials, 60u);
    EXPECT_TRUE(net.problems.empty());
}

// A peer that listens only: both streams are dialled here, and meta without RC.
TEST(Establish, APeerThatOnlyListens) {
    Network net(3, 1);
    std::vector<std::shared_ptr<test::End>> ends;
    net.raw_listener = [&](unsigned) {
        ends.push_back(std::make_shared<test::End>());
        return ends.back();
    };
    net.start(0);
    net.run(1500);
    ASSERT_EQ(ends.size(), 2u);
    const std::vector<uint8_t> data = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0};
    const std::vector<uint8_t> meta = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0};
    ASSERT_GE(ends[0]->inbox.size(), 80u);
    EXPECT_EQ(std::vector<uint8_t>(ends[0]->inbox.begin(), ends[0]->inbox.begin() + 8), data);
    EXPECT_EQ(ends[1]->inbox, meta);
}

// A peer that only dials, as a kernel whose own loop is ahead: its features come
// before we look, its first meta packet before we agreed; nothing is lost.
TEST(Establish, EarlyBytesOfBothStreamsWait) {
    Network net(3, 1);
    net.start(0);
    auto data = net.connect_raw(0), meta = net.connect_raw(0);
    ASSERT_TRUE(data && meta);
    uint8_t room[wire::kPacketSizeMax];
    std::vector<uint8_t> bytes = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0};
    const auto add = [&](wire::Encoded packet) { bytes.insert(bytes.end(), packet.begin(), packet.end()); };
    const wire::Agreement agreement{101, {15}};
    add(wire::encode_features(room, {}));
    wire::ProtocolParameters parameters;
    add(wire::encode_protocol(room, {agreement, 0}, wire::Packet::Protocol, parameters));
    add(wire::encode_barrier(room, {agreement, 0}, {5}));
    net.write(data, bytes);
    bytes = {0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0};
    add(wire::encode_empty(room, {agreement, 0}, wire::Packet::Ping));
    net.write(meta, bytes);
    net.run(400);
    EXPECT_FALSE(net.a().up);
    net.run(200);
    EXPECT_TRUE(net.a().is_up());
    EXPECT_TRUE(net.a().connection.link().resolve_conflicts());
    ASSERT_EQ(net.a().received.size(), 1u);
    EXPECT_EQ(net.a().received[0].packet, wire::Packet::Barrier);
    // P_PING was answered.
    const std::vector<uint8_t> answer = {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(meta->inbox, answer);
    EXPECT_TRUE(net.problems.empty());
}

// A kernel always takes the newest of crossed sockets.
TEST(Establish, AStreamDialledAnewReplacesTheOldOne) {
    Network net(3, 1);
    net.behaviour.refuses = [](unsigned) { return true; };
    net.start(0);
    auto first = net.connect_raw(0);
    net.write(first, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0});
    net.run(100);
    auto second = net.connect_raw(0);
    net.write(second, {0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0});
    net.run(100);
    EXPECT_TRUE(first->ended);
    EXPECT_FALSE(second->ended);
}

TEST(Establish, ListenFailureStandsAlone) {
    Network net;
    net.start(0);
    net.a().event([&] { net.a().connection.on_listen_failed("Address already in use"); });
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::StandAlone);
    EXPECT_NE(std::string(net.a().connection.reason()).find("Address already in use"), std::string::npos);
    EXPECT_EQ(net.a().phases.back(), "StandAlone");
    net.run(5000);
    EXPECT_EQ(net.a().connection.next_deadline_ms(), UINT64_MAX);
}

}  // namespace
}  // namespace drbd
