// SPDX-License-Identifier: GPL-2.0-or-later
// What a failure says: what was broken, in which life, of which sources, and one
// command that repeats it with the whole trace.
// In: the command before each life.  Out: lines on standard output; on standard
// error if the core ends the process by a signal.
#pragma once

#include <string>

namespace drbd::sim {

const char* commit();

// The life that begins now.
void set_repeat_command(const std::string& command);
const std::string& repeat_command();

void report_failure(const std::string& life, const std::string& complaint);

// Ends a child without what is its parent's to end; counters of coverage are kept.
[[noreturn]] void leave_child(int status);

// A failed assertion of the core reports its life, too.
void report_signals();

}  // namespace drbd::sim
