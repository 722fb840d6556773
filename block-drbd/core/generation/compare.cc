// SPDX-License-Identifier: GPL-2.0-or-later
// Spec section 4.2 as a table.
#include "core/generation/compare.h"

#include "core/base/assert.h"

namespace drbd {

namespace {

using enum SyncVerdict;

bool just_created(uint64_t uuid) { return same_generation(uuid, metafmt::kUuidJustCreated); }
bool none(uint64_t uuid) { return same_generation(uuid, 0); }

bool same_current(const CompareInput& i) {
    return same_generation(i.self.uuids.current, i.peer.uuids.current);
}

// "No bitmap identifier" is tested with bit 0 (trap 28).
bool only_self_counts(const CompareInput& i) {
    return same_current(i) && i.self.uuids.bitmap != 0 && i.peer.uuids.bitmap == 0;
}
bool only_peer_counts(const CompareInput& i) {
    return same_current(i) && i.self.uuids.bitmap == 0 && i.peer.uuids.bitmap != 0;
}

// `source` was told of no finish, `target` finished: the bitmap identifier of
// the one is the youngest history of the other.
bool missed_finish(const Uuids& source, const Uuids& target) {
    return same_generation(source.bitmap, target.history[0]) &&
           same_generation(source.history[0], target.history[1]);
}

bool somebody_crashed(const CompareInput& i) {
    return same_current(i) && (i.self.crashed_primary || i.peer.crashed_primary);
}

// `source` began a resync, `target` never learned its sync identifier.
bool sync_uuid_lost(const Uuids& source, const Uuids& target, unsigned version) {
    if (!same_generation(target.current, source.history[0]))
        return false;
    if (version < 96)
        return same_generation(target.history[0], source.history[1]);
    return same_generation((source.history[0] & ~kUuidPrimaryBit) + kSyncUuidOffset, source.bitmap);
}

bool in_history(uint64_t uuid, const Uuids& of) {
    return same_generation(uuid, of.history[0]) || same_generation(uuid, of.history[1]);
}

// The first match wins, so a row may rely on those above it not matching.
constexpr CompareRule kRules[] = {
    {10, NoSync, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) {
         return just_created(i.self.uuids.current) && just_created(i.peer.uuids.current);
     },
     "both disks are just created"},
    {20, TargetFull, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) {
         return (just_created(i.self.uuids.current) || none(i.self.uuids.current)) &&
                !just_created(i.peer.uuids.current);
     },
     "this node's disk is just created"},
    {30, SourceFull, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) {
         return !just_created(i.self.uuids.current) &&
                (just_created(i.peer.uuids.current) || none(i.peer.uuids.current));
     },
     "the peer's disk is just created"},

    {34, SourceBitmap, UuidRepair::OwnMissedFinish, RuleNeeds::Version91,
     [](const CompareInput& i) {
         return only_self_counts(i) && missed_finish(i.self.uuids, i.peer.uuids);
     },
     "this node was the source of a resync and missed its end"},
    {36, SourceBitmap, UuidRepair::None, RuleNeeds::Version91, only_self_counts,
     "this node was the source of a resync that the peer did not record"},
    {35, TargetBitmap, UuidRepair::PeerMissedFinish, RuleNeeds::Version91,
     [](const CompareInput& i) {
         return only_peer_counts(i) && missed_finish(i.peer.uuids, i.self.uuids);
     },
     "the peer was the source of a resync and missed its end"},
    {37, TargetBitmap, UuidRepair::None, RuleNeeds::Version91, only_peer_counts,
     "the peer was the source of a resync that this node did not record"},

    {40, NoSync, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return same_current(i) && !somebody_crashed(i); },
     "both disks hold the same generation"},
    {41, SplitBrainUnsolvable, UuidRepair::None, RuleNeeds::WriteSame,
     [](const CompareInput& i) {
         return somebody_crashed(i) && i.self.role == Role::Primary && i.peer.role == Role::Primary;
     },
     "a Primary crashed, both nodes are Primary, and neither began a generation"},
    {41, SourceBitmap, UuidRepair::None, RuleNeeds::WriteSame,
     [](const CompareInput& i) { return somebody_crashed(i) && i.self.role == Role::Primary; },
     "a Primary crashed, and this node is Primary now"},
    {41, TargetBitmap, UuidRepair::None, RuleNeeds::WriteSame,
     [](const CompareInput& i) { return somebody_crashed(i) && i.peer.role == Role::Primary; },
     "a Primary crashed, and the peer is Primary now"},
    {40, SourceBitmap, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return somebody_crashed(i) && !i.peer.crashed_primary; },
     "this node crashed as Primary"},
    {40, TargetBitmap, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return somebody_crashed(i) && !i.self.crashed_primary; },
     "the peer crashed as Primary"},
    {40, TargetBitmap, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return somebody_crashed(i) && i.resolve_conflicts; },
     "both nodes crashed as Primary, and the connection chose the peer"},
    {40, SourceBitmap, UuidRepair::None, RuleNeeds::Nothing, somebody_crashed,
     "both nodes crashed as Primary, and the connection chose this node"},

    {50, TargetBitmap, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return same_generation(i.self.uuids.current, i.peer.uuids.bitmap); },
     "the peer has counted its writes since this node's generation"},
    {51, TargetBitmap, UuidRepair::PeerSyncUuidLost, RuleNeeds::Version91,
     [](const CompareInput& i) { return sync_uuid_lost(i.peer.uuids, i.self.uuids, i.agreed_version); },
     "the peer began a resync that this node did not hear of"},
    {60, TargetFull, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return in_history(i.self.uuids.current, i.peer.uuids); },
     "this node's generation is an old one of the peer's"},
    {70, SourceBitmap, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return same_generation(i.self.uuids.bitmap, i.peer.uuids.current); },
     "this node has counted its writes since the peer's generation"},
    {71, SourceBitmap, UuidRepair::OwnSyncUuidLost, RuleNeeds::Version91,
     [](const CompareInput& i) { return sync_uuid_lost(i.self.uuids, i.peer.uuids, i.agreed_version); },
     "this node began a resync that the peer did not hear of"},
    {80, SourceFull, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) { return in_history(i.peer.uuids.current, i.self.uuids); },
     "the peer's generation is an old one of this node's"},
    {90, SplitBrain, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) {
         return same_generation(i.self.uuids.bitmap, i.peer.uuids.bitmap) && !none(i.self.uuids.bitmap);
     },
     "both nodes went on alone since the same generation"},
    {100, SplitBrainUnsolvable, UuidRepair::None, RuleNeeds::Nothing,
     [](const CompareInput& i) {  // zero matches zero
         return in_history(i.self.uuids.history[0], i.peer.uuids) ||
                in_history(i.self.uuids.history[1], i.peer.uuids);
     },
     "both nodes went on alone, and no bitmap counts from a common generation"},
    {0, Unrelated, UuidRepair::None, RuleNeeds::Nothing, [](const CompareInput&) { return true; },
     "no generation is common to both disks"},
};

void finish_resync(Uuids& uuids) {
    uuids.history[1] = uuids.history[0];
    uuids.history[0] = uuids.bitmap;
    uuids.bitmap = 0;
}

void undo_resync_start(Uuids& uuids) {
    uuids.bitmap = uuids.history[0];
    uuids.history[0] = uuids.history[1];
}

void repair(UuidRepair what, CompareResult& result) {
    switch (what) {
    case UuidRepair::None: return;
    case UuidRepair::OwnMissedFinish: return finish_resync(result.self);
    case UuidRepair::PeerMissedFinish: return finish_resync(result.peer);
    case UuidRepair::OwnSyncUuidLost: return undo_resync_start(result.self);
    case UuidRepair::PeerSyncUuidLost: return undo_resync_start(result.peer);
    }
}

bool needs_are_met(RuleNeeds needs, const CompareInput& input) {
    switch (needs) {
    case RuleNeeds::Nothing: return true;
    case RuleNeeds::Version91: return input.agreed_version >= 91;
    case RuleNeeds::WriteSame: return input.has_write_same;
    }
    DRBD_ASSERT(false);
}

}  // namespace

std::span<const CompareRule> compare_rules() { return kRules; }

CompareResult compare_generations(const CompareInput& input) {
    for (const CompareRule& rule : kRules) {
        if (!rule.matches(input))
            continue;
        CompareResult result{&rule, rule.verdict, input.self.uuids, input.peer.uuids};
        if (needs_are_met(rule.needs, input))
            repair(rule.repair, result);
        else
            result.verdict = rule.needs == RuleNeeds::Version91 ? NeedsVersion91 : NeedsWriteSame;
        return result;
    }
    DRBD_ASSERT(false);  // the last row matches everything
}

CompareInput as_peer_sees(const CompareInput& input) {
    CompareInput result = input;
    result.self = input.peer;
    result.peer = input.self;
    result.resolve_conflicts = !input.resolve_conflicts;
    return result;
}

Direction direction_of(SyncVerdict verdict) {
    switch (verdict) {
    case SourceBitmap:
    case SourceFull: return Direction::Source;
    case TargetBitmap:
    case TargetFull: return Direction::Target;
    case NoSync:
    case SplitBrain:
    case SplitBrainUnsolvable:
    case Unrelated:
    case NeedsVersion91:
    case NeedsWriteSame: return Direction::None;
    }
    DRBD_ASSERT(false);
}

bool is_full(SyncVerdict verdict) { return verdict == SourceFull || verdict == TargetFull; }

Direction mirrored(Direction direction) {
    switch (direction) {
    case Direction::None: return Direction::None;
    case Direction::Source: return Direction::Target;
    case Direction::Target: return Direction::Source;
    }
    DRBD_ASSERT(false);
}

SyncVerdict mirrored(SyncVerdict verdict) {
    switch (verdict) {
    case SourceBitmap: return TargetBitmap;
    case TargetBitmap: return SourceBitmap;
    case SourceFull: return TargetFull;
    case TargetFull: return SourceFull;
    case NoSync:
    case SplitBrain:
    case SplitBrainUnsolvable:
    case Unrelated:
    case NeedsVersion91:
    case NeedsWriteSame: return verdict;
    }
    DRBD_ASSERT(false);
}

}  // namespace drbd
