// SPDX-License-Identifier: GPL-2.0-or-later
// What the superblock says about a state (spec section 5.5), and what a state
// follows from a superblock (4.7).  Pure functions.
#pragma once

#include "core/metadata/disk.h"
#include "core/state/state.h"

namespace drbd {

// Whether a clean superblock may be written: bitmap and ring are as after
// apply-al, and no write of this node can follow (design D14, spec row 104).
enum class Cleanness { InUse, Clean };

// The superblock of a disk in `state`.
metafmt::Superblock superblock_of(const Disk& disk, const State& state, Cleanness cleanness);

// Disk state after an attach, with fencing off.
DiskState disk_state_of(metafmt::MdFlags flags);
DiskState peer_disk_state_of(metafmt::MdFlags flags);

}  // namespace drbd
