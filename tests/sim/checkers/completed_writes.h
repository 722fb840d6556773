// SPDX-License-Identifier: GPL-2.0-or-later
// Promise (protocol C, design D6 and D14): a write that completed is on both
// disks, or the disk that lacks it is Inconsistent, or the stable generation of
// the one that has it was unknown to the other when the write completed.  After
// a flush (or with FUA) the same holds for the stable content.
// Protocols A and B: the write is on a disk.
// Verified: at each completion, from the two images and superblocks, also of a
// host whose process is dead.  Not verified: that B's writes reached the peer's
// memory; generations that fell out of the two old ones that are kept.
#pragma once

#include <string>

#include "checkers/history.h"
#include "drbd-core.h"

namespace drbd::sim {

std::string check_completed(const History& history, const Written& write, const Disk* const disks[2], DrbdProtocol protocol,
                            View view);

}  // namespace drbd::sim
