// SPDX-License-Identifier: GPL-2.0-or-later
// Two Linux kernel nodes as oracle: given what each of them knew, we decide as
// each of them did, and the identifiers change as theirs did.
// golden_handshakes.inc is written by extract_handshakes.py.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/generation/sync_handshake.h"
#include "core/generation/update.h"

namespace drbd {
namespace {

struct GoldenNode {
    uint64_t current, bitmap, young, old;
    uint64_t bits;
    uint64_t flags;
    uint32_t state;  // the initial P_STATE
    unsigned next;   // connection state announced after the decision; 0: StandAlone
};

struct GoldenHandshake {
    const char* recording;
    unsigned connection;
    unsigned volume;
    unsigned version;
    unsigned features;
    char rc;
    GoldenNode a, b;
    uint64_t sync_uuid;  // 0: no P_SYNC_UUID
};

constexpr GoldenHandshake kGolden[] = {
#include "golden_handshakes.inc"
};

constexpr unsigned kFeatureWriteSame = 4;
constexpr uint64_t kDiscardMyData = 1, kCrashedPrimary = 2, kWillBeInconsistent = 4;

Uuids uuids_of(const GoldenNode& n) {
    return {.current = n.current, .bitmap = n.bitmap, .history = {n.young, n.old}};
}

HandshakeNode node(const GoldenNode& n) {
    return {.uuids = uuids_of(n), .bits_set = n.bits, .crashed_primary = (n.flags & kCrashedPrimary) != 0,
            .discard_my_data = (n.flags & kDiscardMyData) != 0, .role = static_cast<Role>(n.state & 3),
            .disk = disk_meant(static_cast<DiskState>(n.state >> 9 & 15), (n.flags & kWillBeInconsistent) != 0)};
}

HandshakeInput input(const GoldenHandshake& g, char side) {
    HandshakeInput in;
    in.self = node(side == 'a' ? g.a : g.b);
    in.peer = node(side == 'a' ? g.b : g.a);
    in.resolve_conflicts = g.rc == side;
    in.agreed_version = g.version;
    in.has_write_same = (g.features & kFeatureWriteSame) != 0;
    return in;
}

std::string trace(const GoldenHandshake& g) {
    return std::string(g.recording) + " connection " + std::to_string(g.connection) + " volume " +
           std::to_string(g.volume);
}

TEST(GoldenHandshakes, EachNodeDecidesAsTheKernelDid) {
    std::map<unsigned, unsigned> rules;
    for (const GoldenHandshake& g : kGolden)
        for (const char side : {'a', 'b'}) {
            SCOPED_TRACE(trace(g) + ", node " + side);
            const HandshakeDecision d = decide_sync(input(g, side));
            const auto recorded = static_cast<ConnectionState>(side == 'a' ? g.a.next : g.b.next);
            const ConnectionState ours = d.refused() ? ConnectionState::StandAlone : d.next_state();
            EXPECT_EQ(ours, recorded) << name_of(recorded) << "; we: " << d.reason;
            const auto peers = static_cast<ConnectionState>(side == 'a' ? g.b.next : g.a.next);
            EXPECT_FALSE(goes_the_same_way(d.direction, peers));
            rules[d.rule->number]++;
        }
    for (unsigned number : {10u, 40u, 50u, 70u, 90u})
        EXPECT_GT(rules[number], 0u) << "rule " << number << " should be among the recordings";
}

// The recordings' own next handshake shows what a resync left behind.
TEST(GoldenHandshakes, AResyncLeavesTheIdentifiersThatTheKernelsHad) {
    Random random(1, 2);
    unsigned starts = 0, ends = 0;
    for (size_t i = 0; i < std::size(kGolden); i++) {
        const GoldenHandshake& g = kGolden[i];
        if (g.sync_uuid == 0)
            continue;
        SCOPED_TRACE(trace(g));
        const bool a_is_source = g.a.next == static_cast<unsigned>(ConnectionState::WFBitMapS);
        const GoldenNode& source = a_is_source ? g.a : g.b;
        const GoldenNode& target = a_is_source ? g.b : g.a;
        const HandshakeDecision d = decide_sync(input(g, a_is_source ? 'a' : 'b'));
        const Uuids begun = with_resync_begun(d.self, random);
        EXPECT_EQ(begun.bitmap, g.sync_uuid);
        starts++;

        const GoldenHandshake* later = nullptr;
        for (size_t j = i + 1; j < std::size(kGolden) && !later; j++)
            if (std::string(kGolden[j].recording) == g.recording && kGolden[j].volume == g.volume)
                later = &kGolden[j];
        if (!later)
            continue;
        const Role role = static_cast<Role>(target.state & 3);
        const Uuids heard = with_sync_uuid(uuids_of(target), g.sync_uuid, role);
        const Uuids finished = with_resync_finished_as_target(heard, uuids_of(source), role);
        const GoldenNode& target_later = a_is_source ? later->b : later->a;
        EXPECT_EQ(finished, uuids_of(target_later));

        // The source went on: as it was, or one generation later.
        const Uuids source_end = with_resync_finished_as_source(begun);
        const Uuids source_later = uuids_of(a_is_source ? later->a : later->b);
        EXPECT_EQ(source_end.history[0], source_later.history[0]);
        EXPECT_EQ(source_end.history[1], source_later.history[1]);
        EXPECT_TRUE(same_generation(source_end.current, source_later.bitmap == 0 ? source_later.current
                                                                                 : source_later.bitmap));
        ends++;
    }
    EXPECT_GT(starts, 5u);
    EXPECT_GT(ends, 2u);
}

}  // namespace
}  // namespace drbd
