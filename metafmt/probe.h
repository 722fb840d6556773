// SPDX-License-Identifier: GPL-2.0-or-later
// Recognises what already lies on a device, so that nobody writes metadata
// over it.  In: the first 128 KiB of the device, or one 4 KiB block from a
// place where a superblock may be.  Out: what it is, and how many bytes from
// the start of the device it occupies.  Bytes are only looked at; any content
// is safe.  A device may fool this: who finds nothing must still ask.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/units.h"
#include "metafmt/block.h"

namespace drbd::metafmt {

constexpr Bytes kProbeHeadSize{128 << 10};

enum class ContentKind {
    Nothing,      // nothing known
    FileSystem,   // and anything else that owns its device: swap, LUKS, LVM, RAID
    PartitionTable,
    DiskImage,    // a container format; its bytes are not the guest's disk
};

struct Content {
    ContentKind kind = ContentKind::Nothing;
    const char* name = "";
    Bytes size;  // from the start of the device; 0 if it does not say
};

// `head` may be shorter than kProbeHeadSize on a small device.
Content probe_head(std::span<const uint8_t> head);

enum class MetadataVersion { None, V07, V08, V09 };

MetadataVersion probe_metadata(ConstBlock block);
const char* name_of(MetadataVersion version);

}  // namespace drbd::metafmt
