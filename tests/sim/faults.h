// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that differs between two runs, as one struct: the shape of disks
// and connection, the guest, and how often what goes wrong.  swarm() draws the
// struct itself from the seed: most runs have few kinds of faults, so that each
// kind meets quiet surroundings as well as wild ones.
// class Faults lets them happen.
#pragma once

#include <cstdint>
#include <string>

#include "decisions.h"
#include "drbd-core.h"
#include "event_queue.h"
#include "link.h"
#include "rng.h"
#include "settings.h"

namespace drbd::sim {

// Which kinds a run may have (--faults).
enum FaultKind : unsigned {
    kFaultKill = 1, kFaultCut = 2, kFaultPower = 4, kFaultDisk = 8, kFaultFreeze = 16, kFaultAdmin = 32,
    kFaultFailover = 64, kFaultAll = 127,
    // Only when named.
    kFaultStuck = 128, kFaultCrowd = 256, kFaultSpread = 512, kFaultBorders = 1024, kFaultAway = 2048, kFaultRelay = 4096,
    kFaultRelapse = 8192, kFaultFailing = 16384, kFaultNarrow = 32768, kFaultDrip = 65536, kFaultCommits = 131072, kFaultMeet = 262144,
    kFaultFull = 524288, kFaultOptions = 1048576, kFaultPolicies = 2097152, kFaultSecret = 4194304,
    kFaultHung = 8388608, kFaultTimers = 16777216, kFaultBursts = 33554432, kFaultOdd = 67108864,
};

// What the administrator does at random; chance draws one of kCommands.
enum class Command : unsigned {
    Disconnect, DisconnectToo,  // the same, so that it comes twice as often
    ForcedDisconnect, Invalidate, InvalidateRemote, Outdate, Detach, Leave, Drain, NewCurrentUuid,
};
constexpr unsigned kCommands = 10;
constexpr unsigned bit_of(Command command) { return 1u << static_cast<unsigned>(command); }

// The settings are those that both nodes begin with.
struct Options : Settings {
    // Disks.
    unsigned volumes = 1;
    uint64_t image_bytes = 16ull << 20;
    bool internal = false;
    unsigned al_extents = 67;
    unsigned max_requests = 0;
    bool skip_initial_sync = false;
    Time disk_latency = 80;
    double slow_io = 0;               // this part takes 100 times as long
    double stuck_io = 0;              // this part takes seconds
    double hung_io = 0;               // this part never returns, or its disk does nothing any more
    double read_error = 0, write_error = 0, flush_error = 0, metadata_error = 0;
    double full_disk = 0;             // chance of a write to meet a file system that is full from now on, for a while
    double process_cache = 0;         // a kill loses what the process had cached
    // Connection.
    LinkTimes link;
    std::string secret[2];            // of each host; empty: no authentication
    double small_reads = 0, short_sends = 0.02, late_sends = 0.1;
    double clock_rate[2] = {1, 1};
    // Guest.
    unsigned depth = 8;
    Time think = 200, pause = 0;      // between two requests; sometimes a longer one
    bool waits_for_sync = true;       // for the first resync
    double reads = 0.2, flushes = 0.05, fua = 0.05, zeroes = 0.03, discards = 0.03, large = 0.05;
    unsigned commit_every = 0;        // so many requests are followed by a flush
    double whole_blocks = 0.8;        // requests that are
    double near_spots = 0.85;
    bool at_borders = false;          // of extents of the activity log
    unsigned hot_spots = 4, spot_sectors = 64;
    uint64_t requests = 2000;
    // What goes wrong: mean time between two of a kind, 0: never.
    Time kill_every = 0, power_every = 0, freeze_every = 0, cut_every = 0, stall_every = 0, partition_every = 0;
    double both_at_once = 0.05;
    Time failover_every = 0, command_every = 0;
    bool bursts = false;  // the administrator waits for no command to end before the next
    unsigned commands = 0;            // which ones (bit_of()); 0: all
    bool hasty = false;               // promotes while the other is Primary
    Time down_most = 0;               // after a death; 0: as chance has it
    Time tune_every = 0;              // options are changed
    bool policies_differ = false;     // at first: B has others than A
    bool has_quiet_network = false;   // nothing is cut, stalled or frozen
    double late_timers = 0;           // this part comes up to late_timer_most after its time
    Time late_timer_most = 0;
    Time idle_timer_every = 0;        // somebody tells the time although nothing is due
};

constexpr uint64_t kRequestsPerPause = 40;

Options swarm(uint64_t seed, unsigned kinds, uint64_t requests);

// What this host begins with: what both must have alike they have, unless the
// policies shall differ.
Settings settings_of(const Options& options, int host);

class World;

class Faults {
  public:
    Faults(World& world, Rng random) : world_(world), random_(random) {}

    void begin();
    void stop();  // and mend what can be mended

  private:
    void every(Time mean, Source source, void (Faults::*what)());
    void kill();
    void stay_down(int host, Time time);
    void power();
    void freeze();
    void cut();
    void stall();
    void partition();
    int somebody() { return static_cast<int>(random_.below(2)); }

    World& world_;
    Rng random_;
    bool stopped_ = false;
};

}  // namespace drbd::sim
