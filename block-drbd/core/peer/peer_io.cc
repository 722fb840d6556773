// SPDX-License-Identifier: GPL-2.0-or-later
// What comes from outside and concerns all kinds of work (peer_io.h).
#include "core/peer/peer_io.h"

#include <cerrno>

namespace drbd {

void PeerIo::set_volume(unsigned number, PeerVolume* volume) {
    PerVolume& v = volumes_[number];
    DRBD_ASSERT(!volume || (v.order.empty() && v.writes == 0));
    v.volume = volume;
    // What the closed volume has not flushed nobody will: end_epochs() finds it.
    if (volume)
        v.unflushed = false;
}

Result<PeerVolume*> PeerIo::volume_of(const wire::Frame& frame) {
    if (frame.volume >= DRBD_MAX_VOLUMES || !volumes_[frame.volume].volume)
        return Error::of(ErrorCode::Protocol, "%s: volume %u is not here", frame.row->name, frame.volume);
    return volumes_[frame.volume].volume;
}

void PeerIo::begin_connection_if_new() {
    if (times_up_ == link_.times_up())
        return;
    times_up_ = link_.times_up();
    epochs_.begin_connection();
    for (PerVolume& v : volumes_)
        v.peer_sequence = 0;
}

// Only the node with the RC-flag would have to wait for a number, and only if
// both may be Primary; it is kept so that the numbers can be looked at.
void PeerIo::on_peer_sequence(unsigned volume, uint32_t sequence) {
    begin_connection_if_new();
    uint32_t& newest = volumes_[volume].peer_sequence;
    if (link_.resolve_conflicts() && static_cast<int32_t>(sequence - newest) > 0)
        newest = sequence;
}

bool PeerIo::enter(PeerRequest& resync_write, PeerRangeWaiter& waiter) {
    DRBD_ASSERT(resync_write.work == PeerWork::ResyncWrite && resync_write.bytes() > 0);
    resync_write.waiter = &waiter;
    return volumes_[resync_write.volume].order.enter(resync_write, epochs_.oldest());
}

void PeerIo::leave(PeerRequest& resync_write) {
    PerVolume& v = volumes_[resync_write.volume];
    // Granted, but not told yet.
    if (resync_write.range.in_tree && PeerRequestList::is_linked(resync_write))
        granted_.erase(resync_write);
    v.order.leave(resync_write);
    if (v.order.has_blocked())
        go_on(v);
}

void PeerIo::on_peer_io_done(PeerRequest& request) {
    switch (request.work) {
    case PeerWork::Write: return write_done(request);
    case PeerWork::Read: return read_done(request);
    case PeerWork::EpochFlush: return flush_done(request);
    case PeerWork::ResyncRead:
    case PeerWork::ResyncStatus:
    case PeerWork::ResyncWrite:
    case PeerWork::ResyncFlush: break;
    }
    assertion_failed("work of peer/", __FILE__, __LINE__);
}

void PeerIo::link_lost() {
    DRBD_ASSERT(!link_.is_up());
    drop_announced();
    // Nobody waits for the answer to a read.
    for (unsigned volume = 0; volume < DRBD_MAX_VOLUMES; volume++)
        requests_.fail_queued(volume, PeerWork::Read, PeerWork::Read, -ECANCELED);
    end_epochs();
}

void PeerIo::disk_lost(unsigned volume) {
    PerVolume& v = volumes_[volume];
    if (v.disk_lost)
        return;
    v.disk_lost = true;
    fail_waiting(volume);
    requests_.fail_queued(volume, PeerWork::Write, PeerWork::Read, -EIO);
    v.disk_lost = false;
    go_on(v);
    end_epochs();
}

void PeerIo::disk_flushed(unsigned volume) { volumes_[volume].unflushed = false; }

}  // namespace drbd
