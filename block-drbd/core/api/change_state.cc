// SPDX-License-Identifier: GPL-2.0-or-later
// The one place where a volume's state is assigned, and what follows from it at
// once: notices, and what the guest may do (volume.h, spec section 5.1).
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
    const State old_state = state_;
    state_ = next;

    Notices& notices = owner_.notices();
    const int volume = static_cast<int>(number_);
    if (old_state.disk != next.disk) {
        std::snprintf(disk_reason_, sizeof disk_reason_, "%s", reason);
        notices.state(volume, operation, "disk", name_of(old_state.disk), name_of(next.disk), reason);
    }
    if (old_state.peer_disk != next.peer_disk)
        notices.state(volume, operation, "peer-disk", name_of(old_state.peer_disk), name_of(next.peer_disk), reason);
    refresh_access();
    return verdict;
}

// Design D17: a Secondary's copy is not the guest's to see or change.  Without
// a peer only an UpToDate disk can serve (spec 6.1, 6.9).
void Volume::refresh_access() {
    const bool primary = state_.role == Role::Primary;
    const bool disk = state_.disk == DiskState::UpToDate && !leaving_;
    const int write_error = !primary || demoting_ ? -EROFS : disk ? 0 : -EIO;
    io_.set_access(primary && disk ? 0 : -EIO, write_error);
}

}  // namespace drbd
