// SPDX-License-Identifier: GPL-2.0-or-later
// The administrator of tuner.h.
#include "tuner.h"

#include <cstring>
#include <iterator>

#include "world.h"

namespace drbd::sim {

// What is drawn for one option; the same stream of chance gives the other node the same.
struct TunerRow {
    const char* name;
    void (*draw)(Settings& s, Rng& r);
};

namespace {

unsigned number(Rng& r, unsigned low, unsigned high) { return static_cast<unsigned>(r.between(low, high)); }

template <size_t N>
unsigned one_of(Rng& r, const unsigned (&values)[N]) {
    return values[r.below(N)];
}

constexpr unsigned kPolicies0[] = {0, 1, 2, 3, 4, 5, 6}, kPolicies1[] = {0, 7, 8, 9, 10}, kPolicies2[] = {0, 9, 10};

// At any time.
constexpr TunerRow kFree[] = {
    {"timeout", [](Settings& s, Rng& r) { s.timeout = number(r, 5, 60); }},
    {"ping-timeout", [](Settings& s, Rng& r) { s.ping_timeout = number(r, kPingTimeoutLeast, kPingTimeoutMost); }},
    {"connect-int", [](Settings& s, Rng& r) { s.connect_int = number(r, 1, 5); }},
    {"ping-int", [](Settings& s, Rng& r) { s.ping_int = number(r, 1, 10); }},
    {"ko-count", [](Settings& s, Rng& r) { s.ko_count = number(r, 0, 7); }},
    {"drain-timeout", [](Settings& s, Rng& r) { s.drain_timeout = r.chance(0.3) ? 0 : number(r, 5, 100); }},
    {"max-epoch-size", [](Settings& s, Rng& r) { s.max_epoch_size = r.chance(0.3) ? 0 : number(r, 1, 20); }},
    {"max-buffers", [](Settings& s, Rng& r) { s.max_buffers = r.chance(0.3) ? 0 : number(r, 32, 300); }},
    {"after-sb-0pri", [](Settings& s, Rng& r) { s.after_sb[0] = one_of(r, kPolicies0); }},
    {"after-sb-1pri", [](Settings& s, Rng& r) { s.after_sb[1] = one_of(r, kPolicies1); }},
    {"after-sb-2pri", [](Settings& s, Rng& r) { s.after_sb[2] = one_of(r, kPolicies2); }},
    {"always-asbp", [](Settings& s, Rng& r) { s.always_asbp = r.chance(0.5); }},
    {"rr-conflict", [](Settings& s, Rng& r) { s.rr_conflict = number(r, 0, 2); }},
    {"use-rle", [](Settings& s, Rng& r) { s.no_use_rle = r.chance(0.5); }},
    {"on-io-error", [](Settings& s, Rng& r) { s.on_io_error = r.chance(0.5) ? DRBD_ON_IO_ERROR_DETACH : DRBD_ON_IO_ERROR_PASS_ON; }},
};

// While StandAlone.
constexpr TunerRow kAgreed[] = {
    {"protocol", [](Settings& s, Rng& r) { s.protocol = static_cast<DrbdProtocol>(number(r, DRBD_PROTOCOL_A, DRBD_PROTOCOL_C)); }},
    {"protocol", [](Settings& s, Rng& r) { s.protocol = static_cast<DrbdProtocol>(number(r, DRBD_PROTOCOL_A, DRBD_PROTOCOL_C)); }},
    {"protocol-version-max", [](Settings& s, Rng& r) { s.version_max = r.chance(0.5) ? 101 : number(r, 87, 101); }},
    {"features", [](Settings& s, Rng& r) { s.features_given = true, s.features = number(r, 0, 15); }},
    {"data-integrity-alg", [](Settings& s, Rng& r) { s.integrity = r.chance(0.5); }},
};

// Never.
constexpr TunerRow kWrong[] = {
    {"timeout", [](Settings& s, Rng&) { s.timeout = 601; }},
    {"ping-timeout", [](Settings& s, Rng&) { s.ping_timeout = 301; }},
    {"connect-int", [](Settings& s, Rng&) { s.connect_int = 121; }},
    {"ping-int", [](Settings& s, Rng&) { s.ping_int = 121; }},
    {"ko-count", [](Settings& s, Rng&) { s.ko_count = 201; }},
    {"drain-timeout", [](Settings& s, Rng&) { s.drain_timeout = 120001; }},
    {"max-epoch-size", [](Settings& s, Rng&) { s.max_epoch_size = 20001; }},
    {"max-buffers", [](Settings& s, Rng& r) { s.max_buffers = r.chance(0.5) ? 31 : 131073; }},
    {"protocol-version-max", [](Settings& s, Rng& r) { s.version_max = r.chance(0.5) ? 85 : 102; }},
    {"features", [](Settings& s, Rng&) { s.features_given = true, s.features = 16; }},
    {"after-sb-0pri", [](Settings& s, Rng& r) { s.after_sb[0] = number(r, 7, 11); }},
    {"after-sb-1pri", [](Settings& s, Rng& r) { s.after_sb[1] = number(r, 1, 6); }},
    {"after-sb-2pri", [](Settings& s, Rng& r) { s.after_sb[2] = number(r, 1, 8); }},
    {"rr-conflict", [](Settings& s, Rng&) { s.rr_conflict = 3; }},
};

template <size_t N>
const TunerRow& any_of(Rng& r, const TunerRow (&rows)[N]) {
    return rows[r.below(N)];
}

void copy_agreed(Settings& to, const Settings& from) {
    to.protocol = from.protocol;
    to.version_max = from.version_max;
    to.features_given = from.features_given;
    to.features = from.features;
    to.integrity = from.integrity;
}

// What is configured does not fit together.  Always-asbp is not compared: where it differs both may yield.
bool refuses(const char* reason) {
    return std::strstr(reason, ": this node ") || std::strstr(reason, "they would not agree") || std::strstr(reason, "both nodes want to be");
}

}  // namespace

void Tuner::begin() {
    if (world_.options().tune_every != 0)
        again();
}

void Tuner::again() {
    world_.decisions().next(interval_of(Source::Tune), random_);
    world_.queue().after(1 + random_.exponential(world_.options().tune_every), [this] {
        if (world_.is_over() || repairing_)
            return;
        if (world_.decisions().next(Source::Tune, random_))
            change();
        again();
    });
}

void Tuner::change() {
    const int h = static_cast<int>(random_.below(2));
    const uint64_t what = random_.below(10);
    if (what < 2)
        try_wrong(h);
    else if (what < 7)
        tune(h);
    else
        plan(h);
}

void Tuner::try_wrong(int h) {
    Settings wrong = world_.node(h).settings();
    any_of(random_, kWrong).draw(wrong, random_);
    if (world_.node(h).is_running())
        world_.node(h).configure(wrong);
}

void Tuner::tune(int h) {
    const TunerRow& row = any_of(random_, kFree);
    Rng drawn = random_.fork(), others = drawn;
    Settings settings = world_.node(h).settings();
    row.draw(settings, drawn);
    world_.node(h).configure(settings);
    if (random_.chance(0.4)) {
        // The next handshake shows what the update has done.
        if (std::strncmp(row.name, "after-sb", 8) == 0)
            world_.queue().after(kSecond + random_.exponential(kSecond), [this, h] {
                if (!world_.is_over() && !repairing_ && world_.node(h).is_running())
                    world_.node(h).disconnect(false);
            });
        return;
    }
    world_.queue().after(random_.exponential(2 * kSecond), [this, h, row, others]() mutable {
        if (world_.is_over() || repairing_)
            return;
        Settings follows = world_.node(1 - h).settings();
        row.draw(follows, others);
        if (std::strcmp(row.name, "after-sb-0pri") == 0)
            follows.after_sb[0] = peers_policy(follows.after_sb[0]);
        world_.node(1 - h).configure(follows);
    });
}

void Tuner::plan(int h) {
    const TunerRow& row = any_of(random_, kAgreed);
    Rng drawn = random_.fork(), others = drawn;
    Settings settings = world_.node(h).settings();
    row.draw(settings, drawn);
    if (world_.options().volumes > 1)
        settings.version_max = std::max(settings.version_max, 100u);
    if (random_.chance(0.3)) {
        world_.node(h).configure(settings);  // as it stands
        return;
    }
    plan(h, settings);
    if (random_.chance(0.3))
        return;  // he forgets the other one
    Settings follows = world_.node(1 - h).settings();
    row.draw(follows, others);
    if (world_.options().volumes > 1)
        follows.version_max = std::max(follows.version_max, 100u);
    plan(1 - h, follows);
}

void Tuner::plan(int h, const Settings& settings) {
    Node& node = world_.node(h);
    if (!node.is_running()) {
        node.configure(settings);
        return;
    }
    planned_[h] = settings;
    node.disconnect(random_.chance(0.2));
}

void Tuner::tend(int h) {
    if (!repairing_ || repaired_[h])
        return;
    const Options& o = world_.options();
    Settings settings = world_.node(h).settings();
    settings.timeout = o.timeout;
    settings.ping_timeout = o.ping_timeout;
    settings.connect_int = o.connect_int;
    settings.ping_int = o.ping_int;
    settings.ko_count = o.ko_count;
    settings.drain_timeout = o.drain_timeout;
    repaired_[h] = o.tune_every == 0 || world_.node(h).configure(settings);
}

void Tuner::before_connect(int h) {
    Node& node = world_.node(h);
    if (planned_[h]) {
        Settings settings = node.settings();
        copy_agreed(settings, *planned_[h]);
        node.configure(settings);
        planned_[h].reset();
    } else if ((world_.options().tune_every != 0 || world_.options().policies_differ) &&
               refuses(node.connection_status().reason) && (repairing_ || random_.chance(0.7))) {
        align(h);
    }
}

// The other one keeps what he has, also where an update had told it otherwise.
void Tuner::align(int h) {
    Settings settings = world_.node(h).settings();
    copy_agreed(settings, world_.node(1 - h).settings());
    for (unsigned i = 0; i < 3; i++)
        settings.after_sb[i] = peers_policy(world_.node(1 - h).settings().after_sb[i]);
    settings.always_asbp = world_.node(1 - h).settings().always_asbp;
    world_.node(h).configure(settings);
    if (world_.node(1 - h).is_running())
        world_.node(1 - h).configure(world_.node(1 - h).settings());
}

}  // namespace drbd::sim
