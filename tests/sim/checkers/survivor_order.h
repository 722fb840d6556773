// SPDX-License-Identifier: GPL-2.0-or-later
// Promise (protocols A, B and C): a disk that calls its data good holds a state
// that the guest's disk was in, or could have been in at a crash: if a write is
// there, so is every write that had completed before that one was issued; after
// a loss of power, every one that had been flushed before (what A and B promise
// beyond that, epochs verifies).
// Verified: from the image and superblock alone, of each host by itself, as who
// survives alone would find them; current bytes (its process dies) and stable
// ones (it loses power).  An Inconsistent disk is passed over: nobody goes on
// with it.  So a target that is not marked as one is found.
// One that was promoted by force is passed over, too, until its guest begins; and
// both while they are split: the order of all writes is that of neither; and both
// from when a policy has overruled a guest until the next one begins: what that one
// had under way lands on the data that it was overruled by.
// Not verified: zeroes, which carry no name, as the newer write; what a write
// that failed left; disks that report errors; after a loss of power what a
// host's cache had lost before, the own one or, by a resync, the other one's;
// under A and B a guest that goes on after the copy with its last writes was
// given up before the peer had them, until the next guest begins.
#pragma once

#include <string>

#include "checkers/history.h"

namespace drbd::sim {

std::string check_survivor_order(const History& history, const Disk& disk, int host, View view);

}  // namespace drbd::sim
