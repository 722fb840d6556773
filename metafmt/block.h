// SPDX-License-Identifier: GPL-2.0-or-later
// The unit in which superblock and activity log are written: 4096 bytes, owned
// by the caller.  Encoders fill one, decoders look at one; nothing here
// allocates or does I/O.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/units.h"

namespace drbd::metafmt {

using Block = std::span<uint8_t, kBlockSize>;
using ConstBlock = std::span<const uint8_t, kBlockSize>;

}  // namespace drbd::metafmt
