// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: life, queues of the core, time, commands.
#include "node.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "world.h"

namespace drbd::sim {

Node::Node(World& world, int host, Rng random)
    : world_(world), queue_(world.queue()), host_(host), random_(random), settings_(settings_of(world.options(), host)) {
    const Options& o = world.options();
    for (unsigned v = 0; v < o.volumes; v++)
        disks_.emplace_back(DiskShape{o.image_bytes, o.internal, o.internal ? 0 : (256ull << 10)});
    jobs_.resize(o.volumes);
    received_writes_.resize(o.volumes);
    resync_writes_.resize(o.volumes);
    slow_.resize(o.volumes);
    drains_.resize(o.volumes);
    disk_hangs_.resize(o.volumes);
}

Node::~Node() {
    if (core_)
        die();
}

// ---------------------------------------------------------------- life --

void Node::start() {
    if (core_)
        return;
    power_ = true;
    world_.net().power_on(host_);
    incarnation_++;
    running_since_ = world_.queue().now();
    world_.trace().line(host_, "start", incarnation_);
    const Options& o = world_.options();
    for (unsigned v = 0; v < o.volumes; v++)
        if (disks_[v].has_hung()) {
            disks_[v].take(random_);
            world_.on_hung_write_landed(host_, v);
        }
    char error[DRBD_ERROR_SIZE] = "";
    const DrbdResourceConfig config = {.name = "r0", .nr_volumes = o.volumes, .max_requests = o.max_requests,
                                       .random_seed = {random_.next(), random_.next()}};
    core_ = drbd_resource_new(&config, error);
    if (!core_) {
        world_.complain(std::string("no resource: ") + error);
        return;
    }
    clock_begin_ = random_.below(1000000);
    tell_time();
    for (unsigned v = 0; v < o.volumes; v++)
        drbd_volume_open(core_, v, error);
    const DrbdNetConfig net = net_config(settings());
    world_.net().set_user_timeout(host_, user_timeout(settings()));
    if (!drbd_on_net_config(core_, &net, error))
        world_.complain(std::string("net config refused: ") + error);
    world_.on_process_started(*this);
    kick();
    if (o.idle_timer_every != 0)
        tell_time_for_nothing();
}

// Everything that the process had in memory is gone, at once.
void Node::die() {
    incarnation_++;
    forget_core(core_);
    core_ = nullptr;
    for (auto& [memory, buffer] : buffers_)
        give_payload_memory_back(memory, buffer.bytes, buffer.plain);
    buffers_.clear();
    lent_bytes_ = 0;
    peer_io_in_flight_ = 0;
    received_writes_.assign(received_writes_.size(), 0);
    resync_writes_.assign(resync_writes_.size(), 0);
    slow_.assign(slow_.size(), {});
    drains_.assign(slow_.size(), 0);
    requests_.clear();
    request_order_.clear();
    for (Socket& socket : sockets_)
        socket = {};
    for (Job& job : jobs_)
        job = {};
    hung_.clear();
    disk_hangs_.assign(disk_hangs_.size(), false);
    operations_.clear();
    while_frozen_.clear();
    frozen_ = kicking_ = kick_again_ = split_brain_ = false;
    timer_at_ = 0;
}

void Node::kill() {
    if (!core_)
        return;
    world_.trace().line(host_, "KILL", incarnation_);
    die();
    const bool loses_cache = random_.chance(world_.options().process_cache);
    for (Disk& disk : disks_) {
        disk.abandon_writes(random_);
        if (loses_cache)
            disk.lose_cache_of_process(random_);
    }
    world_.net().process_killed(host_);
    world_.on_process_died(host_, loses_cache);
}

void Node::lose_power() {
    world_.trace().line(host_, "POWER-LOSS", incarnation_);
    if (core_)
        die();
    power_ = false;
    for (Disk& disk : disks_)
        disk.lose_power(random_);
    world_.net().power_lost(host_);
    world_.on_process_died(host_, true);
}

void Node::freeze(bool on) {
    if (!core_ || frozen_ == on)
        return;
    world_.trace().line(host_, on ? "freeze" : "thaw");
    frozen_ = on;
    if (on)
        return;
    std::vector<Event> waiting = std::move(while_frozen_);
    while_frozen_.clear();
    const uint64_t incarnation = incarnation_;
    for (auto& function : waiting)
        if (incarnation == incarnation_)
            function();
}

// -------------------------------------------------------------- queues --

void Node::kick() {
    if (kicking_) {
        kick_again_ = true;
        return;
    }
    kicking_ = true;
    do {
        kick_again_ = false;
        drain_queues();
    } while (kick_again_ && core_);
    kicking_ = false;
    if (core_)
        set_timer();
}

void Node::drain_queues() {
    for (unsigned rounds = 0;; rounds++) {
        if (rounds == 100000) {
            world_.complain("queues: they do not run empty: a job that is announced and not given, or a wake-up without end");
            return;
        }
        const uint32_t pending = drbd_resource_pending(core_, DRBD_PENDING_NET | ~0u << DRBD_PENDING_JOB_SHIFT);
        bool worked = false;
        DrbdNotice what;
        while (drbd_next_notice(core_, &what))
            notice(what);
        DrbdNetAction action;
        if ((pending & DRBD_PENDING_NET) && drbd_next_net_action(core_, &action)) {
            net_action(action);
            worked = true;
        }
        while (void* owner = drbd_next_wake(core_)) {
            wake(owner);
            worked = true;
        }
        DrbdPeerIo io;
        while (drbd_next_peer_io(core_, &io)) {
            peer_io(io);
            worked = true;
        }
        void* buffer;
        size_t bytes;
        while (drbd_next_release(core_, &buffer, &bytes))
            free_buffer(buffer, bytes);
        const uint32_t sockets = drbd_pending_sockets(core_);
        for (unsigned s = 0; s < DRBD_MAX_SOCKETS; s++) {
            if (sockets >> s & 1)
                send(s);
            if (sockets_[s].used && sockets_[s].stalled && drbd_may_receive(core_, s)) {
                sockets_[s].stalled = false;
                later(random_.below(20), [this, s] { read(s); });
                worked = true;
            }
        }
        for (unsigned v = 0; v < jobs_.size(); v++)
            if (!jobs_[v].job && (pending >> (DRBD_PENDING_JOB_SHIFT + v) & 1)) {
                take_job(v);
                worked = true;  // looking for one may have let something end
            }
        if (!worked)
            return;
    }
}

uint64_t Node::now_ms() const {
    return clock_begin_ + static_cast<uint64_t>(static_cast<double>(world_.queue().now()) * world_.options().clock_rate[host_] / 1000);
}

// For calls that may send without the network having had an event.
DrbdResource* Node::core_now() {
    drbd_on_clock(core_, now_ms());
    return core_;
}

void Node::tell_time() {
    drbd_on_time(core_, now_ms());
}

void Node::set_timer() {
    const uint64_t deadline = drbd_next_deadline_ms(core_);
    if (deadline == UINT64_MAX) {
        timer_at_ = 0;
        timer_number_++;
        return;
    }
    const uint64_t now = now_ms();
    const double rate = world_.options().clock_rate[host_];
    Time at = world_.queue().now() + 1;
    if (deadline > now)
        at += static_cast<Time>(static_cast<double>(deadline - now) * 1000 / rate) + 1000;
    if (timer_at_ != 0 && timer_at_ <= at && timer_at_ + 2000 > at)
        return;  // the one that is set will do
    timer_at_ = at;
    const Time late = lateness();
    world_.queue().at(at + late, [this, number = ++timer_number_, incarnation = incarnation_] {
        if (incarnation == incarnation_)
            on_timer(number);
    });
}

// What comes meanwhile is heard of before, unless it tells the time itself.
Time Node::lateness() {
    const Options& o = world_.options();
    if (random_.chance(o.late_timers))
        return random_.below(o.late_timer_most);
    return random_.chance(0.1) ? random_.below(20 * kMillisecond) : 0;
}

void Node::tell_time_for_nothing() {
    later(random_.exponential(world_.options().idle_timer_every), [this] {
        tell_time();
        kick();
        tell_time_for_nothing();
    });
}

void Node::on_timer(uint64_t number) {
    if (number != timer_number_)
        return;
    call([this] {
        timer_at_ = 0;
        tell_time();
        kick();
    });
}

void Node::notice(const DrbdNotice& n) {
    switch (n.kind) {
    case DRBD_NOTICE_STATE:
        world_.trace().text(host_, n.field, (std::string(n.old_value) + " -> " + n.new_value + "  " + n.text).c_str());
        // A split brain is over when a handshake has ended well, and not when somebody tries again.
        if (std::strcmp(n.field, "connection") == 0 && (std::strcmp(n.new_value, "Connected") == 0 || std::strncmp(n.new_value, "WFBitMap", 8) == 0))
            split_brain_ = false;
        world_.on_state_change(*this, n);
        return;
    case DRBD_NOTICE_OPERATION: {
        Operation& operation = operations_[n.operation];
        operation.command = n.command;
        operation.volume = n.volume;
        operation.pending = false;
        operation.success = n.success;
        operation.text = n.text;
        world_.trace().text(host_, "ended", (operation.command + (n.success ? " ok " : " failed ") + n.text).c_str());
        return;
    }
    case DRBD_NOTICE_WARNING: world_.trace().text(host_, "warning", n.text); return;
    case DRBD_NOTICE_PEER_LOST:
        world_.trace().text(host_, "peer-lost", n.text);
        world_.on_peer_lost(*this, n.text);
        return;
    case DRBD_NOTICE_SPLIT_BRAIN:
        split_brain_ = true;
        world_.trace().text(host_, "SPLIT-BRAIN", n.text);
        return;
    case DRBD_NOTICE_RESYNC:
        world_.trace().line(host_, "resync", static_cast<uint64_t>(n.resync.phase), n.resync.source, n.resync.left_bytes);
        return;
    }
}

// ------------------------------------------------------------ commands --

uint64_t Node::begun(uint64_t number, const char* command, int volume, const char* error) {
    refusal_ = number ? "" : error;
    world_.trace().text(host_, "command", (std::string(command) + (number ? "" : " refused: " + refusal_)).c_str());
    if (number != 0 && !operations_.count(number))
        operations_[number] = {.command = command, .volume = volume, .text = ""};
    kick();
    return number;
}

#define BEGIN_COMMAND                 \
    char error[DRBD_ERROR_SIZE] = ""; \
    if (!core_ || frozen_)            \
        return 0;                     \
    tell_time()

uint64_t Node::create_md(unsigned volume) {
    BEGIN_COMMAND;
    world_.direction().on_licence(host_);
    const DrbdDiskConfig disk = disk_config(volume);
    const DrbdCreateMd options{.force = true, .al_stripes = 0, .al_stripe_size_kb = 0, .peer_max_bio_size = 0};
    return begun(drbd_on_create_md(core_now(), volume, &disk, &options, error), "create-md", static_cast<int>(volume), error);
}

uint64_t Node::attach(unsigned volume) {
    BEGIN_COMMAND;
    const DrbdDiskConfig disk = disk_config(volume);
    return begun(drbd_on_attach(core_now(), volume, &disk, error), "attach", static_cast<int>(volume), error);
}

uint64_t Node::detach(unsigned volume, bool force) {
    BEGIN_COMMAND;
    return begun(drbd_on_detach(core_now(), volume, force, error), force ? "detach force" : "detach", static_cast<int>(volume), error);
}

uint64_t Node::leave(unsigned volume) {
    BEGIN_COMMAND;
    return begun(drbd_on_leave(core_now(), volume, false, error), "leave", static_cast<int>(volume), error);
}

uint64_t Node::connect(bool discard_my_data) {
    BEGIN_COMMAND;
    if (discard_my_data)
        world_.direction().on_licence(host_);
    return begun(drbd_on_connect(core_now(), discard_my_data, error), discard_my_data ? "connect discard-my-data" : "connect", -1, error);
}

uint64_t Node::disconnect(bool force) {
    BEGIN_COMMAND;
    if (force)
        world_.on_disconnect(*this, true);  // nothing is waited for
    const uint64_t number = drbd_on_disconnect(core_now(), force, error);
    if (number != 0 && !force)
        world_.on_disconnect(*this, false);
    return begun(number, force ? "disconnect force" : "disconnect", -1, error);
}

uint64_t Node::set_role(bool primary, bool force) {
    BEGIN_COMMAND;
    if (force)
        world_.direction().on_forced(host_);
    return begun(drbd_on_set_role(core_now(), primary, force, error), primary ? (force ? "primary force" : "primary") : "secondary", -1, error);
}

uint64_t Node::invalidate(unsigned volume) {
    BEGIN_COMMAND;
    world_.direction().on_licence(host_);
    const uint64_t number = drbd_on_invalidate(core_now(), volume, error);
    if (number != 0)
        world_.guest().on_invalidated(host_);
    return begun(number, "invalidate", static_cast<int>(volume), error);
}

uint64_t Node::invalidate_remote(unsigned volume) {
    BEGIN_COMMAND;
    world_.direction().on_licence(1 - host_);
    const uint64_t number = drbd_on_invalidate_remote(core_now(), volume, error);
    if (number != 0)
        world_.guest().on_invalidated(1 - host_);
    return begun(number, "invalidate-remote", static_cast<int>(volume), error);
}

uint64_t Node::outdate(unsigned volume) {
    BEGIN_COMMAND;
    return begun(drbd_on_outdate(core_now(), volume, error), "outdate", static_cast<int>(volume), error);
}

uint64_t Node::new_current_uuid(unsigned volume, bool clear_bitmap) {
    BEGIN_COMMAND;
    return begun(drbd_on_new_current_uuid(core_now(), volume, clear_bitmap, true, error), "new-current-uuid", static_cast<int>(volume), error);
}

void Node::drain(unsigned volume, bool begin) {
    call([this, volume, begin] {
        world_.trace().line(host_, begin ? "drain" : "undrain", volume);
        begin ? drbd_on_drain_begin(core_now(), volume) : drbd_on_drain_end(core_now(), volume);
        begin ? drains_[volume]++ : drains_[volume]--;
        kick();
    });
}

const Operation* Node::operation(uint64_t number) const {
    const auto found = operations_.find(number);
    return found == operations_.end() ? nullptr : &found->second;
}

bool Node::has_pending_operation() const {
    uint64_t number;
    const char* command;
    int volume;
    return core_ && drbd_pending_operation(core_, 0, &number, &command, &volume);
}

// -------------------------------------------------------------- status --

DrbdVolumeStatus Node::status(unsigned volume) const {
    DrbdVolumeStatus status{};
    drbd_volume_status(core_, volume, &status);
    return status;
}

DrbdResourceStatus Node::resource_status() const {
    DrbdResourceStatus status{};
    drbd_resource_status(core_, &status);
    return status;
}

DrbdConnectionStatus Node::connection_status() const {
    DrbdConnectionStatus status{};
    drbd_connection_status(core_, &status);
    return status;
}

void Node::ask_all(NodeStatus& status) const {
    drbd_resource_status(core_, &status.resource);
    drbd_connection_status(core_, &status.connection);
    status.volumes.resize(disks_.size());
    for (unsigned v = 0; v < status.volumes.size(); v++)
        drbd_volume_status(core_, v, &status.volumes[v]);
}

void* Node::new_buffer(size_t bytes) {
    void* buffer = take_payload_memory(bytes);
    buffers_.emplace(buffer, Buffer{bytes, true});
    lent_bytes_ += bytes;
    return buffer;
}

void Node::free_buffer(void* buffer, size_t bytes) {
    const auto found = buffers_.find(buffer);
    if (found == buffers_.end() || found->second.bytes != bytes) {
        world_.complain("the core releases a buffer that it does not have, or as another size");
        return;
    }
    give_payload_memory_back(buffer, bytes, found->second.plain);
    buffers_.erase(found);
    lent_bytes_ -= bytes;
}

}  // namespace drbd::sim
