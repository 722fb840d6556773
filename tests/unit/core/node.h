// SPDX-License-Identifier: GPL-2.0-or-later
// One node for tests of single decisions: the real core through its C border,
// metadata devices in memory, and guest requests whose steps the test does one
// by one.  Nothing happens that the test has not asked for; every job that was
// handed out is kept as a line of text, so that orders can be compared.
// Metadata is flexible external with a ring of 8 blocks.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drbd-core.h"
#include "metafmt/superblock.h"

namespace drbd::test {

constexpr uint64_t kMiB = 1ull << 20;

// Bytes in memory; what was never written reads as zero.
class MemoryDisk {
  public:
    explicit MemoryDisk(uint64_t bytes) : bytes_(bytes) {}
    uint64_t bytes() const { return bytes_; }
    void read(uint64_t offset, void* buffer, uint64_t length) const;
    void write(uint64_t offset, const void* buffer, uint64_t length);

  private:
    uint64_t bytes_;
    std::map<uint64_t, std::vector<uint8_t>> sectors_;
};

// A request of the guest.  `wakes` counts what drbd_next_wake() said.
struct Guest {
    unsigned volume = 0;
    DrbdRequestKind kind = DRBD_REQUEST_READ;
    uint64_t offset = 0, bytes = 0;
    unsigned flags = 0;
    DrbdWaiter waiter{};
    DrbdRequest* request = nullptr;
    DrbdStep step = DRBD_STEP_WAIT;
    unsigned waits = 0, wakes = 0;
    std::optional<int> result;
};

struct Ended {
    bool success;
    std::string text;
    unsigned times = 0;
};

class Node {
  public:
    explicit Node(unsigned volumes = 1, unsigned max_requests = 64, uint64_t image_bytes = 1024 * kMiB);
    ~Node();

    DrbdResource* core() { return core_; }
    MemoryDisk& metadata(unsigned volume) { return disks_[volume]; }
    DrbdDiskConfig config(unsigned volume) const;
    void set_image_bytes(unsigned volume, uint64_t bytes) { image_bytes_[volume] = bytes; }

    // Fresh metadata with these flags and identifiers, as create-md and a past would leave it.
    void format(unsigned volume, uint32_t flags, uint64_t current = 0x1110, uint64_t bitmap = 0);
    void format_up_to_date(unsigned volume, uint64_t bitmap = 0x2220);
    metafmt::Superblock superblock(unsigned volume) const;
    bool bit(unsigned volume, uint64_t block) const;
    uint64_t bits(unsigned volume) const;  // set on the disk

    // Operations.  The text of a refusal is in refusal().
    uint64_t attach(unsigned volume = 0);
    uint64_t activate(unsigned volume, bool primary);
    uint64_t detach(unsigned volume, bool force);
    uint64_t leave(unsigned volume, bool inactivate = false);
    uint64_t set_role(bool primary, bool force = false);
    uint64_t invalidate(unsigned volume = 0);
    uint64_t outdate(unsigned volume = 0);
    uint64_t create_md(unsigned volume, bool force);
    const std::string& refusal() const { return refusal_; }

    // How an operation ended; `times` is 0 while it is pending.
    Ended ended(uint64_t operation);
    bool ended_well(uint64_t operation) { const Ended e = ended(operation); return e.times == 1 && e.success; }
    const std::vector<DrbdNotice>& notices();  // all that were taken

    // Takes a job without doing it; does the one that is out; does all.
    const DrbdJob* take_job(unsigned volume = 0);
    void end_job(unsigned volume = 0, int result = 0);
    bool run_job(unsigned volume = 0, int result = 0);
    void run_jobs();
    bool has_job(unsigned volume = 0) const;
    std::vector<std::string> jobs;  // a line for each that was handed out

    // Formats, attaches and promotes volume 0 (or all), and forgets the jobs.
    void become_primary();
    void must(uint64_t operation);  // run to its end; it succeeds

    // Guest.
    Guest& begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags = 0, unsigned volume = 0);
    Guest& write(uint64_t offset, uint64_t bytes = 4096) { return begin(DRBD_REQUEST_WRITE, offset, bytes); }
    Guest& read(uint64_t offset, uint64_t bytes = 4096) { return begin(DRBD_REQUEST_READ, offset, bytes); }
    Guest& flush(unsigned volume = 0) { return begin(DRBD_REQUEST_FLUSH, 0, 0, 0, volume); }
    void copied(Guest& guest, const void* payload);
    void local_done(Guest& guest, int result = 0);
    std::vector<Guest*> wake_all();
    int finish(Guest& guest, int result = 0);  // drives it, with jobs, to its end
    int write_through(uint64_t offset, uint64_t bytes = 4096) { return finish(write(offset, bytes)); }

    DrbdVolumeStatus status(unsigned volume = 0) const;
    std::string disk(unsigned volume = 0) const { return status(volume).disk; }
    bool is_primary() const;
    // Nothing is pending, out, or in flight.
    void expect_at_rest();

  private:
    void stepped(Guest& guest, DrbdStep step);
    uint64_t asked(uint64_t number, const char* error);
    std::string line_of(const DrbdJob& job) const;
    void do_job(unsigned volume, const DrbdJob& job);

    unsigned volumes_;
    std::vector<uint64_t> image_bytes_;
    DrbdResource* core_ = nullptr;
    std::vector<MemoryDisk> disks_;
    std::vector<const DrbdJob*> out_;
    std::deque<Guest> guests_;
    std::vector<DrbdNotice> notices_;
    std::string refusal_;
};

using Lines = std::vector<std::string>;

}  // namespace drbd::test
