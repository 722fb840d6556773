// SPDX-License-Identifier: GPL-2.0-or-later
// How the identifiers of a connected volume change: at the start and the end of
// a resync, and when the first sync is skipped (spec section 5.10; what a node
// does on its own is in generation.h).  In: identifiers as they are; out: as
// they are afterwards.  Who calls writes them to the superblock in the order
// that design D15 demands: sync identifier and Inconsistent together, the end
// of a resync only after the image was flushed.  Bit 0 of `current` follows the
// role of the node that keeps it.
#pragma once

#include "core/base/random.h"
#include "core/generation/generation.h"
#include "core/state/state.h"

namespace drbd {

// The source begins: `bitmap` of the result is the sync identifier that
// P_SYNC_UUID carries.  It is the old bitmap identifier plus a constant, by
// which the other node recognises a start that it did not hear of (rules 51 and
// 71); a fresh one where there was none.  The old one goes into the history.
Uuids with_resync_begun(const Uuids& own, Random& random);

// The target hears of it: its data is on its way to `sync_uuid` and is neither
// the old generation nor the new.  The old one does not enter the history
// (trap 33): after a crash of this node nobody must take it for that.
Uuids with_sync_uuid(const Uuids& own, uint64_t sync_uuid, Role role);

// The end without failed blocks.  `peer` is the copy from the peer's last
// P_UUIDS, repaired by the verdict (compare.h).  Afterwards both nodes have:
// current of the source, no bitmap identifier, the sync identifier, what the
// source's bitmap counted from; of a source that told its identifiers again
// while the resync ran (a promotion) the target has the sync identifier twice
// instead, as the kernel's.
Uuids with_resync_finished_as_target(const Uuids& own, const Uuids& peer, Role role);
Uuids with_resync_finished_as_source(const Uuids& own);

// Skipping the first sync of two disks that hold the same bytes.  One node
// announces a new generation (P_UUIDS with flag 8), and then both have it.
bool may_skip_initial_sync(const Uuids& own);
Uuids with_initial_sync_skip_announced(const Uuids& own, Role role, Random& random);
Uuids with_initial_sync_skipped(const Uuids& announced);
Uuids with_peers_first_generation(const Uuids& own, uint64_t peer_current, Role role);

}  // namespace drbd
