// SPDX-License-Identifier: GPL-2.0-or-later
// What goes wrong (faults.h), and how often.
#include "faults.h"

#include <algorithm>

#include "world.h"

namespace drbd::sim {

namespace {

constexpr uint64_t kDigestedMost = 16ull << 20;  // of an image: digests take time

void draw_shape(Options& o, Rng& r) {
    // Many are small, so that everything meets; some have more extents than the
    // activity log has slots.
    const unsigned size = static_cast<unsigned>(r.below(10));
    o.image_bytes = size < 5 ? (1 + r.below(16)) << 20 : size < 7 ? 4096 * (16 + r.below(2048)) : (280 + r.below(60)) << 20;
    o.internal = r.chance(0.3);
    o.al_extents = r.chance(0.8) ? 67 : 1237;
    o.on_io_error = r.chance(0.7) ? DRBD_ON_IO_ERROR_DETACH : DRBD_ON_IO_ERROR_PASS_ON;
    o.max_requests = r.chance(0.2) ? static_cast<unsigned>(4 + r.below(16)) : 0;
    o.skip_initial_sync = r.chance(0.3);
    o.disk_latency = 20 + r.below(400);
    o.volumes = r.chance(0.2) ? 2 : 1;
}

void draw_connection(Options& o, Rng& r) {
    o.link.latency = 20 + r.exponential(200);
    o.link.jitter = r.chance(0.5) ? r.below(1000) : 20;
    o.link.window = r.chance(0.2) ? 4096 + r.below(8192) : 64 << 10 << r.below(4);
    o.timeout = static_cast<unsigned>(r.between(10, 60));
    o.ping_timeout = static_cast<unsigned>(r.between(3, 10));
    o.connect_int = static_cast<unsigned>(r.between(1, 5));
    o.ping_int = static_cast<unsigned>(r.between(1, 10));
    o.ko_count = static_cast<unsigned>(r.between(1, 7));
    o.max_epoch_size = r.chance(0.2) ? static_cast<unsigned>(1 + r.below(20)) : 0;
    const unsigned version = static_cast<unsigned>(r.below(10));
    o.version_max = version < 6 ? 101 : version < 8 ? 100 : version < 9 ? 95 : static_cast<unsigned>(r.between(86, 99));
    o.features_given = r.chance(0.2);
    o.features = o.features_given ? static_cast<uint32_t>(r.below(16)) : 0;
    o.small_reads = r.chance(0.2) ? 0.5 : 0;
    o.short_sends = r.chance(0.3) ? 0.2 : 0.01;
    o.late_sends = r.chance(0.5) ? 0.2 : 0;
    const unsigned protocol = static_cast<unsigned>(r.below(10));
    o.protocol = protocol < 7 ? DRBD_PROTOCOL_C : protocol < 8 ? DRBD_PROTOCOL_B : DRBD_PROTOCOL_A;
    for (double& rate : o.clock_rate)
        rate = r.chance(0.3) ? 0.9 + static_cast<double>(r.below(21)) / 100 : 1;
}

void draw_guest(Options& o, Rng& r) {
    o.depth = static_cast<unsigned>(1 + r.below(r.chance(0.3) ? 32 : 8));
    o.think = r.exponential(500);
    // Bursts with pauses between them, so that a life is long enough for faults.
    const Time life = r.between(2 * kSecond, 40 * kSecond);
    o.pause = life * o.depth * kRequestsPerPause / (o.requests + 1);
    o.waits_for_sync = r.chance(0.7);
    o.reads = r.chance(0.5) ? 0.2 : 0.05;
    o.flushes = r.chance(0.7) ? 0.05 : r.chance(0.5) ? 0.3 : 0.005;
    o.fua = r.chance(0.5) ? 0.1 : 0;
    o.zeroes = r.chance(0.5) ? 0.05 : 0;
    o.discards = r.chance(0.5) ? 0.05 : 0;
    o.large = r.chance(0.3) ? 0.1 : 0.01;
    o.hot_spots = static_cast<unsigned>(1 + r.below(8));
}

// Everybody in the same few blocks: a guest that writes by sectors, on disks and a
// line so slow that a resync, its bitmaps included, is met by many writes.
void crowd(Options& o, Rng& r) {
    o.image_bytes = (1 + r.below(4)) << 20;
    o.internal = false;
    o.volumes = 1;
    o.waits_for_sync = false;
    o.whole_blocks = 0.3;
    o.hot_spots = static_cast<unsigned>(1 + r.below(3));
    // Blocks that are marked already, or others as well.
    o.spot_sectors = r.chance(0.5) ? 24 : 512;
    if (o.write_error != 0)
        o.write_error = 0.01;
    o.large = 0;
    o.depth = static_cast<unsigned>(4 + r.below(12));
    o.think = r.below(2 * kMillisecond);
    o.disk_latency = (1 + r.below(10)) * kMillisecond;
    o.link.latency = r.below(5 * kMillisecond);
    o.link.window = 4096 + r.below(16384);
}

// A connection that comes and goes, and a guest that writes everywhere meanwhile, on
// disks and a line so slow that many writes fall between the handshake and the resync.
void meet(Options& o, Rng& r) {
    o.image_bytes = (1 + r.below(16)) << 20;
    o.internal = false;
    o.volumes = 1;
    o.skip_initial_sync = true;  // a first sync would mark everything
    o.near_spots = 0.2;
    o.large = 0;
    o.depth = static_cast<unsigned>(4 + r.below(12));
    o.think = (20 + r.below(80)) * kMillisecond;
    o.pause = 0;
    o.disk_latency = (1 + r.below(10)) * kMillisecond;
    o.link.latency = (1 + r.below(20)) * kMillisecond;
    o.link.window = 256 << 10;  // a full resync must end between two cuts
    o.small_reads = 0;
    o.connect_int = 1;
    o.cut_every = r.between(500 * kMillisecond, 3 * kSecond);
}

// More extents than the activity log has slots, and all of them in use.
void spread(Options& o, Rng& r) {
    o.image_bytes = (280 + r.below(60)) << 20;
    o.internal = false;
    o.volumes = 1;
    o.al_extents = 67;
    o.near_spots = 0.3;
    o.large = 0;
}

// A guest that commits: few at a time, and a flush behind them, again and again.
void commits(Options& o, Rng& r) {
    o.protocol = DRBD_PROTOCOL_C;
    o.volumes = 1;
    o.reads = o.flushes = 0;
    o.depth = static_cast<unsigned>(1 + r.below(2));
    o.commit_every = static_cast<unsigned>(1 + r.below(3));
}

// As spread(), and each write ends an extent or goes on into the next one.
void borders(Options& o, Rng& r) {
    spread(o, r);
    o.at_borders = true;
}

// The disks are taken away and come back while the guest reads and writes: a
// Primary that reads what it lacks from its peer.
void away(Options& o, Rng& r) {
    crowd(o, r);
    o.reads = 0.4;
    o.waits_for_sync = true;
    o.commands = bit_of(Command::Detach);
    o.command_every = r.between(kSecond, 4 * kSecond);
    o.pause = 2 * kSecond;
}

// The role goes to and fro, sometimes before the other has left it, between
// nodes whose disks are slow.
void relay(Options& o, Rng& r) {
    o.image_bytes = (1 + r.below(4)) << 20;
    o.internal = false;
    o.waits_for_sync = true;
    o.hasty = r.chance(0.5);
    o.failover_every = r.between(500 * kMillisecond, 3 * kSecond);
    o.disk_latency = (1 + r.below(20)) * kMillisecond;
    o.flushes = 0.02;
    o.large = 0;
    o.depth = static_cast<unsigned>(4 + r.below(12));
    if (o.command_every != 0) {
        o.command_every = r.between(500 * kMillisecond, 3 * kSecond);
        o.commands = bit_of(Command::Disconnect) | bit_of(Command::Outdate);
    }
}

// Who has died comes back soon, and dies again before it has recovered; the
// administrator has disks invalidated.
void relapse(Options& o, Rng& r) {
    o.image_bytes = (1 + r.below(4)) << 20;
    o.internal = false;
    o.both_at_once = 0.3;
    o.down_most = 100 * kMillisecond;
    o.disk_latency = (1 + r.below(20)) * kMillisecond;
    for (Time* every : {&o.kill_every, &o.power_every})
        if (*every != 0)
            *every = r.between(500 * kMillisecond, 3 * kSecond);
    if (o.command_every != 0) {
        o.command_every = r.between(300 * kMillisecond, kSecond);
        o.commands = bit_of(Command::Invalidate) | bit_of(Command::InvalidateRemote);
    }
}

// Disks that fail often, and are kept.
void failing(Options& o, Rng& r) {
    o.image_bytes = (1 + r.below(4)) << 20;
    o.write_error = 0.02;
    o.flush_error = r.chance(0.3) ? 0.02 : 0;
    o.read_error = r.chance(0.3) ? 0.02 : 0;
    o.depth = static_cast<unsigned>(4 + r.below(12));
    o.disk_latency = (1 + r.below(10)) * kMillisecond;
    o.waits_for_sync = true;
}

// More data under way than the peer's buffers may hold.
void narrow(Options& o, Rng& r) {
    o.max_buffers = static_cast<unsigned>(32 + r.below(200));
    o.image_bytes = 16ull << 20;
    o.large = 0.7;
    o.depth = static_cast<unsigned>(16 + r.below(16));
    o.think = r.below(2 * kMillisecond);
    o.disk_latency = (5 + r.below(20)) * kMillisecond;
    o.link.window = 1 << 20;
}

// Full resyncs over a line so slow that many cuts meet a packet that is half there.
void drip(Options& o, Rng& r) {
    o.image_bytes = 1 << 20;
    o.large = 0.7;
    o.skip_initial_sync = true;
    o.commands = bit_of(Command::Invalidate) | bit_of(Command::InvalidateRemote);
    o.command_every = r.between(kSecond, 3 * kSecond);
    o.zeroes = o.discards = 0;
    o.waits_for_sync = false;
    o.volumes = 1;
    o.link.window = 8192;
    o.link.latency = (1 + r.below(5)) * kMillisecond;
    o.small_reads = 0.5;
    o.cut_every = r.between(500 * kMillisecond, 2 * kSecond);
    o.think = r.below(50 * kMillisecond);
}

// File systems that are full for a while; roles and connections change meanwhile.
void full(Options& o, Rng& r) {
    o.full_disk = 0.001 + static_cast<double>(r.below(20)) / 1000;
    o.failover_every = r.between(kSecond, 5 * kSecond);
    o.zeroes = o.discards = 0.08;
    o.think = r.below(5 * kMillisecond);
}

// Few requests at a time, and all the time.
void lives_for(Options& o, Time life, unsigned depth) {
    o.depth = depth;
    o.think = life * depth / (o.requests + 1);
    o.pause = 0;
}

// Many requests at a time, and pauses between them that are those of the guest.
void bursts_for(Options& o, Time life, unsigned depth) {
    o.depth = depth;
    o.pause = life * depth * kRequestsPerPause / (o.requests + 1);
}

// Options change while everything goes on.
void options(Options& o, Rng& r) {
    o.tune_every = r.chance(0.6) ? r.between(200 * kMillisecond, 2 * kSecond) : r.between(3 * kSecond, 6 * kSecond);
    const Time life = r.between(20 * kSecond, 60 * kSecond);
    const auto lives = r.chance(0.5) ? lives_for : bursts_for;
    lives(o, life, static_cast<unsigned>(1 + r.below(5)));
    o.image_bytes = std::min(o.image_bytes, kDigestedMost);
    o.version_max = std::max(o.version_max, 87u);
    o.integrity = r.chance(0.3);
    o.ping_timeout = std::max(o.ping_timeout, kPingTimeoutLeast);
}

// Split brains, and policies that solve some of them.
void policies(Options& o, Rng& r) {
    static constexpr unsigned kWithout[] = {0, 1, 2, 3, 4, 5, 6}, kWithOne[] = {0, 7, 8, 9, 10}, kWithTwo[] = {0, 9, 10};
    o.after_sb[0] = kWithout[r.below(7)];
    o.after_sb[1] = kWithOne[r.below(5)];
    o.after_sb[2] = kWithTwo[r.below(3)];
    o.always_asbp = r.chance(0.3);
    o.rr_conflict = static_cast<unsigned>(r.below(3));
    o.policies_differ = r.chance(0.2);
    if (r.chance(0.5))
        o.protocol = DRBD_PROTOCOL_C;
    o.image_bytes = (1 + r.below(4)) << 20;
    o.internal = false;
    o.waits_for_sync = true;
    o.skip_initial_sync = true;
    o.hasty = r.chance(0.7);
    o.flushes = 0.02;
    o.large = 0;
    o.failover_every = r.between(kSecond, 4 * kSecond);
    o.partition_every = r.between(kSecond, 5 * kSecond);
    o.timeout = static_cast<unsigned>(r.between(5, 15));
    o.ping_int = o.connect_int = 1;
    const Time life = r.between(60 * kSecond, 120 * kSecond);
    lives_for(o, life, static_cast<unsigned>(1 + r.below(3)));  // it writes on both sides of a partition
    o.reads = 0.05;
}

// Both nodes prove that they know a secret, and all data has digests.
void secret(Options& o, Rng& r) {
    for (std::string& own : o.secret)
        own = "the same";
    o.image_bytes = std::min(o.image_bytes, kDigestedMost);
    o.integrity = true;
    o.version_max = static_cast<unsigned>(o.volumes > 1 ? r.between(100, 101) : r.between(87, 101));
    o.features_given = true;
    o.features = static_cast<uint32_t>(r.below(16));
}

void stuck(Options& o, Rng&) { o.stuck_io = 0.003; }

// Nodes between which nothing happens that could excuse a lost peer.
void quiet(Options& o) {
    o.cut_every = o.stall_every = o.partition_every = o.freeze_every = 0;
    o.has_quiet_network = true;
}

// Disks that never answer, until the process is gone.
void hung(Options& o, Rng& r) {
    if (r.chance(0.5))
        quiet(o);
    // Others are at work elsewhere in the image meanwhile.
    if (r.chance(0.3)) {
        spread(o, r);
        o.depth = static_cast<unsigned>(2 + r.below(6));
    }
    o.hung_io = 0.0005 + static_cast<double>(r.below(30)) / 10000;
    o.pause *= 3;
}

// Timers that come after what came after their time, and others for nothing.
void timers(Options& o, Rng& r) {
    if (r.chance(0.5))
        quiet(o);
    o.pause *= 3;
    o.late_timers = r.chance(0.5) ? 0.3 : 0.8;
    o.late_timer_most = r.between(100 * kMillisecond, 3 * kSecond);
    o.idle_timer_every = r.chance(0.7) ? r.between(kMillisecond, 300 * kMillisecond) : 0;
}

// Several at the commands, hooks and people: the next one comes while the last is at work.
void bursts(Options& o, Rng& r) {
    o.bursts = true;
    o.hasty = r.chance(0.5);
    o.command_every = r.between(300 * kMillisecond, 3 * kSecond);
}

// Small images that end in the middle of a block, and a guest that is often there.
void odd(Options& o, Rng& r) {
    o.image_bytes = 4096 * (16 + r.below(256)) + 512 * (1 + r.below(7));
    o.internal = false;
    o.whole_blocks = 0.5;
    o.near_spots = 0.5;
}

Time rare(Rng& r, double chance, Time low, Time high) {
    return r.chance(chance) ? r.between(low, high) : 0;
}

}  // namespace

Options swarm(uint64_t seed, unsigned kinds, uint64_t requests) {
    Rng r(seed * 0x2545f4914f6cdd1du + 1);
    Options o;
    o.requests = requests;
    draw_shape(o, r);
    draw_connection(o, r);
    o.drain_timeout = o.timeout % 3 == 0 ? 0 : o.timeout;
    if (o.version_max < 100)
        o.volumes = 1;  // older peers know no more
    draw_guest(o, r);
    // All is drawn, whatever is wanted: fewer kinds leave the rest as it is.
    Options f;
    f.kill_every = rare(r, 0.5, 500 * kMillisecond, 20 * kSecond);
    f.power_every = rare(r, 0.4, 500 * kMillisecond, 20 * kSecond);
    f.freeze_every = rare(r, 0.3, kSecond, 30 * kSecond);
    f.cut_every = rare(r, 0.5, 200 * kMillisecond, 10 * kSecond);
    f.stall_every = rare(r, 0.3, 100 * kMillisecond, 5 * kSecond);
    f.partition_every = rare(r, 0.4, kSecond, 20 * kSecond);
    f.failover_every = rare(r, 0.6, kSecond, 20 * kSecond);
    f.command_every = rare(r, 0.4, 300 * kMillisecond, 10 * kSecond);
    f.process_cache = r.chance(0.3) ? 1 : 0;
    f.slow_io = r.chance(0.4) ? 0.01 : 0;
    for (double* error : {&f.read_error, &f.write_error, &f.flush_error, &f.metadata_error})
        *error = r.chance(0.15) ? 0.0002 + static_cast<double>(r.below(20)) / 10000 : 0;
    if (kinds & kFaultKill)
        o.kill_every = f.kill_every, o.process_cache = f.process_cache;
    if (kinds & kFaultPower)
        o.power_every = f.power_every;
    if (kinds & kFaultFreeze)
        o.freeze_every = f.freeze_every;
    if (kinds & kFaultCut)
        o.cut_every = f.cut_every, o.stall_every = f.stall_every, o.partition_every = f.partition_every;
    if (kinds & kFaultDisk) {
        o.slow_io = f.slow_io;
        o.read_error = f.read_error;
        o.write_error = f.write_error;
        o.flush_error = f.flush_error;
        o.metadata_error = f.metadata_error;
    }
    if (kinds & kFaultFailover)
        o.failover_every = f.failover_every;
    if (kinds & kFaultAdmin)
        o.command_every = f.command_every;
    // In a fixed order: where two are named, the later one has the last word.
    static constexpr struct { FaultKind kind; void (*world)(Options&, Rng&); } kWorlds[] = {
        {kFaultCrowd, crowd}, {kFaultSpread, spread}, {kFaultCommits, commits}, {kFaultMeet, meet},
        {kFaultStuck, stuck}, {kFaultBorders, borders}, {kFaultAway, away}, {kFaultRelay, relay},
        {kFaultRelapse, relapse}, {kFaultFailing, failing}, {kFaultNarrow, narrow}, {kFaultDrip, drip},
        {kFaultFull, full}, {kFaultOptions, options}, {kFaultPolicies, policies}, {kFaultSecret, secret},
        {kFaultHung, hung}, {kFaultTimers, timers}, {kFaultBursts, bursts}, {kFaultOdd, odd},
    };
    for (const auto& row : kWorlds)
        if (kinds & row.kind)
            row.world(o, r);
    // A resync never ends where what it asks for first is on the line for longer than the
    // peer may owe an answer (OPERATIONS.md, `ko-count`).
    const Time first = (1 << 20) / o.link.window * 2 * (o.link.latency + o.link.jitter);
    while (user_timeout(o) < 2 * first && o.ko_count < 200)
        o.ko_count++;
    return o;
}

Settings settings_of(const Options& options, int host) {
    Settings settings = options;
    if (host == 0)
        return settings;
    settings.after_sb[0] = peers_policy(settings.after_sb[0]);
    if (options.policies_differ)
        settings.after_sb[1] = settings.after_sb[1] == 0 ? 8 : 0;  // discard-secondary
    return settings;
}

void Faults::begin() {
    const Options& o = world_.options();
    every(o.kill_every, Source::Kill, &Faults::kill);
    every(o.power_every, Source::Power, &Faults::power);
    every(o.freeze_every, Source::Freeze, &Faults::freeze);
    every(o.cut_every, Source::Cut, &Faults::cut);
    every(o.stall_every, Source::Stall, &Faults::stall);
    every(o.partition_every, Source::Partition, &Faults::partition);
}

void Faults::every(Time mean, Source source, void (Faults::*what)()) {
    if (mean == 0)
        return;
    world_.decisions().next(interval_of(source), random_);
    world_.queue().after(random_.exponential(mean), [this, mean, source, what] {
        if (stopped_ || world_.is_over())
            return;
        if (world_.decisions().next(source, random_))
            (this->*what)();
        every(mean, source, what);
    });
}

void Faults::stop() {
    stopped_ = true;
    world_.end_disk_faults();
    world_.net().set_partition(false);
    for (int h = 0; h < 2; h++)
        world_.node(h).freeze(false);
}

void Faults::kill() {
    const int h = somebody();
    const bool both = random_.chance(world_.options().both_at_once);
    for (int i = 0; i < 2; i++)
        if (i == h || both) {
            stay_down(i, random_.exponential(random_.chance(0.5) ? 100 * kMillisecond : 5 * kSecond));
            world_.node(i).kill();
        }
}

void Faults::power() {
    const int h = somebody();
    const bool both = random_.chance(world_.options().both_at_once);
    for (int i = 0; i < 2; i++)
        if (i == h || both) {
            stay_down(i, random_.exponential(5 * kSecond));
            world_.node(i).lose_power();
        }
}

void Faults::stay_down(int host, Time time) {
    const Time most = world_.options().down_most;
    world_.admin().stay_down(host, world_.queue().now() + (most != 0 ? std::min(time, most) : time));
}

void Faults::freeze() {
    const int h = somebody();
    world_.node(h).freeze(true);
    const Time time = random_.chance(0.7) ? random_.below(2 * kSecond) : random_.below(60 * kSecond);
    world_.queue().after(time, [this, h] { world_.node(h).freeze(false); });
}

void Faults::cut() {
    const std::vector<End> ends = world_.net().live_ends();
    if (ends.empty())
        return;
    const End end = ends[random_.below(ends.size())];
    world_.trace().line(-1, "cut", end);
    if (random_.chance(0.2)) {
        world_.net().silence(end);
        return;
    }
    // One after the other, so that all compilers make the same life of a seed.
    const bool both_ways = random_.chance(0.7);
    const bool reset = random_.chance(0.5);
    world_.net().cut(end, reset, both_ways);
}

void Faults::stall() {
    const std::vector<End> ends = world_.net().live_ends();
    if (ends.empty())
        return;
    const Time time = random_.chance(0.8) ? random_.below(300 * kMillisecond) : random_.below(20 * kSecond);
    world_.net().stall(ends[random_.below(ends.size())], world_.queue().now() + time);
}

void Faults::partition() {
    if (world_.net().is_partitioned())
        return;
    world_.trace().line(-1, "partition");
    world_.net().set_partition(true);
    world_.queue().after(random_.chance(0.7) ? random_.below(3 * kSecond) : random_.below(60 * kSecond), [this] {
        world_.trace().line(-1, "heal");
        world_.net().set_partition(false);
    });
}

}  // namespace drbd::sim
