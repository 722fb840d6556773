// SPDX-License-Identifier: GPL-2.0-or-later
// What follows a change of a volume's state (spec 5.5): a new data generation,
// words to the peer, the beginning and the end of a resync, the superblock.  In:
// the state before; the new one is in place.  The order is the table's of the
// spec where packets depend on it.
#include <cerrno>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/metadata/superblock_content.h"

namespace drbd {

namespace {

using enum ConnectionState;
using enum DiskState;

bool is_resync(ConnectionState c) { return c >= StartingSyncS && c <= PausedSyncT && c != VerifyS && c != VerifyT; }

// The peer's copy took part in what this node wrote.
bool had_data(DiskState peer_disk) {
    return peer_disk == Inconsistent || peer_disk == Consistent || peer_disk == UpToDate;
}

bool has_no_data(DiskState peer_disk) {
    return peer_disk < Inconsistent || peer_disk == DUnknown || peer_disk == Outdated;
}

}  // namespace

// Spec 5.5, rows 8 and 9; design D14: from here on nothing completes on this
// copy alone before the superblock with the new generation is stable.
void Volume::new_generation_if_alone(const State& before) {
    const State& now = state_;
    const bool lost = had_data(before.peer_disk) && has_no_data(now.peer_disk);
    const bool worse = before.peer_disk == DUnknown && (now.peer_disk < Inconsistent || now.peer_disk == Outdated);
    const bool primary = now.role == Role::Primary || now.peer == Role::Primary;
    const bool diskless_primary =
        now.peer_disk < Inconsistent && before.peer != Role::Primary && now.peer == Role::Primary;
    // A target that has everything may have called its data good and have this
    // generation: the resync is over, as far as this node can tell (decision 0015).
    const bool source = is_source(before.connection);
    // A Secondary whose marks came back keeps the identifier that they count from:
    // it makes it the source when the nodes meet.
    if (lost && source && target_may_be_done_) {
        if (primary || disk_.bitmap.count() == 0)
            disk_.uuids = with_resync_finished_as_source(disk_.uuids);
        else
            disk_.generation_shared = disk_.target_had_begun = true;
        want_superblock();
    }
    // The guest, here or there, has no other disk, and the peer's may come back in this generation.
    const bool serves_alone = before.disk != UpToDate && now.disk == UpToDate && primary &&
                              now.peer_disk < Inconsistent;
    // A target that had everything, and lost its source before its superblock said so.
    const bool done_alone = before.disk == Inconsistent && now.disk == UpToDate && now.role == Role::Primary && !is_connected();
    // It kept a disk that failed a write; what is written from here on it does not get.  Its refusal, which comes on
    // the other stream, may be later.
    const bool failed_there = before.peer_disk == UpToDate && now.peer_disk == Inconsistent && now.role == Role::Primary &&
                              before.connection == Connected && now.connection == Connected;
    if (((lost || worse) && primary) || failed_there || diskless_primary || serves_alone || done_alone)
        make_generation();
}

// The peer failed a write: this copy is ahead of it from here on.
void Volume::on_peer_write_failed() {
    target_refused_ = true;
    if (state_.role != Role::Primary)
        return;
    // Of a target that may have this generation already the resync is over.  It is
    // not done in the next one before it has what failed: that may fail again and
    // again, and what the target is known by must not leave the history.
    if (is_source(state_.connection) && target_may_be_done_) {
        disk_.uuids = with_resync_finished_as_source(disk_.uuids);
        target_may_be_done_ = false;
    }
    make_generation();
}

// With a bitmap identifier the bits count from a generation of the peer's
// already, unless the peer may have this one (decision 0015).
void Volume::make_generation() {
    const State& now = state_;
    if (now.disk != UpToDate || (disk_.uuids.bitmap != 0 && !(disk_.generation_shared && disk_.target_had_begun)))
        return;
    disk_.generation_shared = false;
    disk_.uuids = with_role(with_new_generation(disk_.uuids, owner_.random()), now.role == Role::Primary);
    generation_new_ = true;
    want_superblock();
    io_.want_generation(false);
    io_.begin_generation();
}

void Volume::after_change(const State& before, const char* reason) {
    const State& now = state_;
    if (now.disk == UpToDate && now.peer_disk == UpToDate &&
        !(before.disk == UpToDate && before.peer_disk == UpToDate)) {
        disk_.crashed_primary = false;
        peer_.generations.crashed_primary = false;
    }
    if (!is_connected() || now.peer_disk != UpToDate)
        end_handover(-EIO, nullptr);
    else if (before.peer_disk < Inconsistent && now.disk < Inconsistent && peer_.has_generations && !peer_went_on())
        go_on_at_peer();
    else if (before.connection < Connected && now.disk < Inconsistent)
        begin_at_peer();
    if (before.disk == Inconsistent && before.peer_disk == Inconsistent && before.peer == Role::Secondary &&
        now.peer == Role::Primary)
        consider_resync_ = true;  // it may have declared its data good
    // What the failed disk of the peer had acknowledged and not flushed may be lost.
    if (before.peer_disk >= Inconsistent && now.peer_disk < Inconsistent && is_connected())
        owner_.transfer_log().peer_disk_lost(number_);
    // Only what comes behind the word that this disk is gone is marked by the peer as written there alone: whoever
    // was held, by the state or by the resync, goes on after it.
    if (is_connected() && link_is_up())
        tell_peer(before);
    io_.go_on();
    if (is_resync(before.connection) && !is_resync(now.connection))
        left_resync(before, reason);
    if (now.connection != before.connection)
        after_connection_change();
    if (before.disk != now.disk && now.disk < Inconsistent) {
        lacks_received_ |= owner_.peer_io().writes_pending(number_) > 0 || may_be_worse_than_recorded(before);
        owner_.peer_io().disk_lost(number_);
    }
    if (now.connection == SyncSource || now.connection == SyncTarget || now.connection == PausedSyncS ||
        now.connection == PausedSyncT)
        resync_.set_paused(now.connection == PausedSyncS || now.connection == PausedSyncT);
    want_superblock();
}

// A disk that failed, and was Outdated or worse: nobody knows whether its superblock came to say so.
bool Volume::may_be_worse_than_recorded(const State& before) const {
    const DiskState known = before.disk == Negotiating ? intended_disk_ : before.disk;
    return state_.disk == Failed && (known == Outdated || known == Inconsistent) && !is_being_called_good();
}

// Rows 6, 12, 13, 15, 18 to 20, 23.
void Volume::tell_peer(const State& before) {
    const State& now = state_;
    if (before.connection < Connected) {
        send_state();
        return;
    }
    const bool peer_disk_came = before.peer_disk < Inconsistent && now.peer_disk >= Inconsistent;
    const bool disk_went = before.disk != now.disk && now.disk <= Failed && now.disk != Attaching;
    const bool passed_on = before.disk == UpToDate && now.disk == Inconsistent;
    const bool paused = before.paused_after_dependency != now.paused_after_dependency ||
                        before.paused_by_user != now.paused_by_user;
    const bool target_done = before.disk < UpToDate && before.connection >= SyncSource && now.connection == Connected;
    const bool negotiated = before.disk == Negotiating && now.disk != Negotiating;
    // Both disks were declared equal: what this node said before may arrive behind the peer's declaration.
    const bool declared_good = before.connection == Connected && before.disk < UpToDate && now.disk == UpToDate;
    if (peer_disk_came || disk_went || passed_on || paused || target_done || negotiated || declared_good)
        send_state();
}

void Volume::after_connection_change() {
    const wire::RunLengths run_lengths = owner_.connection().config().no_use_rle || policy_.agreed_version < 90
                                             ? wire::RunLengths::Off
                                             : wire::RunLengths::On;
    switch (state_.connection) {
    case WFBitMapS:
        target_may_not_know();
        io_.resync_begins();
        resync_.begin_bitmap(Direction::Source, run_lengths);
        return;
    case WFBitMapT:
        early_sync_uuid_.reset();  // the source sends it when it has this node's bitmap
        resync_.begin_bitmap(Direction::Target, run_lengths);
        return;
    case WFSyncUUID:
        sync_uuid_since_ms_ = owner_.now_ms();
        return;
    case StartingSyncS:
        target_may_not_know();
        io_.resync_begins();
        disk_.bitmap.set_all_out_of_sync();
        begin_transition(Transition::BecomeSource);
        return;
    case StartingSyncT:
        // The superblock says Inconsistent and "all bits" before anything else.
        begin_transition(Transition::InvalidateSelf);
        return;
    default:
        return;
    }
}

// Aborted: what was done stays done, the rest follows when the nodes meet again.
void Volume::left_resync(const State& before, const char* reason) {
    if (finishing_)
        return;
    waits_for_ping_ = false;
    forget_start();
    transition_of_ = 0;  // what is at the disk yet begins no other resync of this connection
    ResyncProgress progress;  // with the link it has stopped already
    progress.source = is_source(before.connection);
    progress.left_blocks = disk_.bitmap.count();
    progress.total_blocks = before.connection >= SyncSource ? resync_.total_blocks() : progress.left_blocks;
    notify_resync(DRBD_RESYNC_ABORTED, progress, reason);
    resync_.abort();
    bits_due_ |= is_attached();
}

}  // namespace drbd
