// SPDX-License-Identifier: GPL-2.0-or-later
// The locks by which QEMU's processes agree who may use an image: byte-range
// locks of the open file description, one byte per permission.  In: an open
// file.  lock_for_writing keeps every other writer out, and every reader that
// does not tolerate writers, until the file is closed; it fails if one is
// there already.  is_written_elsewhere only looks.
#pragma once

namespace drbd::metafmt::tool {

enum class LockOutcome { Locked, InUse, Unsupported };

LockOutcome lock_for_writing(int fd);
bool is_written_elsewhere(int fd);

}  // namespace drbd::metafmt::tool
