// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata on a device: reading and checking a superblock, and the only
// functions of this program that write superblock and activity log.  Who
// writes bitmap or log first and the superblock last calls sync between them;
// docs/METADATA.md, "Order of writes", says why each step may be the last.
#pragma once

#include <vector>

#include "metafmt/layout.h"
#include "metafmt/superblock.h"
#include "metafmt/tool/device.h"

namespace drbd::metafmt::tool {

struct MetadataFile {
    Device& device;
    Superblock superblock;
    Layout layout;
};

// Throws if there is none, or it cannot be right for this device.
MetadataFile open_metadata(Device& device, Placement placement);

// Likewise for a superblock at the end of a device that was smaller once.
MetadataFile open_metadata_of_size(Device& device, Placement placement, Sector old_size);

std::vector<uint8_t> read_block(const Device& device, Sector position);

// Encodes, checks what it encoded against the device, writes, and flushes.
void write_superblock(Device& device, const Layout& layout, const Superblock& superblock);

// Every block of the ring freshly initialised, in an order that leaves a
// readable ring whenever it is interrupted.  Flushes.
void initialize_activity_log(Device& device, const Layout& layout);

}  // namespace drbd::metafmt::tool
