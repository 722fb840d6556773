// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the fixed part of a frame as its layout.  A frame that is shorter than
// the layout leaves the rest zero: those are the packets that grew.
#pragma once

#include <algorithm>
#include <cstring>

#include "core/wire/frame.h"

namespace drbd::wire {

template <typename Layout>
Layout fixed_part(const Frame& frame) {
    Layout layout{};
    std::memcpy(static_cast<void*>(&layout), frame.fixed.data(), std::min(sizeof layout, frame.fixed.size()));
    return layout;
}

}  // namespace drbd::wire
