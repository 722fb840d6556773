// SPDX-License-Identifier: GPL-2.0-or-later
// One host with its process: plays what the QEMU shim plays around the core.
//
// In: the guest's requests, the administrator's commands, the network, time,
// and what happens to hosts (killed, without power, frozen, started again).
// Out: calls of the C border, and I/O on the host's disks.
// Everything is done in pieces, with time in between; what a process had under
// way when it died goes nowhere.  A process is known by its incarnation: events
// of an earlier one are not delivered.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "disk.h"
#include "drbd-core.h"
#include "faults.h"
#include "link.h"
#include "payload.h"
#include "settings.h"

namespace drbd::sim {

class World;

// Ends a core as the death of its process does: nothing is finished, nothing is
// checked.  The border has no call for that, as no process survives it.
void forget_core(DrbdResource* core);
// DrbdResourceStatus::role.
bool is_primary_core(const DrbdResource* core);

// A request of the guest, from its start to its end (or its process's).
struct GuestRequest {
    unsigned volume = 0;
    DrbdRequestKind kind = DRBD_REQUEST_READ;
    uint64_t sector = 0, sectors = 0;
    unsigned flags = 0;
    uint64_t write_id = 0;            // changes; values are made from it
    uint64_t issued = 0;              // Oracle's clock
    DrbdProtocol protocol = DRBD_PROTOCOL_C;  // the weakest that was configured meanwhile
    Time began = 0;
    Time excused = 0;                 // when it was seen to wait for a disk that hangs
    std::vector<uint64_t> read;       // what was handed to the guest
    PayloadBuffer payload;            // the copy, if one was asked for
    std::vector<uint8_t> digests;     // of its pieces, if they were
    DrbdRequest* core = nullptr;
    DrbdWaiter waiter{};
    bool retries = false;
    DrbdStep step = DRBD_STEP_WAIT;
    int result = 0;
};

// Values of the sectors of a write; 0 for zeroes.
uint64_t value_of_write(const GuestRequest& request, uint64_t index);

struct Operation {
    std::string command;
    int volume = -1;
    bool pending = true, success = false;
    std::string text;
};

// All that a process says of itself, asked once for several checkers.
struct NodeStatus {
    DrbdResourceStatus resource;
    DrbdConnectionStatus connection;
    std::vector<DrbdVolumeStatus> volumes;
};

// What can go wrong with I/O: of the image, or with metadata.
enum class DiskFault : uint8_t { Read, Write, Flush, Metadata, Space };
constexpr DiskFault kDiskFaults[] = {DiskFault::Read, DiskFault::Write, DiskFault::Flush, DiskFault::Metadata, DiskFault::Space};

// An I/O of a disk, as far as it matters who waits for it.
constexpr uint32_t kNoWrite = UINT32_MAX;
struct DiskIo {
    enum class Kind : uint8_t { GuestRead, GuestWrite, GuestFlush, Peer, Job };
    unsigned volume = 0;
    Kind kind = Kind::Job;
    const GuestRequest* request = nullptr;
    uint64_t sector = 0, sectors = 0;
    uint32_t write = kNoWrite;        // the disk's handle
};

class Node final : public LinkUser {
  public:
    Node(World& world, int host, Rng random);
    ~Node();

    int host() const { return host_; }
    bool is_running() const { return core_ != nullptr; }
    bool is_frozen() const { return frozen_; }
    bool has_power() const { return power_; }
    DrbdResource* core() { return core_; }
    Disk& disk(unsigned volume) { return disks_[volume]; }
    const Disk& disk(unsigned volume) const { return disks_[volume]; }
    uint64_t incarnation() const { return incarnation_; }

    // Life.
    void start();                 // the process; the host gets power
    void kill();
    void lose_power();
    void freeze(bool on);
    // The next I/O for the peer takes this long.
    void slow_next(unsigned volume, DiskIo::Kind kind, Time time) { slow_[volume] = {kind, time}; }
    void fail_next(DiskFault kind, bool on = true) { fails_next_[static_cast<unsigned>(kind)] = on; }

    // Commands; 0 if refused at once (refusal()).
    uint64_t create_md(unsigned volume);
    uint64_t attach(unsigned volume);
    uint64_t detach(unsigned volume, bool force);
    uint64_t leave(unsigned volume);
    uint64_t connect(bool discard_my_data);
    uint64_t disconnect(bool force);
    uint64_t set_role(bool primary, bool force);
    uint64_t invalidate(unsigned volume);
    uint64_t invalidate_remote(unsigned volume);
    uint64_t outdate(unsigned volume);
    uint64_t new_current_uuid(unsigned volume, bool clear_bitmap);
    void drain(unsigned volume, bool begin);
    // Other options from now on.  Nothing is done, and false, while it is frozen; a
    // node that does not run has them at its start.
    bool configure(const Settings& wanted);
    const Settings& settings() const { return settings_.now(); }
    const SettingsLog& settings_log() const { return settings_; }
    const std::string& refusal() const { return refusal_; }
    const Operation* operation(uint64_t number) const;
    bool has_pending_operation() const;

    // Guest.  Ends in Guest::on_end().
    void begin_request(std::unique_ptr<GuestRequest> request);
    size_t requests_in_flight() const { return requests_.size(); }
    bool is_drained() const { return std::ranges::any_of(drains_, [](unsigned n) { return n != 0; }); }
    uint64_t lent_bytes() const { return lent_bytes_; }  // buffers that the core has, or is about to get
    unsigned peer_io_in_flight() const { return peer_io_in_flight_; }
    unsigned volumes() const { return static_cast<unsigned>(received_writes_.size()); }
    unsigned received_writes(unsigned volume) const { return received_writes_[volume]; }
    unsigned resync_writes(unsigned volume) const { return resync_writes_[volume]; }
    // I/O that hangs, and who need not wait for it.  excuse_requests() comes first.
    Time hung_since() const;          // of the oldest one; 0: none
    void excuse_requests();
    bool is_drained(unsigned volume) const { return drains_[volume] != 0; }
    size_t drained_requests_due() const;  // in flight on drained volumes, and nothing excuses them
    Time oldest_request() const;      // when it began, or has waited for a disk that hung; now if there is none
    std::string describe_requests() const;  // in flight, with their age
    Time running_since() const { return running_since_; }

    DrbdVolumeStatus status(unsigned volume) const;
    DrbdResourceStatus resource_status() const;
    DrbdConnectionStatus connection_status() const;
    void ask_all(NodeStatus& status) const;  // of a process that runs
    bool is_primary() const { return core_ && is_primary_core(core_); }
    bool has_split_brain() const { return split_brain_; }
    std::string complaint_at_rest();  // pools and lists of a process that has nothing to do

    // LinkUser.
    void on_dial_done(uint64_t cookie, End end, const char* error) override;
    void on_incoming(End end) override;
    void on_readable(End end) override;
    void on_writable(End end) override;

  private:
    struct Socket {
        bool used = false, dialling = false, sending = false, closing = false, stalled = false, reading = false, done = false;
        End end = kNoEnd;
        uint64_t generation = 0;
        DrbdSend send{};
        bool in_bulk = false;
        DrbdBulk bulk{};
        void* buffer = nullptr;
        size_t got = 0;
    };
    struct Buffer {
        size_t bytes;
        bool plain;  // as payload.h means it
    };
    struct Job {
        const DrbdJob* job = nullptr;
        unsigned parts_left = 0;
        int result = 0;
    };

    // node_config.cc
    DrbdNetConfig net_config(const Settings& settings);
    void set_crypto(DrbdNetConfig& net, const Settings& settings);
    DrbdDiskConfig disk_config(unsigned volume) const;

    // node.cc
    template <typename F>
    void call(F&& function) {  // now, or when the process is no longer frozen
        if (!core_)
            return;
        if (frozen_)
            while_frozen_.emplace_back(std::forward<F>(function));
        else
            function();
    }
    template <typename F>
    void later(Time delay, F function) {  // of this incarnation
        queue_.after(delay, [this, incarnation = incarnation_, function = std::move(function)]() mutable {
            if (incarnation == incarnation_)
                call(std::move(function));
        });
    }
    void die();
    void kick();
    void drain_queues();
    void set_timer();
    void on_timer(uint64_t number);
    Time lateness();
    void tell_time_for_nothing();
    uint64_t now_ms() const;
    DrbdResource* core_now();
    void tell_time();
    void notice(const DrbdNotice& notice);
    uint64_t begun(uint64_t number, const char* command, int volume, const char* error);
    void* new_buffer(size_t bytes);
    void free_buffer(void* buffer, size_t bytes);

    // node_net.cc
    void net_action(const DrbdNetAction& action);
    void close_socket(unsigned number);
    void closed(unsigned number);
    void incoming(End end);
    void send(unsigned number);
    void sent(unsigned number, uint64_t generation, size_t bytes);
    void read(unsigned number);
    bool read_bulk(unsigned number);
    bool read_bytes(unsigned number);
    int socket_of(End end) const;

    // node_hung.cc
    Time io_time();
    struct Hung {
        uint64_t number;
        DiskIo io;
        Time since;
    };
    template <typename F>
    void disk_io(const DiskIo& io, F done) {  // every one comes by here; `done` is called when it ends, if it does
        Time time = io_time();
        if (Slow& slow = slow_[io.volume]; slow.time != 0 && io.kind == slow.kind)
            time = std::exchange(slow.time, 0);
        if (hangs(io.volume))
            hang(io, std::move(done));
        else
            later(time, std::move(done));
    }
    void hang(const DiskIo& io, std::function<void()> done);
    bool hangs(unsigned volume);
    void lands_some_day(unsigned volume, uint64_t ticket);
    bool must_wait(const GuestRequest& r, const std::vector<const GuestRequest*>& waiting) const;

    // node_io.cc
    bool fails(DiskFault kind);
    bool is_full();
    int write_result(DiskFault kind);
    void take_job(unsigned volume);
    void job_parts(unsigned volume);
    void job_part_done(unsigned volume, unsigned part, uint32_t write, int result);
    void job_flush(unsigned volume);
    void job_done(unsigned volume, int result);
    void peer_io(const DrbdPeerIo& io);
    void peer_io_done(const DrbdPeerIo& io, uint32_t write, Disk::FlushPosition flush);
    void step(GuestRequest& request, DrbdStep step);
    void submit(GuestRequest& request);
    void submitted(GuestRequest& request, uint32_t write, Disk::FlushPosition flush);
    void wake(void* owner);
    void copy(GuestRequest& request);
    void deliver(GuestRequest& request);
    void complete(GuestRequest& request);

    World& world_;
    EventQueue& queue_;
    int host_;
    Rng random_;
    SettingsLog settings_;
    std::deque<Disk> disks_;
    DrbdResource* core_ = nullptr;
    uint64_t incarnation_ = 0;
    bool power_ = true;
    bool frozen_ = false;
    std::vector<Event> while_frozen_;
    bool kicking_ = false, kick_again_ = false;
    uint64_t timer_number_ = 0;
    Time timer_at_ = 0;
    uint64_t clock_begin_ = 0;
    bool fails_next_[std::size(kDiskFaults)] = {};
    Time full_until_ = 0;
    std::vector<Hung> hung_;
    std::vector<bool> disk_hangs_;     // whatever is asked of it from now on
    uint64_t next_hung_ = 0;
    Time running_since_ = 0;
    bool split_brain_ = false;

    Socket sockets_[DRBD_MAX_SOCKETS];
    uint64_t next_generation_ = 1;
    std::vector<Job> jobs_;
    std::unordered_map<GuestRequest*, std::unique_ptr<GuestRequest>> requests_;
    std::vector<GuestRequest*> request_order_;
    std::unordered_map<void*, Buffer> buffers_;
    std::vector<uint64_t> values_;  // of a write that begins
    uint64_t lent_bytes_ = 0;
    struct Slow {
        DiskIo::Kind kind{};
        Time time = 0;
    };
    std::vector<Slow> slow_;
    unsigned peer_io_in_flight_ = 0;
    std::vector<unsigned> received_writes_;  // of the peer's guest, at the image now; by volume
    std::vector<unsigned> resync_writes_;    // the same, of a resync
    std::vector<unsigned> drains_;  // of each volume
    std::map<uint64_t, Operation> operations_;
    std::string refusal_;
};

}  // namespace drbd::sim
