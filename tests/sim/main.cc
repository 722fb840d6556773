// SPDX-License-Identifier: GPL-2.0-or-later
// drbd-sim: two nodes in one thread with virtual time, from a seed.
// docs/SIMULATOR.md says what is simulated and how to work with it.
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "numbers.h"
#include "report.h"
#include "script/play.h"
#include "shrink.h"
#include "world.h"

namespace {

using namespace drbd::sim;

constexpr uint64_t kSecondsMax = 10'000'000, kRequestsMax = 1'000'000'000, kJobsMax = 64;

// A line of a list.
struct Kept {
    uint64_t seed, requests;
    unsigned faults;
    std::string faults_text;
};

struct Arguments {
    uint64_t seed = 1, seeds = 1;
    bool draws_seed = false, counts_seeds = false;
    uint64_t seconds = 0;        // 0: no limit
    uint64_t jobs = 1;
    uint64_t requests = 2000;
    unsigned faults = kFaultAll;
    std::string faults_text = "all";
    bool trace = false, twice = false, quiet = false, keep_going = false;
    std::string list;            // a file of seeds
    std::vector<Kept> kept;      // what is in it
    std::string protocol;        // A, B or C; empty: the seed's
    bool shrink = false;
    std::string without;         // decisions that are left out
    PlayOptions play;            // scripts, instead of seeds
};

struct Totals {
    uint64_t seeds = 0, failed = 0, requests = 0, writes = 0, events = 0, checks = 0, recreated = 0, guest_errors = 0;
    double virtual_seconds = 0;
};

const char* program = "drbd-sim";
constexpr uint64_t kShrinkSeconds = 120;

// `--trace` is for the caller to add.
std::string command_of(const Arguments& a, uint64_t seed, uint64_t requests, const std::string& faults) {
    return std::string(program) + " --seed " + std::to_string(seed) + " --requests " + std::to_string(requests) + " --faults " + faults +
           (a.protocol.empty() ? "" : " --protocol " + a.protocol);
}

Options options_of(const Arguments& a, uint64_t seed, uint64_t requests, unsigned faults) {
    Options options = swarm(seed, faults, requests);
    if (!a.protocol.empty())
        options.protocol = a.protocol == "A" ? DRBD_PROTOCOL_A : a.protocol == "B" ? DRBD_PROTOCOL_B : DRBD_PROTOCOL_C;
    return options;
}

bool parse_faults(const std::string& text, unsigned& kinds) {
    static const struct { const char* name; unsigned kind; } names[] = {
        {"none", 0}, {"kill", kFaultKill}, {"cut", kFaultCut}, {"power", kFaultPower}, {"disk", kFaultDisk},
        {"freeze", kFaultFreeze}, {"admin", kFaultAdmin}, {"failover", kFaultFailover}, {"all", kFaultAll},
        {"stuck", kFaultStuck}, {"crowd", kFaultCrowd}, {"spread", kFaultSpread}, {"borders", kFaultBorders},
        {"away", kFaultAway}, {"relay", kFaultRelay}, {"relapse", kFaultRelapse}, {"failing", kFaultFailing}, {"narrow", kFaultNarrow},
        {"drip", kFaultDrip}, {"commits", kFaultCommits}, {"meet", kFaultMeet}, {"full", kFaultFull},
        {"options", kFaultOptions}, {"policies", kFaultPolicies}, {"secret", kFaultSecret},
        {"hung", kFaultHung}, {"timers", kFaultTimers}, {"bursts", kFaultBursts}, {"odd", kFaultOdd},
    };
    kinds = 0;
    size_t at = 0;
    while (at <= text.size()) {
        const size_t end = std::min(text.find(',', at), text.size());
        const std::string word = text.substr(at, end - at);
        bool found = false;
        for (const auto& name : names)
            if (word == name.name) {
                kinds |= name.kind;
                found = true;
            }
        if (!found) {
            std::fprintf(stderr, "%s: there are no faults '%s'; --help names those that there are\n", program, word.c_str());
            return false;
        }
        at = end + 1;
    }
    return true;
}

void usage() {
    std::printf(
        "Usage: %s [--seed N] [--seeds COUNT] [--seconds S] [--jobs N] [--requests N]\n"
        "       [--faults LIST] [--protocol P] [--trace] [--twice] [--keep-going] [--list FILE]\n"
        "Simulates two nodes from each seed and checks the promises of docs/SIMULATOR.md.\n"
        "  --seed N       the first seed (1); `random` draws one\n"
        "  --seeds N      so many, one after the other (1)\n"
        "  --seconds S    end after this time, whatever --seeds says\n"
        "  --jobs N       processes at a time, 64 at most (1)\n"
        "  --requests N   of the guest, in each run (2000)\n"
        "  --faults LIST  of kill,cut,power,disk,freeze,admin,failover, or all, none (all);\n"
        "                 and stuck, crowd, spread, borders, away, relay, relapse, failing, narrow, drip, commits, meet, full,\n"
        "                 options, policies, secret, hung, timers, bursts, odd\n"
        "  --protocol P   A, B or C, whatever the seed has drawn\n"
        "  --trace        print every event\n"
        "  --twice        run each seed twice and compare the hashes of the traces\n"
        "  --shrink       make the life of --seed short, as long as it fails\n"
        "  --without LIST leave decisions out, as --shrink says it\n"
        "  --keep-going   go on after a failure\n"
        "  --list FILE    lines `SEED REQUESTS FAULTS`: the kept seeds\n"
        "       %s --script FILE|FOLDER ... [--update] [--inject all|FAULT|FAULT@LINES] [--trace]\n"
        "  --script FILE  play a scenario and compare its trace; a folder: all *.txt of it\n"
        "  --update       write what happened into the file as its expectation\n"
        "  --inject WHAT  play it again with one fault more, at each point of its trace\n"
        "Numbers are whole and decimal.\n"
        "The exit status is 0 if every promise held, 1 if one was broken or a fault was not injected, 2 for wrong\n"
        "usage, a list or a script that makes no sense. A failed assertion of the core, or another crash, ends the\n"
        "program with 128 + the signal's number, for the shell, unless the life has a process of its own\n"
        "(--keep-going, --list, --jobs, --inject): then it is a failure like others, and the status is 1.\n",
        program, program);
}

// One seed.  Prints what is wrong; false then.
bool run_seed(const Arguments& a, uint64_t seed, uint64_t requests, unsigned faults, const std::string& faults_text, Totals& totals) {
    set_repeat_command(command_of(a, seed, requests, faults_text) + " --trace");
    const Options options = options_of(a, seed, requests, faults);
    Record record;
    Mask mask;
    if (!a.without.empty()) {
        Mask::parse(a.without, mask);
        record_life({seed, options}, record);
        set_repeat_command(command_of(a, seed, requests, faults_text) + " --without " + a.without + " --trace");
    }
    uint64_t hash = 0;
    for (int round = 0; round < (a.twice ? 2 : 1); round++) {
        World world(seed, options, a.trace);
        if (!a.without.empty())
            world.decisions().repeat(record, mask);
        world.run();
        totals.requests += world.guest().started();
        totals.writes += world.guest().writes_completed();
        totals.guest_errors += world.guest().failed();
        totals.events += world.queue().events();
        totals.checks += world.crash_checks();
        totals.recreated += world.admin().recreated();
        totals.virtual_seconds += static_cast<double>(world.queue().now()) / 1e6;
        std::string complaint = world.complaint();
        if (round == 1 && complaint.empty() && world.trace().hash() != hash)
            complaint = "repeatable: the same seed gave two different traces";
        hash = world.trace().hash();
        if (a.seeds == 1 && a.list.empty())
            std::printf("seed %llu: trace hash %016llx, %llu events, %.3f s of virtual time\n", static_cast<unsigned long long>(seed),
                        static_cast<unsigned long long>(hash), static_cast<unsigned long long>(world.queue().events()),
                        static_cast<double>(world.queue().now()) / 1e6);
        if (!complaint.empty()) {
            report_failure("seed " + std::to_string(seed), complaint);
            totals.failed++;
            totals.seeds++;
            return false;
        }
    }
    totals.seeds++;
    return true;
}

// Finds the shortest life of a seed that fails as the whole does.
int run_shrink(const Arguments& a) {
    const Shrunk shrunk = shrink({a.seed, options_of(a, a.seed, a.requests, a.faults)}, static_cast<double>(a.seconds > 0 ? a.seconds : kShrinkSeconds));
    if (shrunk.complaint.empty()) {
        std::printf("seed %llu does not fail\n", static_cast<unsigned long long>(a.seed));
        return 0;
    }
    std::printf("the whole life: %s\n", shrunk.complaint.c_str());
    for (unsigned s = 0; s < kMaskable; s++)
        if (shrunk.all[s] != 0)
            std::printf("  %-16s %llu of %llu\n", Mask::name(static_cast<Source>(s)), static_cast<unsigned long long>(shrunk.left[s]),
                        static_cast<unsigned long long>(shrunk.all[s]));
    std::printf("%u lives tried\n", shrunk.lives);
    set_repeat_command(command_of(a, a.seed, a.requests, a.faults_text) +
                       (shrunk.mask.empty() ? "" : " --without " + shrunk.mask.text()) + " --trace");
    report_failure("seed " + std::to_string(a.seed) + ", shortened", shrunk.shortest);
    return 1;
}

void add(Totals& to, const Totals& own) {
    to.seeds += own.seeds;
    to.failed += own.failed;
    to.requests += own.requests;
    to.writes += own.writes;
    to.events += own.events;
    to.checks += own.checks;
    to.recreated += own.recreated;
    to.guest_errors += own.guest_errors;
    to.virtual_seconds += own.virtual_seconds;
}

// Runs something in a process of its own: a failed assertion ends that alone.
template <typename F>
bool in_child(Totals& totals, F&& function) {
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        Totals own;
        const bool good = function(own);
        std::fflush(stdout);
        (void)!write(ends[1], &own, sizeof own);
        leave_child(good ? 0 : 1);
    }
    close(ends[1]);
    Totals own;
    const bool told = ::read(ends[0], &own, sizeof own) == static_cast<ssize_t>(sizeof own);
    close(ends[0]);
    if (!told) {
        own = {};
        own.seeds = own.failed = 1;
    }
    add(totals, own);
    int status = 0;
    waitpid(pid, &status, 0);
    return status == 0;
}

// All of it, before anything runs.
bool read_list(const std::string& path, std::vector<Kept>& kept) {
    std::error_code error;
    std::ifstream file(path);
    if (!file || std::filesystem::is_directory(path, error)) {
        std::fprintf(stderr, "%s: %s: cannot be read as a list\n", program, path.c_str());
        return false;
    }
    unsigned number = 0;
    for (std::string line; std::getline(file, line);) {
        number++;
        std::istringstream words(line);
        std::string seed, requests;
        Kept life{};
        if (!(words >> seed) || seed[0] == '#')
            continue;
        words >> requests >> life.faults_text;
        if (!read_number(seed, 0, UINT64_MAX, life.seed) || !read_number(requests, 1, kRequestsMax, life.requests) || life.faults_text.empty()) {
            std::fprintf(stderr, "%s: %s:%u: not `SEED REQUESTS FAULTS`: %s\n", program, path.c_str(), number, line.c_str());
            return false;
        }
        if (!parse_faults(life.faults_text, life.faults)) {
            std::fprintf(stderr, "%s: %s:%u: %s\n", program, path.c_str(), number, line.c_str());
            return false;
        }
        kept.push_back(life);
    }
    if (kept.empty())
        std::fprintf(stderr, "%s: %s: no seeds\n", program, path.c_str());
    return !kept.empty();
}

bool run_list(const Arguments& a, Totals& totals) {
    bool good = true;
    for (const Kept& life : a.kept)
        if (good || a.keep_going)
            good &= in_child(totals, [&](Totals& own) { return run_seed(a, life.seed, life.requests, life.faults, life.faults_text, own); });
    return good;
}

// Every `stride`-th seed from `first` on.
bool run_seeds(const Arguments& a, uint64_t first, uint64_t stride, Totals& totals) {
    const auto begin = std::chrono::steady_clock::now();
    bool good = true;
    for (uint64_t i = first; i < a.seeds && (good || a.keep_going); i += stride) {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
        if (a.seconds > 0 && passed.count() > static_cast<double>(a.seconds))
            break;
        auto run = [&](Totals& own) { return run_seed(a, a.seed + i, a.requests, a.faults, a.faults_text, own); };
        good &= a.keep_going ? in_child(totals, run) : run(totals);
    }
    return good;
}

bool run_jobs(const Arguments& a, Totals& totals) {
    struct Child {
        pid_t pid;
        int pipe;
    };
    std::vector<Child> children;
    for (uint64_t job = 0; job < a.jobs; job++) {
        int ends[2];
        if (pipe(ends) != 0)
            return false;
        const pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            Totals own;
            const bool good = run_seeds(a, job, a.jobs, own);
            std::fflush(stdout);
            (void)!write(ends[1], &own, sizeof own);
            leave_child(good ? 0 : 1);
        }
        close(ends[1]);
        children.push_back({pid, ends[0]});
    }
    bool good = true;
    for (const Child& child : children) {
        Totals own;
        if (::read(child.pipe, &own, sizeof own) == static_cast<ssize_t>(sizeof own)) {
            add(totals, own);
        } else {
            totals.failed++;
        }
        close(child.pipe);
        int status = 0;
        waitpid(child.pid, &status, 0);
        good &= status == 0;
    }
    return good;
}

// The number of an option.
bool take(const char* name, uint64_t low, uint64_t high, uint64_t& number) {
    if (read_number(optarg, low, high, number))
        return true;
    std::fprintf(stderr, "%s: --%s: '%s' is no whole decimal number from %llu to %llu\n", program, name, optarg,
                 static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
    return false;
}

// False if the arguments, each right by itself, make no sense together.
bool fit(const Arguments& a) {
    const bool scripts = !a.play.paths.empty();
    const char* wrong = nullptr;
    if (!a.protocol.empty() && (a.protocol.size() != 1 || !std::strchr("ABC", a.protocol[0])))
        wrong = "--protocol is A, B or C";
    else if (Mask mask; !Mask::parse(a.without, mask))
        wrong = "--without: decisions that there are not";
    else if (!scripts && !a.play.inject.empty())
        wrong = "--inject needs --script";
    else if (!scripts && a.play.update)
        wrong = "--update needs --script";
    else if (a.play.update && !a.play.inject.empty())
        wrong = "--update and --inject do not go together";
    else if (scripts + !a.list.empty() + a.shrink > 1)
        wrong = "--script, --list and --shrink do not go together";
    if (wrong)
        std::fprintf(stderr, "%s: %s; --help tells more\n", program, wrong);
    return !wrong;
}

}  // namespace

int main(int argc, char** argv) {
    program = argv[0];
    Arguments a;
    static const option options[] = {
        {"seed", required_argument, nullptr, 's'}, {"seeds", required_argument, nullptr, 'n'},
        {"seconds", required_argument, nullptr, 't'}, {"jobs", required_argument, nullptr, 'j'},
        {"requests", required_argument, nullptr, 'r'}, {"faults", required_argument, nullptr, 'f'},
        {"trace", no_argument, nullptr, 'T'}, {"twice", no_argument, nullptr, '2'}, {"list", required_argument, nullptr, 'l'},
        {"script", required_argument, nullptr, 'S'}, {"inject", required_argument, nullptr, 'I'},
        {"protocol", required_argument, nullptr, 'p'}, {"shrink", no_argument, nullptr, 'H'}, {"without", required_argument, nullptr, 'W'},
        {"update", no_argument, nullptr, 'U'}, {"keep-going", no_argument, nullptr, 'k'}, {"help", no_argument, nullptr, 'h'}, {},
    };
    for (int c; (c = getopt_long(argc, argv, "h", options, nullptr)) != -1;) {
        switch (c) {
        case 's':
            a.draws_seed = std::strcmp(optarg, "random") == 0;
            if (!a.draws_seed && !take("seed", 0, UINT64_MAX, a.seed))
                return 2;
            break;
        case 'n':
            a.counts_seeds = true;
            if (!take("seeds", 1, UINT64_MAX, a.seeds))
                return 2;
            break;
        case 't':
            if (!take("seconds", 1, kSecondsMax, a.seconds))
                return 2;
            break;
        case 'j':
            if (!take("jobs", 1, kJobsMax, a.jobs))
                return 2;
            break;
        case 'r':
            if (!take("requests", 1, kRequestsMax, a.requests))
                return 2;
            break;
        case 'f': a.faults_text = optarg; break;
        case 'T': a.trace = true; break;
        case '2': a.twice = true; break;
        case 'k': a.keep_going = true; break;
        case 'l': a.list = optarg; break;
        case 'p': a.protocol = optarg; break;
        case 'S': a.play.paths.push_back(optarg); break;
        case 'I': a.play.inject = optarg; break;
        case 'H': a.shrink = true; break;
        case 'W': a.without = optarg; break;
        case 'U': a.play.update = true; break;
        case 'h': usage(); return 0;
        default: usage(); return 2;
        }
    }
    if (optind != argc) {
        std::fprintf(stderr, "%s: what is '%s'?\n", program, argv[optind]);
        usage();
        return 2;
    }
    if (!parse_faults(a.faults_text, a.faults) || !fit(a) || (!a.list.empty() && !read_list(a.list, a.kept)))
        return 2;
    if (a.seconds > 0 && !a.counts_seeds)
        a.seeds = UINT64_MAX;
    // What a life gives back the next one takes.
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    report_signals();
    if (!a.play.paths.empty()) {
        a.play.program = program;
        a.play.trace = a.trace;
        a.play.jobs = static_cast<unsigned>(a.jobs);
        return play_scripts(a.play);
    }
    if (a.draws_seed) {
        a.seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) / 1000;
        std::printf("the first seed is %llu\n", static_cast<unsigned long long>(a.seed));
    }
    if (a.shrink)
        return run_shrink(a);
    const auto begin = std::chrono::steady_clock::now();
    Totals totals;
    const bool good = !a.list.empty() ? run_list(a, totals) : a.jobs > 1 ? run_jobs(a, totals) : run_seeds(a, 0, 1, totals);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    std::printf("%llu seeds, %llu failed; %llu requests, %llu writes completed, %llu guest errors, %llu events, %llu looks as if "
                "crashed, %llu disks made anew; %.0f s of virtual time in %.1f s: %.0f writes a second\n",
                static_cast<unsigned long long>(totals.seeds), static_cast<unsigned long long>(totals.failed),
                static_cast<unsigned long long>(totals.requests), static_cast<unsigned long long>(totals.writes),
                static_cast<unsigned long long>(totals.guest_errors), static_cast<unsigned long long>(totals.events),
                static_cast<unsigned long long>(totals.checks), static_cast<unsigned long long>(totals.recreated),
                totals.virtual_seconds, passed.count(), static_cast<double>(totals.writes) / passed.count());
    return good ? 0 : 1;
}
