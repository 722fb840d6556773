// SPDX-License-Identifier: GPL-2.0-or-later
// A guest: reads, writes of all sizes, zeroes, discards and flushes on every
// volume, some of them with FUA, many of them on the same few places.  It runs
// on one host while that is Primary; it knows what it was promised (History).
// In: begin and stop, ends of requests.  Out: requests, and a complaint when a
// promise is broken.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "checkers/history.h"
#include "node.h"

namespace drbd::sim {

class Guest {
  public:
    Guest(World& world, Rng random);

    // The host is Primary now.  `licence`: by force; its data need not be the last.
    // Does nothing while no good data is within its reach.
    void begin(int host, bool licence);
    void stop() { running_ = false; }
    bool runs_on(int host) const { return running_ && host_ == host; }
    bool is_running() const { return running_; }
    int host() const { return host_; }
    bool has_lost_promises() const { return lost_promises_; }
    void on_own_disk_lost(int host, unsigned volume);
    void on_copy_lost(int host, unsigned volume);
    void on_copy_refuses(int host, unsigned volume);
    void on_process_died(int host, bool lost_cache);
    // An administrator gives that host's data up: what A and B have promised there is not asked for.
    void on_invalidated(int host) { lost_promises_ |= host == host_ && !promises_both_copies(); }
    // The other was promoted meanwhile, and its data come here.
    void on_target(int host) { lost_promises_ |= host == host_ && !other_has_all(); }
    // A policy has its data replaced under it: it crashes, and is asked for nothing.
    void on_overruled();
    void on_disk_error(int host) { lost_promises_ |= host == host_ && !promises_both_copies(); }
    // Another protocol is configured there, or agreed on when a write was sent.
    void on_protocol(int host, DrbdProtocol protocol);
    void on_write_sent(uint64_t write_id, DrbdProtocol protocol);
    // Nothing is under way that a weaker protocol had let complete.
    void on_both_have_all();
    // The weakest protocol by which something completed that only one disk may have.
    DrbdProtocol promised_by() const { return promised_by_; }
    void on_end(GuestRequest& request);
    // A flush of everything, whatever runs.
    void flush_all();
    // One request, on the host where it runs.
    void issue(std::unique_ptr<GuestRequest> request);

    const History& history(unsigned volume) const { return histories_[volume]; }
    uint64_t started() const { return started_; }
    uint64_t writes_completed() const { return writes_completed_; }
    uint64_t failed() const { return failed_; }
    void set_endless(bool endless) { endless_ = endless; }

  private:
    const Disk* good_data(int host, unsigned volume) const;
    bool promises_both_copies() const { return promised_by_ == DRBD_PROTOCOL_C; }
    bool other_has_all() const;
    void issue();
    void issue_later();
    void choose(GuestRequest& request);
    std::string check_stint(int holder, unsigned volume, const Disk& source);
    void write_ended(unsigned volume, Written& write, const GuestRequest& request);
    void flush_ended(unsigned volume, const GuestRequest& request);
    bool has_no_disk(unsigned volume) const;
    void remember_generation(unsigned volume);          // of the disk that the guest lives on
    void remember_generation(unsigned volume, int on);  // of this host's disk

    World& world_;
    Rng random_;
    std::vector<History> histories_;
    std::vector<std::vector<Written>> unflushed_;  // ended well, in that order
    std::unordered_map<uint64_t, Written> writes_; // in flight
    std::vector<uint64_t> generation_;             // of the Primary's disk at the last completed write
    uint64_t peer_process_ = 0;                    // the other host's, at that time
    std::vector<uint64_t> hot_;
    bool running_ = false;
    bool endless_ = false;
    // A and B promise the own copy, and that had an error: the guest goes on
    // with the peer's, which may be older.
    bool lost_promises_ = false;
    DrbdProtocol promised_by_;
    bool owes_check_[2] = {false, false};          // what the last guest was promised was not looked for yet
    int host_ = -1;                                // -1: none yet, or it was overruled
    unsigned in_flight_ = 0, uncommitted_ = 0;
    uint64_t stint_ = 0;
    uint64_t next_write_id_ = 1;
    uint64_t started_ = 0, writes_completed_ = 0, failed_ = 0;
};

}  // namespace drbd::sim
