// SPDX-License-Identifier: GPL-2.0-or-later
// The core's only source of randomness: xoroshiro128+ over the seed that came
// with the resource's configuration, so that a run can be repeated bit for bit.
// It draws identifiers of data generations; it is no cipher.
#pragma once

#include <cstdint>

namespace drbd {

class Random {
  public:
    Random(uint64_t seed0, uint64_t seed1) : a_(seed0), b_(seed1) {
        if (a_ == 0 && b_ == 0)
            a_ = 0x9e3779b97f4a7c15u;  // the all-zero state has no successor
        for (int i = 0; i < 8; i++)
            (void)next();
    }

    uint64_t next() {
        const uint64_t a = a_;
        uint64_t b = b_;
        const uint64_t result = a + b;
        b ^= a;
        a_ = rotate(a, 24) ^ b ^ (b << 16);
        b_ = rotate(b, 37);
        return result;
    }

  private:
    static uint64_t rotate(uint64_t value, int by) { return (value << by) | (value >> (64 - by)); }

    uint64_t a_;
    uint64_t b_;
};

}  // namespace drbd
