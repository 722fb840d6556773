// SPDX-License-Identifier: GPL-2.0-or-later
// An administrator who changes options while everything goes on (--faults options),
// and mends what he has made different (also --faults policies).
// One change at a time, on one node or on both, a while after each other or never:
// timeouts, sizes and policies as they come; what both must agree on by a
// disconnect, the change, and a connect; sometimes without the disconnect, and
// sometimes with a value that there is not: both must be refused.
// In: time, a node that is about to be connected.  Out: Node::configure().
// repair() makes him set back what concerns time, and mend alone.
#pragma once

#include <optional>

#include "decisions.h"
#include "rng.h"
#include "settings.h"

namespace drbd::sim {

class World;

// A node waits four times its ping-timeout for the first word of a peer that first
// looks for its own ping-timeout whether the sockets stand: if they differ by more, the
// two never meet.
constexpr unsigned kPingTimeoutLeast = 5, kPingTimeoutMost = 15;

class Tuner {
  public:
    Tuner(World& world, Rng random) : world_(world), random_(random) {}

    void begin();
    void repair() { repairing_ = true; }
    // The administrator looks after this node, which runs.
    void tend(int host);
    // This node is StandAlone and about to be connected.
    void before_connect(int host);

  private:
    void change();
    void try_wrong(int host);
    void tune(int host);
    void plan(int host);
    void plan(int host, const Settings& settings);
    void align(int host);
    void again();

    World& world_;
    Rng random_;
    std::optional<Settings> planned_[2];  // for the next time that it is StandAlone
    bool repairing_ = false;
    bool repaired_[2] = {false, false};
};

}  // namespace drbd::sim
