// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/metadata_file.h"

#include <array>

#include "metafmt/activity_log_block.h"
#include "metafmt/tool/tool_error.h"

namespace drbd::metafmt::tool {
namespace {

Bytes block_of_log(const Layout& layout, uint64_t ring_position) {
    return to_bytes(layout.activity_log) + Bytes(layout.al.block_at(ring_position) * kBlockSize);
}

}  // namespace

std::vector<uint8_t> read_block(const Device& device, Sector position) {
    std::vector<uint8_t> block(kBlockSize);
    device.read(to_bytes(position), block);
    return block;
}

MetadataFile open_metadata(Device& device, Placement placement) {
    return open_metadata_of_size(device, placement, device.size());
}

MetadataFile open_metadata_of_size(Device& device, Placement placement, Sector size) {
    const Sector position = value_or_throw(superblock_position(placement, size), kExitNoMetadata);
    const auto block = read_block(device, position);
    auto superblock = decode_superblock(ConstBlock(block));
    if (!superblock)
        throw ToolError(kExitNoMetadata, "No valid meta data found: " + device.path() + ", sector " +
                                             std::to_string(position.value) + ": " + superblock.error().text);
    auto layout = layout_of_superblock(superblock.value(), placement, size);
    if (!layout)
        throw ToolError(kExitNoMetadata, "No valid meta data found: " + device.path() + ", sector " +
                                             std::to_string(position.value) + ": " + layout.error().text);
    return {device, superblock.value(), layout.value()};
}

void write_superblock(Device& device, const Layout& layout, const Superblock& superblock) {
    std::array<uint8_t, kBlockSize> block;
    encode_superblock(superblock, block);
    auto decoded = decode_superblock(block);
    DRBD_ASSERT(decoded.ok() && decoded.value() == superblock);
    device.write(to_bytes(layout.superblock), block);
    device.sync();
}

// If nothing but one torn block were left of a ring, it could not be told
// from a damaged one.  So position 0 first gets an empty transaction, which
// keeps the ring readable while the others are initialised; position 0 itself
// is the one block whose loss replay accepts.
void initialize_activity_log(Device& device, const Layout& layout) {
    std::array<uint8_t, kBlockSize> empty;
    encode_activity_log_transaction({0, {}, kActivityLogSlotsMin, 0, {}}, empty);
    device.write(block_of_log(layout, 0), empty);
    device.sync();

    std::array<uint8_t, kBlockSize> initialized;
    encode_activity_log_initialized(initialized);
    for (uint64_t position = 1; position < layout.al.blocks(); position++)
        device.write(block_of_log(layout, position), initialized);
    device.sync();
    device.write(block_of_log(layout, 0), initialized);
    device.sync();
}

}  // namespace drbd::metafmt::tool
