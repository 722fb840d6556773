// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes that libFuzzer gives, read from the front.  What is missing at the
// end reads as 0, so that every prefix of an input is an input.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace drbd::fuzz {

class Input {
  public:
    Input(const uint8_t* data, size_t size) : rest_(data, size) {}

    bool is_empty() const { return rest_.empty(); }
    size_t size() const { return rest_.size(); }

    uint8_t u8() { return static_cast<uint8_t>(number(1)); }
    uint16_t u16() { return static_cast<uint16_t>(number(2)); }
    uint32_t u32() { return static_cast<uint32_t>(number(4)); }
    uint64_t u64() { return number(8); }
    bool flag() { return (u8() & 1) != 0; }

    // 0..n-1; takes as many bytes as n needs.
    uint64_t below(uint64_t n) { return number(n <= 1 ? 0 : n <= 256 ? 1 : n <= 65536 ? 2 : n <= 1ull << 32 ? 4 : 8) % n; }

    // At most so many.
    std::span<const uint8_t> bytes(size_t n) {
        const std::span<const uint8_t> taken = rest_.first(std::min(n, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    std::span<const uint8_t> rest() { return bytes(rest_.size()); }

    // Fills `to` from the front; what is missing stays as it is.
    void fill(std::span<uint8_t> to) {
        const std::span<const uint8_t> from = bytes(to.size());
        std::copy(from.begin(), from.end(), to.begin());
    }

  private:
    uint64_t number(unsigned size) {
        uint64_t value = 0;
        for (unsigned i = 0; i < size; i++) {
            value = value << 8 | (rest_.empty() ? 0 : rest_[0]);
            rest_ = rest_.subspan(rest_.empty() ? 0 : 1);
        }
        return value;
    }

    std::span<const uint8_t> rest_;
};

}  // namespace drbd::fuzz
