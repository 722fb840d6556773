// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/metadata/superblock_content.h"

namespace drbd {

using metafmt::MdFlag;

metafmt::Superblock superblock_of(const Disk& disk, const State& state, Cleanness cleanness) {
    metafmt::Superblock sb = disk.superblock;
    sb.la_size = disk.size;
    sb.uuids = disk.uuids;
    sb.al_nr_extents = disk.activity_log.nr_slots();
    sb.magic = cleanness == Cleanness::Clean ? metafmt::SuperblockMagic::Clean
                                             : metafmt::SuperblockMagic::Unclean;
    sb.flags.assign(MdFlag::AlClean, cleanness == Cleanness::Clean);
    sb.flags.assign(MdFlag::CrashedPrimary, disk.crashed_primary);
    sb.flags.assign(MdFlag::PrimaryInd,
                    state.role == Role::Primary ||
                        (state.peer_disk < DiskState::Inconsistent && state.peer == Role::Primary));
    sb.flags.assign(MdFlag::ConnectedInd, state.connection > ConnectionState::WFReportParams || disk.generation_shared);
    sb.flags.assign(MdFlag::Consistent, state.disk > DiskState::Inconsistent);
    sb.flags.assign(MdFlag::WasUpToDate, state.disk > DiskState::Outdated);
    sb.flags.assign(MdFlag::PeerOutDated, state.peer_disk >= DiskState::Inconsistent &&
                                              state.peer_disk <= DiskState::Outdated);
    sb.flags.clear(MdFlag::FullSync);    // set by the activities that set every bit
    sb.flags.clear(MdFlag::AlDisabled);  // the log is always written
    return sb;
}

DiskState disk_state_of(metafmt::MdFlags flags) {
    switch (metafmt::stored_disk_state(flags)) {
    case metafmt::StoredDiskState::Inconsistent:
        return DiskState::Inconsistent;
    case metafmt::StoredDiskState::Outdated:
        return DiskState::Outdated;
    case metafmt::StoredDiskState::Consistent:
    case metafmt::StoredDiskState::UpToDate:
        return DiskState::UpToDate;
    }
    assertion_failed("stored disk state", __FILE__, __LINE__);
}

DiskState peer_disk_state_of(metafmt::MdFlags flags) {
    return flags.has(MdFlag::PeerOutDated) ? DiskState::Outdated : DiskState::DUnknown;
}

}  // namespace drbd
