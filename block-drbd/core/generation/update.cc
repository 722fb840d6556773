// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/generation/update.h"

#include "core/base/assert.h"
#include "core/generation/compare.h"

namespace drbd {

namespace {

// What a slot held goes into the history when something else takes its place.
Uuids with_bitmap(const Uuids& old, uint64_t bitmap) {
    Uuids result = old;
    if (old.bitmap != 0) {
        result.history[1] = old.history[0];
        result.history[0] = old.bitmap;
    }
    result.bitmap = bitmap;
    return result;
}

Uuids with_current(const Uuids& old, uint64_t current, Role role) {
    Uuids result = old;
    result.current = current;
    return with_role(result, role == Role::Primary);
}

bool counts_from_a_generation(const Uuids& uuids) {
    return !same_generation(uuids.bitmap, 0) && !same_generation(uuids.bitmap, metafmt::kUuidJustCreated);
}

// The offset must not make a reserved value of it.
bool is_usable(uint64_t uuid) {
    return !same_generation(uuid, 0) && !same_generation(uuid, metafmt::kUuidJustCreated);
}

}  // namespace

Uuids with_resync_begun(const Uuids& own, Random& random) {
    uint64_t sync_uuid = own.bitmap + kSyncUuidOffset;
    if (!counts_from_a_generation(own) || !is_usable(sync_uuid))
        sync_uuid = with_new_generation(own, random).current;
    return with_bitmap(own, sync_uuid);
}

Uuids with_sync_uuid(const Uuids& own, uint64_t sync_uuid, Role role) {
    Uuids result = with_current(own, sync_uuid, role);
    result.bitmap = 0;
    return result;
}

Uuids with_resync_finished_as_target(const Uuids& own, const Uuids& peer, Role role) {
    Uuids result = with_bitmap(peer, own.current);  // the sync identifier
    result = with_bitmap(result, 0);
    return with_current(result, peer.current, role);
}

Uuids with_resync_finished_as_source(const Uuids& own) { return with_bitmap(own, 0); }

bool may_skip_initial_sync(const Uuids& own) {
    return same_generation(own.current, metafmt::kUuidJustCreated);
}

Uuids with_initial_sync_skip_announced(const Uuids& own, Role role, Random& random) {
    DRBD_ASSERT(may_skip_initial_sync(own));
    return with_role(with_new_generation(with_bitmap(own, 0), random), role == Role::Primary);
}

// "Just created" was nobody's generation and leaves no trace in the history.
Uuids with_initial_sync_skipped(const Uuids& announced) {
    Uuids result = announced;
    result.bitmap = 0;
    return result;
}

Uuids with_peers_first_generation(const Uuids& own, uint64_t peer_current, Role role) {
    DRBD_ASSERT(may_skip_initial_sync(own));
    Uuids result = with_current(own, peer_current, role);
    result.bitmap = 0;
    return result;
}

}  // namespace drbd
