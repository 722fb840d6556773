// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: a node's state is one that docs/STATES.md knows, and was reached by a
// step that it knows; and two nodes of one connection are never the source, or
// the target, of the same resync for longer than it takes to notice: then they
// disconnect, and say why.  Nor is one of them in a resync that the other has left.
// Verified: every change of connection and disk state that is reported, by
// tables of its own; the tuple of each volume, whenever it is asked; the pair of
// nodes, over time.  Not verified: whether a step was due; roles (one_primary);
// what the peer's disk is called before a connection.
#pragma once

#include <string>
#include <vector>

#include "drbd-core.h"
#include "event_queue.h"
#include "settings.h"

namespace drbd::sim {

// A reported change.
std::string check_step(const DrbdNotice& change);
// The state that a volume is in.
std::string check_tuple(const DrbdVolumeStatus& status);

// Both nodes, of one volume.
class EqualSigns {
  public:
    EqualSigns(const SettingsLog& of_a, const SettingsLog& of_b) : settings_{&of_a, &of_b} {}
    // `live`: both run, and none is frozen.
    std::string check(bool live, const DrbdVolumeStatus& a, const DrbdVolumeStatus& b, Time now);

  private:
    const SettingsLog* settings_[2];
    Time since_ = 0;  // both go the same way, or one goes alone; 0: they do not
};

}  // namespace drbd::sim
