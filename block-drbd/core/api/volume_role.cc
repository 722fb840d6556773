// SPDX-License-Identifier: GPL-2.0-or-later
// A volume's part in a change of the resource's role (role_change.cc asks all
// volumes): may it, what the superblock says, and what follows when it is taken.
#include <cstdio>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

StateVerdict Volume::may_change_role(Role role, bool force) const {
    State wanted = state_, result;
    wanted.role = role;
    StateVerdict verdict = decide_change(state_, wanted, ChangeKind::Soft, policy_, result);
    // Spec 5.8: forcing declares the local data good.
    if (verdict.code == StateCode::NoUpToDateDisk && force && state_.disk >= DiskState::Inconsistent) {
        wanted.disk = DiskState::UpToDate;
        verdict = decide_change(state_, wanted, ChangeKind::Soft, policy_, result);
    }
    return verdict;
}

void Volume::record_role(uint64_t operation, Role role, bool force) {
    DRBD_ASSERT(!operation_.pending());
    operation_ = {.kind = OperationKind::SetRole, .phase = OperationPhase::WaitRequests, .number = operation,
                  .role = role};
    // Only where nothing else helps: a target is Primary with its source's data.
    operation_.forced = force && may_change_role(role, false).code == StateCode::NoUpToDateDisk &&
                        may_change_role(role, true).ok();
    demoting_ = role == Role::Secondary;
    refresh_access();
    pump();
}

void Volume::take_role(uint64_t operation, Role role, const char* reason) {
    State wanted = state_;
    wanted.role = role;
    if (declared_good_ && wanted.disk >= DiskState::Inconsistent)
        wanted.disk = DiskState::UpToDate;
    if (role == Role::Primary)
        peer_granted_ = false;  // nothing came of it
    const bool forced = declared_good_;
    declared_good_ = false;
    demoting_ = false;
    // What an ended resync has written was flushed by nobody, either.
    if (role == Role::Primary && is_attached() && (forced || owner_.peer_io().has_unflushed(number_)))
        io_.image_is_unflushed();
    change_state(ChangeKind::Hard, wanted, reason, operation);
    // What the peer told in the handshake concerned nobody: no guest was here.
    if (role == Role::Primary && !is_attached() && is_connected() && peer_.has_generations) {
        expose_peers_data();
        begin_at_peer();
    }
    // The peer may have gone after the role was recorded as that of a connected
    // node: then the first write makes the generation.
    const bool alone = !is_connected() || state_.peer_disk <= DiskState::Failed;
    if (state_.role == Role::Primary && alone && is_attached() &&
        (disk_.uuids.bitmap == 0 || disk_.generation_shared))
        io_.want_generation(true);
    refresh_access();
    if (!is_connected())
        return;
    if (forced || role == Role::Primary)
        send_uuids();
    if (role == Role::Secondary && disk_.crashed_primary && state_.connection == ConnectionState::Connected &&
        is_ahead_in_blocks(Role::Secondary))
        resync_failed_blocks();
    else
        send_state();
}

// A good disk that failed a request of the guest for want of space, or a discard, and
// was kept (design D17): the peer has it, the guest has the error, the blocks are
// marked.  In one generation with the peer nothing would ever take them up (rule 40).
// The target of a resync that runs does not ask for them, and may have this generation
// before this node hears of its end.
bool Volume::is_ahead_in_blocks(Role role) const {
    if (!is_attached() || state_.role != role || state_.disk != DiskState::UpToDate || disk_.bitmap.count() == 0)
        return false;
    return state_.connection == ConnectionState::Connected ? state_.peer_disk == DiskState::UpToDate
                                                           : failed_here_ != 0 && is_source(state_.connection);
}

// From the own copy, which is what the guest has read here since.  Until that is over the
// marker of a crashed Primary stands: with it this node is the source after a crash, too,
// and still the target of a peer that has become Primary without it (decision 0024).  Of
// a peer that is Primary already it is the target at once (rule 41).
void Volume::resync_failed_blocks() {
    if (peer_granted_) {  // by its role it will judge, too: when it has it
        send_state();
        return;
    }
    State peer;
    peer.role = state_.peer;
    peer.disk = state_.peer_disk;
    peer.connection = ConnectionState::Connected;
    send_uuids();
    decision_ = decide(peer, peer.disk);
    const bool source = decision_.direction == Direction::Source;
    if (decision_.refused() || decision_.direction == Direction::None || (source && peer.role == Role::Primary)) {
        send_state();
        return;
    }
    take_decision();
    State wanted = state_;
    wanted.connection = decision_.next_state();
    send_state_of(wanted);  // it goes before the bitmap
    explain_resync(source ? "a request of the guest failed here and not on the peer: those blocks follow this copy"
                          : "a request of the guest failed here, and the peer is Primary since: those blocks follow its copy");
    change_state(ChangeKind::Hard, wanted, decision_.reason, 0);
}

// Another volume could not become Primary: this one's superblock must not say
// that it was.
void Volume::withdraw_role(uint64_t operation) {
    if (is_attached())
        record_role(operation, state_.role, false);
}

}  // namespace drbd
