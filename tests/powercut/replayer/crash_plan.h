// SPDX-License-Identifier: GPL-2.0-or-later
// Which crash points and modes are judged: half of the points lie directly
// before or after an event of the metadata, the rest anywhere; where nothing
// is in the caches one state is all there is.
#pragma once

#include <vector>

#include "disk_cache.h"

namespace powercut {

struct CrashState {
    uint64_t point;  // the number of events that happened
    Mode mode;
    uint64_t seed;
};

std::vector<CrashState> plan_states(const SequenceLog& log, const Geometry& geometry,
                                    uint64_t count, uint64_t seed);

}  // namespace powercut
