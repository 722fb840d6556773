// SPDX-License-Identifier: GPL-2.0-or-later
// Makes a failing life short: leaves out whole kinds of faults, then single
// faults, commands, disk errors and requests of the guest, as long as the same
// checker still complains.
// In: a seed with its options.  Out: the decisions that are not needed, as a
// mask, and what the shortest life complains of.
// Each life runs in a process of its own, so a failed assertion of the core can
// be shortened as well.
#pragma once

#include <functional>
#include <string>

#include "decisions.h"
#include "faults.h"

namespace drbd::sim {

struct Life {
    uint64_t seed = 0;
    Options options;
};

// Runs the life once and writes down what it decides.  Empty, or its complaint.
std::string record_life(const Life& life, Record& record);

struct Shrunk {
    std::string complaint;   // of the whole life; empty: it does not fail
    std::string shortest;    // of the shortest
    Mask mask;
    unsigned lives = 0;      // that were tried
    uint64_t left[kMaskable] = {}, all[kMaskable] = {};
};

// `seconds` bounds how long it tries.
Shrunk shrink(const Life& life, double seconds);

}  // namespace drbd::sim
