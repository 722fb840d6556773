// SPDX-License-Identifier: GPL-2.0-or-later
// Data generations of one volume: which lineage its data belongs to.  In: the
// identifiers as the superblock keeps them; out: the identifiers after an
// event (spec section 5.10, "UUID updates").  Bit 0 of the current one says
// "written as Primary" and is no part of the identity (trap 27).
#pragma once

#include <cstdint>

#include "core/base/random.h"
#include "metafmt/data_generation.h"

namespace drbd {

using metafmt::Uuids;

constexpr uint64_t kUuidPrimaryBit = 1;

inline bool same_generation(uint64_t a, uint64_t b) {
    return (a & ~kUuidPrimaryBit) == (b & ~kUuidPrimaryBit);
}

// A new current identifier for writes that the peer will not see; what was
// current becomes the one that the bitmap counts from.  A generation that the
// bitmap counted from before (forced promotions) goes into the history, so that
// a peer that still has it is known, and gets a full resync (rule 80).
Uuids with_new_generation(const Uuids& old, Random& random);

// Bit 0 follows the role.
Uuids with_role(const Uuids& old, bool primary);

}  // namespace drbd
