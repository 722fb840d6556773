// SPDX-License-Identifier: GPL-2.0-or-later
// `drbd-sim --script`: plays scripts and compares their traces, rewrites the
// expectations, or plays them with one fault injected, at every point of the
// trace and for every fault.
// In: files or folders.  Out: what failed, with the command that repeats it.
#pragma once

#include <string>
#include <vector>

namespace drbd::sim {

struct PlayOptions {
    std::vector<std::string> paths;  // a folder stands for its *.txt
    std::string inject;              // empty, all, FAULT or FAULT@LINES
    unsigned jobs = 1;               // processes at a time, with `inject`
    bool update = false, trace = false;
    const char* program = "drbd-sim";
};

// The exit status: 0, 1 if something failed, 2 for wrong usage.
int play_scripts(const PlayOptions& options);

}  // namespace drbd::sim
