// SPDX-License-Identifier: GPL-2.0-or-later
// A world of one node for tests: the real core between a guest and two disks
// with volatile caches, driven from one seed.  Requests and metadata jobs are
// done piece by piece in random order, power is lost at random moments, and
// what the disks then hold is judged from their bytes alone:
//
//   durable    what was written and flushed (or written with FUA) is there
//   marked     every block that differs from the peer's copy has its bit set
//              once the disk is attached again
//   generation no write completed before its data generation was stable
//   bounded    no bit is set outside the extents that were written
//   alive      everything that was begun ends
//
// The peer's copy is what the image held when the bitmap was last empty.  What
// it does not judge: two nodes, errors of the disks.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "drbd-core.h"
#include "metafmt/layout.h"

namespace drbd::test {

using SectorBytes = std::array<uint8_t, 512>;

// A disk whose writes are volatile until flushed.  At a loss of power each
// sector keeps its stable content or any that was written since.
class CachedDisk {
  public:
    struct Write {
        uint64_t sector;
        std::vector<SectorBytes> data;
        bool done = false;
    };
    using Handle = std::shared_ptr<Write>;

    explicit CachedDisk(uint64_t bytes) : sectors_(bytes / 512) {}

    uint64_t bytes() const { return sectors_ * 512; }
    // As a reader sees it: the newest of what was submitted.
    SectorBytes read(uint64_t sector) const;
    void read(uint64_t offset, void* buffer, uint64_t length) const;

    Handle submit(uint64_t offset, const void* buffer, uint64_t length);
    void complete(const Handle& write, bool fua);
    // What a flush that begins now will make stable when it ends.
    std::vector<Handle> flush_begin() const;
    void flush_end(const std::vector<Handle>& covered);

    void lose_power(std::mt19937_64& random);
    const std::unordered_map<uint64_t, SectorBytes>& stable() const { return stable_; }
    bool is_at_rest() const { return volatile_.empty(); }

  private:
    void make_stable(const Handle& write);

    uint64_t sectors_;
    std::unordered_map<uint64_t, SectorBytes> stable_;
    std::deque<Handle> volatile_;  // in order of submission
};

struct WorldOptions {
    uint64_t image_bytes = 400ull << 20;
    bool internal = false;
    unsigned al_extents = 67;
    uint32_t al_stripes = 1;
    unsigned depth = 16;          // guest requests at a time
    unsigned max_requests = 0;    // of the core's pool, 0: default
    double flush = 0.05, fua = 0.1, zeroes = 0.1, admin = 0.004, drain = 0.01;
};

class World {
  public:
    World(uint64_t seed, const WorldOptions& options);
    ~World();

    // Random events; then a loss of power, an attach, and the judgement.
    void run(unsigned events);
    void lose_power_and_judge();
    // Lets everything end, without new events.
    void settle();

    unsigned power_losses() const { return power_losses_; }
    uint64_t writes_completed() const { return writes_completed_; }
    // Empty if all promises held.
    const std::string& complaint() const { return complaint_; }

  private:
    struct GuestRequest;
    struct JobRun;
    struct SectorHistory {
        std::vector<uint64_t> tags;   // values in the order of their writes
        size_t durable = 0;           // index of the oldest that may be found
    };

    uint64_t pick(uint64_t n) { return random_() % n; }
    bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
    void complain(const std::string& what);

    void start_core();
    void create_metadata();
    void make_peer_equal();  // a resync with the peer has just ended
    void attach();
    uint64_t operation(uint64_t number, const char* error);
    void wait_for(uint64_t operation);
    bool operation_ended(uint64_t operation, bool& ok);

    void event();
    void begin_request();
    void step(GuestRequest& request, DrbdStep step);
    void submit(GuestRequest& request);
    void progress_request();
    void finished(GuestRequest& request);
    bool progress_job();
    void run_queues();
    void administer();

    void judge();
    void forget_promises() {
        acknowledged_.clear();
        promised_ = 0;
    }
    metafmt::Layout layout() const;
    metafmt::Superblock superblock_on_disk() const;
    metafmt::Superblock stable_superblock() const;
    std::vector<uint8_t> bitmap_on_disk() const;
    CachedDisk& metadata() { return options_.internal ? image_ : *metadata_; }
    const CachedDisk& metadata() const { return options_.internal ? image_ : *metadata_; }

    std::mt19937_64 random_;
    WorldOptions options_;
    CachedDisk image_;
    std::unique_ptr<CachedDisk> metadata_;
    DrbdResource* core_ = nullptr;
    bool attached_ = false;
    bool primary_ = false;
    unsigned drained_ = 0;

    std::vector<std::unique_ptr<GuestRequest>> requests_;
    std::unique_ptr<JobRun> job_;
    std::map<uint64_t, bool> ended_;        // operations and their success
    std::map<uint64_t, std::string> errors_;

    uint64_t next_tag_ = 1;
    std::unordered_map<uint64_t, SectorHistory> history_;   // of touched sectors
    std::vector<std::pair<uint64_t, size_t>> acknowledged_; // sector and index into its tags, in order
    size_t promised_ = 0;                                   // so many of them a flush has covered
    std::unordered_map<uint64_t, uint64_t> peer_;           // value of each sector at the peer, 0 if absent
    std::set<uint32_t> extents_written_;                    // since the bitmap was empty
    bool all_marked_ = false;                               // invalidated since
    bool write_completed_ = false;                          // since the bitmap was empty
    uint64_t base_uuid_ = 0;                                // current generation when the bitmap was last empty
    unsigned power_losses_ = 0;
    uint64_t writes_completed_ = 0;
    std::string complaint_;
};

}  // namespace drbd::test
