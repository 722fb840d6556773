// SPDX-License-Identifier: GPL-2.0-or-later
// The simulation of world.h: its course, and when the checkers are asked.
#include "world.h"

#include <cstring>
#include <utility>

#include "checkers/answerable.h"
#include "checkers/equal_images.h"
#include "checkers/fresh_connection.h"
#include "checkers/protocol_errors.h"
#include "checkers/resync_result.h"
#include "checkers/survivor_order.h"

namespace drbd::sim {

namespace {

constexpr unsigned kViolently = 2;  // rr-conflict
constexpr uint64_t kSurvivorChecksEvery = 64;

}  // namespace

World::World(uint64_t seed, const Options& options, bool print)
    : options_(options),
      trace_(queue_, print),
      decisions_(queue_),
      random_(seed),
      net_(queue_, trace_, random_.fork(), options.link),
      nodes_{std::make_unique<Node>(*this, 0, random_.fork()), std::make_unique<Node>(*this, 1, random_.fork())},
      guest_(*this, random_.fork()),
      admin_(*this, random_.fork()),
      faults_(*this, random_.fork()),
      tuner_(*this, Rng(~seed).fork()),
      wire_(*this),
      direction_(options.volumes),
      guest_errors_(options.volumes) {
    net_.add_tap([this](int host, End end, std::span<const uint8_t> bytes, const WireBytes& wire) {
        wire_.ear().on_sent(host, end, bytes, wire);
    });
    for (auto& steps : steps_)
        steps.resize(options.volumes);
    for (auto& targets : targets_)
        targets.resize(options.volumes);
    has_disk_errors_ = options.read_error + options.write_error + options.flush_error + options.metadata_error > 0;
    has_bad_disks_ = has_disk_errors_ || options.full_disk + options.hung_io > 0;
    for (int h = 0; h < 2; h++)
        net_.set_user(h, nodes_[h].get());
    has_old_peer_ = options.version_max < 96;
    signs_.assign(options_.volumes, EqualSigns(nodes_[0]->settings_log(), nodes_[1]->settings_log()));
    as_if_crashed_.resize(options_.volumes);
    bounds_.resize(2);
}

void World::complain(const std::string& what) {
    if (!complaint_.empty())
        return;
    complaint_ = what;
    trace_.text(-1, "COMPLAINT", what.c_str());
}

void World::end_disk_faults() {
    had_disk_faults_ |= options_.read_error + options_.write_error + options_.flush_error + options_.metadata_error + options_.full_disk > 0;
    options_.read_error = options_.write_error = options_.flush_error = options_.metadata_error = 0;
    options_.slow_io = options_.stuck_io = options_.full_disk = options_.hung_io = 0;
    for (auto& node : nodes_)
        for (DiskFault kind : kDiskFaults)
            node->fail_next(kind, false);
}

// ------------------------------------------------------------------ course --

bool World::step() {
    if (!complaint_.empty() || !queue_.run_next())
        return false;
    if (queue_.events() >= next_check_) {
        next_check_ = queue_.events() + 20;
        ask_nodes();
        check_primaries();
        check_bounds();
        check_states();
    }
    if (queue_.events() >= next_crash_check_) {
        next_crash_check_ = queue_.events() + 1 + random_.below(queue_.events() < dense_until_ ? 4 : 400);
        check_as_if_crashed();
    }
    return true;
}

bool World::run_until(Time limit, bool (World::*done)()) {
    while (!(this->*done)()) {
        if (queue_.now() > limit)
            return false;
        if (!step())
            return false;
    }
    return true;
}

bool World::requests_are_made() {
    return guest_.started() >= decisions_.requests(options_.requests);
}

bool World::is_well() {
    return admin_.was_well() && admin_.all_is_well() && !admin_.has_pending();
}

bool World::is_unwell() {
    return !admin_.all_is_well();
}

bool World::has_bits() const {
    uint64_t bytes = 0;
    for (const auto& node : nodes_)
        for (unsigned v = 0; v < options_.volumes && (had_disk_faults_ || admin_.gave_commands()); v++)
            bytes += node->status(v).out_of_sync_bytes;
    return bytes != 0;
}

bool World::has_ended() {
    return nodes_[0]->requests_in_flight() == 0 && nodes_[1]->requests_in_flight() == 0;
}

// Under A and B writes that are complete may still be behind a stream that stands
// still, or that is dead: that is noticed when nobody answers them.
bool World::is_acknowledged() {
    for (const auto& node : nodes_)
        if (const DrbdConnectionStatus status = node->connection_status(); status.unacknowledged != 0 || status.send_queue != 0)
            return false;
    return true;
}

Time World::request_bound() const {
    Time bound = 0;
    for (const auto& node : nodes_)
        bound = std::max(bound, node->settings().ko_count != 0 ? request_limit(node->settings()) : 600 * kSecond);
    return bound;
}

// All is well, and not only because nobody has noticed yet that a line went dead
// before the faults were over: that takes a ping.
bool World::becomes_well() {
    Time noticed = 0;
    for (const auto& node : nodes_)
        noticed = std::max(noticed, (node->settings().ping_int * 10 + node->settings().ping_timeout) * 120 * kMillisecond + 3 * kSecond);
    for (const Time limit = queue_.now() + 1800 * kSecond; queue_.now() < limit;) {
        if (!run_until(limit, &World::is_well))
            return false;
        if (!run_until(queue_.now() + noticed, &World::is_unwell))
            return complaint_.empty();
    }
    return false;
}

void World::run() {
    for (auto& node : nodes_)
        node->start();
    admin_.begin();
    faults_.begin();
    tuner_.begin();
    // Some worlds never get there: then that is all the life they have.
    run_until(3600 * kSecond, &World::requests_are_made);
    if (complaint_.empty())
        mend();
}

void World::mend() {
    trace_.line(-1, "repair");
    faults_.stop();
    admin_.repair();
    tuner_.repair();
    bool together = becomes_well();
    // A discard that failed on one side leaves a bit, and an invalidate that was
    // cut short leaves all of them, while both are UpToDate: the next loss of the
    // connection makes a generation, and a resync of it.
    for (unsigned i = 0; i < 3 && together && has_bits(); i++) {
        nodes_[i % 2]->disconnect(false);
        together = run_until(queue_.now() + kSecond, &World::is_unwell) && becomes_well();
    }
    while (together && run_until(queue_.now() + request_bound(), &World::is_acknowledged) && is_unwell())
        together = becomes_well();
    if (!together) {
        complain("liveness: the faults are over, and the nodes do not come together: " + admin_.describe());
        return;
    }
    admin_.rest();
    guest_.stop();
    if (!run_until(queue_.now() + request_bound(), &World::has_ended)) {
        complain("liveness: requests do not end: " + admin_.describe());
        return;
    }
    check_rest();
}

std::string World::check_copies(unsigned volume) const {
    if (std::string wrong = check_equal_images(nodes_[0]->disk(volume), nodes_[1]->disk(volume)); !wrong.empty())
        return wrong;
    for (const auto& node : nodes_)
        if (const uint64_t left = node->is_running() ? node->status(volume).out_of_sync_bytes : 0; left != 0)
            return "equal_images: " + std::to_string(left) + " bytes are marked out of sync on " + "AB"[node->host()] +
                   " although both are UpToDate and at rest";
    return {};
}

void World::check_rest() {
    // A last flush, so that every epoch is over.
    guest_.flush_all();
    if (!run_until(queue_.now() + request_bound(), &World::has_ended)) {
        complain("liveness: the last flush does not end: " + admin_.describe());
        return;
    }
    for (const Time limit = queue_.now() + 3 * kSecond; queue_.now() < limit && step();) {
    }
    if (!complaint_.empty())
        return;
    if (!admin_.all_is_well()) {
        complain("liveness: it was well, and does not stay so: " + admin_.describe());
        return;
    }
    for (unsigned v = 0; v < options_.volumes; v++)
        if (const std::string wrong = check_copies(v); !wrong.empty())
            complain(wrong);
    // A ping may be under way: there is a moment without one.
    for (auto& node : nodes_) {
        std::string left = node->complaint_at_rest();
        for (unsigned i = 0; i < 100 && !left.empty() && complaint_.empty(); i++) {
            for (const Time limit = queue_.now() + 7 * kMillisecond; queue_.now() < limit && step();) {
            }
            left = node->complaint_at_rest();
        }
        if (!left.empty())
            complain(std::string("at_rest: on ") + "AB"[node->host()] + " " + left);
    }
    check_as_if_crashed();
    if (!complaint_for_the_end_.empty())
        complain(complaint_for_the_end_);
    over_ = true;
}

// ---------------------------------------------------------------- checkers --

void World::check_as_if_crashed() {
    crash_checks_++;
    // Where a superblock has just changed, all that may be found are looked at.
    const uint64_t drawn = random_.below(4);
    for (uint64_t which = 0; which < 4; which++)
        for (unsigned v = 0; v < options_.volumes && (superblock_changed_ || which == drawn); v++)
            check_disks(v, which & 1 ? View::Stable : View::Current, which & 2 ? View::Stable : View::Current);
    superblock_changed_ = false;
}

void World::check_disks(unsigned volume, View a, View b) {
    const Disk* disks[2] = {&nodes_[0]->disk(volume), &nodes_[1]->disk(volume)};
    const View views[2] = {a, b};
    const History& history = guest_.history(volume);
    if (const std::string wrong = as_if_crashed_[volume].check(history, disks, views); !wrong.empty())
        complain(wrong);
    // It goes through all that was ever written: seldom, but in the world where much is under way for long.
    const bool is_asked = (options_.stuck_io > 0 || crash_checks_ % kSurvivorChecksEvery == 0) && !as_if_crashed_[volume].is_split(views);
    // What a guest that was overruled had under way lands on the other's data.
    const bool has_order = guest_.host() >= 0 && !guest_.has_lost_promises();
    for (int h = 0; h < 2; h++)
        if (is_asked && has_order && !has_disk_errors_ && !direction_.is_forced(h))
            if (const std::string wrong = check_survivor_order(history, *disks[h], h, views[h]); !wrong.empty())
                complain(wrong);
}

void World::ask_nodes() {
    for (int h = 0; h < 2; h++)
        if (nodes_[h]->is_running())
            nodes_[h]->ask_all(statuses_[h]);
}

// At most one Primary where both know each other.
void World::check_primaries() {
    if (!nodes_[0]->is_primary() || !nodes_[1]->is_primary())
        return;
    for (const NodeStatus& status : statuses_)
        if (std::strcmp(status.volumes[0].peer_role, "Primary") == 0 && std::strcmp(status.volumes[0].connection, "Connected") == 0)
            complain("one_primary: two connected nodes are Primary");
}

void World::check_states() {
    bool live = true;
    for (NodeStatus& status : statuses_)
        status.volumes.resize(options_.volumes);
    for (auto& node : nodes_)
        live &= node->is_running() && !node->is_frozen();
    live &= !net_.has_silent_stream();  // what one has said the other may never hear
    for (unsigned v = 0; v < options_.volumes; v++) {
        for (auto& node : nodes_)
            if (node->is_running())
                if (const std::string wrong = check_tuple(statuses_[node->host()].volumes[v]); !wrong.empty())
                    complain(wrong + " on " + "AB"[node->host()]);
        // A detach that is agreed on waits for what is at the disk, if that hangs, too.
        const bool hangs = nodes_[0]->hung_since() != 0 || nodes_[1]->hung_since() != 0;
        if (const std::string wrong = signs_[v].check(live && !hangs, statuses_[0].volumes[v], statuses_[1].volumes[v], queue_.now()); !wrong.empty())
            complain(wrong);
    }
}

// Every request ends within what the configuration gives.
void World::check_bounds() {
    for (auto& node : nodes_)
        node->excuse_requests();
    for (int h = 0; h < 2; h++)
        if (const std::string wrong = bounds_[h].check(*nodes_[h], statuses_[h], queue_.now()); !wrong.empty())
            complain(wrong + " on " + "AB"[h]);
    for (auto& node : nodes_) {
        if (!node->is_running() || node->is_frozen() ||
            !node->settings_log().is_overdue(node->oldest_request(), queue_.now(), request_limit))
            continue;
        complain(std::string("liveness: a request on ") + "AB"[node->host()] + " is not done after " +
                 std::to_string((queue_.now() - node->oldest_request()) / kSecond) + " s: " + node->describe_requests() + ": " + admin_.describe());
    }
}

void World::on_process_died(int host, bool lost_cache) {
    roles_.on_process_died(host, queue_.now());
    guest_.on_process_died(host, lost_cache);
    for (unsigned v = 0; v < options_.volumes; v++)
        steps_[host][v].on_process_died(nodes_[host]->disk(v));
    next_crash_check_ = 0;
}

void World::on_process_started(Node& node) {
    has_old_peer_ |= node.settings().version_max < 96;  // also where that was configured while no process ran
    wire_.configuration().on_start(node.host(), queue_.now(), node.settings());
}

void World::on_disconnect(Node& node, bool force) {
    wire_.outdated().on_disconnect(node.host(), node, *nodes_[1 - node.host()], force);
}

void World::on_configured(Node& node, const Settings& wanted, bool stand_alone, bool taken, const char* text) {
    has_old_peer_ |= taken && wanted.version_max < 96;
    const std::string wrong = wire_.configuration().on_command(
        node.host(), node.settings(), wanted,
        {.now = queue_.now(), .volumes = options_.volumes, .stand_alone = stand_alone, .taken = taken, .text = text});
    if (!wrong.empty())
        complain(wrong);
}

void World::on_well() {
    if (is_acknowledged())
        guest_.on_both_have_all();
}

// What a process that is gone had begun.
void World::on_hung_write_landed(int host, unsigned volume) {
    if (!nodes_[host]->is_running() || nodes_[host]->running_since() == queue_.now())
        steps_[host][volume].on_process_died(nodes_[host]->disk(volume));
    superblock_changed_ = true;
    next_crash_check_ = 0;
}

void World::on_peer_lost(Node& node, const char* text) {
    if (options_.has_quiet_network)
        if (const std::string wrong = check_answerable(nodes_[1 - node.host()].get(), text, queue_.now()); !wrong.empty())
            complain(wrong);
}

void World::on_disk_error(int host) {
    has_disk_errors_ = has_bad_disks_ = true;  // also in scripts, whose options have no chance of one
    guest_.on_disk_error(host);
}

void World::on_metadata_written(Node& node, unsigned volume) {
    const SuperblockSteps::Circumstances circumstances = {.has_errors = has_disk_errors_, .is_forced = direction_.is_forced(node.host()),
                                                          .has_old_peer = has_old_peer_,
                                                          .has_refused = wire_.has_refused(node.host(), volume)};
    if (const std::string wrong = steps_[node.host()][volume].on_written(node.disk(volume), circumstances); !wrong.empty())
        complain(wrong);
    if (steps_[node.host()][volume].has_changed()) {
        superblock_changed_ = true;
        next_crash_check_ = 0;
    }
}

void World::on_state_change(Node& node, const DrbdNotice& change) {
    const int host = node.host();
    const unsigned volume = static_cast<unsigned>(change.volume);
    if (const std::string wrong = check_step(change); !wrong.empty())
        complain(wrong);
    guest_errors_.on_state_change(host, change, queue_.now());
    if (const std::string wrong = roles_.on_state_change(node, change, queue_.now()); !wrong.empty())
        complain(wrong);
    if (const std::string wrong = wire_.outdated().on_state_change(node, *nodes_[1 - node.host()], change); !wrong.empty())
        complain(wrong);
    const LossFacts facts = {.line_alters = net_.has_corrupted(),
                             .secret_on_one_side = options_.secret[0].empty() != options_.secret[1].empty()};
    if (const std::string wrong = check_protocol_error(host, change, facts); !wrong.empty())
        complain(wrong);
    if (std::strcmp(change.field, "connection") == 0)
        if (const std::string wrong = wire_.configuration().on_connection(host, change.new_value, change.text); !wrong.empty())
            complain(wrong);
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.old_value, "Inconsistent") == 0 &&
        std::strcmp(change.new_value, "UpToDate") == 0)
        wire_.on_resync_done(host, volume);
    if (const std::string wrong = check_fresh_connection(node, change); !wrong.empty() && complaint_for_the_end_.empty())
        complaint_for_the_end_ = wrong;
    // Bitmaps, superblocks and data go different ways now.
    if (std::strcmp(change.field, "connection") == 0)
        dense_until_ = queue_.events() + 120;
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.old_value, "Attaching") == 0)
        wire_.on_disk_attached(host, volume);
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.new_value, "Failed") == 0)
        guest_.on_copy_lost(host, volume);
    if (std::strcmp(change.field, "disk") == 0 && std::strcmp(change.old_value, "UpToDate") == 0 && node.is_running())
        guest_.on_own_disk_lost(host, volume);
    if (std::strcmp(change.field, "peer-disk") == 0 && std::strcmp(change.new_value, "DUnknown") == 0 && guest_.host() == host)
        guest_.on_copy_lost(1 - host, volume);
    const bool disk_is_good = std::strcmp(change.field, "disk") == 0 && std::strcmp(change.old_value, "Inconsistent") == 0 &&
                              std::strcmp(change.new_value, "UpToDate") == 0 && std::strstr(change.text, "resync");
    // Where it is said that the last guest's data may go, its history says nothing.
    const bool given_up = disk_is_good && direction_.is_licensed(host, volume) && !guest_.runs_on(1 - host);
    // Nor where the source has gone on without it, in a generation that it has not.
    // It may have lost that, or been frozen meanwhile, or be about to leave.
    const bool left_behind = disk_is_good &&
                             has_gone_on(node.disk(volume), nodes_[1 - host]->disk(volume));
    // A and B let a write complete that the next Primary need not have.
    const bool has_promise = guest_.promised_by() == DRBD_PROTOCOL_C && node.settings().protocol == DRBD_PROTOCOL_C;
    // Given up before: the source may be who gave it up, and has it from this node.
    const Disk* heir = disk_is_good && direction_.is_given_up(volume) && !guest_.runs_on(1 - host) ? &nodes_[1 - host]->disk(volume) : nullptr;
    if (given_up && !check_resync_result(guest_.history(volume), node.disk(volume), host).empty())
        direction_.on_given_up(volume);
    if (disk_is_good && has_promise && !given_up && !left_behind)
        if (const std::string wrong = check_resync_result(guest_.history(volume), node.disk(volume), host, heir); !wrong.empty())
            complain(wrong);
    // A disk that lacks what it had received is a target of whoever has a whole one, however old that is (spec 4.3).
    if (std::strcmp(change.field, "disk") == 0 && std::strstr(change.text, "failed after the connection was lost"))
        direction_.on_licence(host, volume);
    // What makes a target is stable, though the connection, or the process, may have gone meanwhile.
    // Where the source's disk goes before the resync begins, this one is as bad; where this one goes, a guest has the source's.
    if (std::strcmp(change.field, "disk") == 0 && (std::strcmp(change.new_value, "Inconsistent") == 0 || std::strcmp(change.new_value, "Failed") == 0))
        judge_target_of_policy(node, volume);
    if (std::strcmp(change.field, "connection") != 0)
        return;
    if (std::strcmp(change.new_value, "WFBitMapT") == 0)
        note_target(node, volume);
    else if ((std::strcmp(change.old_value, "WFBitMapT") == 0 && std::strcmp(change.new_value, "WFSyncUUID") != 0) ||
             std::strcmp(change.new_value, "Connected") == 0 || std::strcmp(change.new_value, "WFBitMapS") == 0)
        targets_[host][volume].reset();  // it came to nothing, or the next verdict is another
    if (std::strcmp(change.new_value, "SyncTarget") != 0)
        return;
    guest_.on_target(host);
    judge_target_of_policy(node, volume);
    if (!has_promise) {
        direction_.on_unjudged_target(host, volume);
        return;
    }
    if (const std::string wrong = direction_.on_target(host, volume, guest_.history(volume), node.disk(volume), nodes_[1 - host]->disk(volume));
        !wrong.empty())
        complain(wrong);
}

void World::note_target(Node& node, unsigned volume) {
    const int host = node.host();
    const DrbdVolumeStatus status = node.status(volume);
    auto side = [&](int h, bool primary, const char* disk) {
        return SplitBrainSide{wire_.generations(h, volume), primary, std::strcmp(disk, "Inconsistent") == 0};
    };
    targets_[host][volume] = {
        .own = side(host, node.is_primary(), status.disk),
        .peer = side(1 - host, std::strcmp(status.peer_role, "Primary") == 0, status.peer_disk),
        .accepted_meta = node.connection_status().resolve_conflicts,
        .always_asbp = node.settings().always_asbp,
        .parameters = wire_.configuration().possible(host),
        .told_later = {},
    };
}

void World::on_generations(int host, unsigned volume, const TappedGenerations& told) {
    auto& target = targets_[host][volume];
    const std::string_view connection = nodes_[host]->status(volume).connection;
    if (target && !target->told_later.known && (connection == "WFBitMapT" || connection == "WFSyncUUID"))
        target->told_later = told;
}

// The policies may say that this node's data goes.
void World::judge_target_of_policy(Node& node, unsigned volume) {
    const int host = node.host();
    const std::optional<SplitBrainCase> target = std::exchange(targets_[host][volume], std::nullopt);
    if (!target)
        return;
    const SplitBrainJudgement judgement = judge_target(*target);
    const std::string who = std::string("resync_direction: ") + "AB"[host] + " ";
    if (!judgement.complaint.empty())
        complain(who + judgement.complaint);
    if (!judgement.policy_names_own)
        return;
    direction_.on_licence(host, volume);
    if (!guest_.runs_on(host))
        return;
    if (node.settings().rr_conflict != kViolently)
        complain(who + "becomes target by a policy while a guest runs on it, and rr-conflict is not violently");
    guest_.on_target(host);
    guest_.on_overruled();
}

void World::on_request_end(Node& node, GuestRequest& request) {
    if (const std::string wrong = roles_.on_request_end(node, request); !wrong.empty())
        complain(wrong);
    if (!has_bad_disks_ && guest_.runs_on(node.host()))
        if (const std::string wrong = guest_errors_.check(node, request); !wrong.empty())
            complain(wrong);
    if (guest_.host() == node.host())
        guest_.on_end(request);
}

bool World::on_peer_write(Node& node, const DrbdPeerIo& io, std::span<const uint64_t> values) {
    for (const uint64_t value : values)
        if (value == kTornValue || (value >> 12) > guest_.started())
            complain("bytes: what came from the peer for offset " + std::to_string(io.offset) + " is nothing that was written");
    return wire_.on_peer_write(node.host(), io.volume, io.offset / 512, values);
}

}  // namespace drbd::sim
