// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest did to each sector of one volume, and so what may be found
// there.
//
// In: begin and end of every write, flushes that succeeded, promotions, loss of
// processes and power.  Out: may a reader find this value, does a copy hold a
// certain write or a newer one.
// Order is the guest's: a write that began after another had ended supersedes
// it; writes that overlap in time may land in either order.  Values are unique
// for each write and sector, except zeroes, which all look alike.
// Time here is a count of events (tick()).
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cached_store.h"
#include "disk.h"
#include "drbd-core.h"

namespace drbd::sim {

struct Written {
    uint64_t write_id, sector, sectors;
    bool zeroes;
    uint64_t issued, ended;
    DrbdProtocol protocol = DRBD_PROTOCOL_C;  // what it was promised by: the weakest under which it was sent, or was to be
    bool sent = false;
};

class History {
  public:
    explicit History(uint64_t sectors) : lists_(sectors), is_touched_(sectors / 8 + 1) {}

    uint64_t tick() { return ++clock_; }
    uint64_t clock() const { return clock_; }

    void begin_write(const Written& write);
    // Ended; only one that succeeded supersedes others.
    void end_write(Written& write, bool success);
    // Covered by a flush, or written with FUA.
    void flushed(const Written& write);
    void begin_read(uint64_t issued) { reads_.insert(issued); }
    void end_read(uint64_t issued) { reads_.erase(reads_.find(issued)); }
    // The guest's process is gone with everything that had not ended.
    void guest_died();
    void power_lost(int host) { power_lost_[host] = tick(); }
    // The only good copy lost what was not flushed, and the guest goes on: it may
    // find what was there before, and hears of it by a flush that fails.  A write that
    // is under way may have been there, and complete by the handover's timeout.
    void only_copy_lost();
    // Did this host lose what was not flushed since then?
    bool has_lost_since(int host, uint64_t begin) const { return power_lost_[host] > begin; }
    // When this host last lost what was not flushed.
    uint64_t last_loss(int host) const { return power_lost_[host]; }

    // Could a read that was issued then find this?
    bool readable(uint64_t sector, uint64_t value, uint64_t issued) const;
    // Is this value the write's, or that of one that was not over when it began?
    bool at_least(const Written& write, uint64_t sector, uint64_t value) const;
    // May this be what a new Primary holds?
    bool survived(uint64_t sector, uint64_t value) const;
    // Where a value stands in the sector's history.
    struct Place {
        uint64_t issued = 0;             // of a write with a name of its own; 0: unknown
        uint64_t superseded = 0, superseded_stable = 0;  // 0: it is not
        uint64_t successor_issued = 0;   // the write that superseded it
    };
    Place place_of(uint64_t sector, uint64_t value) const;
    // Is this what a write that ended left, and no later one has replaced?
    bool completed(uint64_t sector, uint64_t value) const;

    // A guest begins on this host, with what its disk holds.
    void begin_stint(const Disk& disk);
    // The first flush of a stint makes what it found stable.
    void base_flushed();

    // Blocks of 4 KiB that were ever written.
    const std::vector<uint64_t>& touched() const { return touched_; }
    bool is_touched(uint64_t block) const { return is_touched_[block]; }
    std::string describe(uint64_t sector) const;

  private:
    struct Entry {
        uint64_t value, write_id, issued, ended;  // ended 0: not
        bool acknowledged = false;  // the guest was told of success
        uint64_t superseded = 0, superseded_stable = 0;
        uint64_t successor_issued = 0;  // when what superseded it began: a loss after that may have hit it
        uint64_t back_until = 0;  // superseded, and there again by only_copy_lost() until a write that ended then
    };
    using List = std::vector<Entry>;

    List& list(uint64_t sector);
    void prune(List& list);

    SparseArray<uint32_t, 256> lists_;   // index into all_ + 1
    std::vector<List> all_;
    std::vector<uint64_t> sector_of_;
    std::vector<uint64_t> touched_;
    std::vector<bool> is_touched_;
    std::unordered_map<uint64_t, Place> forgotten_;  // values of entries that were pruned, zeroes aside
    std::multiset<uint64_t> reads_;
    std::vector<Written> in_flight_;
    uint64_t clock_ = 10;
    uint64_t power_lost_[2] = {0, 0};
    uint64_t only_copy_lost_ = 0;
    uint64_t stint_began_ = 0;
    bool base_is_stable_ = true;
};

}  // namespace drbd::sim
