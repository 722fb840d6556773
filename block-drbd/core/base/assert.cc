// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace drbd {

void assertion_failed(const char* condition, const char* file, int line) {
    std::fprintf(stderr, "drbd: assertion failed: %s (%s:%d)\n", condition, file, line);
    std::abort();
}

}  // namespace drbd
