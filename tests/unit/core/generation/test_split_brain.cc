// SPDX-License-Identifier: GPL-2.0-or-later
// Policies after a split brain: what each says, and that both nodes agree.
#include <gtest/gtest.h>

#include "core/generation/split_brain.h"

namespace drbd {
namespace {

using enum AfterSplitBrain;
using enum Direction;

constexpr AfterSplitBrain policy_of(unsigned number) { return static_cast<AfterSplitBrain>(number); }

SplitBrainFacts as_peer_sees(const SplitBrainFacts& f) {
    return {.self_was_primary = f.peer_was_primary, .peer_was_primary = f.self_was_primary,
            .self_changes = f.peer_changes, .peer_changes = f.self_changes,
            .resolve_conflicts = !f.resolve_conflicts, .self_role = f.peer_role, .peer_role = f.self_role,
            .may_demote = true};
}

SplitBrainPolicies as_peer_sees(const SplitBrainPolicies& p) {
    return {mirrored(p.no_primary), mirrored(p.one_primary), mirrored(p.two_primaries)};
}

TEST(SplitBrain, BothNodesAgreeWhateverIsConfigured) {
    unsigned decided = 0;
    for (unsigned zero = 0; zero < kAfterSplitBrainPolicies; zero++)
        for (unsigned one = 0; one < kAfterSplitBrainPolicies; one++)
            for (unsigned two = 0; two < kAfterSplitBrainPolicies; two++)
                for (unsigned bits = 0; bits < 32; bits++)
                    for (uint64_t own : {0, 5, 9})
                        for (uint64_t peers : {0, 5, 9}) {
                            const SplitBrainPolicies policies{policy_of(zero), policy_of(one), policy_of(two)};
                            const SplitBrainFacts facts{
                                .self_was_primary = (bits & 1) != 0, .peer_was_primary = (bits & 2) != 0,
                                .self_changes = own, .peer_changes = peers, .resolve_conflicts = (bits & 4) != 0,
                                .self_role = bits & 8 ? Role::Primary : Role::Secondary,
                                .peer_role = bits & 16 ? Role::Primary : Role::Secondary, .may_demote = true};
                            const SplitBrainRecovery a = recover_split_brain(policies, facts);
                            const SplitBrainRecovery b =
                                recover_split_brain(as_peer_sees(policies), as_peer_sees(facts));
                            ASSERT_EQ(a.direction, mirrored(b.direction))
                                << zero << " " << one << " " << two << " " << bits << " " << own << " " << peers;
                            ASSERT_FALSE(a.demote_self && b.demote_self);
                            decided += a.direction != None;
                        }
    EXPECT_GT(decided, 10'000u);
}

// A Primary that cannot give up its role is undecided; it disconnects, and the
// peer, which decided, sees the connection go.
TEST(SplitBrain, APrimaryThatMustYieldDemotesOrCallsItsHandler) {
    for (const Role peer : {Role::Secondary, Role::Primary}) {
        const SplitBrainPolicies policies{DiscardLocal, CallPriLost, CallPriLost};
        SplitBrainFacts facts{.self_role = Role::Primary, .peer_role = peer, .may_demote = true};
        SplitBrainRecovery recovery = recover_split_brain(policies, facts);
        EXPECT_EQ(recovery.direction, Target);
        EXPECT_TRUE(recovery.demote_self);
        EXPECT_FALSE(recovery.call_pri_lost_after_sb);
        facts.may_demote = false;
        recovery = recover_split_brain(policies, facts);
        EXPECT_EQ(recovery.direction, None);
        EXPECT_FALSE(recovery.demote_self);
        EXPECT_TRUE(recovery.call_pri_lost_after_sb);
    }
    const SplitBrainRecovery secondary = recover_split_brain(
        {DiscardLocal, CallPriLost, CallPriLost}, {.self_role = Role::Secondary, .peer_role = Role::Primary});
    EXPECT_EQ(secondary.direction, Target);
    EXPECT_FALSE(secondary.demote_self);
}

struct NoPrimaryCase {
    AfterSplitBrain policy;
    SplitBrainFacts facts;
    Direction expected;
};

TEST(SplitBrain, WithoutAPrimary) {
    const NoPrimaryCase cases[] = {
        {Disconnect, {.self_was_primary = true, .self_changes = 9}, None},
        {DiscardYoungerPrimary, {.peer_was_primary = true, .self_changes = 9}, Target},
        {DiscardYoungerPrimary, {.self_was_primary = true, .peer_changes = 9}, Source},
        {DiscardYoungerPrimary, {.self_changes = 0, .peer_changes = 9}, Target},
        {DiscardYoungerPrimary, {.self_was_primary = true, .peer_was_primary = true, .self_changes = 9,
                                 .peer_changes = 5}, Source},
        {DiscardOlderPrimary, {.peer_was_primary = true, .peer_changes = 9}, Source},
        {DiscardOlderPrimary, {.self_was_primary = true, .self_changes = 9}, Target},
        {DiscardOlderPrimary, {.self_changes = 5, .peer_changes = 9}, Target},
        {DiscardZeroChanges, {.resolve_conflicts = true}, Target},
        {DiscardZeroChanges, {.resolve_conflicts = false}, Source},
        {DiscardZeroChanges, {.self_changes = 5}, Source},
        {DiscardZeroChanges, {.peer_changes = 5}, Target},
        {DiscardZeroChanges, {.self_changes = 5, .peer_changes = 9}, None},
        {DiscardLeastChanges, {.self_changes = 5, .peer_changes = 9}, Target},
        {DiscardLeastChanges, {.self_changes = 9, .peer_changes = 5}, Source},
        {DiscardLeastChanges, {.self_changes = 9, .peer_changes = 9, .resolve_conflicts = true}, Target},
        {DiscardLeastChanges, {.self_changes = 9, .peer_changes = 9, .resolve_conflicts = false}, Source},
        {DiscardLocal, {.self_changes = 9}, Target},
        {DiscardRemote, {.peer_changes = 9}, Source},
        {Consensus, {.self_changes = 9}, None},
        {DiscardSecondary, {.self_changes = 9}, None},
        {CallPriLost, {.self_changes = 9}, None},
        {ViolentlyAs0p, {.self_changes = 9}, None},
    };
    for (const NoPrimaryCase& c : cases)
        EXPECT_EQ(recover_split_brain({.no_primary = c.policy}, c.facts).direction, c.expected)
            << static_cast<int>(c.policy);
}

TEST(SplitBrain, WithPrimaries) {
    const SplitBrainFacts primary{.self_role = Role::Primary};
    const SplitBrainFacts secondary{.peer_role = Role::Primary};
    const SplitBrainFacts both{.self_role = Role::Primary, .peer_role = Role::Primary};
    const auto one = [](AfterSplitBrain zero, AfterSplitBrain policy, const SplitBrainFacts& facts) {
        return recover_split_brain({zero, policy, Disconnect}, facts).direction;
    };
    EXPECT_EQ(one(DiscardLocal, Disconnect, primary), None);
    EXPECT_EQ(one(DiscardLocal, Consensus, primary), None) << "the Primary does not yield";
    EXPECT_EQ(one(DiscardLocal, Consensus, secondary), Target);
    EXPECT_EQ(one(DiscardRemote, Consensus, primary), Source);
    EXPECT_EQ(one(DiscardRemote, Consensus, secondary), None);
    EXPECT_EQ(one(DiscardLocal, ViolentlyAs0p, primary), Target);
    EXPECT_EQ(one(DiscardLocal, DiscardSecondary, primary), Source);
    EXPECT_EQ(one(DiscardRemote, DiscardSecondary, secondary), Target);
    EXPECT_EQ(one(DiscardRemote, CallPriLost, primary), Source);
    const auto two = [&](AfterSplitBrain policy) {
        return recover_split_brain({DiscardLocal, Disconnect, policy}, both).direction;
    };
    EXPECT_EQ(two(Disconnect), None);
    EXPECT_EQ(two(ViolentlyAs0p), Target);
    EXPECT_EQ(two(Consensus), None) << "no setting for two Primaries";
    EXPECT_EQ(two(DiscardSecondary), None);
}

// The settings of the manual page, no others.
TEST(SplitBrain, WhichSettingsAreValidWhere) {
    for (unsigned number = 0; number < kAfterSplitBrainPolicies; number++) {
        EXPECT_EQ(valid_for_no_primary(policy_of(number)), number <= 6) << number;
        EXPECT_EQ(valid_for_one_primary(policy_of(number)), number == 0 || number >= 7) << number;
        EXPECT_EQ(valid_for_two_primaries(policy_of(number)), number == 0 || number >= 9) << number;
        EXPECT_EQ(mirrored(mirrored(policy_of(number))), policy_of(number));
    }
}

}  // namespace
}  // namespace drbd
