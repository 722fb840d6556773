// SPDX-License-Identifier: GPL-2.0-or-later
// The faults that a script may name and that are injected into scripts, as a
// table: name, and what it does to a world.  They happen between two events.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace drbd::sim {

class World;

struct ScriptFault {
    const char* name;
    int host;      // whom it concerns; -1: the link, or both
    bool injected; // by --inject all
    void (*happen)(World& world, int host);
};

std::span<const ScriptFault> script_faults();
const ScriptFault* find_script_fault(const std::string& name);

struct Injection {
    const ScriptFault* fault = nullptr;
    uint64_t after = 0;  // so many lines of the script's trace
};

}  // namespace drbd::sim
