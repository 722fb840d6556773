// SPDX-License-Identifier: GPL-2.0-or-later
// Spec 5.4: what follows from what, for every tuple, against the table written
// out again in the numbers of the wire (test_state_rules.cc has their names).
#include <gtest/gtest.h>

#include "core/state/rules.h"

namespace drbd {
namespace {

State state(int role, int peer, int conn, int disk, int pdsk) {
    State s;
    s.role = static_cast<Role>(role);
    s.peer = static_cast<Role>(peer);
    s.connection = static_cast<ConnectionState>(conn);
    s.disk = static_cast<DiskState>(disk);
    s.peer_disk = static_cast<DiskState>(pdsk);
    return s;
}

int between(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

State expected(int role, int peer, int conn, int disk, int pdsk) {
    if (conn < 10) {
        peer = 0;
        if (pdsk > 6 || pdsk < 4)
            pdsk = 6;
    }
    if (conn > 10 && (disk <= 2 || pdsk <= 2)) {
        // A peer that was about to be the target of this disk is no better without it.
        if ((conn == 11 || conn == 13) && pdsk == 7)
            pdsk = 4;
        conn = 10;
    }
    if (conn >= 10 && conn < 22) {
        // A peer without a disk makes no outdated copy good (decision 0020).
        const int own = disk, peers = pdsk;
        if (own == 7 || own == 5)
            disk = own == 5 && peers < 4 ? (role == 1 ? 4 : 5) : 8;
        if (peers == 7 || peers == 5)
            pdsk = peers == 5 && own < 4 ? 4 : 8;
    }
    switch (conn) {
    case 14: case 21: case 12: case 15: case 23:
        disk = between(disk, 4, 5);
        pdsk = 8;
        break;
    case 18: case 19:
        disk = pdsk = 8;
        break;
    case 10:
        break;
    case 13: case 20: case 11: case 22:
        disk = 8;
        pdsk = between(pdsk, 4, 7);
        break;
    case 17:
        disk = 4;
        pdsk = 8;
        break;
    case 16:
        disk = 8;
        pdsk = 4;
        break;
    default:
        pdsk = between(pdsk, 4, 6);
        break;
    }
    // Nobody pauses here.
    conn = conn == 20 ? 16 : conn == 21 ? 17 : conn;
    return state(role, peer, conn, disk, pdsk);
}

template <typename Function>
void for_all_states(Function&& function) {
    for (int role = 0; role < 3; role++)
        for (int peer = 0; peer < 3; peer++)
            for (int conn = 0; conn < 24; conn++)
                for (int disk = 0; disk < 9; disk++)
                    for (int pdsk = 0; pdsk < 9; pdsk++)
                        function(role, peer, conn, disk, pdsk);
}

TEST(Sanitize, EveryTupleAsTheSpecSays) {
    for_all_states([](int role, int peer, int conn, int disk, int pdsk) {
        ASSERT_EQ(sanitize({}, state(role, peer, conn, disk, pdsk), {}), expected(role, peer, conn, disk, pdsk))
            << role << " " << peer << " " << conn << " " << disk << " " << pdsk;
    });
}

// The order of the steps makes one exception: leaving a pause comes last, so
// the disk that a running resync fixes is fixed by the next change.
TEST(Sanitize, TwiceIsOnceUnlessAPauseEnds) {
    for (int bits = 0; bits < 64; bits++) {
        const bool paused = bits & 7;
        for_all_states([&](int role, int peer, int conn, int disk, int pdsk) {
            State s = state(role, peer, conn, disk, pdsk);
            s.paused_after_dependency = bits & 1;
            s.paused_by_peer = bits & 2;
            s.paused_by_user = bits & 4;
            s.suspended = bits & 8;
            s.suspended_no_data = bits & 16;
            s.suspended_fencing = bits & 32;
            const State once = sanitize({}, s, {});
            const State twice = sanitize(once, once, {});
            if ((conn == 20 || conn == 21) && !paused)
                ASSERT_EQ(sanitize(twice, twice, {}), twice);
            else
                ASSERT_EQ(twice, once) << role << " " << peer << " " << conn << " " << disk << " " << pdsk << " " << bits;
        });
    }
}

TEST(Sanitize, PausesAResyncAndLetsItGoOn) {
    State s = state(2, 2, 16, 8, 4);
    s.paused_by_user = true;
    EXPECT_EQ(sanitize({}, s, {}).connection, ConnectionState::PausedSyncS);
    s.connection = ConnectionState::SyncTarget;
    s.disk = DiskState::Inconsistent;
    s.peer_disk = DiskState::UpToDate;
    EXPECT_EQ(sanitize({}, s, {}).connection, ConnectionState::PausedSyncT);
    s.connection = ConnectionState::PausedSyncT;
    s.paused_by_user = false;
    EXPECT_EQ(sanitize({}, s, {}).connection, ConnectionState::SyncTarget);
}

TEST(Sanitize, WithoutAConnectionThePeerDoesNotPause) {
    State s = state(2, 1, 8, 8, 8);
    s.paused_by_peer = s.paused_after_dependency = true;
    const State result = sanitize({}, s, {});
    EXPECT_FALSE(result.paused_by_peer);
    EXPECT_TRUE(result.paused_after_dependency);
    EXPECT_EQ(result.peer, Role::Unknown);
    s.connection = ConnectionState::StandAlone;
    s.disk = DiskState::Diskless;
    EXPECT_FALSE(sanitize({}, s, {}).paused_after_dependency);
}

TEST(Sanitize, SuspendsOnlyWhenTheNeedIsNew) {
    StatePolicy fencing{.fencing = Fencing::ResourceAndStonith};
    const State connected = state(1, 2, 10, 8, 8), alone = state(1, 0, 8, 8, 6);
    EXPECT_TRUE(sanitize(connected, alone, fencing).suspended_fencing);
    EXPECT_FALSE(sanitize(alone, alone, fencing).suspended_fencing);
    EXPECT_FALSE(sanitize(connected, alone, {.fencing = Fencing::ResourceOnly}).suspended_fencing);
    EXPECT_FALSE(sanitize(connected, state(1, 0, 8, 8, 5), fencing).suspended_fencing);
    StatePolicy no_data{.suspend_on_no_data = true};
    EXPECT_TRUE(sanitize(alone, state(1, 0, 8, 2, 6), no_data).suspended_no_data);
    EXPECT_FALSE(sanitize(alone, state(1, 0, 8, 2, 6), {}).suspended_no_data);
    EXPECT_FALSE(sanitize(alone, state(2, 0, 8, 2, 6), no_data).suspended_no_data);
}

}  // namespace
}  // namespace drbd
