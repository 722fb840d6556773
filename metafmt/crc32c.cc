// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace drbd::metafmt {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<uint32_t, 256> make_table() {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) ? (crc >> 1) ^ kPolynomial : crc >> 1;
        table[i] = crc;
    }
    return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(std::span<const uint8_t> bytes, uint32_t crc) {
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    uint64_t wide = crc;
    for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t), at += sizeof(uint64_t)) {
        uint64_t word;
        std::memcpy(&word, at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = static_cast<uint32_t>(wide);
    for (; left > 0; left--, at++)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}
#endif

}  // namespace

uint32_t crc32c_raw_by_table(std::span<const uint8_t> bytes, uint32_t crc) {
    for (uint8_t byte : bytes)
        crc = (crc >> 8) ^ kTable[(crc ^ byte) & 0xff];
    return crc;
}

uint32_t crc32c_raw(std::span<const uint8_t> bytes, uint32_t crc) {
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2");
    if (has_instruction)
        return by_instruction(bytes, crc);
#endif
    return crc32c_raw_by_table(bytes, crc);
}

}  // namespace drbd::metafmt
