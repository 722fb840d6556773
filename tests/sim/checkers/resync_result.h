// SPDX-License-Identifier: GPL-2.0-or-later
// Promise (protocol C): a target that ends its resync and calls its data good
// has, in every sector, what the guest may find there: nothing that was written
// while the nodes exchanged bitmaps, or during the resync, was forgotten.
// Verified: the target's image when its disk becomes UpToDate by a resync, by the
// history of the guest.  Not verified: under A and B, where completed writes may
// still be on their way; stable bytes (acknowledgements does that); a target
// that somebody had told to give up its data (resync_direction.h), if no guest
// runs on the source: the history may be that of the guest whose data went; one
// whose source has made a generation since: it has lost the target, or agreed to its leaving.
#pragma once

#include <string>

#include "checkers/history.h"

namespace drbd::sim {

// `source`: where the history is that of a guest whose data somebody gave up in an
// earlier resync, and no guest has begun since, what the source has is right, too.
std::string check_resync_result(const History& history, const Disk& target, int host, const Disk* source = nullptr);

// The source's stable generation is none that the target has ever had.
bool has_gone_on(const Disk& target, const Disk& source);

}  // namespace drbd::sim
