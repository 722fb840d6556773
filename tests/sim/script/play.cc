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
#include <map>

#include "numbers.h"
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
    if (runner.complaint().empty() && runner.has_injected())
        return true;
    report_failure(where(script, runner) + " with " + name,
                   runner.complaint().empty() ? "the fault was not injected: the trace has fewer lines" : runner.complaint());
    return false;
}

// Tasks in processes of their own, some at a time: a failed assertion ends its
// task alone.
class Pool {
  public:
    explicit Pool(unsigned jobs) : jobs_(jobs) {}

    template <typename F>
    void start(F&& task) {
        while (running_.size() >= jobs_)
            wait_for_one();
        int ends[2];
        if (pipe(ends) != 0) {
            counts_.failed++;
            return;
        }
        std::fflush(stdout);
        const pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            const Counts own = task();
            std::fflush(stdout);
            (void)!write(ends[1], &own, sizeof own);
            leave_child(0);
        }
        close(ends[1]);
        running_[pid] = ends[0];
    }
    Counts finish() {
        while (!running_.empty())
            wait_for_one();
        return counts_;
    }

  private:
    void wait_for_one() {
        const auto task = running_.find(waitpid(-1, nullptr, 0));
        if (task == running_.end())
            return;
        Counts own;
        if (::read(task->second, &own, sizeof own) != static_cast<ssize_t>(sizeof own))
            own = {1, 1};
        close(task->second);
        running_.erase(task);
        counts_.runs += own.runs;
        counts_.failed += own.failed;
    }

    unsigned jobs_;
    std::map<pid_t, int> running_;
    Counts counts_;
};

// One fault at all its points.
Counts play_fault(const PlayOptions& options, const Script& script, const ScriptFault& fault, const std::vector<uint64_t>& points) {
    Counts counts;
    for (const uint64_t point : points) {
        counts.runs++;
        counts.failed += !play_injected(options, script, {&fault, point});
    }
    return counts;
}

void inject(const PlayOptions& options, const Script& script, Pool& pool) {
    std::vector<uint64_t> points;
    {
        Runner runner(script, nullptr, false);
        runner.run();
        points = runner.points();
    }
    const size_t at = options.inject.find('@');
    const std::string name = options.inject.substr(0, at);
    if (at != std::string::npos) {
        points = {0};
        read_number(std::string_view(options.inject).substr(at + 1), 1, UINT64_MAX, points[0]);
    }
    for (const ScriptFault& fault : script_faults())
        if (name == "all" ? fault.injected : name == fault.name)
            pool.start([&] { return play_fault(options, script, fault, points); });
}

}  // namespace

int play_scripts(const PlayOptions& options) {
    const auto begin = std::chrono::steady_clock::now();
    const size_t at = options.inject.find('@');
    const std::string fault = options.inject.substr(0, at);
    if (!options.inject.empty() && fault != "all" && !find_script_fault(fault)) {
        std::fprintf(stderr, "%s: there is no fault '%s'\n", options.program, fault.c_str());
        return 2;
    }
    uint64_t lines;
    if (at != std::string::npos && !read_number(std::string_view(options.inject).substr(at + 1), 1, UINT64_MAX, lines)) {
        std::fprintf(stderr, "%s: --inject %s: behind the @ there is no number of lines\n", options.program, options.inject.c_str());
        return 2;
    }
    const std::vector<std::string> files = files_of(options.paths);
    std::vector<Script> scripts;
    for (const std::string& file : files) {
        scripts.push_back(read_script(file));
        if (!scripts.back().error.empty()) {
            std::fprintf(stderr, "%s\n", scripts.back().error.c_str());
            return 2;
        }
        for (const Step& step : scripts.back().steps)
            if (const std::string mistake = Runner::mistake_in(step.words); !mistake.empty()) {
                std::fprintf(stderr, "%s:%u: %s\n", file.c_str(), step.line, mistake.c_str());
                return 2;
            }
    }
    if (scripts.empty()) {
        std::fprintf(stderr, "%s: there are no scripts\n", options.program);
        return 2;
    }
    Counts plain;
    Pool pool(options.jobs);
    for (const Script& script : scripts) {
        if (fault.empty()) {
            plain.runs++;
            plain.failed += !play(options, script);
            continue;
        }
        inject(options, script, pool);
    }
    const Counts counts = fault.empty() ? plain : pool.finish();
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    std::printf("%zu scripts, %llu runs%s, %llu failed, %.1f s\n", files.size(), static_cast<unsigned long long>(counts.runs),
                fault.empty() ? "" : " with a fault injected", static_cast<unsigned long long>(counts.failed), passed.count());
    return counts.failed != 0 || counts.runs == 0 ? 1 : 0;
}

}  // namespace drbd::sim
