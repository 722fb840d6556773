// SPDX-License-Identifier: GPL-2.0-or-later
// What probe recognises, how large it says it is, and that no bytes hurt it.
#include "metafmt/probe.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "metafmt/superblock.h"

using namespace drbd;
using namespace drbd::metafmt;

namespace {

using Bytes8 = std::vector<uint8_t>;

void put(Bytes8& head, size_t offset, std::string_view text) {
    std::memcpy(head.data() + offset, text.data(), text.size());
}
void put_le(Bytes8& head, size_t offset, uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; i++)
        head[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}
void put_be(Bytes8& head, size_t offset, uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; i++)
        head[offset + width - 1 - i] = static_cast<uint8_t>(value >> (8 * i));
}

TEST(Probe, KnownContents) {
    struct Row {
        const char* name;
        ContentKind kind;
        uint64_t size;
        std::function<void(Bytes8&)> make;
    };
    const Row rows[] = {
        {"ext", ContentKind::FileSystem, 1000ull * 4096,
         [](Bytes8& h) {
             put_le(h, 1024 + 0x38, 0xef53, 2);
             put_le(h, 1024 + 4, 1000, 4);
             put_le(h, 1024 + 0x18, 2, 4);
         }},
        {"ext", ContentKind::FileSystem, ((5ull << 32) + 1000) * 4096,
         [](Bytes8& h) {
             put_le(h, 1024 + 0x38, 0xef53, 2);
             put_le(h, 1024 + 4, 1000, 4);
             put_le(h, 1024 + 0x18, 2, 4);
             put_le(h, 1024 + 0x60, 0x80, 4);
             put_le(h, 1024 + 0x150, 5, 4);
         }},
        {"xfs", ContentKind::FileSystem, 77ull * 4096,
         [](Bytes8& h) {
             put(h, 0, "XFSB");
             put_be(h, 4, 4096, 4);
             put_be(h, 8, 77, 8);
         }},
        {"xfs", ContentKind::FileSystem, 0,
         [](Bytes8& h) {
             put(h, 0, "XFSB");
             put_be(h, 4, 4096, 4);
             put_be(h, 8, ~0ull, 8);
         }},
        {"btrfs", ContentKind::FileSystem, 123456789,
         [](Bytes8& h) {
             put(h, 0x10040, "_BHRfS_M");
             put_le(h, 0x100d1, 123456789, 8);
         }},
        {"swap", ContentKind::FileSystem, 100ull * 4096,
         [](Bytes8& h) {
             put(h, 4086, "SWAPSPACE2");
             put_le(h, 1028, 99, 4);
         }},
        {"LVM", ContentKind::FileSystem, 1ull << 30,
         [](Bytes8& h) {
             put(h, 512, "LABELONE");
             put_le(h, 512 + 20, 32, 4);
             put(h, 512 + 24, "LVM2 001");
             put_le(h, 512 + 32 + 32, 1ull << 30, 8);
         }},
        {"LUKS", ContentKind::FileSystem, 0, [](Bytes8& h) { put(h, 0, "LUKS\xba\xbe"); }},
        {"GPT", ContentKind::PartitionTable, 2000ull * 512,
         [](Bytes8& h) {
             put_le(h, 510, 0xaa55, 2);
             h[450] = 0xee;
             put_le(h, 458, 100, 4);
             put(h, 512, "EFI PART");
             put_le(h, 512 + 24, 1, 8);
             put_le(h, 512 + 32, 1999, 8);
         }},
        {"MBR", ContentKind::PartitionTable, (2048ull + 5000) * 512,
         [](Bytes8& h) {
             put_le(h, 510, 0xaa55, 2);
             h[446] = 0x80;
             h[450] = 0x83;
             put_le(h, 454, 2048, 4);
             put_le(h, 458, 5000, 4);
         }},
        {"NTFS", ContentKind::FileSystem, 1001ull * 512,
         [](Bytes8& h) {
             put(h, 3, "NTFS    ");
             put_le(h, 0x0b, 512, 2);
             put_le(h, 0x28, 1000, 8);
         }},
        {"FAT", ContentKind::FileSystem, 3000ull * 512,
         [](Bytes8& h) {
             put_le(h, 510, 0xaa55, 2);
             put(h, 54, "FAT16   ");
             put_le(h, 0x0b, 512, 2);
             put_le(h, 0x13, 3000, 2);
         }},
        {"ISO", ContentKind::FileSystem, 600ull * 2048,
         [](Bytes8& h) {
             put(h, 32769, "CD001");
             put_le(h, 32768 + 80, 600, 4);
         }},
        {"RAID", ContentKind::FileSystem, 0, [](Bytes8& h) { put_le(h, 4096, 0xa92b4efc, 4); }},
        {"qcow2", ContentKind::DiskImage, 0, [](Bytes8& h) { put(h, 0, "QFI\xfb"); }},
        {"vmdk", ContentKind::DiskImage, 0, [](Bytes8& h) { put(h, 0, "KDMV"); }},
        {"vdi", ContentKind::DiskImage, 0, [](Bytes8& h) { put_le(h, 0x40, 0xbeda107f, 4); }},
        {"vhdx", ContentKind::DiskImage, 0, [](Bytes8& h) { put(h, 0, "vhdxfile"); }},
        {"vhd", ContentKind::DiskImage, 0, [](Bytes8& h) { put(h, 0, "conectix"); }},
    };
    for (const Row& row : rows) {
        Bytes8 head(kProbeHeadSize.value);
        row.make(head);
        const Content content = probe_head(head);
        EXPECT_EQ(content.kind, row.kind) << row.name;
        EXPECT_NE(std::string(content.name).find(row.name), std::string::npos) << content.name;
        EXPECT_EQ(content.size.value, row.size) << row.name;
    }
}

TEST(Probe, NothingKnown) {
    EXPECT_EQ(probe_head({}).kind, ContentKind::Nothing);
    EXPECT_EQ(probe_head(Bytes8(kProbeHeadSize.value)).kind, ContentKind::Nothing);
    Bytes8 boot(512);
    put_le(boot, 510, 0xaa55, 2);
    EXPECT_EQ(probe_head(boot).kind, ContentKind::Nothing);
}

TEST(Probe, EveryLengthOfGarbage) {
    uint32_t state = 3;
    Bytes8 head(kProbeHeadSize.value);
    for (uint8_t& byte : head)
        byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    put(head, 512, "LABELONE");
    put(head, 512 + 24, "LVM2 001");
    for (size_t length = 0; length < 6000; length++)
        (void)probe_head(std::span(head).first(length));
    EXPECT_STREQ(probe_head(head).name, "LVM physical volume");
}

TEST(Probe, MetadataVersions) {
    std::array<uint8_t, 4096> block{};
    EXPECT_EQ(probe_metadata(block), MetadataVersion::None);
    Superblock sb;
    sb.uuids.history[0] = kMagicV07;  // where v07 has its magic
    encode_superblock(sb, block);
    EXPECT_EQ(probe_metadata(block), MetadataVersion::V08);
    block[63] = 0x6d;
    EXPECT_EQ(probe_metadata(block), MetadataVersion::V09);
    block[60] = 0;
    EXPECT_EQ(probe_metadata(block), MetadataVersion::V07);
    EXPECT_STREQ(name_of(MetadataVersion::V07), "v07");
}

}  // namespace
