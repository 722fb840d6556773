// SPDX-License-Identifier: GPL-2.0-or-later
// Integers in packed layouts.  Superblock, activity log and packets are big
// endian, the bitmap is little endian (docs/METADATA.md).  The types have no
// alignment, so a struct of them is the layout itself; its size and offsets
// are still asserted where it is defined.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace drbd {

template <typename T, std::endian Order>
class Packed {
  public:
    constexpr Packed() = default;
    Packed(T value) { *this = value; }  // NOLINT: implicit on purpose
    Packed& operator=(T value) {
        if constexpr (Order != std::endian::native)
            value = swap(value);
        std::memcpy(bytes_, &value, sizeof value);
        return *this;
    }
    operator T() const {  // NOLINT
        T value;
        std::memcpy(&value, bytes_, sizeof value);
        if constexpr (Order != std::endian::native)
            value = swap(value);
        return value;
    }
    T get() const { return *this; }

  private:
    static T swap(T value) {
        if constexpr (sizeof(T) == 2)
            return static_cast<T>(__builtin_bswap16(static_cast<uint16_t>(value)));
        else if constexpr (sizeof(T) == 4)
            return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
        else
            return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
    }

    unsigned char bytes_[sizeof(T)] = {};
};

using be16 = Packed<uint16_t, std::endian::big>;
using be32 = Packed<uint32_t, std::endian::big>;
using be64 = Packed<uint64_t, std::endian::big>;
using sbe32 = Packed<int32_t, std::endian::big>;
using le64 = Packed<uint64_t, std::endian::little>;

}  // namespace drbd
