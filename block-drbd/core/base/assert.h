// SPDX-License-Identifier: GPL-2.0-or-later
// Assertions of the core.  They stay on in every build: a broken invariant of
// our own must stop the process before it reaches a disk.  They never test
// bytes that came from outside (peer, disk, configuration, guest): those are
// errors, see result.h.
#pragma once

namespace drbd {

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace drbd

#define DRBD_ASSERT(condition)                                             \
    do {                                                                   \
        if (!(condition)) [[unlikely]]                                     \
            ::drbd::assertion_failed(#condition, __FILE__, __LINE__);      \
    } while (0)
