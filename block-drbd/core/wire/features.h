// SPDX-License-Identifier: GPL-2.0-or-later
// What two nodes agree on before anything else: a protocol version and a set
// of features (docs/WIRE.md, "Versions and features").  In: both offers.  Out:
// an Agreement, which decides headers, packet sizes and limits from the next
// packet on, or an Incompatible error.
// Invariants: an Agreement's version is 0 (nothing agreed yet) or within
// kVersionMin..kVersionMax; its features are known ones.
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "core/base/units.h"

namespace drbd::wire {

constexpr unsigned kVersionMin = 86;
constexpr unsigned kVersionMax = 101;

enum class Feature : uint32_t {
    None = 0,
    Trim = 1,
    ThinResync = 2,
    WriteSame = 4,
    WriteZeroes = 8,
};
constexpr uint32_t kFeaturesKnown = 15;

struct Features {
    uint32_t bits = 0;

    bool operator==(const Features&) const = default;
    constexpr bool has(Feature feature) const {
        const uint32_t bit = static_cast<uint32_t>(feature);
        return (bits & bit) == bit;
    }
};

// What one node can do: the content of P_CONNECTION_FEATURES.
struct FeatureOffer {
    unsigned version_min = kVersionMin;
    unsigned version_max = kVersionMax;
    Features features{kFeaturesKnown};

    bool operator==(const FeatureOffer&) const = default;
};

struct Agreement {
    unsigned version = 0;  // 0: nothing agreed yet
    Features features;

    bool operator==(const Agreement&) const = default;
};

// The highest version both speak, and what both can.  The peer's unknown
// feature bits (DRBD 9 sets some) are dropped.
Result<Agreement> agree(const FeatureOffer& local, const FeatureOffer& peer);

// The most that one data packet may carry when we send it.
Bytes bulk_max(unsigned version);

// The largest request to send to a peer that offered `offered` in P_SIZES.
// From 95 on the peer splits by itself and its offer means nothing.
Bytes peer_bio_max(unsigned version, uint32_t offered);

// The largest discard, zeroes or write-same to send.
Bytes zeroes_max(Features features);

// 101 is 100 with the stop sector of an online verify, which 97 had already.
constexpr bool has_verify_stop_sector(unsigned version) { return version >= 97 && version != 100; }

}  // namespace drbd::wire
