// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/generation/sync_handshake.h"

#include <cinttypes>
#include <cstdarg>
#include <cstdio>

#include "core/base/assert.h"

namespace drbd {

namespace {

using Decision = HandshakeDecision;
using Input = HandshakeInput;

// Both generations as people see them in query-drbd and in dumps.
#define OWN_AND_PEERS "own generation %016" PRIX64 ", peer's %016" PRIX64

CompareInput compare_input(const Input& in) {
    return {
        .self = {.uuids = in.self.uuids, .crashed_primary = in.self.crashed_primary, .role = in.self.role},
        .peer = {.uuids = in.peer.uuids, .crashed_primary = in.peer.crashed_primary, .role = in.peer.role},
        .resolve_conflicts = in.resolve_conflicts,
        .agreed_version = in.agreed_version,
        .has_write_same = in.has_write_same,
    };
}

[[gnu::format(printf, 4, 5)]] void refuse(Decision& d, const Input& in, Refusal why, const char* format, ...) {
    d.refusal = why;
    d.direction = Direction::None;
    d.amount = SyncAmount::Bitmap;
    d.demote_self = false;
    d.self = in.self.uuids;
    d.peer = in.peer.uuids;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(d.reason, sizeof d.reason, format, arguments);
    va_end(arguments);
}

// What is known by the identifiers alone: no resync can be right.
void refuse_by_verdict(Decision& d, const Input& in, SyncVerdict verdict) {
    const uint64_t own = in.self.uuids.current;
    const uint64_t peers = in.peer.uuids.current;
    if (verdict == SyncVerdict::Unrelated)
        refuse(d, in, Refusal::Unrelated,
               "unrelated data: %s (" OWN_AND_PEERS "); check that the right disks are connected, "
               "then create metadata anew on the node whose data may go",
               d.rule->text, own, peers);
    else if (verdict == SyncVerdict::NeedsVersion91)
        refuse(d, in, Refusal::NeedsNewerPeer,
               "rule %u (%s) needs protocol 91, but %u is agreed (" OWN_AND_PEERS "); upgrade the "
               "older node, or create metadata anew on the node whose data may go",
               d.rule->number, d.rule->text, in.agreed_version, own, peers);
    else if (verdict == SyncVerdict::NeedsWriteSame)
        refuse(d, in, Refusal::NeedsNewerPeer,
               "rule %u (%s) needs the feature WSAME, which is not agreed (" OWN_AND_PEERS "); make both "
               "nodes Secondary, then connect, or upgrade the older node",
               d.rule->number, d.rule->text, own, peers);
}

void refuse_crossed(Decision& d, const Input& in, const char* how) {
    refuse(d, in, Refusal::Crossed,
           "crossed generations: %s (" OWN_AND_PEERS ", rule %u: %s); nothing was "
           "resynced; invalidate the node whose data may go, then connect",
           how, in.self.uuids.current, in.peer.uuids.current, d.rule->number, d.rule->text);
}

const char* both_become(Direction direction) {
    return direction == Direction::Target ? "both nodes would become the target of a resync"
                                          : "both nodes would become the source of a resync";
}

// Exactly one disk is Inconsistent: then that one is the target, whatever the
// identifiers say, and even in split brain.
bool disks_decide(const Input& in) {
    const DiskState own = in.self.disk;
    const DiskState peers = in.peer.disk;
    return (own == DiskState::Inconsistent && peers > DiskState::Inconsistent) ||
           (peers == DiskState::Inconsistent && own > DiskState::Inconsistent);
}

// After a split brain bitmaps can be believed only when both count from one
// generation that both disks really had.  The kernel always believes them
// (docs/decisions/0012-doubtful-bitmaps.md).
bool bitmaps_are_doubtful(const Decision& d, const Input& in) {
    return d.rule->verdict == SyncVerdict::SplitBrainUnsolvable ||
           same_generation(in.self.uuids.bitmap, metafmt::kUuidJustCreated);
}

void discard_somebodys_data(Decision& d, const Input& in) {
    if (in.self.discard_my_data && !in.peer.discard_my_data)
        d.direction = Direction::Target;
    else if (!in.self.discard_my_data && in.peer.discard_my_data)
        d.direction = Direction::Source;
}

// False if this node should yield and cannot: its peer has decided otherwise, so
// that nothing else may be tried.
bool apply_policies(Decision& d, const Input& in) {
    const SplitBrainRecovery recovery = recover_split_brain(
        in.after_split_brain, {
            .self_was_primary = (in.self.uuids.bitmap & kUuidPrimaryBit) != 0,
            .peer_was_primary = (in.peer.uuids.bitmap & kUuidPrimaryBit) != 0,
            .self_changes = in.self.bits_set,
            .peer_changes = in.peer.bits_set,
            .resolve_conflicts = in.resolve_conflicts,
            .self_role = in.self.role,
            .peer_role = in.peer.role,
            .may_demote = in.may_demote,
        });
    d.direction = recovery.direction;
    d.demote_self = recovery.demote_self;
    if (recovery.call_pri_lost_after_sb)
        d.call(Handler::PriLostAfterSplitBrain);
    return !recovery.call_pri_lost_after_sb;
}

// The guest of a Primary that attaches a disk lives on the other node's.  Policies
// ask who was Primary and what has changed, not where the guest is
// (docs/decisions/0025-a-disk-that-comes-to-a-primary.md).
bool comes_to_a_primary(const Input& in) {
    return (in.self_negotiating && in.self.role == Role::Primary) ||
           (in.peer_negotiating && in.peer.role == Role::Primary);
}

void solve_split_brain(Decision& d, const Input& in, SyncVerdict verdict) {
    d.call(Handler::InitialSplitBrain);
    bool may_go_on = true;
    if ((verdict == SyncVerdict::SplitBrain || in.always_after_split_brain) && !comes_to_a_primary(in))
        may_go_on = apply_policies(d, in);
    if (d.direction == Direction::None && may_go_on)
        discard_somebodys_data(d, in);
    if (d.direction != Direction::None) {
        d.amount = bitmaps_are_doubtful(d, in) ? SyncAmount::Full : SyncAmount::Bitmap;
        return;
    }
    d.call(Handler::SplitBrain);
    refuse(d, in, Refusal::SplitBrain,
           "split brain: %s (" OWN_AND_PEERS "); connect the node whose changes may go with discard-my-data, "
           "and the other one without",
           d.rule->text, in.self.uuids.current, in.peer.uuids.current);
}

// An old disk under a running guest: he goes on with the peer's data, or with none.  Its generation may be the one that the guest
// has seen: what the peer has begun for the guest since is not always heard of.  A peer in the same one has begun nothing.
bool guest_saw_newer(const Input& in) {
    return in.self.role == Role::Primary && in.self.disk < DiskState::UpToDate &&
           !same_generation(in.self.uuids.current, in.peer.uuids.current);
}

bool guest_saw_others(const Input& in) {
    return in.self.role == Role::Primary && in.self_negotiating && in.exposed_uuid != 0 &&
           !same_generation(in.exposed_uuid, in.self.uuids.current);
}

// A direction is found; what may still forbid it on this node.
void check_direction(Decision& d, const Input& in) {
    const uint64_t own = in.self.uuids.current;
    const uint64_t peers = in.peer.uuids.current;
    if (d.direction == Direction::Source && in.self.disk <= DiskState::Inconsistent) {
        refuse(d, in, Refusal::SourceInconsistent,
               "this node should be the source of a resync (rule %u: %s; " OWN_AND_PEERS "), but its "
               "disk is %s; make the node Primary with force whose data shall count, then connect",
               d.rule->number, d.rule->text, own, peers, name_of(in.self.disk));
        return;
    }
    // Its guest lived on the peer's data (decision 0026).
    if (d.direction == Direction::Source && guest_saw_others(in)) {
        refuse(d, in, Refusal::SourceUnknownToGuest,
               "the guest of this Primary has seen the data generation %016" PRIX64 ", and the disk that comes, with "
               "%016" PRIX64 ", would become the source of a resync under it (rule %u: %s; peer's generation "
               "%016" PRIX64 "); stop the guest and make this node Secondary, then attach",
               in.exposed_uuid, own, d.rule->number, d.rule->text, peers);
        return;
    }
    if (d.direction == Direction::Source && guest_saw_newer(in)) {
        refuse(d, in, Refusal::SourceUnknownToGuest,
               "the guest of this Primary has seen newer data than this node's disk holds, which is %s, and would become the "
               "source of a resync under it (rule %u: %s; " OWN_AND_PEERS "); stop the guest and make this node "
               "Secondary, then %s",
               name_of(in.self.disk), d.rule->number, d.rule->text, own, peers, in.self_negotiating ? "attach" : "connect");
        return;
    }
    const bool is_primary = in.self.role == Role::Primary && !d.demote_self;
    if (d.direction != Direction::Target || !is_primary || in.self_negotiating ||
        in.self.disk < DiskState::Consistent || in.role_conflict == RoleConflict::Violently)
        return;
    if (in.role_conflict == RoleConflict::CallPriLost)
        d.call(Handler::PriLost);
    refuse(d, in, Refusal::TargetIsPrimary,
           "this node should be the target of a resync (rule %u: %s; " OWN_AND_PEERS "), but it is Primary and "
           "its guest uses the data; stop the guest and make this node Secondary, then connect",
           d.rule->number, d.rule->text, own, peers);
}

const char* text_of(Direction direction) {
    switch (direction) {
    case Direction::None: return "no resync";
    case Direction::Source: return "this node is the source";
    case Direction::Target: return "this node is the target";
    }
    DRBD_ASSERT(false);
}

const char* amount_text(const Decision& d) {
    if (d.direction == Direction::None)
        return "";
    return d.amount == SyncAmount::Full ? ", full" : ", by bitmap";
}

void explain(Decision& d, const Input& in, const char* why) {
    const char* direction = text_of(d.direction);
    const char* amount = amount_text(d);
    const uint64_t own = in.self.uuids.current;
    const uint64_t peers = in.peer.uuids.current;
    if (in.dry_run)
        refuse(d, in, Refusal::DryRun,
               "dry run: %s%s (rule %u: %s%s; " OWN_AND_PEERS "); connect without it to do so", direction, amount,
               d.rule->number, d.rule->text, why, own, peers);
    else
        std::snprintf(d.reason, sizeof d.reason, "%s%s (rule %u: %s%s; " OWN_AND_PEERS ")", direction, amount,
                      d.rule->number, d.rule->text, why, own, peers);
}

}  // namespace

void HandshakeDecision::call(Handler handler) {
    DRBD_ASSERT(handlers_nr_ < kHandlersMax);
    handlers_[handlers_nr_++] = handler;
}

ConnectionState HandshakeDecision::next_state() const {
    DRBD_ASSERT(!refused());
    switch (direction) {
    case Direction::None: return ConnectionState::Connected;
    case Direction::Source: return ConnectionState::WFBitMapS;
    case Direction::Target: return ConnectionState::WFBitMapT;
    }
    DRBD_ASSERT(false);
}

const char* name_of(Handler handler) {
    switch (handler) {
    case Handler::InitialSplitBrain: return "initial-split-brain";
    case Handler::SplitBrain: return "split-brain";
    case Handler::PriLost: return "pri-lost";
    case Handler::PriLostAfterSplitBrain: return "pri-lost-after-sb";
    }
    DRBD_ASSERT(false);
}

DiskState disk_meant(DiskState announced, bool will_be_inconsistent) {
    if (announced != DiskState::Negotiating)
        return announced;
    return will_be_inconsistent ? DiskState::Inconsistent : DiskState::Consistent;
}

HandshakeDecision decide_sync(const HandshakeInput& input) {
    const CompareInput question = compare_input(input);
    const CompareResult compared = compare_generations(question);
    Decision d;
    d.rule = compared.rule;
    refuse_by_verdict(d, input, compared.verdict);
    if (d.refused())
        return d;

    const char* why = "";
    d.direction = direction_of(compared.verdict);
    // The first line of defence: ask as the peer does.  What a rule repairs is
    // not to be trusted either, when the other node's rule contradicts it.
    const bool crossed = d.direction != Direction::None &&
                         direction_of(compare_generations(as_peer_sees(question)).verdict) == d.direction;
    d.self = crossed ? input.self.uuids : compared.self;
    d.peer = crossed ? input.peer.uuids : compared.peer;
    const bool split = compared.verdict == SyncVerdict::SplitBrain ||
                       compared.verdict == SyncVerdict::SplitBrainUnsolvable;
    d.amount = is_full(compared.verdict) ? SyncAmount::Full : SyncAmount::Bitmap;
    if (disks_decide(input)) {
        why = ", and one disk is Inconsistent";
        d.direction = input.self.disk > DiskState::Inconsistent ? Direction::Source : Direction::Target;
        if (crossed || (split && bitmaps_are_doubtful(d, input)))
            d.amount = SyncAmount::Full;
    } else if (split) {
        why = ", and it is settled who gives up changes";
        solve_split_brain(d, input, compared.verdict);
    } else if (crossed) {
        refuse_crossed(d, input, both_become(d.direction));
    }
    if (!d.refused())
        check_direction(d, input);
    if (!d.refused())
        explain(d, input, why);
    return d;
}

bool goes_the_same_way(Direction own, ConnectionState peer_announced) {
    using enum ConnectionState;
    switch (peer_announced) {
    case StartingSyncS:
    case WFBitMapS:
    case SyncSource:
    case PausedSyncS:
    case Ahead: return own == Direction::Source;
    case StartingSyncT:
    case WFBitMapT:
    case WFSyncUUID:
    case SyncTarget:
    case PausedSyncT:
    case Behind: return own == Direction::Target;
    case StandAlone:
    case Disconnecting:
    case Unconnected:
    case Timeout:
    case BrokenPipe:
    case NetworkFailure:
    case ProtocolError:
    case TearDown:
    case WFConnection:
    case WFReportParams:
    case Connected:
    case VerifyS:
    case VerifyT: return false;
    }
    DRBD_ASSERT(false);
}

HandshakeDecision refuse_same_way(const HandshakeInput& input, const HandshakeDecision& decision,
                                  ConnectionState peer_announced) {
    DRBD_ASSERT(goes_the_same_way(decision.direction, peer_announced));
    Decision d = decision;
    char how[100];
    std::snprintf(how, sizeof how, "%s, as the peer announces %s", both_become(decision.direction),
                  name_of(peer_announced));
    refuse_crossed(d, input, how);
    return d;
}

}  // namespace drbd
