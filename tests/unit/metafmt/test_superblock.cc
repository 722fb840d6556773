// SPDX-License-Identifier: GPL-2.0-or-later
// The superblock: bytes where the format wants them, round trip, and a table
// of everything decode must refuse.
#include "metafmt/superblock.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

using namespace drbd;
using namespace drbd::metafmt;

namespace {

Superblock sample() {
    Superblock sb;
    sb.la_size = Sector(0x0102030405060708);
    sb.uuids = {0x1112131415161718, 0x2122232425262728, {0x3132333435363738, 0x4142434445464748}};
    sb.device_uuid = 0x5152535455565758;
    sb.flags = MdFlags{0x1b};
    sb.magic = SuperblockMagic::Unclean;
    sb.md_size_sect = 288;
    sb.al_offset = -256;
    sb.al_nr_extents = 1237;
    sb.bm_offset = -280;
    sb.la_peer_max_bio_size = 1048576;
    sb.al = {2, 16};
    return sb;
}

std::array<uint8_t, 4096> encoded(const Superblock& sb) {
    std::array<uint8_t, 4096> block;
    block.fill(0xee);
    encode_superblock(sb, block);
    return block;
}

void put_u32(std::array<uint8_t, 4096>& block, size_t offset, uint32_t value) {
    for (int i = 0; i < 4; i++)
        block[offset + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

TEST(Superblock, BytesAreWhereTheFormatWantsThem) {
    const auto block = encoded(sample());
    const uint8_t expected[96] = {
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
        0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
        0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x1b, 0x83, 0x74, 0x02, 0x6c,
        0,    0,    1,    0x20, 0xff, 0xff, 0xff, 0,    0,    0,    4,    0xd5, 0xff, 0xff, 0xfe, 0xe8,
        0,    0,    0x10, 0,    0,    0x10, 0,    0,    0,    0,    0,    2,    0,    0,    0,    16,
    };
    EXPECT_EQ(std::memcmp(block.data(), expected, sizeof expected), 0);
    for (size_t i = sizeof expected; i < block.size(); i++)
        ASSERT_EQ(block[i], 0) << i;
}

TEST(Superblock, RoundTrip) {
    Superblock sb = sample();
    const auto block = encoded(sb);
    auto decoded = decode_superblock(block);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded.value(), sb);
    sb.magic = SuperblockMagic::Clean;
    EXPECT_EQ(decode_superblock(encoded(sb)).value(), sb);
}

TEST(Superblock, ZeroStripesReadAsTheDefault) {
    auto block = encoded(sample());
    put_u32(block, 88, 0);
    put_u32(block, 92, 0);
    auto decoded = decode_superblock(block);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded.value().al, (ActivityLogGeometry{1, 8}));
}

TEST(Superblock, ReservedBytesAreIgnored) {
    auto block = encoded(sample());
    put_u32(block, 48, 0xffffffff);
    put_u32(block, 96, 0xffffffff);
    EXPECT_TRUE(decode_superblock(block).ok());
}

TEST(Superblock, RejectionTable) {
    struct Row {
        const char* name;
        size_t offset;
        uint32_t value;
        ErrorCode code;
        const char* says;
    };
    const Row rows[] = {
        {"zero magic", 60, 0, ErrorCode::NoMetadata, "no DRBD metadata"},
        {"random magic", 60, 0x12345678, ErrorCode::NoMetadata, "0x12345678"},
        {"magic off by one bit", 60, 0x8374026a ^ 0x100, ErrorCode::NoMetadata, "no DRBD metadata"},
        {"v06", 60, 0x83740269, ErrorCode::Foreign, "v06"},
        {"v07", 60, 0x8374026a, ErrorCode::Foreign, "v07"},
        {"v07 where v07 has it", 28, 0x8374026a, ErrorCode::Foreign, "v07"},
        {"v09", 60, 0x8374026d, ErrorCode::Foreign, "v09"},
        {"granularity 0", 80, 0, ErrorCode::Corrupt, "bytes per bitmap bit"},
        {"granularity 8192", 80, 8192, ErrorCode::Corrupt, "8192"},
        {"one stripe value zero", 88, 0, ErrorCode::Corrupt, "neither may be zero"},
        {"other stripe value zero", 92, 0, ErrorCode::Corrupt, "neither may be zero"},
        {"ring too small", 92, 3, ErrorCode::Corrupt, "8 to 4194304"},
        {"ring too big", 92, 2097153, ErrorCode::Corrupt, "8 to 4194304"},
        {"stripes that overflow 32 bits", 92, 0x80000000, ErrorCode::Corrupt, "8 to 4194304"},
    };
    for (const Row& row : rows) {
        auto block = encoded(sample());
        if (row.offset == 28)
            put_u32(block, 60, 0);
        put_u32(block, row.offset, row.value);
        auto decoded = decode_superblock(block);
        ASSERT_FALSE(decoded.ok()) << row.name;
        EXPECT_EQ(decoded.error().code, row.code) << row.name;
        EXPECT_NE(std::string(decoded.error().text).find(row.says), std::string::npos)
            << row.name << ": " << decoded.error().text;
    }
}

TEST(Superblock, CleanNeedsMagicAndFlag) {
    Superblock sb = sample();
    EXPECT_FALSE(sb.is_clean());
    sb.flags.set(MdFlag::AlClean);
    EXPECT_FALSE(sb.is_clean());
    sb.magic = SuperblockMagic::Clean;
    EXPECT_TRUE(sb.is_clean());
    sb.flags.clear(MdFlag::AlClean);
    EXPECT_FALSE(sb.is_clean());
}

TEST(Superblock, StoredDiskStateForEveryCombination) {
    for (uint32_t bits = 0; bits < 0x200; bits++) {
        const MdFlags flags{bits};
        StoredDiskState expected = StoredDiskState::Consistent;
        if (!(bits & 0x01))
            expected = StoredDiskState::Inconsistent;
        else if (!(bits & 0x10))
            expected = StoredDiskState::Outdated;
        else if (bits & 0x20)
            expected = StoredDiskState::UpToDate;
        EXPECT_EQ(stored_disk_state(flags), expected) << bits;
    }
}

}  // namespace
