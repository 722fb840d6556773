// SPDX-License-Identifier: GPL-2.0-or-later
// Who follows whom when two disks meet (spec section 4.3).  In: what both nodes
// told each other (identifiers, bits, flags, role, disk), what the connection
// agreed on, and the administrator's policies.  Out: one decision: no resync,
// source or target, by bitmap or full, or a refusal with a sentence for
// people; and the handlers to call, in order, as values (design D8, D10).
// Nothing is done here.  A refusal changes nothing on either disk; otherwise
// the caller stores `self` and `peer`, demotes if `demote_self`, sets all bits
// if the amount is Full, and takes `next_state`.
// The order of the steps is that of kernel DRBD: both nodes decide alone and
// must come to mirrored results.
#pragma once

#include <cstdint>
#include <span>

#include "core/generation/compare.h"
#include "core/generation/split_brain.h"

namespace drbd {

enum class RoleConflict : uint8_t { Disconnect, CallPriLost, Violently };  // rr-conflict

struct HandshakeNode {
    Uuids uuids;
    uint64_t bits_set = 0;  // as told to the other node in P_UUIDS
    bool crashed_primary = false;
    bool discard_my_data = false;
    Role role = Role::Secondary;
    DiskState disk = DiskState::Inconsistent;  // see disk_meant()
};

struct HandshakeInput {
    HandshakeNode self;
    HandshakeNode peer;
    bool self_negotiating = false;   // own disk is being attached, and is not what it is meant to be
    bool peer_negotiating = false;   // the peer's is
    uint64_t exposed_uuid = 0;       // the generation that this Primary's guest has seen last; 0: none
    bool resolve_conflicts = false;  // RC-flag (spec 1.3)
    unsigned agreed_version = 101;
    bool has_write_same = true;
    SplitBrainPolicies after_split_brain;
    bool always_after_split_brain = false;  // always-asbp
    RoleConflict role_conflict = RoleConflict::Disconnect;
    bool dry_run = false;     // asked for by either node
    bool may_demote = false;  // this node could become Secondary at once
};

// A disk that is Negotiating counts as what it will be (P_UUIDS flag 4).
DiskState disk_meant(DiskState announced, bool will_be_inconsistent);

enum class SyncAmount : uint8_t { Bitmap, Full };

enum class Refusal : uint8_t {
    None, Unrelated, NeedsNewerPeer, Crossed, SplitBrain, SourceInconsistent, SourceUnknownToGuest, TargetIsPrimary,
    DryRun,
};

enum class Handler : uint8_t { InitialSplitBrain, SplitBrain, PriLost, PriLostAfterSplitBrain };
const char* name_of(Handler handler);

struct HandshakeDecision {
    static constexpr unsigned kHandlersMax = 3;
    static constexpr unsigned kReasonSize = 400;

    Direction direction = Direction::None;
    SyncAmount amount = SyncAmount::Bitmap;
    Refusal refusal = Refusal::None;
    bool demote_self = false;
    const CompareRule* rule = nullptr;
    Uuids self;
    Uuids peer;
    char reason[kReasonSize] = "";  // which rule decided and why; if refused, also what to do

    bool refused() const { return refusal != Refusal::None; }
    std::span<const Handler> handlers() const { return {handlers_, handlers_nr_}; }
    void call(Handler handler);

    // Connected, WFBitMapS or WFBitMapT.  Not to be asked of a refusal: what
    // follows that is spec 4.5, step 6.
    ConnectionState next_state() const;

  private:
    Handler handlers_[kHandlersMax] = {};
    unsigned handlers_nr_ = 0;
};

HandshakeDecision decide_sync(const HandshakeInput& input);

// The second line of defence against verdicts that are not mirrored (the first
// is in decide_sync).  After a handshake each node announces its new state.
// True if a peer that announces `peer_announced` goes the same way as this node,
// which has decided for `own`: two targets or two sources.  To be asked of every
// P_STATE until the resync has begun, that is in WFBitMapS, WFBitMapT and
// WFSyncUUID; later a state may be an old one.
bool goes_the_same_way(Direction own, ConnectionState peer_announced);

// The refusal that replaces `decision` then.
HandshakeDecision refuse_same_way(const HandshakeInput& input, const HandshakeDecision& decision,
                                  ConnectionState peer_announced);

}  // namespace drbd
