// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/superblock.h"

#include <algorithm>
#include <cstring>

namespace drbd::metafmt {
namespace {

struct MagicRow {
    uint32_t magic;
    ErrorCode code;
    const char* text;
};

// Magic numbers of other versions.  Everything else is no metadata at all.
constexpr MagicRow kForeignMagics[] = {
    {kMagicV06, ErrorCode::Foreign,
     "metadata of version v06 (DRBD 0.6) found; it cannot be converted, create new metadata"},
    {kMagicV07, ErrorCode::Foreign,
     "metadata of version v07 (DRBD 0.7) found; convert it with drbdmeta create-md, or create new metadata"},
    {kMagicV09, ErrorCode::Foreign,
     "metadata of version v09 (DRBD 9) found; only v08 (DRBD 8.4) is supported, see drbdadm's down-grade procedure"},
};

// v07 is shorter and keeps its magic earlier; every later version at 60.
uint32_t magic_of(ConstBlock block) {
    be32 magic, v07_magic;
    std::memcpy(&magic, block.data() + offsetof(RawSuperblock, magic), sizeof magic);
    std::memcpy(&v07_magic, block.data() + kV07MagicOffset, sizeof v07_magic);
    const bool is_later = magic == kMagicV08Clean || magic == kMagicV08Unclean || magic == kMagicV09;
    return !is_later && v07_magic == kMagicV07 ? kMagicV07 : magic.get();
}

Result<SuperblockMagic> decode_magic(uint32_t magic) {
    if (magic == kMagicV08Clean)
        return SuperblockMagic::Clean;
    if (magic == kMagicV08Unclean)
        return SuperblockMagic::Unclean;
    for (const MagicRow& row : kForeignMagics)
        if (row.magic == magic)
            return Error::of(row.code, "%s", row.text);
    return Error::of(ErrorCode::NoMetadata, "no DRBD metadata found (magic is 0x%08x); create-md makes some", magic);
}

// Zero in both fields is what versions before 8.4 left: one stripe of 8 blocks.
Result<ActivityLogGeometry> decode_geometry(uint32_t stripes, uint32_t stripe_size_4k) {
    if (stripes == 0 && stripe_size_4k == 0)
        return ActivityLogGeometry{};
    ActivityLogGeometry al{stripes, stripe_size_4k};
    if (auto checked = al.check(); !checked)
        return checked.error();
    return al;
}

}  // namespace

void encode_superblock(const Superblock& superblock, Block block) {
    DRBD_ASSERT(superblock.al.check().ok());
    RawSuperblock raw{};
    raw.la_size_sect = superblock.la_size.value;
    raw.uuid[0] = superblock.uuids.current;
    raw.uuid[1] = superblock.uuids.bitmap;
    raw.uuid[2] = superblock.uuids.history[0];
    raw.uuid[3] = superblock.uuids.history[1];
    raw.device_uuid = superblock.device_uuid;
    raw.flags = superblock.flags.bits;
    raw.magic = superblock.magic == SuperblockMagic::Clean ? kMagicV08Clean : kMagicV08Unclean;
    raw.md_size_sect = superblock.md_size_sect;
    raw.al_offset = superblock.al_offset;
    raw.al_nr_extents = superblock.al_nr_extents;
    raw.bm_offset = superblock.bm_offset;
    raw.bm_bytes_per_bit = kBitmapBytesPerBit;
    raw.la_peer_max_bio_size = superblock.la_peer_max_bio_size;
    raw.al_stripes = superblock.al.stripes;
    raw.al_stripe_size_4k = superblock.al.stripe_size_4k;
    std::memcpy(block.data(), &raw, sizeof raw);
}

Result<Superblock> decode_superblock(ConstBlock block) {
    RawSuperblock raw;
    std::memcpy(&raw, block.data(), sizeof raw);

    auto magic = decode_magic(magic_of(block));
    if (!magic)
        return magic.error();
    if (raw.bm_bytes_per_bit != kBitmapBytesPerBit)
        return Error::of(ErrorCode::Corrupt, "superblock says %u bytes per bitmap bit; only 4096 exists",
                         raw.bm_bytes_per_bit.get());
    auto al = decode_geometry(raw.al_stripes, raw.al_stripe_size_4k);
    if (!al)
        return al.error();

    Superblock superblock;
    superblock.la_size = Sector(raw.la_size_sect);
    superblock.uuids = {raw.uuid[0], raw.uuid[1], {raw.uuid[2], raw.uuid[3]}};
    superblock.device_uuid = raw.device_uuid;
    superblock.flags = MdFlags{raw.flags};
    superblock.magic = magic.value();
    superblock.md_size_sect = raw.md_size_sect;
    superblock.al_offset = raw.al_offset;
    superblock.al_nr_extents = raw.al_nr_extents;
    superblock.bm_offset = raw.bm_offset;
    superblock.la_peer_max_bio_size = raw.la_peer_max_bio_size;
    superblock.al = al.value();
    return superblock;
}

StoredDiskState stored_disk_state(MdFlags flags) {
    if (!flags.has(MdFlag::Consistent))
        return StoredDiskState::Inconsistent;
    if (!flags.has(MdFlag::WasUpToDate))
        return StoredDiskState::Outdated;
    return flags.has(MdFlag::PeerOutDated) ? StoredDiskState::UpToDate : StoredDiskState::Consistent;
}

}  // namespace drbd::metafmt
