// SPDX-License-Identifier: GPL-2.0-or-later
// A packet as one line for people: its name and the fields that say something.
// In: a frame that core/wire has cut from a stream, and the names of the
// generations.  Out: a text; for a frame that cannot be decoded the error.
// Handles and paddings are left out: they are drawn, or mean nothing.
#pragma once

#include <string>

#include "core/wire/frame.h"
#include "script/names.h"

namespace drbd::sim {

std::string packet_text(const wire::Frame& frame, Names& names);

// "8+8": first sector and number of sectors.
std::string range_text(uint64_t sector, uint64_t sectors);

}  // namespace drbd::sim
