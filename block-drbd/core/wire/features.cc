// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/features.h"

#include <algorithm>

namespace drbd::wire {

Result<Agreement> agree(const FeatureOffer& local, const FeatureOffer& peer) {
    DRBD_ASSERT(local.version_min >= kVersionMin);
    DRBD_ASSERT(local.version_max <= kVersionMax);
    DRBD_ASSERT(local.version_min <= local.version_max);
    const unsigned version = std::min(local.version_max, peer.version_max);
    if (version < local.version_min || version < peer.version_min)
        return Error::of(ErrorCode::Incompatible,
                         "no common protocol version: this node speaks %u to %u, the peer %u to %u; "
                         "upgrade the older one",
                         local.version_min, local.version_max, peer.version_min, peer.version_max);
    return Agreement{version, {local.features.bits & peer.features.bits & kFeaturesKnown}};
}

Bytes bulk_max(unsigned version) {
    if (version >= 100)
        return Bytes(1ull << 20);
    return Bytes(version >= 95 ? 128ull << 10 : 32ull << 10);
}

Bytes peer_bio_max(unsigned version, uint32_t offered) {
    if (version >= 94)
        return bulk_max(version);
    return Bytes(round_down(std::clamp<uint64_t>(offered, kBlockSize, bulk_max(version).value), kBlockSize));
}

Bytes zeroes_max(Features features) {
    return Bytes(features.has(Feature::WriteSame) ? 128ull << 20 : 4ull << 20);
}

}  // namespace drbd::wire
