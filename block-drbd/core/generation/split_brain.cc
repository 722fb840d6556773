// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/generation/split_brain.h"

#include <span>

namespace drbd {

namespace {

using enum AfterSplitBrain;
using Facts = SplitBrainFacts;

Direction tie(const Facts& f) { return f.resolve_conflicts ? Direction::Target : Direction::Source; }

Direction discard_younger_primary(const Facts& f) {
    if (f.self_was_primary == f.peer_was_primary)
        return Direction::None;
    return f.self_was_primary ? Direction::Source : Direction::Target;
}

Direction discard_older_primary(const Facts& f) { return mirrored(discard_younger_primary(f)); }

Direction discard_zero_changes(const Facts& f) {
    if (f.self_changes != 0 && f.peer_changes != 0)
        return Direction::None;
    if (f.self_changes == 0 && f.peer_changes == 0)
        return tie(f);
    return f.peer_changes == 0 ? Direction::Source : Direction::Target;
}

Direction discard_least_changes(const Facts& f) {
    if (f.self_changes == f.peer_changes)
        return tie(f);
    return f.self_changes > f.peer_changes ? Direction::Source : Direction::Target;
}

Direction discard_local(const Facts&) { return Direction::Target; }
Direction discard_remote(const Facts&) { return Direction::Source; }

using Step = Direction (*)(const Facts&);

struct NoPrimaryRow {
    AfterSplitBrain policy;
    Step steps[3];  // tried in order until one decides
};

// Who was Primary first cannot be told when both or neither were: then the
// amount of changes decides.
constexpr NoPrimaryRow kNoPrimary[] = {
    {Disconnect, {}},
    {DiscardYoungerPrimary, {discard_younger_primary, discard_zero_changes, discard_least_changes}},
    {DiscardOlderPrimary, {discard_older_primary, discard_zero_changes, discard_least_changes}},
    {DiscardZeroChanges, {discard_zero_changes}},
    {DiscardLeastChanges, {discard_least_changes}},
    {DiscardLocal, {discard_local}},
    {DiscardRemote, {discard_remote}},
};

// With a Primary: `as_0p` is what the policy for no Primary says.
using Judge = SplitBrainRecovery (*)(Direction as_0p, const Facts&);

SplitBrainRecovery undecided(Direction, const Facts&) { return {}; }
SplitBrainRecovery as_0p(Direction direction, const Facts&) { return {.direction = direction}; }

// Only if the one that loses is the Secondary.
SplitBrainRecovery consensus(Direction direction, const Facts& f) {
    const bool agrees = (direction == Direction::Target && f.self_role == Role::Secondary) ||
                        (direction == Direction::Source && f.self_role == Role::Primary);
    return {.direction = agrees ? direction : Direction::None};
}

SplitBrainRecovery discard_secondary(Direction, const Facts& f) {
    return {.direction = f.self_role == Role::Primary ? Direction::Source : Direction::Target};
}

SplitBrainRecovery call_pri_lost(Direction direction, const Facts& f) {
    if (direction != Direction::Target || f.self_role != Role::Primary)
        return {.direction = direction};
    if (f.may_demote)
        return {.direction = direction, .demote_self = true};
    return {.call_pri_lost_after_sb = true};
}

struct PrimaryRow {
    AfterSplitBrain policy;
    Judge judge;
};

constexpr PrimaryRow kOnePrimary[] = {
    {Disconnect, undecided},
    {Consensus, consensus},
    {ViolentlyAs0p, as_0p},
    {DiscardSecondary, discard_secondary},
    {CallPriLost, call_pri_lost},
};

constexpr PrimaryRow kTwoPrimaries[] = {
    {Disconnect, undecided},
    {ViolentlyAs0p, as_0p},
    {CallPriLost, call_pri_lost},
};

template <typename Row>
const Row* row_of(std::span<const Row> table, AfterSplitBrain policy) {
    for (const Row& row : table)
        if (row.policy == policy)
            return &row;
    return nullptr;
}

Direction without_primary(AfterSplitBrain policy, const Facts& facts) {
    const NoPrimaryRow* row = row_of<NoPrimaryRow>(kNoPrimary, policy);
    if (!row)
        return Direction::None;
    for (Step step : row->steps)
        if (step)
            if (Direction direction = step(facts); direction != Direction::None)
                return direction;
    return Direction::None;
}

SplitBrainRecovery with_primary(const PrimaryRow* row, Direction as_0p_says, const Facts& facts) {
    return row ? row->judge(as_0p_says, facts) : SplitBrainRecovery{};
}

}  // namespace

bool valid_for_no_primary(AfterSplitBrain policy) {
    return row_of<NoPrimaryRow>(kNoPrimary, policy) != nullptr;
}

bool valid_for_one_primary(AfterSplitBrain policy) {
    return row_of<PrimaryRow>(kOnePrimary, policy) != nullptr;
}

bool valid_for_two_primaries(AfterSplitBrain policy) {
    return row_of<PrimaryRow>(kTwoPrimaries, policy) != nullptr;
}

AfterSplitBrain mirrored(AfterSplitBrain policy) {
    if (policy == DiscardLocal)
        return DiscardRemote;
    return policy == DiscardRemote ? DiscardLocal : policy;
}

SplitBrainRecovery recover_split_brain(const SplitBrainPolicies& policies, const SplitBrainFacts& facts) {
    const Direction as_0p_says = without_primary(policies.no_primary, facts);
    const bool self_primary = facts.self_role == Role::Primary;
    const bool peer_primary = facts.peer_role == Role::Primary;
    if (self_primary && peer_primary)
        return with_primary(row_of<PrimaryRow>(kTwoPrimaries, policies.two_primaries), as_0p_says, facts);
    if (self_primary || peer_primary)
        return with_primary(row_of<PrimaryRow>(kOnePrimary, policies.one_primary), as_0p_says, facts);
    return {.direction = as_0p_says};
}

}  // namespace drbd
