// SPDX-License-Identifier: GPL-2.0-or-later
// The rules of spec 5.2 and 5.3: for every row a state that breaks it alone,
// and every tuple against the rows written out a second time, by hand, in the
// numbers of the wire.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/state/rules.h"

namespace drbd {
namespace {

// conn: 0 StandAlone 1 Disconnecting 2 Unconnected 3..7 lost 8 WFConnection 9 WFReportParams
// 10 Connected 11 StartingSyncS 12 StartingSyncT 13 WFBitMapS 14 WFBitMapT 15 WFSyncUUID 16 SyncSource
// 17 SyncTarget 18 VerifyS 19 VerifyT 20 PausedSyncS 21 PausedSyncT 22 Ahead 23 Behind
// disk: 0 Diskless 1 Attaching 2 Failed 3 Negotiating 4 Inconsistent 5 Outdated 6 DUnknown 7 Consistent 8 UpToDate
State state(int role, int peer, int conn, int disk, int pdsk) {
    State s;
    s.role = static_cast<Role>(role);
    s.peer = static_cast<Role>(peer);
    s.connection = static_cast<ConnectionState>(conn);
    s.disk = static_cast<DiskState>(disk);
    s.peer_disk = static_cast<DiskState>(pdsk);
    return s;
}

template <typename Function>
void for_all_states(Function&& function) {
    for (int role = 1; role < 3; role++)
        for (int peer = 0; peer < 3; peer++)
            for (int conn = 0; conn < 24; conn++)
                for (int disk = 0; disk < 9; disk++)
                    for (int pdsk = 0; pdsk < 9; pdsk++)
                        function(role, peer, conn, disk, pdsk);
}

int expected_valid(int role, int peer, int conn, int disk, int pdsk, const StatePolicy& p) {
    const bool primary = role == 1, verify = conn == 18 || conn == 19, starting = conn == 11 || conn == 12;
    const bool fencing = disk >= 4 && p.fencing != Fencing::DontCare;
    if (!p.allow_two_primaries && primary && peer == 1) return -1;
    if (primary && conn < 10 && disk < 8) return -2;
    if (fencing && primary && conn < 10 && pdsk >= 6) return -7;
    if (primary && disk <= 4 && pdsk <= 4) return -2;
    if (conn > 10 && disk < 4) return -4;
    if (conn > 10 && pdsk < 4) return -5;
    if (conn > 10 && disk < 8 && pdsk < 8) return -2;
    if ((conn == 10 || conn == 13 || conn == 16 || conn == 20) && disk == 5 && pdsk >= 4) return -6;
    if (verify && !p.has_verify_alg) return -14;
    if (verify && p.agreed_version < 88) return -17;
    if (primary && disk < 8 && pdsk < 8) return -2;
    if (starting && pdsk == 6) return -15;
    if (conn >= 10 && pdsk == 6) return -6;
    return 1;
}

TEST(ValidState, EveryTupleIsJudgedAsTheSpecSays) {
    for (int policy = 0; policy < 16; policy++) {
        StatePolicy p;
        p.allow_two_primaries = policy & 1;
        p.has_verify_alg = policy & 2;
        p.agreed_version = policy & 4 ? 87 : 88;
        p.fencing = policy & 8 ? Fencing::ResourceOnly : Fencing::DontCare;
        for_all_states([&](int role, int peer, int conn, int disk, int pdsk) {
            const StateVerdict v = valid_state(state(role, peer, conn, disk, pdsk), p);
            ASSERT_EQ(static_cast<int>(v.code), expected_valid(role, peer, conn, disk, pdsk, p))
                << role << " " << peer << " " << conn << " " << disk << " " << pdsk << " policy " << policy;
            ASSERT_EQ(v.ok(), v.reason == nullptr);
        });
    }
}

// One line a row: the state, and the code and sentence that it must get.
struct Row {
    int role, peer, conn, disk, pdsk, code;
    const char* text;
    StatePolicy policy = {};
};

TEST(ValidState, EachRowHasAStateThatBreaksIt) {
    const StatePolicy fencing{.fencing = Fencing::ResourceOnly};
    const StatePolicy verify{.allow_two_primaries = true, .has_verify_alg = true};
    const StatePolicy old_verify{.has_verify_alg = true, .agreed_version = 87};
    const Row rows[] = {
        {1, 1, 10, 8, 8, -1, "two Primaries"},
        {1, 0, 0, 7, 6, -2, "the local disk is not UpToDate"},
        {1, 0, 8, 8, 6, -7, "fence it first", fencing},
        {1, 2, 10, 4, 4, -2, "neither node has consistent data"},
        {2, 2, 16, 0, 4, -4, "needs a local disk"},
        {2, 2, 16, 8, 0, -5, "needs the peer's disk"},
        {2, 2, 17, 4, 7, -2, "needs one UpToDate disk"},
        {2, 2, 10, 5, 8, -6, "a connected node is not Outdated"},
        {2, 2, 18, 8, 8, -14, "verify-alg"},
        {2, 2, 19, 8, 8, -17, "too old for verify", old_verify},
        {1, 2, 10, 5, 7, -6, "a connected node is not Outdated"},
        {1, 2, 10, 7, 7, -2, "no UpToDate disk is within reach"},
        {2, 2, 11, 8, 6, -15, "a full resync needs a connection"},
        {2, 2, 10, 8, 6, -6, "a connected peer's disk is known"},
        {1, 1, 18, 8, 8, 1, "", verify},
    };
    for (const Row& r : rows) {
        const StateVerdict v = valid_state(state(r.role, r.peer, r.conn, r.disk, r.pdsk), r.policy);
        EXPECT_EQ(static_cast<int>(v.code), r.code) << r.text;
        if (r.code < 0)
            EXPECT_NE(std::string(v.reason ? v.reason : "").find(r.text), std::string::npos) << r.text << " / " << v.reason;
    }
}

TEST(ValidTransition, EveryPairOfConnectionStates) {
    for (int o = 0; o < 24; o++)
        for (int n = 0; n < 24; n++) {
            int expected = 1;
            if (o == n) expected = 1;
            else if (o == 0 && n == 1) expected = -9;
            else if (o == 0 && n != 2) expected = -15;
            else if (o < 9 && n >= 10) expected = -15;
            else if (o >= 3 && o <= 7 && n != 2 && n != 1) expected = -18;
            else if (o == 1 && n != 0) expected = -18;
            const StateVerdict v = valid_transition(state(2, 0, o, 8, 8), state(2, 0, n, 8, 8));
            EXPECT_EQ(static_cast<int>(v.code), expected) << o << " to " << n;
        }
}

TEST(ValidTransition, NoDiskCannotFail) {
    for (int o = 0; o < 9; o++)
        for (int n = 0; n < 9; n++)
            EXPECT_EQ(static_cast<int>(valid_transition(state(2, 0, 0, o, 6), state(2, 0, 0, n, 6)).code),
                      o == 0 && n == 2 ? -11 : 1);
}

int expected_soft(const State& os, const State& ns, bool state_sent) {
    const int o = static_cast<int>(os.connection), n = static_cast<int>(ns.connection);
    const int od = static_cast<int>(os.disk), nd = static_cast<int>(ns.disk);
    const int np = static_cast<int>(ns.peer_disk), op = static_cast<int>(os.peer_disk);
    int code = 1;
    if ((n == 11 || n == 12) && o > 10) code = -8;
    if ((n == 11 || n == 12) && (od == 3 || op == 3)) code = -18;
    if (n == 1 && o == 0) code = -9;
    if (nd > 1 && od == 0) code = -11;
    if (n == 8 && o < 2) code = -13;
    if (nd == 5 && od < 5 && od != 1 && od != 3) code = -16;
    if (n == 1 && o == 2) code = -18;
    if (state_sent && !(o == 8 && n == 9) && !(o == 9 && n >= 10)) code = -18;
    if (os.role != Role::Primary && ns.role == Role::Primary && np == 8 && nd != 8 && nd != 0 && (n <= 15 || n != o)) code = -18;
    if ((n == 18 || n == 19) && o < 10) code = -15;
    if ((n == 18 || n == 19) && n != o && o > 10) code = -8;
    if ((n == 11 || n == 12) && o < 10) code = -15;
    if ((n == 16 || n == 17) && o < 9) code = -15;
    if (n == 1 && np == 5 && o < 10 && op > 5) code = -21;
    return code;
}

TEST(ValidSoftTransition, EveryPairTheLastMatchWins) {
    for (int sent = 0; sent < 2; sent++) {
        StatePolicy p;
        p.handshake_under_way = sent;
        for (int o = 0; o < 24; o++)
            for (int n = 0; n < 24; n++)
                for (int od = 0; od < 9; od++)
                    for (int nd = 0; nd < 9; nd++)
                        for (int op : {0, 3, 4, 5, 6, 8})
                            for (int np : {0, 4, 5, 6, 8})
                                for (int roles = 0; roles < 4; roles++) {
                                    const State from = state(1 + (roles & 1), 2, o, od, op);
                                    const State to = state(1 + (roles >> 1), 2, n, nd, np);
                                    ASSERT_EQ(static_cast<int>(valid_soft_transition(from, to, p).code),
                                              expected_soft(from, to, sent))
                                        << o << ">" << n << " " << od << ">" << nd << " " << op << ">" << np << " " << roles;
                                }
    }
}

// "Try again" is no advice where nothing is going to happen.
TEST(ValidSoftTransition, SaysHowABadDiskBesideAGoodOneGetsItsResync) {
    const int connected = 10, target_bitmap = 14;
    const auto reason = [](int connection, int disk) {
        return std::string(valid_soft_transition(state(2, 2, connection, disk, 8), state(1, 2, connection, disk, 8), {}).reason);
    };
    EXPECT_NE(reason(connected, 4).find("disconnect and connect"), std::string::npos);
    EXPECT_NE(reason(connected, 5).find("disconnect and connect"), std::string::npos);
    EXPECT_EQ(reason(connected, 3), "a resync is about to start");  // Negotiating
    EXPECT_EQ(reason(target_bitmap, 4), "a resync is about to start");
}

// All single-field wishes from every valid state.
TEST(DecideChange, ASoftChangeLeadsFromAValidStateToAValidOne) {
    StatePolicy p;
    p.has_verify_alg = true;
    uint64_t accepted = 0;
    for_all_states([&](int role, int peer, int conn, int disk, int pdsk) {
        const State from = state(role, peer, conn, disk, pdsk);
        if (sanitize(from, from, p) != from || !valid_state(from, p).ok())
            return;
        std::vector<State> wishes;
        for (int r = 1; r < 3; r++)
            wishes.push_back(from), wishes.back().role = static_cast<Role>(r);
        for (int r = 0; r < 3; r++)
            wishes.push_back(from), wishes.back().peer = static_cast<Role>(r);
        for (int c = 0; c < 24; c++)
            wishes.push_back(from), wishes.back().connection = static_cast<ConnectionState>(c);
        for (int d = 0; d < 9; d++) {
            wishes.push_back(from), wishes.back().disk = static_cast<DiskState>(d);
            wishes.push_back(from), wishes.back().peer_disk = static_cast<DiskState>(d);
        }
        for (const State& wish : wishes) {
            State result = from;
            const StateVerdict v = decide_change(from, wish, ChangeKind::Soft, p, result);
            if (v.code == StateCode::NothingToDo || !v.ok()) {
                ASSERT_EQ(result, from) << "a refusal writes nothing";
                continue;
            }
            accepted++;
            ASSERT_TRUE(valid_state(result, p).ok());
            ASSERT_EQ(result, sanitize(from, wish, p));
            ASSERT_EQ(static_cast<int>(valid_transition(from, result).code), 1);
            State hard;
            ASSERT_TRUE(decide_change(from, wish, ChangeKind::Hard, p, hard).ok());
            ASSERT_EQ(hard, result);
        }
    });
    EXPECT_GT(accepted, 1000u);
}

TEST(DecideChange, ABrokenStateMayGoOnBreakingTheSameRule) {
    State result;
    // Primary without an UpToDate disk, alone: the peer's disk may still become known as Outdated.
    State wish = state(1, 0, 0, 7, 5);
    EXPECT_EQ(decide_change(state(1, 0, 0, 7, 6), wish, ChangeKind::Soft, {}, result).code, StateCode::Success);
    EXPECT_EQ(decide_change(state(2, 0, 0, 7, 6), state(1, 0, 0, 7, 6), ChangeKind::Soft, {}, result).code,
              StateCode::NoUpToDateDisk);
    EXPECT_EQ(decide_change(state(2, 0, 0, 8, 6), state(2, 0, 0, 8, 6), ChangeKind::Soft, {}, result).code,
              StateCode::NothingToDo);
    EXPECT_TRUE(decide_change(state(1, 0, 0, 8, 6), state(1, 0, 0, 2, 6), ChangeKind::Hard, {}, result).ok())
        << "the environment does not ask";
    EXPECT_EQ(decide_change(state(2, 0, 0, 0, 6), state(2, 0, 0, 2, 6), ChangeKind::Hard, {}, result).code, StateCode::IsDiskless);
}

TEST(Names, AreThoseOfDrbd) {
    EXPECT_STREQ(name_of(static_cast<ConnectionState>(0)), "StandAlone");
    EXPECT_STREQ(name_of(static_cast<ConnectionState>(7)), "TearDown");
    EXPECT_STREQ(name_of(static_cast<ConnectionState>(13)), "WFBitMapS");
    EXPECT_STREQ(name_of(static_cast<ConnectionState>(21)), "PausedSyncT");
    EXPECT_STREQ(name_of(static_cast<ConnectionState>(23)), "Behind");
    EXPECT_STREQ(name_of(static_cast<DiskState>(6)), "DUnknown");
    EXPECT_STREQ(name_of(static_cast<DiskState>(8)), "UpToDate");
    EXPECT_STREQ(name_of(Role::Primary), "Primary");
}

}  // namespace
}  // namespace drbd
