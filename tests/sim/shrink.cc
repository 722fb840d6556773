// SPDX-License-Identifier: GPL-2.0-or-later
// The shrinker of shrink.h.
#include "shrink.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <vector>

#include "report.h"
#include "world.h"

namespace drbd::sim {

namespace {

// Which promise: what stands before the colon.
std::string checker_of(const std::string& complaint) {
    return complaint.substr(0, complaint.find(':'));
}

// The complaint of a life that runs in a process of its own.
std::string complaint_of(const Life& life, const std::function<void(Decisions&)>& prepare) {
    int ends[2];
    if (pipe(ends) != 0)
        return "";
    std::fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        // Assertions of lives that are only tried are nobody's news.
        for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
            std::signal(signal, SIG_DFL);
        (void)!std::freopen("/dev/null", "w", stderr);
        World world(life.seed, life.options, false);
        prepare(world.decisions());
        world.run();
        const std::string text = world.complaint().substr(0, 4000);
        (void)!write(ends[1], text.data(), text.size());
        leave_child(0);
    }
    close(ends[1]);
    std::string text(4096, '\0');
    size_t length = 0;
    for (ssize_t n; (n = ::read(ends[0], text.data() + length, text.size() - length)) > 0;)
        length += static_cast<size_t>(n);
    text.resize(length);
    close(ends[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) + ": the core ended" : text;
}

class Shrinker {
  public:
    Shrinker(const Life& life, double seconds)
        : life_(life), end_(std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                                   std::chrono::duration<double>(seconds))) {}

    Shrunk run() {
        result_.complaint = result_.shortest = record_life(life_, record_);
        if (result_.complaint.empty())
            return result_;
        for (unsigned s = 0; s < kMaskable; s++) {
            const Source source = static_cast<Source>(s);
            const uint64_t count = record_.of(source).size();
            result_.all[s] = count;
            for (uint64_t n = 0; n < count; n++)
                left_[s].push_back(n);
        }
        for (unsigned s = 0; s < kMaskable; s++)
            leave_out(s, 0, left_[s].size());
        // What is needed depends on what else is there: until nothing helps.
        for (bool shorter = true; shorter && !is_late();) {
            shorter = false;
            for (unsigned s = 0; s < kMaskable; s++)
                shorter |= pieces(s);
        }
        for (unsigned s = 0; s < kMaskable; s++)
            result_.left[s] = left_[s].size();
        return result_;
    }

  private:
    bool is_late() const { return std::chrono::steady_clock::now() > end_; }

    // Without some of those that are left; true if it still fails.
    bool leave_out(unsigned source, size_t at, size_t count) {
        if (count == 0 || is_late())
            return false;
        Mask mask = result_.mask;
        for (size_t i = at; i < at + count; i++)
            mask.add(static_cast<Source>(source), left_[source][i]);
        result_.lives++;
        const std::string complaint = complaint_of(life_, [&](Decisions& d) { d.repeat(record_, mask); });
        if (complaint.empty() || checker_of(complaint) != checker_of(result_.complaint))
            return false;
        result_.mask = mask;
        result_.shortest = complaint;
        const auto begin = left_[source].begin() + static_cast<long>(at);
        left_[source].erase(begin, begin + static_cast<long>(count));
        return true;
    }

    // From the end, as what comes after the failure is never needed.
    bool pieces(unsigned source) {
        bool shorter = false;
        for (size_t size = std::max<size_t>(left_[source].size() / 2, 1); size > 0; size /= 2)
            for (size_t end = left_[source].size(); end > 0 && !is_late();) {
                const size_t at = end > size ? end - size : 0;
                shorter |= leave_out(source, at, end - at);
                end = at;
            }
        return shorter;
    }

    Life life_;
    std::chrono::steady_clock::time_point end_;
    Record record_;
    Shrunk result_;
    std::vector<uint64_t> left_[kMaskable];
};

}  // namespace

std::string record_life(const Life& life, Record& record) {
    record.clear();
    return complaint_of(life, [&](Decisions& d) { d.record(record); });
}

Shrunk shrink(const Life& life, double seconds) {
    return Shrinker(life, seconds).run();
}

}  // namespace drbd::sim
