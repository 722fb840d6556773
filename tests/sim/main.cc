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
#include <string>
#include <vector>

#include "report.h"
#include "script/play.h"
#include "shrink.h"
#include "world.h"

namespace {

using namespace drbd::sim;

struct Arguments {
    uint64_t seed = 1, seeds = 1;
    double seconds = 0;          // 0: no limit
    unsigned jobs = 1;
    uint64_t requests = 2000;
    unsigned faults = kFaultAll;
    std::string faults_text = "all";
    bool trace = false, twice = false, quiet = false, keep_going = false;
    std::string list;            // a file of seeds
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
constexpr double kShrinkSeconds = 120;

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
        {"hung", kFaultHung}, {"timers", kFaultTimers}, {"bursts", kFaultBursts},
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
        "  --jobs N       processes at a time (1)\n"
        "  --requests N   of the guest, in each run (2000)\n"
        "  --faults LIST  of kill,cut,power,disk,freeze,admin,failover, or all, none (all);\n"
        "                 and stuck, crowd, spread, borders, away, relay, relapse, failing, narrow, drip, commits, meet, full,\n"
        "                 options, policies, secret, hung, timers, bursts\n"
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
        "The exit status is 0 if every promise held, 1 if one was broken, 2 for wrong usage.\n",
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
    const Shrunk shrunk = shrink({a.seed, options_of(a, a.seed, a.requests, a.faults)}, a.seconds > 0 ? a.seconds : kShrinkSeconds);
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

bool run_list(const Arguments& a, Totals& totals) {
    std::FILE* file = std::fopen(a.list.c_str(), "r");
    if (!file) {
        std::fprintf(stderr, "%s: %s: cannot be opened\n", program, a.list.c_str());
        return false;
    }
    char line[200];
    bool good = true;
    while ((good || a.keep_going) && std::fgets(line, sizeof line, file)) {
        unsigned long long seed, requests;
        char faults[100];
        unsigned kinds;
        if (line[0] == '#' || std::sscanf(line, "%llu %llu %99s", &seed, &requests, faults) != 3)
            continue;
        if (!parse_faults(faults, kinds)) {
            std::fprintf(stderr, "%s: in the list %s\n", program, a.list.c_str());
            good = false;
            break;
        }
        good &= in_child(totals, [&](Totals& own) { return run_seed(a, seed, requests, kinds, faults, own); });
    }
    std::fclose(file);
    return good;
}

// Every `stride`-th seed from `first` on.
bool run_seeds(const Arguments& a, uint64_t first, uint64_t stride, Totals& totals) {
    const auto begin = std::chrono::steady_clock::now();
    bool good = true;
    for (uint64_t i = first; i < a.seeds && (good || a.keep_going); i += stride) {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
        if (a.seconds > 0 && passed.count() > a.seconds)
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
    for (unsigned job = 0; job < a.jobs; job++) {
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
            a.seed = std::strcmp(optarg, "random") == 0
                ? static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) / 1000
                : std::strtoull(optarg, nullptr, 0);
            break;
        case 'n': a.seeds = std::strtoull(optarg, nullptr, 0); break;
        case 't':
            a.seconds = std::strtod(optarg, nullptr);
            a.seeds = a.seeds == 1 ? UINT64_MAX : a.seeds;
            break;
        case 'j': a.jobs = static_cast<unsigned>(std::strtoul(optarg, nullptr, 0)); break;
        case 'r': a.requests = std::strtoull(optarg, nullptr, 0); break;
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
    const bool protocol_is_known = a.protocol.empty() || (a.protocol.size() == 1 && std::strchr("ABC", a.protocol[0]));
    Mask mask;
    if (!parse_faults(a.faults_text, a.faults))
        return 2;
    if (!protocol_is_known || !Mask::parse(a.without, mask) || optind != argc) {
        usage();
        return 2;
    }
    // What a life gives back the next one takes.
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    report_signals();
    if (!a.play.paths.empty()) {
        a.play.program = program;
        a.play.trace = a.trace;
        a.play.jobs = std::max(a.jobs, 1u);
        return play_scripts(a.play);
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
