// SPDX-License-Identifier: GPL-2.0-or-later
// The superblock: sizes, data generations, flags, and where log and bitmap
// are.  In: 4096 bytes; out: struct Superblock, and back.  decode checks what
// can be known from the block alone (magic, granularity, shape of the log);
// layout.h checks its offsets against a device.  An encoded superblock always
// decodes to the same values; reserved bytes are written as zero and not
// looked at.  docs/METADATA.md, "Superblock".
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/endian.h"
#include "core/base/result.h"
#include "core/base/units.h"
#include "metafmt/activity_log_geometry.h"
#include "metafmt/block.h"
#include "metafmt/data_generation.h"

namespace drbd::metafmt {

enum class MdFlag : uint32_t {
    Consistent = 0x01,
    PrimaryInd = 0x02,     // the node was Primary: the activity log counts
    ConnectedInd = 0x04,
    FullSync = 0x08,       // every bit counts as set, whatever the bitmap says
    WasUpToDate = 0x10,
    PeerOutDated = 0x20,
    CrashedPrimary = 0x40,
    AlClean = 0x80,        // the activity log was applied; kernel DRBD attaches only then
    AlDisabled = 0x100,
};

struct MdFlags {
    uint32_t bits = 0;

    bool operator==(const MdFlags&) const = default;
    constexpr bool has(MdFlag flag) const { return (bits & static_cast<uint32_t>(flag)) != 0; }
    constexpr void set(MdFlag flag) { bits |= static_cast<uint32_t>(flag); }
    constexpr void clear(MdFlag flag) { bits &= ~static_cast<uint32_t>(flag); }
    constexpr void assign(MdFlag flag, bool value) { value ? set(flag) : clear(flag); }
};

// Which of the two magic numbers of v08 a superblock has.  A running kernel
// always writes Unclean; only apply-al writes Clean.  Kernel DRBD attaches if
// the magic is Clean and AlClean is set; see is_clean.
enum class SuperblockMagic { Clean, Unclean };

constexpr uint32_t kMagicV06 = 0x83740269;
constexpr uint32_t kMagicV07 = 0x8374026a;
constexpr uint32_t kMagicV08Clean = 0x8374026b;
constexpr uint32_t kMagicV08Unclean = 0x8374026c;
constexpr uint32_t kMagicV09 = 0x8374026d;
constexpr unsigned kV07MagicOffset = 28;

constexpr uint32_t kBitmapBytesPerBit = 4096;
constexpr uint32_t kActivityLogExtentsAtCreation = 257;

struct Superblock {
    Sector la_size;                   // last agreed (exported) size
    Uuids uuids;
    uint64_t device_uuid = 0;
    MdFlags flags;
    SuperblockMagic magic = SuperblockMagic::Clean;
    uint32_t md_size_sect = 0;
    int32_t al_offset = 0;            // sectors, relative to the superblock
    uint32_t al_nr_extents = kActivityLogExtentsAtCreation;
    int32_t bm_offset = 0;            // sectors, relative to the superblock
    uint32_t la_peer_max_bio_size = 0;
    ActivityLogGeometry al;           // 0/0 on the disk reads as 1 x 8

    bool operator==(const Superblock&) const = default;

    bool is_clean() const { return magic == SuperblockMagic::Clean && flags.has(MdFlag::AlClean); }
    bool needs_replay() const { return flags.has(MdFlag::PrimaryInd); }
};

struct RawSuperblock {
    be64 la_size_sect;
    be64 uuid[4];
    be64 device_uuid;
    be64 reserved;
    be32 flags;
    be32 magic;
    be32 md_size_sect;
    sbe32 al_offset;
    be32 al_nr_extents;
    sbe32 bm_offset;
    be32 bm_bytes_per_bit;
    be32 la_peer_max_bio_size;
    be32 al_stripes;
    be32 al_stripe_size_4k;
    uint8_t rest[4000];
};
static_assert(sizeof(RawSuperblock) == kBlockSize);
static_assert(offsetof(RawSuperblock, la_size_sect) == 0);
static_assert(offsetof(RawSuperblock, uuid) == 8);
static_assert(offsetof(RawSuperblock, device_uuid) == 40);
static_assert(offsetof(RawSuperblock, reserved) == 48);
static_assert(offsetof(RawSuperblock, flags) == 56);
static_assert(offsetof(RawSuperblock, magic) == 60);
static_assert(offsetof(RawSuperblock, md_size_sect) == 64);
static_assert(offsetof(RawSuperblock, al_offset) == 68);
static_assert(offsetof(RawSuperblock, al_nr_extents) == 72);
static_assert(offsetof(RawSuperblock, bm_offset) == 76);
static_assert(offsetof(RawSuperblock, bm_bytes_per_bit) == 80);
static_assert(offsetof(RawSuperblock, la_peer_max_bio_size) == 84);
static_assert(offsetof(RawSuperblock, al_stripes) == 88);
static_assert(offsetof(RawSuperblock, al_stripe_size_4k) == 92);
static_assert(offsetof(RawSuperblock, rest) == 96);

void encode_superblock(const Superblock& superblock, Block block);

// NoMetadata: no magic of any kind.  Foreign: metadata of v06, v07 or v09.
// Corrupt: v08, but granularity or the log's shape is impossible.
Result<Superblock> decode_superblock(ConstBlock block);

// What the stored flags say about the disk (docs/METADATA.md, "Flags").
// UpToDate only if the peer is known to be outdated; who attaches with
// fencing off may take Consistent for UpToDate.
enum class StoredDiskState { Inconsistent, Outdated, Consistent, UpToDate };
StoredDiskState stored_disk_state(MdFlags flags);

}  // namespace drbd::metafmt
