// SPDX-License-Identifier: GPL-2.0-or-later
// The connect verdict table: what two sets of generation identifiers say about
// two disks (spec section 4.2).  In: both nodes' identifiers, crash marks and
// roles, the agreed version and features.  Out: the first rule that applies,
// its verdict, and both sets as the rule repairs them.  Each node asks alone;
// the two answers must be mirrored, and as_peer_sees() tells what the other
// node answers.  Where they are not (rules 50 and 60 crossed), nobody may
// resync: sync_handshake.h refuses (docs/decisions/0011-crossed-verdicts.md).
// Pure: nothing is changed, allocated or remembered.
#pragma once

#include <cstdint>
#include <span>

#include "core/generation/generation.h"
#include "core/state/state.h"

namespace drbd {

// Distance between a bitmap identifier and the sync identifier made from it
// (trap 30).
constexpr uint64_t kSyncUuidOffset = 0x0001'0000'0000'0000;

enum class SyncVerdict : uint8_t {
    NoSync,                // 0
    SourceBitmap,          // +1: this node is the source, the bitmaps say of what
    TargetBitmap,          // -1
    SourceFull,            // +2: everything
    TargetFull,            // -2
    SplitBrain,            // 100: both wrote since the same generation, policies may solve it
    SplitBrainUnsolvable,  // -100: related, but no common base
    Unrelated,             // -1000
    NeedsVersion91,        // -1091
    NeedsWriteSame,        // needs protocol 101 with the WSAME feature
};

enum class Direction : uint8_t { None, Source, Target };

Direction direction_of(SyncVerdict verdict);
bool is_full(SyncVerdict verdict);
SyncVerdict mirrored(SyncVerdict verdict);
Direction mirrored(Direction direction);

struct CompareNode {
    Uuids uuids;
    bool crashed_primary = false;
    Role role = Role::Secondary;
};

struct CompareInput {
    CompareNode self;
    CompareNode peer;
    bool resolve_conflicts = false;  // RC-flag: this end accepted the meta stream (spec 1.3)
    unsigned agreed_version = 101;
    bool has_write_same = true;      // feature WSAME agreed
};

// The same question as the peer puts it to itself.
CompareInput as_peer_sees(const CompareInput& input);

// What a rule corrects before anything else uses the identifiers (trap 31):
// either own ones or the stored copy of the peer's.
enum class UuidRepair : uint8_t {
    None,
    OwnMissedFinish,    // bitmap into history, bitmap 0
    PeerMissedFinish,
    OwnSyncUuidLost,    // history back into bitmap: the start of a resync is undone
    PeerSyncUuidLost,
};

enum class RuleNeeds : uint8_t { Nothing, Version91, WriteSame };

struct CompareRule {
    unsigned number;  // DRBD's; some have several rows
    SyncVerdict verdict;
    UuidRepair repair;
    RuleNeeds needs;
    bool (*matches)(const CompareInput& input);
    const char* text;
};

// In order; the last row matches everything.
std::span<const CompareRule> compare_rules();

struct CompareResult {
    const CompareRule* rule;
    SyncVerdict verdict;  // the rule's, or NeedsVersion91 or NeedsWriteSame
    Uuids self;           // as repaired
    Uuids peer;
};

CompareResult compare_generations(const CompareInput& input);

}  // namespace drbd
