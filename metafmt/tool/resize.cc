// SPDX-License-Identifier: GPL-2.0-or-later
// check-resize: after a device with internal metadata grew, moves the metadata
// to its new end.  A device does not say how large it was, so either the
// caller does (--old-size), or the last block that is not zero must be the old
// superblock: what a device grows by reads as zero.
#include <array>
#include <cstdio>
#include <vector>

#include "metafmt/bitmap_layout.h"
#include "metafmt/tool/apply_al.h"
#include "metafmt/tool/commands.h"

namespace drbd::metafmt::tool {
namespace {

constexpr uint64_t kPiece = 1 << 20;

bool has_metadata_at_end(Device& device) {
    const Sector position = value_or_throw(superblock_position(Placement::internal(), device.size()), kExitUsage);
    const auto block = read_block(device, position);
    auto superblock = decode_superblock(ConstBlock(block));
    return superblock && layout_of_superblock(superblock.value(), Placement::internal(), device.size());
}

Sector old_size(const Arguments& arguments, const Device& device) {
    if (arguments.old_size_bytes) {
        const Sector size = whole_sectors(Bytes(*arguments.old_size_bytes));
        if (size >= device.size())
            throw ToolError(kExitUsage, "--old-size is not smaller than the device; nothing to move");
        return size;
    }
    Bytes position;
    if (!device.last_nonzero_block(to_bytes(device.size()), position))
        throw ToolError(kExitNoMetadata, "No valid meta data found: " + arguments.device + " is all zero");
    return whole_sectors(position + Bytes(kBlockSize));
}

// Old and new bitmap may overlap: copy from the side that is not overwritten.
void move_bitmap(Device& device, const Layout& from, const Layout& to, Bytes length) {
    const Bytes source = to_bytes(from.bitmap);
    const Bytes target = to_bytes(to.bitmap);
    std::vector<uint8_t> piece;
    auto move_piece = [&](uint64_t offset) {
        piece.resize(std::min(kPiece, length.value - offset));
        device.read(source + Bytes(offset), piece);
        device.write(target + Bytes(offset), piece);
    };
    const uint64_t pieces = divide_up(length.value, kPiece);
    for (uint64_t i = 0; i < pieces; i++)
        move_piece((target < source ? i : pieces - 1 - i) * kPiece);
}

// The new superblock comes first and says "everything is out of sync", which
// is true enough until log and bitmap are in their new places; then it is
// written again with what the old one said.  The old one lies in front of the
// new one and may be overwritten by then.
void move_metadata(const MetadataFile& old, const Layout& to) {
    Device& device = old.device;
    Superblock moved = old.superblock;
    moved.md_size_sect = static_cast<uint32_t>(to.md_size.value);
    moved.al_offset = to.al_offset;
    moved.bm_offset = to.bm_offset;
    Superblock everything = moved;
    everything.flags.set(MdFlag::FullSync);
    write_superblock(device, to, everything);

    const Bytes used = to_bytes(bitmap_sectors_on_disk(old.superblock.la_size));
    move_bitmap(device, old.layout, to, used);
    device.zero(to_bytes(to.bitmap) + used, to_bytes(to.bitmap_size) - used);
    initialize_activity_log(device, to);
    write_superblock(device, to, moved);

    if (old.layout.superblock + Sector(kSectorsPerBlock) <= to.bitmap) {
        device.zero(to_bytes(old.layout.superblock), Bytes(kBlockSize));
        device.sync();
    }
}

}  // namespace

ExitStatus check_resize(const Arguments& arguments) {
    if (arguments.placement.kind != PlacementKind::Internal)
        return kExitOk;
    Device device(arguments.device, Access::Write);
    if (has_metadata_at_end(device))
        return kExitOk;
    const Sector size = old_size(arguments, device);
    MetadataFile old = open_metadata_of_size(device, Placement::internal(), size);
    const Layout to =
        value_or_throw(layout_for_creation(Placement::internal(), device.size(), old.superblock.al), kExitUsage);
    if (bitmap_covers(to.bitmap_size) < old.superblock.la_size)
        throw ToolError(kExitUsage, "the device is now too small for its last agreed size");
    arguments.console.confirm("Found meta data of a device of " + std::to_string(size.value) +
                              " sectors; it has " + std::to_string(device.size().value) +
                              " now.\nMove the meta data to the new end?");
    apply_activity_log(old, arguments.console);
    move_metadata(old, to);
    std::printf("Moved meta data from sector %llu to %llu\n",
                static_cast<unsigned long long>(old.layout.superblock.value),
                static_cast<unsigned long long>(to.superblock.value));
    return kExitOk;
}

}  // namespace drbd::metafmt::tool
