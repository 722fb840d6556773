// SPDX-License-Identifier: GPL-2.0-or-later
// Automatic recovery from split brain: the policies after-sb-0pri, -1pri and
// -2pri (spec section 4.3), as tables.  In: which policy the number of
// Primaries selects, and what both nodes know of each other.  Out: who gives
// up its changes, or nobody (None).  Both nodes ask alone and must come to
// mirrored answers, so everything here is either known to both or mirrored
// itself (the RC-flag; discard-local and discard-remote are swapped when the
// parameters are exchanged).  The one exception is a Primary that cannot be
// demoted: it alone ends undecided, and disconnects.
#pragma once

#include <cstdint>

#include "core/generation/compare.h"

namespace drbd {

// Numbers of the wire (P_PROTOCOL).
enum class AfterSplitBrain : uint8_t {
    Disconnect, DiscardYoungerPrimary, DiscardOlderPrimary, DiscardZeroChanges, DiscardLeastChanges,
    DiscardLocal, DiscardRemote, Consensus, DiscardSecondary, CallPriLost, ViolentlyAs0p,
};
constexpr unsigned kAfterSplitBrainPolicies = 11;

struct SplitBrainPolicies {
    AfterSplitBrain no_primary = AfterSplitBrain::Disconnect;
    AfterSplitBrain one_primary = AfterSplitBrain::Disconnect;
    AfterSplitBrain two_primaries = AfterSplitBrain::Disconnect;
};

// Which settings make sense where; others leave a split brain undecided.
bool valid_for_no_primary(AfterSplitBrain policy);
bool valid_for_one_primary(AfterSplitBrain policy);
bool valid_for_two_primaries(AfterSplitBrain policy);

// What the peer was configured with is what this node has, seen from there.
AfterSplitBrain mirrored(AfterSplitBrain policy);

struct SplitBrainFacts {
    bool self_was_primary = false;  // at the split: bit 0 of the bitmap identifier
    bool peer_was_primary = false;
    uint64_t self_changes = 0;      // set bits, as announced to the peer in P_UUIDS
    uint64_t peer_changes = 0;      // and as announced by it
    bool resolve_conflicts = false;
    Role self_role = Role::Secondary;
    Role peer_role = Role::Secondary;
    bool may_demote = false;        // this node could become Secondary at once
};

struct SplitBrainRecovery {
    Direction direction = Direction::None;  // None: undecided
    bool demote_self = false;               // to be done before anything else
    bool call_pri_lost_after_sb = false;    // the handler for a Primary that should give up and cannot
};

SplitBrainRecovery recover_split_brain(const SplitBrainPolicies& policies, const SplitBrainFacts& facts);

}  // namespace drbd
