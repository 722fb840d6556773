// SPDX-License-Identifier: GPL-2.0-or-later
// Run lengths of the bitmap as code of variable length (docs/WIRE.md, "Run
// lengths"): ten levels, each a prefix that says which and some bits of value.
// A codeword is at most 64 bits, and its first bit is its lowest.
// Invariant: every value from 1 to kVliMax has one codeword, which decodes to
// it; 0 has none.
#pragma once

#include <cstdint>

namespace drbd::wire {

constexpr uint64_t kVliMax = 72057611219902768u;

struct VliCode {
    uint64_t word = 0;
    unsigned length = 0;  // bits
};

VliCode vli_encode(uint64_t value);

// `ahead`: the next bits, zero above `available`.  Length 0: they end in the
// middle of a codeword.
struct VliValue {
    uint64_t value = 0;
    unsigned length = 0;
};

VliValue vli_decode(uint64_t ahead, unsigned available);

}  // namespace drbd::wire
