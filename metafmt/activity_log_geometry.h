// SPDX-License-Identifier: GPL-2.0-or-later
// Shape of the activity-log ring: `stripes` runs of `stripe_size_4k` blocks of
// 4 KiB.  Consecutive transactions go to consecutive stripes, so that on a
// striped array they do not hit the same disk.  In: a ring position; out: the
// block's place on the disk.  docs/METADATA.md, "Activity log".
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/result.h"
#include "core/base/units.h"

namespace drbd::metafmt {

constexpr uint64_t kActivityLogBlocksMin = 8;
constexpr uint64_t kActivityLogBlocksMax = 4194304;  // 16 GiB of ring

constexpr uint32_t kActivityLogContextPerBlock = 919;
constexpr uint32_t kActivityLogSlotsMin = 67;
constexpr uint32_t kActivityLogSlotsMax = 65534;

struct ActivityLogGeometry {
    uint32_t stripes = 1;
    uint32_t stripe_size_4k = 8;

    bool operator==(const ActivityLogGeometry&) const = default;

    constexpr uint64_t blocks() const { return static_cast<uint64_t>(stripes) * stripe_size_4k; }
    constexpr Sector size() const { return Sector(blocks() * kSectorsPerBlock); }

    constexpr uint64_t position_of(uint32_t tr_number) const { return tr_number % blocks(); }

    // Index of the block on the disk, counted from the start of the log.
    constexpr uint64_t block_at(uint64_t position) const {
        return (position % stripes) * stripe_size_4k + position / stripes;
    }

    // The ring must hold the context of every slot at all times: each
    // transaction repeats 919 slots, one block is being overwritten.
    constexpr uint32_t slots_max() const {
        const uint64_t covered = kActivityLogContextPerBlock * (blocks() - 1);
        return static_cast<uint32_t>(std::min<uint64_t>(covered, kActivityLogSlotsMax));
    }

    Result<void> check() const {
        if (stripes == 0 || stripe_size_4k == 0)
            return Error::of(ErrorCode::Corrupt, "al-stripes %u and al-stripe-size-4k %u: neither may be zero",
                             stripes, stripe_size_4k);
        if (blocks() < kActivityLogBlocksMin || blocks() > kActivityLogBlocksMax)
            return Error::of(ErrorCode::Corrupt,
                             "activity log of %u stripes x %u blocks: must have 8 to 4194304 blocks of 4 KiB", stripes,
                             stripe_size_4k);
        return {};
    }
};

}  // namespace drbd::metafmt
