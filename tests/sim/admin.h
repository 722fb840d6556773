// SPDX-License-Identifier: GPL-2.0-or-later
// Administrator and cluster manager in one: makes metadata, attaches, connects,
// keeps one node Primary with the guest on it, starts what has died, fails over,
// solves split brain, and gives commands at random.
// It acts on what the commands and the status tell it, a while after the fact,
// as people and cluster managers do.  repair() makes it do nothing but mend.
#pragma once

#include <string>
#include <vector>

#include "decisions.h"
#include "drbd-core.h"
#include "event_queue.h"
#include "faults.h"
#include "rng.h"

namespace drbd::sim {

class Node;
class World;

class Admin {
  public:
    Admin(World& world, Rng random);

    void begin();
    // Goes on from what somebody else did: who shall be Primary, which disks have
    // metadata, and whether there has been good data.
    void take_over(int primary, const bool formatted[2], bool initialised);
    // Faults are over: no more commands at random, mend at once.
    void repair();
    // The guest is stopped for good.
    void rest() { resting_ = true; }
    void stay_down(int host, Time until) { host_[host].down_until = until; }
    // Both nodes Connected, all disks UpToDate, one Primary.
    bool all_is_well() const;
    bool has_pending() const;
    bool was_well() const { return was_well_; }
    std::string describe() const;
    unsigned recreated() const { return recreated_; }
    bool gave_commands() const { return gave_commands_; }

  private:
    struct Host {
        Time down_until = 0, keep_apart_until = 0, keep_detached_until = 0;
        std::vector<bool> formatted;
        std::vector<uint64_t> formatting;  // operations
        uint64_t promotion = 0;     // operation that is awaited
        bool forced = false, forced_unseen = false;
        unsigned refused = 0;       // promotions, in a row
        unsigned drained = 0;
        unsigned attaches = 0;      // in a row, without success
        Time patience = 0, forced_at = 0;  // with a disk that hangs: until it is given up by force, and when it was
    };

    void tick();
    void tend(int host);
    bool tend_hung(int host);
    bool tend_disks(int host);
    bool tend_connection(int host);
    void tend_role(int host);
    void promoted(int host);
    void solve();
    bool is_busy(int h) const;
    void meet_anew();
    void fail_over();
    void command();
    void hurry();
    Command wanted_command(Command drawn) const;
    bool are_reachable() const;
    bool is_up_to_date(int host) const;
    bool only_outdated(int h) const;
    bool needs_force(int host) const;
    bool is_bad(int h, unsigned volume) const;
    bool nobody_is_good() const;
    void drain_for(int host, Time time);
    void end_drains(int host);
    void again(Time mean, Source source, void (Admin::*what)());

    World& world_;
    Rng random_;
    Host host_[2];
    int primary_ = 0;
    int victim_ = -1;          // whose data goes after a split brain
    bool ever_well_ = false, was_well_ = false;
    bool repairing_ = false, resting_ = false;
    bool initialised_ = false; // somebody has had UpToDate data
    bool gave_commands_ = false;
    unsigned apart_ = 0;       // ticks in a row without a connection, both up
    unsigned unwell_ = 0;
    bool meets_anew_later_ = false;
    unsigned recreated_ = 0;
    uint64_t left_[2][DRBD_MAX_VOLUMES] = {};  // out of sync at the last look, of an Inconsistent disk
};

}  // namespace drbd::sim
