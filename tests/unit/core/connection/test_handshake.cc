// SPDX-License-Identifier: GPL-2.0-or-later
// Versions, features, authentication, P_PROTOCOL: who may connect, and what the
// reason says if not.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/core/connection/scripted_peer.h"

namespace drbd {
namespace {

using test::Network;
using test::Node;
using test::ScriptedPeer;

void set_name(char (&field)[DRBD_NAME_SIZE], const char* name) {
    std::snprintf(field, sizeof field, "%s", name);
}

bool says(const Node& node, const char* text) {
    const std::string reason = node.connection.reason();
    for (const std::string& lost : node.lost)
        if (lost.find(text) != std::string::npos)
            return true;
    return reason.find(text) != std::string::npos;
}

bool is_stand_alone(const Node& node) {
    return node.connection.phase() == ConnectionState::StandAlone;
}

bool has_been(const Node& node, const char* phase) {
    return std::find(node.phases.begin(), node.phases.end(), phase) != node.phases.end();
}

// ---- versions and features ----

TEST(Handshake, EveryVersionAndEveryOrder) {
    for (unsigned version = 86; version <= 101; version++) {
        for (unsigned lowered : {0u, 1u}) {
            SCOPED_TRACE("version " + std::to_string(version));
            Network net(version);
            net.node(lowered).config.protocol_version_max = version;
            net.start_all();
            ASSERT_TRUE(net.run_until_up(5000));
            for (unsigned i : {0u, 1u})
                EXPECT_EQ(net.node(i).connection.link().agreement(), (wire::Agreement{version, {15}}));
            // Pings go in the headers of that version.
            net.a().event([&] { net.a().connection.link().request_ping(); });
            ASSERT_TRUE(net.run(100, [&] { return net.a().pings_answered == 1; }));
            net.run(25000);
            EXPECT_TRUE(net.a().is_up() && net.b().is_up());
            EXPECT_TRUE(net.problems.empty());
        }
    }
}

TEST(Handshake, FeaturesAreWhatBothHave) {
    for (uint32_t mine = 0; mine < 16; mine++) {
        Network net(mine + 1);
        net.a().config.features_given = true;
        net.a().config.features = mine;
        net.b().config.features_given = true;
        net.b().config.features = 0b0110;
        net.start_all();
        ASSERT_TRUE(net.run_until_up(5000));
        EXPECT_EQ(net.a().connection.link().agreement().features.bits, mine & 0b0110);
        EXPECT_EQ(net.b().connection.link().agreement().features.bits, mine & 0b0110);
    }
}

TEST(Handshake, NoCommonVersionStandsAloneAndNamesBoth) {
    Network net;
    net.a().config.protocol_version_min = 100;
    net.b().config.protocol_version_max = 97;
    net.start_all();
    ASSERT_TRUE(net.run(10000, [&] { return is_stand_alone(net.a()) || is_stand_alone(net.b()); }));
    const Node& alone = is_stand_alone(net.a()) ? net.a() : net.b();
    EXPECT_TRUE(says(alone, "100 to 101"));
    EXPECT_TRUE(says(alone, "86 to 97"));
    EXPECT_EQ(net.a().ups + net.b().ups, 0u);
}

TEST(Handshake, SeveralVolumesNeedProtocol100) {
    Network net;
    net.a().connection.set_volumes(2);
    net.b().config.protocol_version_max = 99;
    auto refused = net.a().connection.configure(net.b().config);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(std::string(refused.error().text).find("2 volumes"), std::string::npos);
    net.start_all();
    ASSERT_TRUE(net.run(10000, [&] { return is_stand_alone(net.a()) || is_stand_alone(net.b()); }));
    EXPECT_TRUE(says(is_stand_alone(net.a()) ? net.a() : net.b(), "100 to 101"));
    EXPECT_EQ(net.a().ups + net.b().ups, 0u);
}

// DRBD 9 sets more feature bits and more fields.
TEST(Handshake, UnknownFeatureBitsAreDropped) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    ASSERT_TRUE(peer.connect());
    uint8_t room[wire::kPacketSizeMax];
    auto packet = wire::encode_features(room, {});
    std::vector<uint8_t> bytes(packet.begin(), packet.end());
    bytes[8 + 7] = 0xff;   // features
    bytes[8 + 11] = 118;   // protocol_max
    bytes[8 + 12] = 7;     // node id
    net.write(peer.data, bytes);
    net.run(1);
    EXPECT_TRUE(net.a().up);
    EXPECT_EQ(net.a().connection.link().agreement(), (wire::Agreement{101, {15}}));
}

TEST(Handshake, OtherThanFeaturesStandsAlone) {
    for (const std::vector<uint8_t>& bytes :
         {std::vector<uint8_t>{0x83, 0x74, 0x02, 0x67, 0, 0x0b, 0, 0x18}, {0x83, 0x74, 0x02, 0x67, 0xff, 0xfe, 0, 0x40}}) {
        Network net(1, 1);
        net.start(0);
        ScriptedPeer peer(net);
        ASSERT_TRUE(peer.connect());
        net.write(peer.data, bytes);
        net.run(1);
        EXPECT_TRUE(is_stand_alone(net.a()));
        EXPECT_TRUE(peer.is_closed());
    }
}

TEST(Handshake, WrongMagicIsTriedAgain) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    ASSERT_TRUE(peer.connect());
    net.write(peer.data, {'h', 'e', 'l', 'l', 'o'});
    net.run(1);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::Unconnected);
    EXPECT_TRUE(has_been(net.a(), "ProtocolError"));
    net.run(1500);
    EXPECT_EQ(net.a().connection.phase(), ConnectionState::WFConnection);
}

// ---- authentication ----

void want_secret(Node& node, const char* secret, const char* algorithm = "sha1", unsigned size = 20) {
    set_name(node.config.cram_hmac_alg, algorithm);
    node.secret.secret = secret;
    node.secret.digest_size = size;
}

TEST(Authentication, SameSecret) {
    for (unsigned version : {86u, 95u, 101u}) {
        Network net(version);
        want_secret(net.a(), "swordfish");
        want_secret(net.b(), "swordfish");
        net.a().config.protocol_version_max = version;
        net.start_all();
        EXPECT_TRUE(net.run_until_up(3000));
    }
}

TEST(Authentication, WrongSecretStandsAlone) {
    Network net;
    want_secret(net.a(), "swordfish");
    want_secret(net.b(), "swordfisch");
    net.start_all();
    ASSERT_TRUE(net.run(5000, [&] { return is_stand_alone(net.a()) && is_stand_alone(net.b()); }));
    EXPECT_TRUE(says(net.a(), "secret") && says(net.b(), "secret"));
    EXPECT_EQ(net.a().ups + net.b().ups, 0u);
}

TEST(Authentication, OnOneSideOnlyThatSideStandsAlone) {
    Network net;
    want_secret(net.a(), "swordfish");
    net.start_all();
    ASSERT_TRUE(net.run(5000, [&] { return is_stand_alone(net.a()); }));
    EXPECT_TRUE(says(net.a(), "cram-hmac-alg: this node sha1, the peer none"));
    net.run(5000);
    EXPECT_FALSE(is_stand_alone(net.b()));
    EXPECT_TRUE(says(net.b(), "cram-hmac-alg: this node none") || says(net.b(), "the peer closed"));
    EXPECT_EQ(net.a().ups, 0u);
}

TEST(Authentication, DigestsOfOtherSizesRetry) {
    Network net;
    want_secret(net.a(), "swordfish", "sha1", 20);
    want_secret(net.b(), "swordfish", "sha256", 32);
    net.start_all();
    net.run(20000);
    EXPECT_FALSE(is_stand_alone(net.a()) || is_stand_alone(net.b()));
    EXPECT_EQ(net.a().ups + net.b().ups, 0u);
    EXPECT_TRUE(has_been(net.a(), "ProtocolError") || has_been(net.b(), "ProtocolError"));
}

struct AuthScript {
    Network net{1, 1};
    std::unique_ptr<ScriptedPeer> peer;
    std::vector<uint8_t> challenge;  // the node's
    uint8_t room[wire::kPacketSizeMax];

    AuthScript() {
        want_secret(net.a(), "swordfish");
        net.start(0);
        peer = std::make_unique<ScriptedPeer>(net);
        EXPECT_TRUE(peer->connect());
        peer->send_features();
        net.run(1);
        EXPECT_TRUE(peer->next());
        peer->agree({101, {15}});
        EXPECT_TRUE(peer->next());
        EXPECT_EQ(peer->frame().packet(), wire::Packet::AuthChallenge);
        challenge.assign(peer->frame().tail.begin(), peer->frame().tail.end());
        EXPECT_EQ(challenge.size(), 64u);
    }
    void send_challenge(const std::vector<uint8_t>& bytes) {
        std::vector<uint8_t> packet = {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x10, 0, 0, 0, static_cast<uint8_t>(bytes.size()),
                                       0, 0, 0, 0};
        packet.insert(packet.end(), bytes.begin(), bytes.end());
        net.write(peer->data, packet);
        net.run(1);
    }
    Node& node() { return net.a(); }
};

TEST(Authentication, AnswersTheWholeChallengeAndChecksTheResponse) {
    for (bool right : {true, false}) {
        AuthScript script;
        std::vector<uint8_t> longer(100);
        for (size_t i = 0; i < longer.size(); i++)
            longer[i] = static_cast<uint8_t>(i * 7);
        script.send_challenge(longer);
        ASSERT_TRUE(script.peer->next());
        uint8_t expected[DRBD_DIGEST_SIZE];
        const DrbdCrypto crypto = script.node().secret.crypto();
        crypto.hmac(crypto.opaque, longer.data(), longer.size(), expected);
        ASSERT_EQ(script.peer->frame().packet(), wire::Packet::AuthResponse);
        ASSERT_EQ(script.peer->frame().tail.size(), 20u);
        EXPECT_EQ(std::memcmp(script.peer->frame().tail.data(), expected, 20), 0);

        crypto.hmac(crypto.opaque, script.challenge.data(), script.challenge.size(), expected);
        if (!right)
            expected[19] ^= 1;
        script.peer->send(wire::encode_auth_response(script.room, script.peer->to(), {expected, 20}));
        script.net.run(1);
        EXPECT_EQ(script.node().up, right);
        EXPECT_EQ(is_stand_alone(script.node()), !right);
    }
}

// By it the peer sees that ours is wrong, too; otherwise it comes again and again.
TEST(Authentication, TheOwnResponseLeavesBeforeAWrongOneEndsIt) {
    AuthScript script;
    std::vector<uint8_t> both = {0x86, 0x20, 0xec, 0x20, 0, 0, 0, 0x10, 0, 0, 0, 64, 0, 0, 0, 0};
    both.insert(both.end(), 64, 1);
    const uint8_t wrong[20] = {};
    const wire::Encoded response = wire::encode_auth_response(script.room, script.peer->to(), {wrong, 20});
    both.insert(both.end(), response.begin(), response.end());
    script.net.write(script.peer->data, both);  // in one read
    script.net.run(1);
    EXPECT_TRUE(is_stand_alone(script.node()));
    EXPECT_TRUE(says(script.node(), "the peer's response is wrong"));
    ASSERT_TRUE(script.peer->next());
    EXPECT_EQ(script.peer->frame().packet(), wire::Packet::AuthResponse);
}

TEST(Authentication, OurOwnChallengeIsNotAnsweredFor) {
    AuthScript script;
    script.send_challenge(script.challenge);
    EXPECT_TRUE(is_stand_alone(script.node()));
    EXPECT_TRUE(says(script.node(), "own challenge"));
    EXPECT_FALSE(script.peer->next());
    // Nor with something behind it.
    AuthScript longer;
    std::vector<uint8_t> reflected = longer.challenge;
    reflected.resize(128, 9);
    longer.send_challenge(reflected);
    EXPECT_TRUE(is_stand_alone(longer.node()));
}

TEST(Authentication, ChallengesOfBadSizeStandAlone) {
    for (size_t size : {0u, 63u, 129u}) {
        AuthScript script;
        script.send_challenge(std::vector<uint8_t>(size, 1));
        EXPECT_TRUE(is_stand_alone(script.node())) << size;
    }
}

TEST(Authentication, ResponsesOfBadSizeOrAnotherPacketRetry) {
    AuthScript size;
    size.send_challenge(std::vector<uint8_t>(64, 1));
    const uint8_t bytes[19] = {};
    size.peer->send(wire::encode_auth_response(size.room, size.peer->to(), bytes));
    size.net.run(1);
    EXPECT_EQ(size.node().connection.phase(), ConnectionState::Unconnected);
    EXPECT_TRUE(has_been(size.node(), "ProtocolError"));

    AuthScript packet;
    packet.send_challenge(std::vector<uint8_t>(64, 1));
    packet.peer->send_protocol({});
    packet.net.run(1);
    EXPECT_EQ(packet.node().connection.phase(), ConnectionState::Unconnected);
}

TEST(Authentication, CryptoThatFailsRetries) {
    AuthScript script;
    script.node().secret.works = false;
    script.send_challenge(std::vector<uint8_t>(64, 1));
    EXPECT_EQ(script.node().connection.phase(), ConnectionState::Unconnected);
    EXPECT_TRUE(says(script.node(), "cannot be computed"));
}

// ---- P_PROTOCOL ----

struct Mismatch {
    const char* reason;  // of the node `a`
    void (*a)(DrbdNetConfig&);
    void (*b)(DrbdNetConfig&);
};

const Mismatch kMismatches[] = {
    {"protocol: this node C, the peer A", [](DrbdNetConfig&) {}, [](DrbdNetConfig& c) { c.protocol = DRBD_PROTOCOL_A; }},
    {"protocol: this node B, the peer C", [](DrbdNetConfig& c) { c.protocol = DRBD_PROTOCOL_B; }, [](DrbdNetConfig&) {}},
    {"after-sb-0pri: this node discard-zero-changes, the peer disconnect", [](DrbdNetConfig& c) { c.after_sb_0pri = 3; },
     [](DrbdNetConfig&) {}},
    // Both discard their own: each says the other.
    {"after-sb-0pri: discard-local on both nodes", [](DrbdNetConfig& c) { c.after_sb_0pri = 5; },
     [](DrbdNetConfig& c) { c.after_sb_0pri = 5; }},
    {"after-sb-1pri: this node consensus, the peer discard-secondary", [](DrbdNetConfig& c) { c.after_sb_1pri = 7; },
     [](DrbdNetConfig& c) { c.after_sb_1pri = 8; }},
    {"after-sb-2pri: this node violently-as0p, the peer call-pri-lost-after-sb",
     [](DrbdNetConfig& c) { c.after_sb_2pri = 10; }, [](DrbdNetConfig& c) { c.after_sb_2pri = 9; }},
    {"data-integrity-alg: this node sha1, the peer none",
     [](DrbdNetConfig& c) { set_name(c.data_integrity_alg, "sha1"), c.integrity_digest_size = 20; }, [](DrbdNetConfig&) {}},
    {"data-integrity-alg: this node crc32c, the peer sha1",
     [](DrbdNetConfig& c) { set_name(c.data_integrity_alg, "crc32c"), c.integrity_digest_size = 4; },
     [](DrbdNetConfig& c) { set_name(c.data_integrity_alg, "sha1"), c.integrity_digest_size = 20; }},
};

TEST(Parameters, EveryMismatchStandsAloneAndNamesBothValues) {
    for (const Mismatch& mismatch : kMismatches) {
        SCOPED_TRACE(mismatch.reason);
        Network net;
        mismatch.a(net.a().config);
        mismatch.b(net.b().config);
        net.start_all();
        ASSERT_TRUE(net.run(5000, [&] { return is_stand_alone(net.a()) || is_stand_alone(net.b()); }));
        net.run(3000);
        EXPECT_FALSE(net.a().up || net.b().up);
        // At least one found it (spec 92); both do here, unless one was cut off before.
        if (is_stand_alone(net.a()))
            EXPECT_TRUE(says(net.a(), mismatch.reason)) << net.a().connection.reason();
        EXPECT_TRUE(net.problems.empty());
    }
}

// From the scripted peer: what `a` says is certain.
TEST(Parameters, EveryMismatchAgainstAScript) {
    for (const Mismatch& mismatch : kMismatches) {
        SCOPED_TRACE(mismatch.reason);
        Network net(1, 1);
        mismatch.a(net.a().config);
        net.start(0);
        ScriptedPeer peer(net);
        ASSERT_TRUE(peer.connect());
        peer.send_features();
        net.run(1);
        peer.agree({101, {15}});
        EXPECT_TRUE(net.a().up);
        DrbdNetConfig theirs{};
        mismatch.b(theirs);
        wire::ProtocolParameters parameters;
        parameters.protocol = theirs.protocol ? static_cast<wire::ReplicationProtocol>(theirs.protocol)
                                              : wire::ReplicationProtocol::C;
        parameters.after_sb_0p = static_cast<wire::AfterSplitBrain>(theirs.after_sb_0pri);
        parameters.after_sb_1p = static_cast<wire::AfterSplitBrain>(theirs.after_sb_1pri);
        parameters.after_sb_2p = static_cast<wire::AfterSplitBrain>(theirs.after_sb_2pri);
        std::memcpy(parameters.integrity_alg.text, theirs.data_integrity_alg, sizeof theirs.data_integrity_alg);
        peer.send_protocol(parameters);
        net.run(1);
        EXPECT_TRUE(is_stand_alone(net.a()));
        EXPECT_TRUE(says(net.a(), mismatch.reason)) << net.a().connection.reason();
        ASSERT_EQ(net.a().lost_how.size(), 1u);
        EXPECT_EQ(net.a().lost_how[0], ConnectionState::Disconnecting);
        EXPECT_TRUE(peer.is_closed());
    }
}

TEST(Parameters, LocalHereIsRemoteThere) {
    for (unsigned here : {5u, 6u}) {
        Network net;
        net.a().config.after_sb_0pri = here;
        net.b().config.after_sb_0pri = 11 - here;
        net.start_all();
        EXPECT_TRUE(net.run_until_up(3000));
    }
}

TEST(Parameters, TwoPrimariesAreRefused) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    wire::ProtocolParameters parameters;
    parameters.two_primaries = true;
    EXPECT_FALSE(peer.connect_up({}, parameters));
    EXPECT_TRUE(is_stand_alone(net.a()));
    EXPECT_TRUE(says(net.a(), "allow-two-primaries: this node no, the peer yes"));
}

TEST(Parameters, DiscardMyDataIsForOneOfThem) {
    Network one;
    one.start(0, true);
    one.start(1);
    ASSERT_TRUE(one.run_until_up(3000));
    EXPECT_TRUE(one.a().connection.discard_my_data());
    EXPECT_FALSE(one.a().connection.peer_discards());
    EXPECT_TRUE(one.b().connection.peer_discards());
    one.a().connection.clear_discard_my_data();
    one.cut_all(nullptr);
    ASSERT_TRUE(one.run_until_up(10000));
    EXPECT_FALSE(one.b().connection.peer_discards());

    Network both;
    both.start(0, true);
    both.start(1, true);
    ASSERT_TRUE(both.run(5000, [&] { return is_stand_alone(both.a()) || is_stand_alone(both.b()); }));
    EXPECT_TRUE(says(is_stand_alone(both.a()) ? both.a() : both.b(), "discard-my-data"));
}

TEST(Parameters, DryRun) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    wire::ProtocolParameters parameters;
    parameters.dry_run = true;
    EXPECT_TRUE(peer.connect_up({}, parameters));
    EXPECT_TRUE(net.a().connection.peer_asks_dry_run());

    Network old(1, 1);
    old.a().config.protocol_version_max = 91;
    old.start(0);
    ScriptedPeer old_peer(old);
    ASSERT_TRUE(old_peer.connect());
    old_peer.send_features();
    old.run(1);
    old_peer.agree({91, {15}});
    std::vector<uint8_t> packet = {0x83, 0x74, 0x02, 0x67, 0, 0x0b, 0, 25, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0,
                                   0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0};
    old.write(old_peer.data, packet);
    old.run(1);
    EXPECT_TRUE(is_stand_alone(old.a()));
}

TEST(Parameters, IntegrityBelow87IsRefusedWithAReason) {
    Network net;
    set_name(net.a().config.data_integrity_alg, "sha1");
    net.a().config.integrity_digest_size = 20;
    net.b().config.protocol_version_max = 86;
    net.start_all();
    ASSERT_TRUE(net.run(5000, [&] { return is_stand_alone(net.a()); }));
    EXPECT_TRUE(says(net.a(), "data-integrity-alg: this node sha1"));
}

TEST(Parameters, AnythingBeforeProtocolIsAnError) {
    for (bool bulk : {false, true}) {
        Network net(1, 1);
        net.start(0);
        ScriptedPeer peer(net);
        ASSERT_TRUE(peer.connect());
        peer.send_features();
        net.run(1);
        peer.agree({101, {15}});
        uint8_t room[wire::kPacketSizeMax];
        if (bulk) {
            wire::DataWrite write;
            write.size = Bytes(4096);
            peer.send(wire::encode_write(room, peer.to(), wire::Packet::Data, write));
        } else {
            peer.send(wire::encode_barrier(room, peer.to(), {1}));
        }
        net.run(1);
        EXPECT_EQ(net.a().connection.phase(), ConnectionState::Unconnected);
        EXPECT_TRUE(says(net.a(), "before P_PROTOCOL"));
        EXPECT_TRUE(net.a().received.empty());
        EXPECT_EQ(net.a().bulk_questions, 0u);
    }
}

TEST(Parameters, ASecondProtocolIsAnError) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    ASSERT_TRUE(peer.connect_up());
    peer.send_protocol({});
    net.run(1);
    EXPECT_EQ(net.a().lost_how.back(), ConnectionState::ProtocolError);
}

TEST(Parameters, NoProtocolInTimeIsALoss) {
    Network net(1, 1);
    net.start(0);
    ScriptedPeer peer(net);
    ASSERT_TRUE(peer.connect());
    peer.send_features();
    net.run(1);
    ASSERT_TRUE(net.a().up);
    peer.agree({101, {15}});
    for (int i = 0; i < 12; i++) {
        net.run(550);
        peer.send_ping();  // alive, but silent
    }
    EXPECT_FALSE(net.a().up);
    EXPECT_EQ(net.a().lost_how.at(0), ConnectionState::Timeout);
}

// ---- options while connected ----

TEST(Options, PoliciesChangeOnlineAndThePeerAdoptsThem) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    net.a().config.after_sb_0pri = 5;
    net.a().config.after_sb_1pri = 7;
    net.a().event([&] { ASSERT_TRUE(net.a().connection.configure(net.a().config).ok()); });
    net.run(10);
    EXPECT_EQ(net.b().connection.config().after_sb_0pri, 6u);
    EXPECT_EQ(net.b().connection.config().after_sb_1pri, 7u);
    net.cut_all(nullptr);
    EXPECT_TRUE(net.run_until_up());
}

TEST(Options, WhatWasAgreedStaysWhileConnected) {
    Network net;
    net.start_all();
    ASSERT_TRUE(net.run_until_up());
    DrbdNetConfig config = net.a().config;
    config.protocol = DRBD_PROTOCOL_A;
    auto refused = net.a().connection.configure(config);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::Refused);
    EXPECT_NE(std::string(refused.error().text).find("protocol"), std::string::npos);
    EXPECT_TRUE(net.a().is_up());
    net.a().event([&] { net.a().connection.stand_alone("for a change"); });
    EXPECT_TRUE(net.a().connection.configure(config).ok());
}

TEST(Options, RangesAreChecked) {
    Network net;
    const struct {
        const char* name;
        void (*set)(DrbdNetConfig&);
    } cases[] = {
        {"protocol-version-max", [](DrbdNetConfig& c) { c.protocol_version_max = 102; }},
        {"protocol-version-min", [](DrbdNetConfig& c) { c.protocol_version_min = 85; }},
        {"protocol-version-min", [](DrbdNetConfig& c) { c.protocol_version_min = 96, c.protocol_version_max = 95; }},
        {"features", [](DrbdNetConfig& c) { c.features_given = true, c.features = 16; }},
        {"timeout", [](DrbdNetConfig& c) { c.timeout = 601; }},
        {"ping-timeout", [](DrbdNetConfig& c) { c.ping_timeout = 301; }},
        {"connect-int", [](DrbdNetConfig& c) { c.connect_int = 121; }},
        {"after-sb-0pri", [](DrbdNetConfig& c) { c.after_sb_0pri = 7; }},
        {"after-sb-1pri", [](DrbdNetConfig& c) { c.after_sb_1pri = 3; }},
        {"after-sb-2pri", [](DrbdNetConfig& c) { c.after_sb_2pri = 99; }},
        {"data-integrity-alg", [](DrbdNetConfig& c) { set_name(c.data_integrity_alg, "sha1"); }},
        {"cram-hmac-alg", [](DrbdNetConfig& c) { set_name(c.cram_hmac_alg, "sha1"), c.cram_digest_size = 65; }},
        {"cram-hmac-alg", [](DrbdNetConfig& c) { set_name(c.cram_hmac_alg, "sha1"), c.cram_digest_size = 20; }},
        {"verify-alg", [](DrbdNetConfig& c) { std::memset(c.verify_alg, 'x', sizeof c.verify_alg); }},
        {"csums-alg", [](DrbdNetConfig& c) { set_name(c.csums_alg, "a b"); }},
    };
    for (const auto& bad : cases) {
        DrbdNetConfig config{};
        bad.set(config);
        auto refused = net.a().connection.configure(config);
        ASSERT_FALSE(refused.ok()) << bad.name;
        EXPECT_NE(std::string(refused.error().text).find(bad.name), std::string::npos) << refused.error().text;
        EXPECT_FALSE(net.a().connection.is_configured());
    }
    ASSERT_TRUE(net.a().connection.configure({}).ok());
    const DrbdNetConfig& filled = net.a().connection.config();
    EXPECT_EQ(filled.protocol, DRBD_PROTOCOL_C);
    EXPECT_EQ(filled.timeout, 60u);
    EXPECT_EQ(filled.ko_count, 7u);
    EXPECT_EQ(filled.drain_timeout, 420u);
    EXPECT_EQ(filled.socket_check_timeout, 5u);
    EXPECT_EQ(filled.features, 15u);
}

}  // namespace
}  // namespace drbd
