// SPDX-License-Identifier: GPL-2.0-or-later
// Digests and keyed digests for the simulation.  The core compares digests and
// never computes one, so any function does that differs when a bit differs.
// In: bytes, and a secret.  Out: kPlayedDigestSize bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "drbd-core.h"

namespace drbd::sim {

constexpr unsigned kPlayedDigestSize = 32;

void played_digest(const std::string& secret, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]);

}  // namespace drbd::sim
