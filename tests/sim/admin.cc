// SPDX-License-Identifier: GPL-2.0-or-later
// The administrator of admin.h.
#include "admin.h"

#include <cstring>
#include <utility>

#include "world.h"

namespace drbd::sim {

namespace {

bool is(const char* text, const char* other) {
    return std::strcmp(text, other) == 0;
}

}  // namespace

Admin::Admin(World& world, Rng random) : world_(world), random_(random) {
    for (Host& host : host_) {
        host.formatted.resize(world.options().volumes);
        host.formatting.resize(world.options().volumes);
    }
}

void Admin::begin() {
    again(300 * kMillisecond, Source::Tick, &Admin::tick);
    if (world_.options().failover_every != 0)
        again(world_.options().failover_every, Source::FailOver, &Admin::fail_over);
    if (world_.options().command_every != 0)
        again(world_.options().command_every, Source::Command, &Admin::command);
}

void Admin::take_over(int primary, const bool formatted[2], bool initialised) {
    for (int h = 0; h < 2; h++)
        host_[h].formatted.assign(world_.options().volumes, formatted[h]);
    primary_ = primary;
    initialised_ = ever_well_ = initialised;
}

void Admin::again(Time mean, Source source, void (Admin::*what)()) {
    world_.decisions().next(interval_of(source), random_);
    world_.queue().after(1 + random_.exponential(mean), [this, mean, source, what] {
        if (world_.is_over() || (repairing_ && what != &Admin::tick))
            return;
        if (world_.decisions().next(source, random_) || source == Source::Tick)
            (this->*what)();
        again(mean, source, what);
    });
}

void Admin::repair() {
    repairing_ = true;
    for (int h = 0; h < 2; h++) {
        host_[h].down_until = host_[h].keep_apart_until = host_[h].keep_detached_until = 0;
        end_drains(h);
    }
}

// One in four lasts longer than a peer may be silent.
void Admin::drain_for(int h, Time time) {
    world_.queue().after(time % 4 == 0 ? time * 60 : time, [this, h] { end_drains(h); });
}

void Admin::end_drains(int h) {
    for (; host_[h].drained > 0; host_[h].drained--)
        world_.node(h).drain(0, false);
}

// ----------------------------------------------------------------- tending --

void Admin::tick() {
    meets_anew_later_ &= !was_well_ && are_reachable() && is(world_.node(0).connection_status().state, "Connected");
    if (meets_anew_later_ && !is_busy(0) && !is_busy(1))
        meet_anew();
    const int first = static_cast<int>(random_.below(2));
    tend(first);
    tend(1 - first);
    const bool well = all_is_well();
    if (well && !was_well_)
        world_.trace().line(-1, "all-well");
    if (well)
        world_.on_well();
    was_well_ = well;
    ever_well_ |= well;
    unwell_ = well ? 0 : unwell_ + 1;
    if (well)
        victim_ = -1;
    if (!well)
        solve();
}

void Admin::tend(int h) {
    Node& node = world_.node(h);
    if (!node.is_running()) {
        host_[h].drained = 0;
        host_[h].forced_unseen |= host_[h].promotion != 0 && host_[h].forced;  // it may have been done when the process died
        host_[h].promotion = 0;
        host_[h].formatting.assign(world_.options().volumes, 0);
        if (world_.queue().now() >= host_[h].down_until && (repairing_ || random_.chance(0.3)))
            node.start();
        return;
    }
    if (node.is_frozen())
        return;
    promoted(h);
    world_.tuner().tend(h);
    if (world_.guest().runs_on(h) && !node.is_primary())
        world_.guest().stop();
    if (tend_hung(h) || node.has_pending_operation())
        return;
    if (tend_disks(h) && tend_connection(h))
        tend_role(h);
}

// Something at a disk does not come back.  That is looked at for a while; then the disk is
// given up by force, and where that does not help the process ends.  True if something was done.
bool Admin::tend_hung(int h) {
    Node& node = world_.node(h);
    Host& host = host_[h];
    const Time now = world_.queue().now();
    if (node.hung_since() == 0) {
        host.patience = host.forced_at = 0;
        return false;
    }
    if (host.patience == 0)
        host.patience = random_.chance(0.4) ? random_.between(60 * kSecond, 300 * kSecond) : random_.between(1, 12 * kSecond);
    if (host.forced_at == 0) {
        if (now < node.hung_since() + host.patience)
            return false;
        host.forced_at = now;
        for (unsigned v = 0; v < world_.options().volumes; v++)
            node.detach(v, true);
        return true;
    }
    if (now < host.forced_at + host.patience)
        return false;
    host.down_until = now + random_.exponential(2 * kSecond);
    host.patience = host.forced_at = 0;
    random_.chance(0.7) ? node.kill() : node.lose_power();
    return true;
}

// True if there is nothing to do.
bool Admin::tend_disks(int h) {
    Node& node = world_.node(h);
    if (world_.queue().now() < host_[h].keep_detached_until)
        return true;
    for (unsigned v = 0; v < world_.options().volumes; v++) {
        if (drbd_volume_needs_disk(node.core(), v) || !is(node.status(v).disk, "Diskless"))
            continue;
        if (!host_[h].formatted[v]) {
            const Operation* made = node.operation(host_[h].formatting[v]);
            if (made && made->command == "create-md" && made->success)
                host_[h].formatted[v] = true;
            else
                host_[h].formatting[v] = node.create_md(v);
            return false;
        }
        // A Primary may have seen newer data than its disk has; the role goes first.
        if (++host_[h].attaches > 10 && node.is_primary()) {
            host_[h].attaches = 0;
            if (world_.guest().runs_on(h))
                world_.guest().stop();
            node.set_role(false, false);
            return false;
        }
        node.attach(v);
        return false;
    }
    host_[h].attaches = 0;
    return true;
}

bool Admin::tend_connection(int h) {
    Node& node = world_.node(h);
    if (world_.queue().now() < host_[h].keep_apart_until || !is(node.connection_status().state, "StandAlone"))
        return true;
    if (victim_ == h && node.is_primary())
        return true;  // it is made Secondary first
    world_.tuner().before_connect(h);
    node.connect(victim_ == h);
    return false;
}

bool Admin::are_reachable() const {
    for (int h = 0; h < 2; h++)
        if (!world_.node(h).is_running() || world_.node(h).is_frozen())
            return false;
    return !world_.net().is_partitioned();
}

bool Admin::is_up_to_date(int h) const {
    for (unsigned v = 0; v < world_.options().volumes; v++)
        if (!is(world_.node(h).status(v).disk, "UpToDate"))
            return false;
    return true;
}

// Its data is old, and the other's is none at all.
bool Admin::only_outdated(int h) const {
    for (unsigned v = 0; v < world_.options().volumes; v++)
        if (is(world_.node(h).status(v).disk, "Outdated") && is(world_.node(1 - h).status(v).disk, "Inconsistent"))
            return true;
    return false;
}

// Nobody has good data that could be reached.
bool Admin::needs_force(int h) const {
    if (!initialised_)
        return h == primary_;
    if (host_[h].refused < 10 || !are_reachable())
        return false;
    return !is_up_to_date(1 - h);
}

// An old disk under a running guest is no source (decision 0026), and another old one beside it is no better.
bool Admin::is_bad(int h, unsigned volume) const {
    const auto is_outdated = [&](int host) { return is(world_.node(host).status(volume).disk, "Outdated"); };
    if (is_outdated(h))
        return world_.node(h).is_primary() || (world_.node(1 - h).is_primary() && is_outdated(1 - h));
    return is(world_.node(h).status(volume).disk, "Inconsistent");
}

bool Admin::nobody_is_good() const {
    for (unsigned v = 0; v < world_.options().volumes; v++)
        if (are_reachable() && is_bad(0, v) && is_bad(1, v))
            return true;
    return false;
}

void Admin::tend_role(int h) {
    Node& node = world_.node(h);
    Node& other = world_.node(1 - h);
    const bool should = h == primary_ && victim_ != h;
    if (should && !node.is_primary()) {
        if (are_reachable() && other.is_primary() && !world_.options().hasty)
            return;  // first that one goes
        host_[h].forced = needs_force(h);
        host_[h].promotion = node.set_role(true, host_[h].forced);
        if (host_[h].promotion == 0)
            host_[h].refused++;
        promoted(h);
    } else if (!should && node.is_primary()) {
        if (world_.guest().runs_on(h))
            world_.guest().stop();
        if (node.requests_in_flight() == 0)
            node.set_role(false, false);
    } else if (should && repairing_ && unwell_ > 50 && nobody_is_good()) {
        // Both disks had errors: somebody must say whose data it is, which a
        // forced promotion does.
        if (world_.guest().runs_on(h))
            world_.guest().stop();
        if (node.requests_in_flight() == 0)
            node.set_role(false, false);
    } else if (should && !resting_ && !world_.guest().is_running() && host_[h].promotion == 0 &&
               node.requests_in_flight() == 0 &&  // of the last guest
               (ever_well_ || !world_.options().waits_for_sync || repairing_)) {
        world_.guest().begin(h, true);  // it never stopped being Primary
    }
}

// Looks at what became of a promotion.
void Admin::promoted(int h) {
    if (host_[h].promotion == 0)
        return;
    const Operation* operation = world_.node(h).operation(host_[h].promotion);
    if (!operation || operation->pending)
        return;
    host_[h].promotion = 0;
    if (!operation->success || !world_.node(h).is_primary()) {
        host_[h].refused++;
        return;
    }
    host_[h].refused = 0;
    host_[h].forced_unseen |= host_[h].forced;
    if (h != primary_)
        return;  // it has been decided otherwise meanwhile
    if (world_.guest().is_running())
        world_.guest().on_process_died(world_.guest().host(), false);  // two at once: the older one's is over
    initialised_ = true;
    if (ever_well_ || !world_.options().waits_for_sync)
        world_.guest().begin(h, std::exchange(host_[h].forced_unseen, false));
}

// ----------------------------------------------------------------- trouble --

void Admin::solve() {
    const bool apart = are_reachable() && is(world_.node(0).connection_status().state, "StandAlone") &&
                       is(world_.node(1).connection_status().state, "StandAlone");
    const bool split = are_reachable() && (world_.node(0).has_split_brain() || world_.node(1).has_split_brain());
    bool one_alone = false;
    for (int h = 0; h < 2 && are_reachable(); h++)
        one_alone |= is(world_.node(h).connection_status().state, "StandAlone") && world_.queue().now() >= host_[h].keep_apart_until;
    apart_ = apart || split || one_alone ? apart_ + 1 : 0;
    if ((split && apart_ > 3) || apart_ > 20) {
        if (victim_ < 0) {
            victim_ = 1 - primary_;
            world_.trace().line(victim_, "victim");
        }
    }
    // Blocks that failed are tried again when the nodes meet anew.
    if (unwell_ % 100 == 99 && (repairing_ || random_.chance(0.3)) && are_reachable() && is(world_.node(0).connection_status().state, "Connected"))
        meet_anew();
    if (apart_ <= 60 && unwell_ <= (repairing_ ? 1500u : 8000u))
        return;
    // The chosen one has no good data, and cannot get it: the other is chosen, even if it takes force there.
    if (repairing_ && are_reachable() && !is_up_to_date(primary_) && (is_up_to_date(1 - primary_) || only_outdated(1 - primary_))) {
        primary_ = 1 - primary_;
        victim_ = -1;
        apart_ = unwell_ = 0;
        return;
    }
    // Nothing helped: fresh metadata on the one whose data may go.
    const int h = victim_ >= 0 ? victim_ : 1 - primary_;
    Node& node = world_.node(h);
    if (!are_reachable() || node.has_pending_operation() || !is_up_to_date(primary_) || h == primary_)
        return;
    if (node.is_primary() && node.requests_in_flight() > 0)
        return;
    world_.trace().line(h, "recreate");
    recreated_++;
    apart_ = unwell_ = 0;
    node.kill();
    host_[h].formatted.assign(world_.options().volumes, false);
}

bool Admin::is_busy(int h) const { return world_.node(h).is_running() && world_.node(h).has_pending_operation(); }

// A disk that failed in places is attached anew; otherwise the connection is.
void Admin::meet_anew() {
    // A promotion that this tick began, and that is refused as long as the nodes do not meet: before the next one.
    meets_anew_later_ = is_busy(0) || is_busy(1);
    if (meets_anew_later_)
        return;
    for (int h = 0; h < 2; h++)
        for (unsigned v = 0; v < world_.options().volumes; v++) {
            uint64_t& left_before = left_[h][v];
            if (!is(world_.node(h).status(v).disk, "Inconsistent") || !is(world_.node(h).status(v).peer_disk, "UpToDate")) {
                left_before = 0;
                continue;
            }
            // One that comes on is left to it, however long it takes.
            const uint64_t left = world_.node(h).status(v).out_of_sync_bytes;
            const bool comes_on = is(world_.node(h).status(v).connection, "SyncTarget") && (left_before == 0 || left < left_before);
            left_before = comes_on ? left : 0;
            if (comes_on)
                unwell_ %= 100;
            else
                world_.node(h).detach(v, true);
            return;
        }
    world_.node(static_cast<int>(random_.below(2))).disconnect(false);
}

void Admin::fail_over() {
    if (!ever_well_ || victim_ >= 0 || world_.queue().now() < host_[0].keep_apart_until)
        return;
    Node& old = world_.node(primary_);
    world_.trace().line(primary_, "fail-over");
    if (random_.chance(0.4) && old.is_running()) {
        host_[primary_].down_until = world_.queue().now() + random_.exponential(5 * kSecond);
        random_.chance(0.5) ? old.kill() : old.lose_power();
    }
    primary_ = 1 - primary_;
}

// Where the world has few of them: the next one that it has.
Command Admin::wanted_command(Command drawn) const {
    const unsigned wanted = world_.options().commands;
    while (wanted != 0 && !(wanted & bit_of(drawn)))
        drawn = static_cast<Command>((static_cast<unsigned>(drawn) + 1) % kCommands);
    return drawn;
}

void Admin::command() {
    if (!ever_well_)
        return;
    hurry();
    const int h = static_cast<int>(random_.below(2));
    Node& node = world_.node(h);
    const unsigned v = static_cast<unsigned>(random_.below(world_.options().volumes));
    if (!node.is_running() || node.is_frozen() || (node.has_pending_operation() && !world_.options().bursts))
        return;
    const Time soon = world_.queue().now() + random_.exponential(3 * kSecond);
    gave_commands_ = true;
    switch (wanted_command(static_cast<Command>(random_.below(kCommands)))) {
    case Command::Disconnect:
    case Command::DisconnectToo:
        host_[h].keep_apart_until = soon;
        node.disconnect(false);
        break;
    case Command::ForcedDisconnect:
        host_[h].keep_apart_until = soon;
        node.disconnect(true);
        break;
    case Command::Invalidate: node.invalidate(v); break;
    case Command::InvalidateRemote: node.invalidate_remote(v); break;
    case Command::Outdate: node.outdate(v); break;
    case Command::Detach:
        host_[h].keep_detached_until = soon;
        node.detach(v, random_.chance(0.3));
        break;
    case Command::Leave:
        if (node.is_primary())
            break;
        host_[h].keep_detached_until = soon;
        node.leave(v);
        break;
    case Command::Drain:
        host_[h].drained++;
        node.drain(0, true);
        drain_for(h, random_.below(2 * kSecond));
        break;
    case Command::NewCurrentUuid: node.new_current_uuid(v, false); break;
    }
}

// In a world of bursts a command seldom comes alone.
void Admin::hurry() {
    if (!world_.options().bursts || !random_.chance(0.6))
        return;
    world_.queue().after(1 + random_.exponential(3 * kMillisecond), [this] {
        if (!world_.is_over() && !repairing_ && world_.decisions().next(Source::Command, random_))
            command();
    });
}

bool Admin::all_is_well() const {
    unsigned primaries = 0;
    for (int h = 0; h < 2; h++) {
        const Node& node = world_.node(h);
        if (!node.is_running() || node.is_frozen() || !is_up_to_date(h) || node.hung_since() != 0)
            return false;
        primaries += node.is_primary();
        for (unsigned v = 0; v < world_.options().volumes; v++) {
            const DrbdVolumeStatus s = node.status(v);
            if (!is(s.connection, "Connected") || !is(s.peer_disk, "UpToDate"))
                return false;
        }
    }
    return primaries == 1;
}

// A command may wait for an answer on a stream that is dead one way: pings do not find that.
bool Admin::has_pending() const {
    for (int h = 0; h < 2; h++) {
        const Node& node = world_.node(h);
        if (node.is_running() && node.has_pending_operation())
            return true;
        for (unsigned v = 0; v < world_.options().volumes; v++)
            if (node.is_running() && node.status(v).busy)
                return true;
    }
    return false;
}

std::string Admin::describe() const {
    std::string text;
    for (int h = 0; h < 2; h++) {
        text += std::string(h == 0 ? "A" : "; B");
        Node& node = world_.node(h);
        if (!node.is_running()) {
            text += " down";
            continue;
        }
        const DrbdConnectionStatus c = node.connection_status();
        text += std::string(" ") + (node.is_primary() ? "Primary" : "Secondary") + " " + c.state + " (" + c.reason + ")";
        for (unsigned v = 0; v < world_.options().volumes; v++) {
            const DrbdVolumeStatus s = node.status(v);
            text += std::string(" ") + s.connection + " " + s.disk + "/" + s.peer_disk + " oos " +
                    std::to_string(s.out_of_sync_bytes) + (s.busy ? " busy" : "") + (s.drained ? " drained" : "");
        }
        text += " guest requests " + std::to_string(node.requests_in_flight());
    }
    return text;
}

}  // namespace drbd::sim
