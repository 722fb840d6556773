// SPDX-License-Identifier: GPL-2.0-or-later
// The one place where a volume's state is assigned, and what the guest may do
// in it (volume.h, spec section 5.1).
#include <cerrno>
#include <cstdio>

#include "core/api/volume.h"

namespace drbd {

StateVerdict Volume::change_state(ChangeKind kind, const State& wanted, const char* reason,
                                  uint64_t operation) {
    State next;
    const StateVerdict verdict = decide_change(state_, wanted, kind, policy_, next);
    if (!verdict.ok() || verdict.code == StateCode::NothingToDo)
        return verdict;
    const State before = state_;
    state_ = next;

    Notices& notices = owner_.notices();
    const int volume = static_cast<int>(number_);
    if (before.disk != next.disk) {
        std::snprintf(disk_reason_, sizeof disk_reason_, "%s", reason);
        notices.state(volume, operation, "disk", name_of(before.disk), name_of(next.disk), reason);
    }
    if (before.peer_disk != next.peer_disk)
        notices.state(volume, operation, "peer-disk", name_of(before.peer_disk), name_of(next.peer_disk), reason);
    if (before.peer != next.peer)
        notices.state(volume, operation, "peer-role", name_of(before.peer), name_of(next.peer), reason);
    if (before.connection != next.connection)
        notices.state(volume, operation, "connection", name_of(before.connection), name_of(next.connection), reason);
    // What a target may have lost with its disk is marked before it is judged what is left.
    if (before.peer_disk >= DiskState::Inconsistent && next.peer_disk < DiskState::Inconsistent && is_connected()) {
        if (is_being_called_good())
            peer_may_lack_ = true;
        else
            bits_due_ |= resync_.on_peer_disk_lost() && is_attached();
    }
    // A new generation is asked for before anything may go on under the old one.
    new_generation_if_alone(before);
    update_access();
    after_change(before, reason);
    return verdict;
}

// This Primary's disk was as good as the peer's and is not any more.  Where it
// stays attached its superblock will say so; else the peer makes a generation
// and tells it (spec 5.5).
void Volume::begin_handover() {
    if (state_.role != Role::Primary || !is_connected() || state_.peer_disk != DiskState::UpToDate)
        return;
    if (!io_.in_handover() || leaving_)
        handover_since_ms_ = owner_.now_ms();
    io_.begin_handover();
    handover_due_ = state_.disk == DiskState::Inconsistent;
    want_superblock();
}

// A Primary without a disk, and a peer whose disk is in the generation that the
// guest has seen here: it makes another, and what the guest writes waits for that.
// In an older one it is no copy to go on with; it has failed, and will say so.
void Volume::go_on_at_peer() {
    if (state_.role != Role::Primary ||
        (exposed_uuid_ != 0 && !same_generation(peer_.generations.uuids.current, exposed_uuid_)))
        return;
    peer_has_newer_ = true;
    begin_handover();
}

// A Primary that never had a disk here, or meets the peer without one.  A peer whose
// bits count from an earlier generation already mostly makes no other, and is not waited
// for; a disk that lacks what the guest writes there may be of any generation.
void Volume::begin_at_peer() {
    if (!peer_.has_generations)
        return;
    if (peer_.generations.uuids.bitmap == 0)
        go_on_at_peer();
    else
        peer_has_newer_ |= state_.role == Role::Primary;
}

// It has told of a generation of its own that counts from the one that the guest
// has seen here.  An older one is no news: it may be from before both were alike.
bool Volume::peer_went_on() const {
    const Uuids& told = peer_.generations.uuids;
    return !same_generation(told.current, exposed_uuid_) && same_generation(told.bitmap, exposed_uuid_);
}

void Volume::end_handover(int error, const char* warning) {
    if (!io_.in_handover())
        return;
    handover_due_ = handover_out_ = false;
    if (warning)
        owner_.notices().warning(static_cast<int>(number_), "%s", warning);
    io_.end_handover(error);
}

void Volume::refresh_access() {
    update_access();
    io_.go_on();
}

// Spec 6.1 and 6.9.  Design D17: a Secondary's copy is not the guest's to see or
// change.
void Volume::update_access() {
    using enum ConnectionState;
    using enum DiskState;
    const State& s = state_;
    const bool primary = s.role == Role::Primary;
    const bool peer = s.connection >= Connected && s.peer_disk == UpToDate;
    // Who was let in before a detach still reaches the image, unless the peer serves.
    const bool disk = is_attached() && s.disk != Negotiating && !(leaving_ && peer);
    Access access;
    access.image = disk && s.disk >= Inconsistent;
    access.image_reads = disk && s.disk == UpToDate;
    access.image_reads_in_sync = disk && s.disk == Inconsistent && s.connection >= SyncSource;
    // A disk that has failed cannot begin a generation: what it alone has could lose to the peer's disk that comes back,
    // also while it is attached again.
    access.image_alone = s.disk == UpToDate;
    access.peer_reads = peer;
    access.replicate = s.connection >= Connected && !policy_.handshake_under_way &&
                       (s.peer_disk == UpToDate || (s.peer_disk >= Inconsistent && s.connection >= WFBitMapT &&
                                                    s.connection < Ahead));
    access.send_out_of_sync = s.connection == WFBitMapS && policy_.agreed_version >= 96;
    access.may_set_in_sync = is_syncing();
    // A target that has this generation would be taken for as good as this copy until
    // the sync identifier is on the disk.
    access.hold = policy_.handshake_under_way || s.connection == WFBitMapT || s.connection == WFSyncUUID ||
                  s.connection == StartingSyncS || s.connection == StartingSyncT ||
                  (s.connection == WFBitMapS && (policy_.agreed_version < 96 || peer_has_generation())) ||
                  s.disk == Attaching || s.disk == Negotiating;
    const bool data = (access.image_reads && !leaving_) || access.peer_reads;
    access.read_error = primary && data ? 0 : -EIO;
    access.write_error = !primary || demoting_ ? -EROFS : data ? 0 : -EIO;
    if (!primary || !data)
        access.hold = false;  // nothing to hold: it fails
    io_.change_access(access);
}

}  // namespace drbd
