// SPDX-License-Identifier: GPL-2.0-or-later
// A disk of which the end is kept, where internal metadata lies; what is
// written before it is forgotten and reads as zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/base/assert.h"

namespace drbd::fuzz {

class PlayedDisk {
  public:
    PlayedDisk(uint64_t bytes, uint64_t kept) : bytes_(bytes), kept_(std::min(bytes, kept)) {}

    uint64_t bytes() const { return bytes_; }

    void read(uint64_t offset, void* buffer, uint64_t length) const {
        std::memset(buffer, 0, length);
        overlap(offset, length, [&](uint64_t at, uint64_t in_buffer, uint64_t n) {
            std::memcpy(static_cast<uint8_t*>(buffer) + in_buffer, kept_.data() + at, n);
        });
    }
    void write(uint64_t offset, const void* buffer, uint64_t length) {
        overlap(offset, length, [&](uint64_t at, uint64_t in_buffer, uint64_t n) {
            std::memcpy(kept_.data() + at, static_cast<const uint8_t*>(buffer) + in_buffer, n);
        });
    }

  private:
    template <typename Function>
    void overlap(uint64_t offset, uint64_t length, Function&& function) const {
        DRBD_ASSERT(offset <= bytes_ && length <= bytes_ - offset);
        const uint64_t first = bytes_ - kept_.size();
        const uint64_t from = std::max(offset, first);
        if (from < offset + length)
            function(from - first, from - offset, offset + length - from);
    }

    uint64_t bytes_;
    std::vector<uint8_t> kept_;
};

}  // namespace drbd::fuzz
