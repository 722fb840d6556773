// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/vli.h"

#include <iterator>

#include "core/base/assert.h"

namespace drbd::wire {

namespace {

struct Level {
    unsigned length;         // of the codeword
    unsigned prefix_length;
    uint64_t prefix;
};

constexpr Level kLevels[] = {
    {2, 1, 0x00}, {3, 2, 0x01},  {5, 3, 0x03},  {7, 4, 0x07},  {10, 5, 0x0f},
    {14, 6, 0x1f}, {21, 8, 0x3f}, {29, 8, 0x7f}, {42, 8, 0xbf}, {64, 8, 0xff},
};

constexpr uint64_t values_of(const Level& level) {
    return 1ull << (level.length - level.prefix_length);
}

constexpr uint64_t values_of_all() {
    uint64_t sum = 0;
    for (const Level& level : kLevels)
        sum += values_of(level);
    return sum;
}
static_assert(values_of_all() == kVliMax);

}  // namespace

VliCode vli_encode(uint64_t value) {
    DRBD_ASSERT(value >= 1 && value <= kVliMax);
    uint64_t first = 1;
    for (const Level& level : kLevels) {
        if (value - first < values_of(level))
            return {(value - first) << level.prefix_length | level.prefix, level.length};
        first += values_of(level);
    }
    DRBD_ASSERT(false);
    return {};
}

VliValue vli_decode(uint64_t ahead, unsigned available) {
    uint64_t first = 1;
    for (const Level& level : kLevels) {
        const uint64_t mask = (1ull << level.prefix_length) - 1;
        if ((ahead & mask) == level.prefix) {
            if (level.length > available)
                return {};
            const uint64_t rest = level.length == 64 ? ahead : ahead & ((1ull << level.length) - 1);
            return {first + (rest >> level.prefix_length), level.length};
        }
        first += values_of(level);
    }
    DRBD_ASSERT(false);  // the prefixes are complete
    return {};
}

}  // namespace drbd::wire
