// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: every read returns, for each sector, the last write that had ended
// before the read began, or one that had not ended then.
// Verified: the bytes handed to the guest, whether the image or the peer gave
// them.  Not verified: reads that failed; that two reads of one unfinished write
// agree.
#pragma once

#include <string>

#include "checkers/history.h"
#include "node.h"

namespace drbd::sim {

// Empty, or what is wrong.
std::string check_read(const History& history, const GuestRequest& request);

}  // namespace drbd::sim
