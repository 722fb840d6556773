// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: after a split brain a node becomes the target of a resync only if the
// after-sb policies that both have name it, or, where they name nobody, if it was
// connected with discard-my-data and the other was not (spec 4.3).
// Verified, when a volume becomes SyncTarget, from what both nodes have told each
// other on this connection: identifiers, changed blocks and flags (P_UUIDS),
// policies (P_PROTOCOL); roles and the end that accepted meta from status, as they
// were when the volume became WFBitMapT.  The tables are its own.
// Not verified: whether a refusal was due; a node without a split brain
// (resync_direction); disks of which one is Inconsistent, as those decide alone.
#pragma once

#include <string>
#include <vector>

#include "drbd-core.h"
#include "wire_ear.h"

namespace drbd::sim {

// Of the node that becomes target, and of its peer.
struct SplitBrainSide {
    TappedGenerations told;
    bool is_primary = false;
    bool is_inconsistent = false;
};

struct SplitBrainCase {
    SplitBrainSide own, peer;
    bool accepted_meta = false;                       // the own end
    bool always_asbp = false;
    std::vector<TappedParameters> parameters;         // that the own node may have, in its terms
    TappedGenerations told_later;                     // of the own node: what was under way when it decided
};

struct SplitBrainJudgement {
    bool is_split = false;
    bool policy_names_own = false;                    // its data may go
    std::string complaint;
};

SplitBrainJudgement judge_target(const SplitBrainCase& facts);

}  // namespace drbd::sim
