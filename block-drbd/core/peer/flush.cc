// SPDX-License-Identifier: GPL-2.0-or-later
// The end of an epoch (peer_io.h; design D6): when all its writes are done,
// every volume that has something in its cache is flushed, all at once; then the
// barrier is acknowledged and the next epoch begins.  A flush that fails is a
// disk that failed: what was acknowledged since the last barrier is not safe, so
// the peer must hear nothing more and resync it.
#include <cerrno>
#include <cstring>

#include "core/peer/peer_io.h"

namespace drbd {

Result<void> PeerIo::on_barrier(const wire::Frame& frame) {
    auto number = wire::decode_barrier(frame);
    if (!number)
        return number.error();
    begin_connection_if_new();
    if (!epochs_.has_room())
        return Error::of(ErrorCode::Protocol, "P_BARRIER: %u epochs are not over yet", epochs_.unfinished());
    if (epochs_.end_current(number.value()))
        end_epochs();
    return {};
}

// Also when the connection is gone: what was received is written in its order,
// and a loss of power must not find a later epoch without an earlier one.
void PeerIo::end_epochs() {
    if (ending_epochs_)
        return;  // something that it caused comes back here; the loop goes on
    ending_epochs_ = true;
    while (epochs_.is_oldest_over()) {
        if (!flush_begun_)
            begin_flushes();
        if (flushes_ != 0)
            break;
        flush_begun_ = false;
        acknowledge_epoch();
        epochs_.remove_oldest();
        for (PerVolume& v : volumes_)
            go_on(v);
    }
    ending_epochs_ = false;
    if (!link_.is_up() && epochs_.is_idle())
        epochs_.begin_connection();
}

void PeerIo::begin_flushes() {
    flush_begun_ = true;
    for (unsigned number = 0; number < DRBD_MAX_VOLUMES; number++) {
        PerVolume& v = volumes_[number];
        if (!v.unflushed)
            continue;
        v.unflushed = false;
        if (!v.volume) {
            flush_failed(number, -ENODEV);
            continue;
        }
        PeerRequest& flush = *requests_.take(number, PeerWork::EpochFlush, 0);
        flush.io = DRBD_PEER_FLUSH;
        flush.times_up = link_.times_up();
        flushes_++;
        requests_.submit(flush);
    }
}

void PeerIo::flush_done(PeerRequest& request) {
    const unsigned volume = request.volume;
    const int error = request.result;
    requests_.finish(request);
    DRBD_ASSERT(flushes_ > 0);
    flushes_--;
    if (error != 0)
        flush_failed(volume, error);
    end_epochs();
}

// What waits is not written any more: an epoch that may be lost with the power
// must not be followed by a later one.
void PeerIo::flush_failed(unsigned volume, int error) {
    link_.drop(ConnectionState::NetworkFailure,
               "the disk of volume %u could not be flushed (%s): what the peer wrote last must be resynced", volume,
               std::strerror(-error));
    for (unsigned number = 0; number < DRBD_MAX_VOLUMES; number++)
        fail_waiting(number);
    if (PeerVolume* owner = volumes_[volume].volume)
        owner->on_peer_disk_error(DRBD_REQUEST_FLUSH, 0, 0, error);
}

}  // namespace drbd
