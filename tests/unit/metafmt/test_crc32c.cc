// SPDX-License-Identifier: GPL-2.0-or-later
// The checksum: known values, and the two ways to compute it agree.
#include "metafmt/crc32c.h"

#include <gtest/gtest.h>

#include <vector>

using namespace drbd::metafmt;

namespace {

constexpr uint8_t kDigits[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};

TEST(Crc32c, KnownValue) {
    EXPECT_EQ(crc32c_raw(kDigits), 0x58e3fa20u);
    EXPECT_EQ(crc32c_raw_by_table(kDigits), 0x58e3fa20u);
}

TEST(Crc32c, ZerosAreZeroBecauseTheInitialValueIs) {
    std::vector<uint8_t> zeros(4096);
    EXPECT_EQ(crc32c_raw(zeros), 0u);
}

TEST(Crc32c, BothWaysAgreeAtEveryLengthAndAlignment) {
    std::vector<uint8_t> bytes(300);
    uint32_t state = 1;
    for (uint8_t& byte : bytes)
        byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t length = 0; begin + length <= bytes.size(); length++) {
            const auto part = std::span<const uint8_t>(bytes).subspan(begin, length);
            ASSERT_EQ(crc32c_raw(part), crc32c_raw_by_table(part)) << begin << "+" << length;
        }
}

TEST(Crc32c, ContinuesWhereItStopped) {
    const auto all = std::span<const uint8_t>(kDigits);
    for (size_t cut = 0; cut <= all.size(); cut++)
        EXPECT_EQ(crc32c_raw(all.subspan(cut), crc32c_raw(all.first(cut))), 0x58e3fa20u);
}

}  // namespace
