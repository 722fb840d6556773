// SPDX-License-Identifier: GPL-2.0-or-later
// The one place that looks behind the C border: memory of a process that died.
#include "core/api/resource.h"
#include "node.h"

namespace drbd::sim {

void forget_core(DrbdResource* core) {
    delete core;
}

}  // namespace drbd::sim
