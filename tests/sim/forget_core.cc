// SPDX-License-Identifier: GPL-2.0-or-later
// The one place that looks behind the C border: memory of a process that died, and
// the role, which is asked so often that a status with its texts would cost too much.
#include "core/api/resource.h"
#include "node.h"

namespace drbd::sim {

void forget_core(DrbdResource* core) {
    delete core;
}

bool is_primary_core(const DrbdResource* core) {
    return core->role() == Role::Primary;
}

}  // namespace drbd::sim
