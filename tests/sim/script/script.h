// SPDX-License-Identifier: GPL-2.0-or-later
// A scenario script: a text file with steps, and below each step, indented, the
// trace that it must leave.
//
//   # what is seen and why                       comment
//   set protocol C                               the world, before the first step
//   write a 8 8                                  a step
//       0.0 A write         w1 8+8               its trace: time in seconds, who, what, text
//
// In: a file.  Out: the world's options, steps with expectations, or an error
// with file and line.  with_traces() gives the same file with other traces.
#pragma once

#include <string>
#include <vector>

#include "faults.h"

namespace drbd::sim {

// Which lines a script wants to see beyond the usual ones.
struct Show {
    bool handshake = false;  // packets before P_UUIDS and P_STATE
    bool pings = false;
    bool metadata = true;    // writes of metadata
    bool disk = true;        // I/O for the peer
};

struct Step {
    unsigned line = 0;                 // in the file, from 1
    std::vector<std::string> words;
    std::vector<std::string> expected;
};

struct Script {
    std::string path, error;
    std::vector<std::string> lines;
    Options options;
    Show show;
    std::vector<Step> steps;
};

Script read_script(const std::string& path);

// The file's text, with these traces behind the steps.
std::string with_traces(const Script& script, const std::vector<std::vector<std::string>>& traces);

}  // namespace drbd::sim
