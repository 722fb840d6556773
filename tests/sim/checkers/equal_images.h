// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: two UpToDate nodes that are connected and at rest hold equal images of
// one data generation, and no bit is set.
// Verified: every sector that was ever written on either disk; the current
// identifiers, bit 0 aside.  To be asked only when nothing is in flight.
#pragma once

#include <string>

#include "disk.h"

namespace drbd::sim {

std::string check_equal_images(const Disk& a, const Disk& b);

}  // namespace drbd::sim
