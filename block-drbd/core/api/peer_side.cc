// SPDX-License-Identifier: GPL-2.0-or-later
// What the peer's writes and reads ask of a volume (volume.h, peer/peer_io.h).
#include <cerrno>

#include "core/api/volume.h"

namespace drbd {

bool Volume::peer_may_write() const {
    return is_attached() && state_.disk >= DiskState::Inconsistent && !leaving_ && is_connected();
}

// A peer that knows this disk's state writes to one that is not UpToDate only while a resync mends it (spec 6.1); one
// that has not heard yet must not rest on it: its own disk may fail before it hears.
bool Volume::takes_replicated_writes() const {
    return peer_may_write() && (state_.disk == DiskState::UpToDate || state_.connection > ConnectionState::Connected);
}

bool Volume::peer_may_read() const { return state_.disk == DiskState::UpToDate && is_attached() && !leaving_; }

bool Volume::is_syncing() const {
    return state_.connection >= ConnectionState::SyncSource && state_.connection <= ConnectionState::PausedSyncT;
}

bool Volume::peer_has_no_disk() const { return state_.peer_disk < DiskState::Inconsistent; }

void Volume::set_out_of_sync(Sector start, Bytes length) {
    if (is_attached())
        disk_.bitmap.set_out_of_sync(start, whole_sectors(length));
}

void Volume::set_in_sync(Sector start, Bytes length) {
    if (is_attached())
        disk_.bitmap.set_in_sync(start, whole_sectors(length));
}

// The activity log is the writer's; a node that writes for a peer without a disk
// keeps the bits on its own disk instead, before the write.
bool Volume::want_bits_stable(Sector start, Bytes length) {
    const uint64_t first = start.value / kSectorsPerBlock / kBitsPerPage;
    const uint64_t last = (start.value + whole_sectors(length).value - 1) / kSectorsPerBlock / kBitsPerPage;
    for (uint64_t page = first; page <= last; page++)
        if (disk_.bitmap.is_dirty(page)) {
            bits_due_ = bits_wanted_ = true;
            return false;
        }
    // A page that is on its way is clean already, whatever writes it.
    const bool may_be_out = current_ && current_ != &superblock_write_;
    bits_due_ |= may_be_out && !bits_out_;
    bits_wanted_ |= may_be_out;
    return !may_be_out;
}

// What this copy lacks it must not hide: there is no guest here who could be
// told (design D17).
void Volume::on_peer_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) {
    const bool write = kind != DRBD_REQUEST_READ;
    lacks_at_end_ |= write;
    image_failed(kind == DRBD_REQUEST_DISCARD ? DRBD_REQUEST_ZEROES : kind, offset, bytes, error);
    if (!write)
        return;
    // Its refusal may not reach the peer any more.
    lacks_received_ |= !is_attached();
    if (!is_connected() && is_attached() && state_.disk > DiskState::Inconsistent)
        lack_what_peer_wrote();
}

// A write of a peer that is gone: no refusal reaches it, and it may count on this copy.
// The state must say what the copy lacks, and what was received after it is not written.
void Volume::lack_what_peer_wrote() {
    State wanted = state_;
    wanted.disk = DiskState::Inconsistent;
    change_state(ChangeKind::Hard, wanted, "a write received from the peer failed after the connection was lost", 0);
    want_superblock();
    owner_.peer_io().disk_lost(number_);
}

void Volume::count_received(uint64_t bytes) {
    received_writes_++;
    received_bytes_ += bytes;
}

}  // namespace drbd
