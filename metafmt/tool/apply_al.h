// SPDX-License-Identifier: GPL-2.0-or-later
// Applying the activity log, for the verb and for check-resize, which moves
// only clean metadata.
#pragma once

#include "metafmt/tool/console.h"
#include "metafmt/tool/metadata_file.h"

namespace drbd::metafmt::tool {

// Leaves md.superblock as it is on the disk afterwards: clean.
void apply_activity_log(MetadataFile& md, const Console& console);

}  // namespace drbd::metafmt::tool
