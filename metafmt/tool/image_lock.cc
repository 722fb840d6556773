// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/image_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace drbd::metafmt::tool {
namespace {

// A locked byte at kHeld + p says "somebody uses permission p", a locked byte
// at kDenied + p "somebody does not tolerate that others use p".
constexpr off_t kHeld = 100;
constexpr off_t kDenied = 200;

enum Permission { kConsistentRead = 0, kWrite = 1, kWriteUnchanged = 2, kResize = 3 };

constexpr auto kWeHold = {kConsistentRead, kWrite};
constexpr auto kWeDeny = {kWrite, kWriteUnchanged, kResize};

struct flock byte_lock(short type, off_t byte) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return lock;
}

bool take(int fd, off_t byte) {
    struct flock lock = byte_lock(F_RDLCK, byte);
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// Whether another open file description has a lock on the byte.
bool is_locked_elsewhere(int fd, off_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace

// First announce, then look: of two that start at once at least one sees the
// other.
LockOutcome lock_for_writing(int fd) {
    for (Permission permission : kWeHold)
        if (!take(fd, kHeld + permission))
            return errno == EAGAIN || errno == EACCES ? LockOutcome::InUse : LockOutcome::Unsupported;
    for (Permission permission : kWeDeny)
        if (!take(fd, kDenied + permission))
            return errno == EAGAIN || errno == EACCES ? LockOutcome::InUse : LockOutcome::Unsupported;
    for (Permission permission : kWeHold)
        if (is_locked_elsewhere(fd, kDenied + permission))
            return LockOutcome::InUse;
    for (Permission permission : kWeDeny)
        if (is_locked_elsewhere(fd, kHeld + permission))
            return LockOutcome::InUse;
    return LockOutcome::Locked;
}

bool is_written_elsewhere(int fd) { return is_locked_elsewhere(fd, kHeld + kWrite); }

}  // namespace drbd::metafmt::tool
