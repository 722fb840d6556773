// SPDX-License-Identifier: GPL-2.0-or-later
// The only source of chance in a simulation: splitmix64 over one seed.  What is
// drawn depends on the seed and on the order of the questions alone, so that a
// run can be repeated bit for bit.  fork() gives a stream of its own to a part
// whose questions shall not disturb the others'.
#pragma once

#include <cmath>
#include <cstdint>

namespace drbd::sim {

class Rng {
    __extension__ using Wide = unsigned __int128;

  public:
    explicit Rng(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // 0 to n - 1.
    uint64_t below(uint64_t n) { return static_cast<uint64_t>((static_cast<Wide>(next()) * n) >> 64); }
    // low to high, both included.
    uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
    bool chance(double p) { return p > 0 && static_cast<double>(next() >> 11) * 0x1p-53 < p; }
    // Intervals between events that come at random.
    uint64_t exponential(uint64_t mean) {
        const double u = static_cast<double>((next() >> 11) + 1) * 0x1p-53;
        return static_cast<uint64_t>(-std::log(u) * static_cast<double>(mean));
    }
    uint64_t state() const { return state_; }
    Rng fork() { return Rng(next()); }

  private:
    uint64_t state_;
};

}  // namespace drbd::sim
