// SPDX-License-Identifier: GPL-2.0-or-later
// The reports of report.h.
#include "report.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "commit.h"

#ifdef DRBD_SIM_COVERAGE
extern "C" int __llvm_profile_write_file(void);
#endif

namespace drbd::sim {

namespace {

std::string command;
char crash_text[1000];  // made before: a handler of signals may not

void on_crash(int signal) {
    char text[60];
    const int n = std::snprintf(text, sizeof text, "\nFAILED: the core ended with signal %d\n", signal);
    (void)!write(2, text, static_cast<size_t>(n));
    size_t length = 0;
    while (crash_text[length])
        length++;
    (void)!write(2, crash_text, length);
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

}  // namespace

const char* commit() {
    return DRBD_SIM_COMMIT;
}

void set_repeat_command(const std::string& text) {
    command = text;
    std::snprintf(crash_text, sizeof crash_text, "commit: %s\nrepeat: %s\n", commit(), command.c_str());
}

const std::string& repeat_command() {
    return command;
}

void report_failure(const std::string& life, const std::string& complaint) {
    std::printf("FAILED: %s: %s\ncommit: %s\nrepeat: %s\n", life.c_str(), complaint.c_str(), commit(), command.c_str());
    std::fflush(stdout);
}

void leave_child(int status) {
    std::fflush(stdout);
#ifdef DRBD_SIM_COVERAGE
    __llvm_profile_write_file();
#endif
    _exit(status);
}

void report_signals() {
    for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
        std::signal(signal, on_crash);
}

}  // namespace drbd::sim
