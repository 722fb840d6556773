// SPDX-License-Identifier: GPL-2.0-or-later
// Two Linux kernel nodes as oracle: given what each of them knew, we decide as
// each of them did, and the identifiers change as theirs did.  The tables are
// written by extract_handshakes.py: golden_handshakes.inc from whole scenarios,
// kernel_verdicts.inc from nodes that met with identifiers chosen by
// record_kernel_verdicts.py.
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
    unsigned next;   // connection state announced after the decision; 0: none
    int verdict;     // in DRBD's numbers, as its log says
    unsigned rule;   // 0: the log was not kept
};

struct GoldenHandshake {
    const char* recording;
    unsigned connection;
    unsigned volume;
    unsigned version;
    unsigned features;
    char rc;
    unsigned policies[3];  // after-sb of a
    GoldenNode a, b;
    uint64_t sync_uuid;  // 0: no P_SYNC_UUID
};

constexpr GoldenHandshake kGolden[] = {
#include "golden_handshakes.inc"
#include "kernel_verdicts.inc"
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
    AfterSplitBrain* const policies[] = {&in.after_split_brain.no_primary, &in.after_split_brain.one_primary,
                                         &in.after_split_brain.two_primaries};
    for (unsigned i = 0; i < 3; i++) {
        const auto of_a = static_cast<AfterSplitBrain>(g.policies[i]);
        *policies[i] = side == 'a' ? of_a : mirrored(of_a);
    }
    in.may_demote = false;  // the kernel forbids it to itself: a handshake is under way
    return in;
}

std::string trace(const GoldenHandshake& g) {
    return std::string(g.recording) + " connection " + std::to_string(g.connection) + " volume " +
           std::to_string(g.volume);
}

int in_drbds_numbers(SyncVerdict verdict) {
    switch (verdict) {
    case SyncVerdict::NoSync: return 0;
    case SyncVerdict::SourceBitmap: return 1;
    case SyncVerdict::TargetBitmap: return -1;
    case SyncVerdict::SourceFull: return 2;
    case SyncVerdict::TargetFull: return -2;
    case SyncVerdict::SplitBrain: return 100;
    case SyncVerdict::SplitBrainUnsolvable: return -100;
    case SyncVerdict::Unrelated: return -1000;
    case SyncVerdict::NeedsVersion91: return -1091;
    case SyncVerdict::NeedsWriteSame: return -0x10000;
    }
    return 0;
}

CompareInput compare_input(const HandshakeInput& in) {
    return {.self = {in.self.uuids, in.self.crashed_primary, in.self.role},
            .peer = {in.peer.uuids, in.peer.crashed_primary, in.peer.role},
            .resolve_conflicts = in.resolve_conflicts,
            .agreed_version = in.agreed_version,
            .has_write_same = in.has_write_same};
}

// What the kernels' logs say: verdict and rule of every meeting.
TEST(GoldenHandshakes, EachNodeFindsTheKernelsVerdictByTheKernelsRule) {
    std::map<unsigned, unsigned> rules;
    for (const GoldenHandshake& g : kGolden)
        for (const char side : {'a', 'b'}) {
            const GoldenNode& n = side == 'a' ? g.a : g.b;
            if (n.rule == 0)
                continue;
            SCOPED_TRACE(trace(g) + ", node " + side);
            const CompareResult result = compare_generations(compare_input(input(g, side)));
            EXPECT_EQ(in_drbds_numbers(result.verdict), n.verdict);
            const unsigned rule = result.rule->number;
            EXPECT_EQ(rule == 0 ? 100 : rule, n.rule) << "unrelated is what remains after rule 100";
            rules[rule]++;
        }
    for (unsigned number : {0u, 10u, 20u, 30u, 34u, 35u, 36u, 37u, 40u, 50u, 51u, 60u, 70u, 71u, 80u, 90u, 100u})
        EXPECT_GT(rules[number], 0u) << "rule " << number << " should be among the meetings";
}

// A node that announced nothing refused, or lost the connection to one that did.
void check_silence(const GoldenHandshake& g, char side, const HandshakeDecision& ours) {
    const HandshakeDecision peers = decide_sync(input(g, side == 'a' ? 'b' : 'a'));
    const bool peer_is_silent = (side == 'a' ? g.b.next : g.a.next) == 0;
    EXPECT_TRUE(ours.refused() || (peer_is_silent && peers.refused())) << ours.reason;
}

TEST(GoldenHandshakes, EachNodeDecidesAsTheKernelDid) {
    unsigned crossed = 0, silent = 0, announced = 0;
    for (const GoldenHandshake& g : kGolden)
        for (const char side : {'a', 'b'}) {
            SCOPED_TRACE(trace(g) + ", node " + side);
            const HandshakeDecision d = decide_sync(input(g, side));
            const auto recorded = static_cast<ConnectionState>(side == 'a' ? g.a.next : g.b.next);
            const auto peers = static_cast<ConnectionState>(side == 'a' ? g.b.next : g.a.next);
            const bool same_way = recorded == peers && recorded != ConnectionState::Connected &&
                                  recorded != ConnectionState::StandAlone;
            if (same_way || d.refusal == Refusal::Crossed) {
                EXPECT_EQ(d.refusal, Refusal::Crossed) << "two kernels became " << name_of(recorded);
                EXPECT_TRUE(g.a.verdict < 0 && g.b.verdict < 0 && g.a.verdict >= -2 && g.b.verdict >= -2);
                crossed++;
            } else if (recorded == ConnectionState::StandAlone) {
                check_silence(g, side, d);
                silent++;
            } else {
                const ConnectionState ours = d.refused() ? ConnectionState::StandAlone : d.next_state();
                EXPECT_EQ(ours, recorded) << name_of(recorded) << "; we: " << d.reason;
                EXPECT_FALSE(goes_the_same_way(d.direction, peers));
                announced++;
            }
        }
    EXPECT_GT(crossed, 0u);
    EXPECT_GT(silent, 10u);
    EXPECT_GT(announced, 100u);
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
        const bool is_random = d.self.bitmap == 0 || d.self.bitmap == metafmt::kUuidJustCreated;
        if (!is_random)
            EXPECT_EQ(begun.bitmap, g.sync_uuid);
        else
            EXPECT_NE(d.self.bitmap + kSyncUuidOffset, g.sync_uuid);
        starts++;
        if (g.a.rule != 0)
            continue;  // the next meeting is another case

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
