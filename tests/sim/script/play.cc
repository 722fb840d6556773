// SPDX-License-Identifier: GPL-2.0-or-later
// The player of script/play.h.
#include "script/play.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "report.h"
#include "script/runner.h"

namespace drbd::sim {

namespace {

struct Counts {
    uint64_t runs = 0, failed = 0;
};

std::vector<std::string> files_of(const std::vector<std::string>& paths) {
    std::vector<std::string> files;
    for (const std::string& path : paths) {
        std::error_code error;
        if (!std::filesystem::is_directory(path, error)) {
            files.push_back(path);
            continue;
        }
        for (const auto& entry : std::filesystem::directory_iterator(path, error))
            if (entry.path().extension() == ".txt")
                files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
}

// The first line that differs, or nothing.
std::string difference(const Script& script, const std::vector<std::vector<std::string>>& traces) {
    for (size_t i = 0; i < script.steps.size(); i++) {
        const std::vector<std::string>& expected = script.steps[i].expected;
        const std::vector<std::string> seen = i < traces.size() ? traces[i] : std::vector<std::string>();
        for (size_t j = 0; j < std::max(expected.size(), seen.size()); j++) {
            const std::string want = j < expected.size() ? expected[j] : "(nothing)", got = j < seen.size() ? seen[j] : "(nothing)";
            if (want != got)
                return "the trace differs at line " + std::to_string(script.steps[i].line + j + 1) + "\n  expected  " + want +
                       "\n  happened  " + got;
        }
    }
    return "";
}

std::string where(const Script& script, const Runner& runner) {
    return script.path + (runner.line() ? ":" + std::to_string(runner.line()) : ", when mended");
}

std::string command(const PlayOptions& options, const Script& script) {
    return std::string(options.program) + " --script " + script.path;
}

bool play(const PlayOptions& options, const Script& script) {
    set_repeat_command(command(options, script) + " --trace");
    Runner runner(script, nullptr, options.trace);
    runner.run();
    std::string complaint = runner.complaint();
    if (complaint.empty() && options.update) {
        std::ofstream(script.path, std::ios::trunc) << with_traces(script, runner.traces());
        return true;
    }
    if (complaint.empty())
        complaint = difference(script, runner.traces());
    if (complaint.empty())
        return true;
    report_failure(where(script, runner), complaint);
    return false;
}

bool play_injected(const PlayOptions& options, const Script& script, const Injection& injection) {
    const std::string name = std::string(injection.fault->name) + "@" + std::to_string(injection.after);
    set_repeat_command(command(options, script) + " --inject " + name + " --trace");
    Runner runner(script, &injection, options.trace);
    runner.run();
    if (runner.complaint().empty())
        return true;
    report_failure(where(script, runner) + " with " + name, runner.complaint());
    return false;
}

// One fault at all its points, in a process of its own: a failed assertion ends
// that alone.
Counts play_fault(const PlayOptions& options, const Script& script, const ScriptFault& fault, const std::vector<uint64_t>& points) {
    int ends[2];
    if (pipe(ends) != 0)
        return {0, 1};
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        Counts own;
        for (const uint64_t point : points) {
            own.runs++;
            own.failed += !play_injected(options, script, {&fault, point});
        }
        std::fflush(stdout);
        (void)!write(ends[1], &own, sizeof own);
        _exit(0);
    }
    close(ends[1]);
    Counts own;
    if (::read(ends[0], &own, sizeof own) != static_cast<ssize_t>(sizeof own))
        own = {1, 1};
    close(ends[0]);
    waitpid(pid, nullptr, 0);
    return own;
}

Counts inject(const PlayOptions& options, const Script& script) {
    std::vector<uint64_t> points;
    {
        Runner runner(script, nullptr, false);
        runner.run();
        points = runner.points();
    }
    const size_t at = options.inject.find('@');
    const std::string name = options.inject.substr(0, at);
    if (at != std::string::npos)
        points = {std::strtoull(options.inject.c_str() + at + 1, nullptr, 10)};
    Counts counts;
    for (const ScriptFault& fault : script_faults()) {
        if (name == "all" ? !fault.injected : name != fault.name)
            continue;
        const Counts own = play_fault(options, script, fault, points);
        counts.runs += own.runs;
        counts.failed += own.failed;
    }
    return counts;
}

}  // namespace

int play_scripts(const PlayOptions& options) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string fault = options.inject.substr(0, options.inject.find('@'));
    if (!fault.empty() && fault != "all" && !find_script_fault(fault)) {
        std::fprintf(stderr, "%s: there is no fault '%s'\n", options.program, fault.c_str());
        return 2;
    }
    Counts plain, injected;
    const std::vector<std::string> files = files_of(options.paths);
    for (const std::string& file : files) {
        const Script script = read_script(file);
        if (!script.error.empty()) {
            std::fprintf(stderr, "%s\n", script.error.c_str());
            return 2;
        }
        if (fault.empty()) {
            plain.runs++;
            plain.failed += !play(options, script);
            continue;
        }
        const Counts own = inject(options, script);
        injected.runs += own.runs;
        injected.failed += own.failed;
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    const Counts& counts = fault.empty() ? plain : injected;
    std::printf("%zu scripts, %llu runs%s, %llu failed, %.1f s\n", files.size(), static_cast<unsigned long long>(counts.runs),
                fault.empty() ? "" : " with a fault injected", static_cast<unsigned long long>(counts.failed), passed.count());
    return counts.failed != 0 || counts.runs == 0;
}

}  // namespace drbd::sim
