// SPDX-License-Identifier: GPL-2.0-or-later
// Bits in a row of bytes, lowest bit of a byte first.  The writer begins on
// zeroed bytes and refuses what does not fit; the reader shows up to 64 bits
// ahead and never looks past the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/base/assert.h"

namespace drbd::wire {

class BitWriter {
  public:
    explicit BitWriter(std::span<uint8_t> bytes) : bytes_(bytes) {}

    bool put(uint64_t word, unsigned length) {
        if (length > bytes_.size() * 8 - at_)
            return false;
        while (length != 0) {
            const unsigned shift = at_ % 8;
            const unsigned step = std::min(8 - shift, length);
            uint8_t& byte = bytes_[at_ / 8];
            byte = static_cast<uint8_t>((shift == 0 ? 0 : byte) | (word & ((1u << step) - 1)) << shift);
            word >>= step;
            at_ += step;
            length -= step;
        }
        return true;
    }

    size_t length() const { return at_; }                  // bits
    size_t length_bytes() const { return (at_ + 7) / 8; }
    unsigned pad() const { return static_cast<unsigned>(length_bytes() * 8 - at_); }

  private:
    std::span<uint8_t> bytes_;
    size_t at_ = 0;
};

class BitReader {
  public:
    BitReader(std::span<const uint8_t> bytes, unsigned pad) : bytes_(bytes), end_(bytes.size() * 8 - pad) {
        DRBD_ASSERT(pad <= bytes.size() * 8);
    }

    size_t remaining() const { return end_ - at_; }

    // The next bits, as many as there are up to 64; zero above.
    uint64_t ahead() const {
        const size_t length = std::min<size_t>(remaining(), 64);
        uint64_t word = 0;
        for (size_t got = 0; got < length;) {
            const unsigned shift = (at_ + got) % 8;
            word |= static_cast<uint64_t>(bytes_[(at_ + got) / 8] >> shift) << got;
            got += 8 - shift;
        }
        return length == 64 ? word : word & ((1ull << length) - 1);
    }

    void skip(size_t length) {
        DRBD_ASSERT(length <= remaining());
        at_ += length;
    }

  private:
    std::span<const uint8_t> bytes_;
    size_t end_;
    size_t at_ = 0;
};

}  // namespace drbd::wire
