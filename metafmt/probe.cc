// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/probe.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "metafmt/superblock.h"

namespace drbd::metafmt {
namespace {

using namespace std::literals;

// Bounded access: what lies outside the head reads as zero.
class Head {
  public:
    explicit Head(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    uint64_t le(size_t offset, unsigned width) const {
        uint64_t value = 0;
        for (unsigned i = width; i-- > 0;)
            value = value << 8 | byte(offset + i);
        return value;
    }
    uint64_t be(size_t offset, unsigned width) const {
        uint64_t value = 0;
        for (unsigned i = 0; i < width; i++)
            value = value << 8 | byte(offset + i);
        return value;
    }
    bool has(size_t offset, std::string_view magic) const {
        return offset + magic.size() <= bytes_.size() &&
               std::memcmp(bytes_.data() + offset, magic.data(), magic.size()) == 0;
    }

  private:
    uint8_t byte(size_t offset) const { return offset < bytes_.size() ? bytes_[offset] : uint8_t{0}; }

    std::span<const uint8_t> bytes_;
};

// Product of two numbers from the device; 0, "does not say", if it overflows.
Bytes product(uint64_t count, uint64_t unit) {
    uint64_t bytes;
    return __builtin_mul_overflow(count, unit, &bytes) ? Bytes(0) : Bytes(bytes);
}

bool is_ext(const Head& head) { return head.le(1024 + 0x38, 2) == 0xef53 && head.le(1024 + 0x18, 4) <= 6; }
Bytes ext_size(const Head& head) {
    constexpr uint32_t kIncompat64Bit = 0x80;
    uint64_t blocks = head.le(1024 + 4, 4);
    if (head.le(1024 + 0x60, 4) & kIncompat64Bit)
        blocks |= head.le(1024 + 0x150, 4) << 32;
    return product(blocks, 1024ull << head.le(1024 + 0x18, 4));
}

bool is_xfs(const Head& head) { return head.has(0, "XFSB"); }
Bytes xfs_size(const Head& head) { return product(head.be(8, 8), head.be(4, 4)); }

bool is_btrfs(const Head& head) { return head.has(0x10040, "_BHRfS_M"); }
Bytes btrfs_size(const Head& head) { return Bytes(head.le(0x10000 + 0xd1, 8)); }

bool is_swap(const Head& head) { return head.has(4086, "SWAPSPACE2") || head.has(4086, "SWAP-SPACE"); }
Bytes swap_size(const Head& head) { return product(head.le(1028, 4) + 1, 4096); }

// The label may be in any of the first four sectors.
size_t lvm_label(const Head& head) {
    for (size_t sector = 0; sector < 4; sector++)
        if (head.has(sector * kSectorSize, "LABELONE") && head.has(sector * kSectorSize + 24, "LVM2 001"))
            return sector * kSectorSize + 1;
    return 0;
}
bool is_lvm(const Head& head) { return lvm_label(head) != 0; }
Bytes lvm_size(const Head& head) {
    const size_t label = lvm_label(head) - 1;
    return Bytes(head.le(label + head.le(label + 20, 4) + 32, 8));
}

bool is_luks(const Head& head) { return head.has(0, "LUKS\xba\xbe"sv); }
bool is_raid(const Head& head) {
    constexpr uint32_t kRaidMagic = 0xa92b4efc;
    return head.le(0, 4) == kRaidMagic || head.le(4096, 4) == kRaidMagic;
}
bool is_ntfs(const Head& head) { return head.has(3, "NTFS    "); }
Bytes ntfs_size(const Head& head) { return product(head.le(0x28, 8) + 1, head.le(0x0b, 2)); }

bool is_fat(const Head& head) {
    return head.le(510, 2) == 0xaa55 && (head.has(54, "FAT12") || head.has(54, "FAT16") || head.has(82, "FAT32"));
}
Bytes fat_size(const Head& head) {
    const uint64_t small = head.le(0x13, 2);
    return product(small != 0 ? small : head.le(0x20, 4), head.le(0x0b, 2));
}
bool is_iso(const Head& head) { return head.has(32769, "CD001"); }
Bytes iso_size(const Head& head) { return product(head.le(32768 + 80, 4), 2048); }

// The backup header is in the sector that `alternate` names, usually the last.
bool is_gpt(const Head& head) { return head.has(512, "EFI PART") || head.has(4096, "EFI PART"); }
Bytes gpt_size(const Head& head) {
    const size_t sector = head.has(512, "EFI PART") ? 512 : 4096;
    const uint64_t last = std::max(head.le(sector + 24, 8), head.le(sector + 32, 8));
    return last == UINT64_MAX ? Bytes(0) : product(last + 1, sector);
}

constexpr size_t kMbrEntry = 446;
constexpr size_t kMbrEntrySize = 16;
constexpr size_t kMbrEntries = 4;

bool is_mbr(const Head& head) {
    if (head.le(510, 2) != 0xaa55)
        return false;
    bool any = false;
    for (size_t i = 0; i < kMbrEntries; i++) {
        const size_t entry = kMbrEntry + i * kMbrEntrySize;
        const uint64_t boot = head.le(entry, 1);
        if (boot != 0 && boot != 0x80)
            return false;
        any |= head.le(entry + 4, 1) != 0 && head.le(entry + 12, 4) != 0;
    }
    return any;
}
Bytes mbr_size(const Head& head) {
    uint64_t end = 0;
    for (size_t i = 0; i < kMbrEntries; i++) {
        const size_t entry = kMbrEntry + i * kMbrEntrySize;
        if (head.le(entry + 4, 1) != 0)
            end = std::max(end, head.le(entry + 8, 4) + head.le(entry + 12, 4));
    }
    return product(end, kSectorSize);
}

bool is_qcow(const Head& head) { return head.has(0, "QFI\xfb"sv); }
bool is_qed(const Head& head) { return head.has(0, "QED\0"sv); }
bool is_vmdk(const Head& head) {
    return head.has(0, "KDMV") || head.has(0, "COWD") || head.has(0, "# Disk DescriptorFile");
}
bool is_vdi(const Head& head) { return head.le(0x40, 4) == 0xbeda107f; }
bool is_vhdx(const Head& head) { return head.has(0, "vhdxfile"); }
bool is_vhd(const Head& head) { return head.has(0, "conectix"); }
bool is_parallels(const Head& head) { return head.has(0, "WithoutFreeSpace") || head.has(0, "WithouFreSpacExt"); }

Bytes unknown_size(const Head&) { return Bytes(0); }

struct ProbeRow {
    ContentKind kind;
    const char* name;
    bool (*matches)(const Head&);
    Bytes (*size)(const Head&);
};

// The first match counts: images before what they may contain, file systems
// before the partition tables that their boot sectors resemble.
constexpr ProbeRow kProbes[] = {
    {ContentKind::DiskImage, "qcow2 image", is_qcow, unknown_size},
    {ContentKind::DiskImage, "qed image", is_qed, unknown_size},
    {ContentKind::DiskImage, "vmdk image", is_vmdk, unknown_size},
    {ContentKind::DiskImage, "vdi image", is_vdi, unknown_size},
    {ContentKind::DiskImage, "vhdx image", is_vhdx, unknown_size},
    {ContentKind::DiskImage, "vhd image", is_vhd, unknown_size},
    {ContentKind::DiskImage, "parallels image", is_parallels, unknown_size},
    {ContentKind::FileSystem, "LUKS encrypted volume", is_luks, unknown_size},
    {ContentKind::FileSystem, "LVM physical volume", is_lvm, lvm_size},
    {ContentKind::FileSystem, "Linux RAID member", is_raid, unknown_size},
    {ContentKind::FileSystem, "xfs file system", is_xfs, xfs_size},
    {ContentKind::FileSystem, "btrfs file system", is_btrfs, btrfs_size},
    {ContentKind::FileSystem, "ext2/3/4 file system", is_ext, ext_size},
    {ContentKind::FileSystem, "swap space", is_swap, swap_size},
    {ContentKind::FileSystem, "NTFS file system", is_ntfs, ntfs_size},
    {ContentKind::FileSystem, "FAT file system", is_fat, fat_size},
    {ContentKind::PartitionTable, "GPT partition table", is_gpt, gpt_size},
    {ContentKind::FileSystem, "ISO 9660 file system", is_iso, iso_size},
    {ContentKind::PartitionTable, "MBR partition table", is_mbr, mbr_size},
};

}  // namespace

Content probe_head(std::span<const uint8_t> bytes) {
    const Head head(bytes);
    for (const ProbeRow& row : kProbes)
        if (row.matches(head))
            return {row.kind, row.name, row.size(head)};
    return {};
}

MetadataVersion probe_metadata(ConstBlock block) {
    // The later version wins: what stands at v07's offset is part of a data
    // generation in a superblock of v08.
    const Head head(block);
    const struct {
        size_t offset;
        uint32_t magic;
        MetadataVersion version;
    } rows[] = {
        {60, kMagicV08Clean, MetadataVersion::V08}, {60, kMagicV08Unclean, MetadataVersion::V08},
        {60, kMagicV09, MetadataVersion::V09},      {kV07MagicOffset, kMagicV07, MetadataVersion::V07},
    };
    for (const auto& row : rows)
        if (head.be(row.offset, 4) == row.magic)
            return row.version;
    return MetadataVersion::None;
}

const char* name_of(MetadataVersion version) {
    switch (version) {
    case MetadataVersion::None:
        return "no";
    case MetadataVersion::V07:
        return "v07";
    case MetadataVersion::V08:
        return "v08";
    case MetadataVersion::V09:
        return "v09";
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

}  // namespace drbd::metafmt
