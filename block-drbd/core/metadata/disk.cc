// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/disk.h"

namespace drbd {

metafmt::Placement placement_of(const DrbdDiskConfig& config) {
    switch (config.placement) {
    case DRBD_PLACEMENT_INTERNAL:
        return metafmt::Placement::internal();
    case DRBD_PLACEMENT_FLEXIBLE:
        return metafmt::Placement::flexible_external();
    case DRBD_PLACEMENT_INDEXED:
        return metafmt::Placement::indexed_external(config.metadata_index);
    }
    assertion_failed("placement", __FILE__, __LINE__);
}

void Disk::release() {
    bitmap.release();
    activity_log.release();
    pages.release();
    crashed_primary = false;
}

}  // namespace drbd
