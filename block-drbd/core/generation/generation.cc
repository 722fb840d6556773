// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/generation/generation.h"

namespace drbd {

namespace {

// 0 and the just-created identifier have a meaning of their own.
uint64_t fresh_uuid(Random& random) {
    uint64_t uuid;
    do {
        uuid = random.next() & ~kUuidPrimaryBit;
    } while (uuid == 0 || uuid == metafmt::kUuidJustCreated);
    return uuid;
}

}  // namespace

Uuids with_new_generation(const Uuids& old, Random& random) {
    Uuids result = old;
    if (old.bitmap != 0 && !same_generation(old.bitmap, metafmt::kUuidJustCreated)) {
        result.history[1] = old.history[0];
        result.history[0] = old.bitmap;
    }
    result.bitmap = old.current;
    result.current = fresh_uuid(random);
    return result;
}

Uuids with_role(const Uuids& old, bool primary) {
    Uuids result = old;
    result.current = primary ? old.current | kUuidPrimaryBit : old.current & ~kUuidPrimaryBit;
    return result;
}

}  // namespace drbd
