// SPDX-License-Identifier: GPL-2.0-or-later
// What the steps of a script do (runner.h): one table of verbs, one function
// each.  A verb that is no row is the name of a fault: `kill a` is `kill-a` of
// script/injection.h.
#include <cstdlib>
#include <cstring>
#include <utility>

#include "script/runner.h"

namespace drbd::sim {

struct Runner::Row {
    const char* verb;
    Verb function;
    size_t arguments;  // at least
};

const Runner::Row* Runner::row_of(const Words& words) {
    static const Row rows[] = {
        {"pair", &Runner::pair, 0},
        {"start", &Runner::start, 1},
        {"create-md", &Runner::create_md, 1},
        {"attach", &Runner::attach, 1},
        {"detach", &Runner::detach, 1},
        {"leave", &Runner::leave, 1},
        {"connect", &Runner::connect, 1},
        {"disconnect", &Runner::disconnect, 1},
        {"promote", &Runner::promote, 1},
        {"demote", &Runner::demote, 1},
        {"invalidate", &Runner::invalidate, 1},
        {"invalidate-remote", &Runner::invalidate_remote, 1},
        {"outdate", &Runner::outdate, 1},
        {"new-current-uuid", &Runner::new_uuid, 1},
        {"read", &Runner::request, 3},
        {"write", &Runner::request, 3},
        {"zeroes", &Runner::request, 3},
        {"discard", &Runner::request, 3},
        {"flush", &Runner::request, 1},
        {"begin", &Runner::begin_request, 2},
        {"wait", &Runner::wait_for_requests, 1},
        {"expect", &Runner::expect, 4},
        {"drain", &Runner::drain, 1},
        {"undrain", &Runner::undrain, 1},
        {"stall", &Runner::stall, 3},
        {"slow", &Runner::slow, 3},
        {"secret", &Runner::set_secret, 2},
        {"compare", &Runner::compare, 0},
        {"left-behind", &Runner::left_behind, 1},
        {"run", &Runner::run_for, 1},
    };
    for (const Row& row : rows)
        if (words[0] == row.verb)
            return &row;
    return nullptr;
}

const ScriptFault* Runner::fault_of(const Words& words) {
    std::string name = words[0];
    for (size_t i = 1; i < words.size(); i++)
        name += "-" + words[i];
    return find_script_fault(name);
}

std::string Runner::mistake_in(const Words& words) {
    const Row* row = row_of(words);
    if (!row)
        return fault_of(words) ? "" : "there is no step '" + words[0] + "'";
    if (words.size() <= row->arguments || (row->arguments > 0 && row->function != &Runner::run_for && !names_host(words)))
        return "'" + words[0] + "' needs a host and what docs/SIMULATOR.md says";
    return "";
}

void Runner::run_verb(const Words& words) {
    if (const Row* row = row_of(words)) {
        (this->*row->function)(words);
        return;
    }
    const ScriptFault* fault = fault_of(words);
    fault->happen(world_, fault->host);
}

bool Runner::names_host(const Words& words) {
    for (const std::string& word : words)
        if (word == "a" || word == "b" || word == "both")
            return true;
    return false;
}

int Runner::host_of(const Words& words, size_t at) {
    return words.size() > at && words[at] == "b";
}

bool Runner::has(const Words& words, const char* word) {
    for (const std::string& other : words)
        if (other == word)
            return true;
    return false;
}

template <typename F>
void Runner::for_hosts(const Words& words, F&& function) {
    for (int h = 0; h < 2; h++)
        if (words[1] == "both" || host_of(words) == h)
            function(h);
}

// --------------------------------------------------------- administrator --

void Runner::start(const Words& words) {
    for_hosts(words, [&](int h) { node(h).start(); });
}

void Runner::create_md(const Words& words) {
    for_hosts(words, [&](int h) {
        for (unsigned v = 0; v < world_.options().volumes; v++) {
            const uint64_t number = node(h).create_md(v);
            finish(h, number);
            formatted_[h] |= succeeded(h, number);
        }
    });
}

void Runner::attach(const Words& words) {
    for_hosts(words, [&](int h) {
        for (unsigned v = 0; v < world_.options().volumes; v++)
            finish(h, node(h).attach(v));
    });
}

void Runner::detach(const Words& words) {
    finish(host_of(words), node(host_of(words)).detach(0, has(words, "force")));
}

void Runner::leave(const Words& words) {
    finish(host_of(words), node(host_of(words)).leave(0));
}

void Runner::connect(const Words& words) {
    const bool discard = has(words, "discard-my-data");
    for_hosts(words, [&](int h) {
        if (discard) {
            // What this node's guest was promised is given up; the other's counts.
            primary_ = 1 - h;
            if (node(primary_).is_primary())
                move_guest(primary_, true);
        }
        finish(h, node(h).connect(discard));
    });
}

void Runner::disconnect(const Words& words) {
    finish(host_of(words), node(host_of(words)).disconnect(has(words, "force")));
}

void Runner::move_guest(int host, bool licence) {
    Guest& guest = world_.guest();
    if (guest.runs_on(host))
        return;
    if (guest.is_running())
        guest.on_process_died(guest.host(), false);  // the older one's is over
    guest.begin(host, licence);
}

void Runner::promote(const Words& words) {
    begin_promotion(words, 1);
    end_promotion(host_of(words));
}

void Runner::begin_promotion(const Words& words, size_t at) {
    const int h = host_of(words, at);
    const bool force = has(words, "force");
    primary_ = h;
    promotion_[h] = {node(h).set_role(true, force), force};
}

void Runner::end_promotion(int h) {
    const auto [number, force] = std::exchange(promotion_[h], {});
    finish(h, number);
    if (!succeeded(h, number) || !node(h).is_primary())
        return;
    initialised_ = true;
    move_guest(h, force);
}

void Runner::demote(const Words& words) {
    const int h = host_of(words);
    if (world_.guest().runs_on(h))
        world_.guest().stop();
    wait([&] { return node(h).requests_in_flight() == 0; });
    finish(h, node(h).set_role(false, false));
}

void Runner::invalidate(const Words& words) {
    finish(host_of(words), node(host_of(words)).invalidate(0));
}

void Runner::invalidate_remote(const Words& words) {
    finish(host_of(words), node(host_of(words)).invalidate_remote(0));
}

void Runner::outdate(const Words& words) {
    finish(host_of(words), node(host_of(words)).outdate(0));
}

void Runner::new_uuid(const Words& words) {
    const uint64_t number = node(host_of(words)).new_current_uuid(0, has(words, "clear-bitmap"));
    finish(host_of(words), number);
    initialised_ |= succeeded(host_of(words), number) && has(words, "clear-bitmap");
}

// Both nodes as most stories begin: connected, equal, without a first sync.
void Runner::pair(const Words&) {
    listing_.mute(true);
    const Words both{"", "both"}, a{"", "a", "clear-bitmap"};
    start(both);
    create_md(both);
    attach(both);
    connect(both);
    expect({"expect", "both", "Connected", "Secondary/Secondary", "Inconsistent/Inconsistent"});
    for (unsigned v = 0; v < world_.options().volumes; v++)
        finish(0, node(0).new_current_uuid(v, true));
    initialised_ = true;
    expect({"expect", "both", "Connected", "Secondary/Secondary", "UpToDate/UpToDate"});
    run_for({"run", "0.1"});  // the last superblocks
    listing_.mute(false);
    listing_.begin_time();
}

void Runner::set_secret(const Words& words) {
    world_.set_secret(host_of(words), words[2]);
}

// ----------------------------------------------------------------- guest --

bool Runner::issue(const Words& words, size_t at) {
    auto request = std::make_unique<GuestRequest>();
    static const struct { const char* verb; DrbdRequestKind kind; } kinds[] = {
        {"read", DRBD_REQUEST_READ}, {"write", DRBD_REQUEST_WRITE}, {"zeroes", DRBD_REQUEST_ZEROES},
        {"discard", DRBD_REQUEST_DISCARD}, {"flush", DRBD_REQUEST_FLUSH},
    };
    for (const auto& row : kinds)
        if (words[at] == row.verb)
            request->kind = row.kind;
    const int h = host_of(words, at + 1);
    if (request->kind != DRBD_REQUEST_FLUSH && words.size() > at + 3) {
        request->sector = std::strtoull(words[at + 2].c_str(), nullptr, 0);
        request->sectors = std::strtoull(words[at + 3].c_str(), nullptr, 0);
    }
    request->volume = has(words, "volume-1");
    request->flags = (has(words, "fua") ? DRBD_REQUEST_FUA : 0) | (has(words, "unmap") ? DRBD_REQUEST_MAY_UNMAP : 0);
    if (!node(h).is_running() || node(h).is_frozen() || request->volume >= world_.options().volumes)
        return false;
    if ((request->sector + request->sectors) * 512 > drbd_volume_bytes(node(h).core(), request->volume))
        return false;
    if (node(h).is_primary()) {
        move_guest(h, true);
        if (!world_.guest().runs_on(h))
            return false;  // there is nothing to read
        world_.guest().issue(std::move(request));
        return true;
    }
    // A Secondary refuses at once; the guest, if it was here, is not told.
    if (world_.guest().host() == h)
        return false;
    node(h).begin_request(std::move(request));
    return true;
}

void Runner::request(const Words& words) {
    const int h = host_of(words);
    const size_t before = node(h).requests_in_flight();
    if (!issue(words, 0)) {
        if (!is_injected())
            complain("script: the request cannot be made here");
        return;
    }
    if (!wait([&] { return node(h).requests_in_flight() <= before; }))
        listing_.say(h, "pending", words[0] + " does not end");
}

// One of each host at a time; none if the words name no operation.
std::optional<uint64_t> Runner::begin_operation(const Words& words) {
    const int h = host_of(words, 2);
    if (words[1] == "detach")
        return node(h).detach(0, has(words, "force"));
    if (words[1] == "attach")
        return node(h).attach(0);
    if (words[1] == "connect")
        return node(h).connect(false);
    if (words[1] == "disconnect")
        return node(h).disconnect(has(words, "force"));
    if (words[1] == "demote") {
        if (world_.guest().runs_on(h))
            world_.guest().stop();
        return node(h).set_role(false, false);
    }
    if (words[1] == "invalidate")
        return node(h).invalidate(0);
    if (words[1] == "invalidate-remote")
        return node(h).invalidate_remote(0);
    if (words[1] == "outdate")
        return node(h).outdate(0);
    if (words[1] == "new-current-uuid")
        return node(h).new_current_uuid(0, has(words, "clear-bitmap"));
    return std::nullopt;
}

void Runner::begin_request(const Words& words) {
    if (words[1] == "promote")
        begin_promotion(words, 2);
    else if (const std::optional<uint64_t> number = begin_operation(words))
        begun_[host_of(words, 2)] = *number;
    else if (!issue(words, 1) && !is_injected())
        complain("script: the request cannot be made here");
}

void Runner::wait_for_requests(const Words& words) {
    end_promotion(host_of(words));
    if (const uint64_t number = std::exchange(begun_[host_of(words)], 0); number != 0)
        finish(host_of(words), number);
    if (!wait([&] { return node(host_of(words)).requests_in_flight() == 0; }) && !is_injected())
        complain("expect: requests on " + words[1] + " do not end");
}

// ----------------------------------------------------------------- world --

namespace {

std::string turned_round(const std::string& pair) {
    const size_t slash = pair.find('/');
    return slash == std::string::npos ? pair : pair.substr(slash + 1) + "/" + pair.substr(0, slash);
}

}  // namespace

// `expect HOST CONNECTION ROLE/PEER DISK/PEER-DISK`: it comes to that.  `both`
// means what it is on a, and on b the other way round.
void Runner::expect(const Words& words) {
    for_hosts(words, [&](int h) {
        std::string seen;
        const bool turn = words[1] == "both" && h == 1;
        const std::string wanted = words[2] + " " + (turn ? turned_round(words[3]) + " " + turned_round(words[4]) : words[3] + " " + words[4]);
        const bool came = wait([&] {
            if (!node(h).is_running())
                return false;
            const DrbdVolumeStatus s = node(h).status(0);
            seen = std::string(s.connection) + " " + (node(h).is_primary() ? "Primary/" : "Secondary/") + s.peer_role + " " + s.disk +
                   "/" + s.peer_disk;
            return seen == wanted;
        });
        if (!came && !is_injected())
            complain(std::string("expect: ") + "ab"[h] + " is " + (seen.empty() ? "down" : seen));
    });
}

// As QEMU does it: nothing new comes from the guest, and what it has begun must end.
void Runner::drain(const Words& words) {
    node(host_of(words)).drain(0, true);
}

void Runner::undrain(const Words& words) {
    if (node(host_of(words)).is_drained())  // a process that died has forgotten it
        node(host_of(words)).drain(0, false);
}

// `stall STREAM HOST SECONDS`: nothing of the stream comes in at the host.
void Runner::stall(const Words& words) {
    const wire::Stream stream = words[1] == "data" ? wire::Stream::Data : wire::Stream::Meta;
    const End end = listing_.tap().end_of(host_of(words, 2), stream);
    const double seconds = std::strtod(words[3].c_str(), nullptr);
    listing_.say(-1, "stall", words[1] + " to " + words[2]);
    world_.net().stall(end, world_.queue().now() + static_cast<Time>(seconds * kSecond));
}

// `slow HOST VOLUME SECONDS`: the next I/O there that is for the peer takes so long; with `metadata` the next of a job.
void Runner::slow(const Words& words) {
    node(host_of(words)).slow_next(static_cast<unsigned>(std::strtoul(words[2].c_str(), nullptr, 10)),
                                   words.size() == 5 ? DiskIo::Kind::Job : DiskIo::Kind::Peer,
                                   static_cast<Time>(std::strtod(words[3].c_str(), nullptr) * kSecond));
}

void Runner::compare(const Words&) {
    for (unsigned v = 0; v < world_.options().volumes && !is_injected(); v++)
        complain(world_.check_copies(v));
}

// The promise of the checker `outdated`, where the script knows that the end was in order.
void Runner::left_behind(const Words& words) {
    const int host = host_of(words);
    for (unsigned v = 0; v < world_.options().volumes && !is_injected(); v++)
        if (const std::string disk = node(host).status(v).disk; disk != "Outdated")
            complain(std::string("outdated: ") + "AB"[host] + " was left by its peer in order, and its copy of volume " + std::to_string(v) +
                     " is " + disk);
}

void Runner::run_for(const Words& words) {
    const Time until = world_.queue().now() + static_cast<Time>(std::strtod(words[1].c_str(), nullptr) * kSecond);
    bool passed = false;
    world_.queue().at(until, [&passed] { passed = true; });
    while (!passed && advance()) {
    }
}

}  // namespace drbd::sim
