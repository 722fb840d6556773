// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's requests on one volume, from admission to completion.
//
// In: a request, the end of its local I/O, the end of an activity-log
// transaction, a change of what is allowed.  Out: the next step of a request,
// wake-ups of others, and to the volume: a disk error, a transaction is wanted.
// A write goes through: admission, overlap, activity log, local I/O, bitmap,
// data generation, completion; submit.cc has the way down, complete.cc the way
// back, flush.cc the flushes.
// Invariants: writes in the tree never overlap; a write that is submitted
// holds its extents; an extent is dropped only after the bits are set.
#pragma once

#include <cstdint>

#include "core/metadata/disk.h"
#include "core/request/request.h"

namespace drbd {

// What a volume hears from its guest requests.
class GuestIoListener {
  public:
    // The image failed a request.  Not every error is a reason to give the
    // disk up (ENOSPC, a failed discard): that is the listener's to judge.
    virtual void on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) = 0;
    // A write was admitted, and the data generation must be renewed first.
    virtual void on_generation_wanted() = 0;

  protected:
    ~GuestIoListener() = default;
};

struct GuestIoCounters {
    uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0, zeroes = 0, zeroed_bytes = 0;
    uint64_t flushes = 0, flushes_saved = 0, overlaps_waited = 0, read_errors = 0, write_errors = 0;
};

class GuestIo {
  public:
    GuestIo(RequestPool& pool, Disk& disk, GuestIoListener& listener)
        : pool_(pool), disk_(disk), listener_(listener) {}

    // What the state of the volume allows: 0, or the errno for the guest.
    void set_access(int read_error, int write_error) {
        read_error_ = read_error;
        write_error_ = write_error;
    }
    // Flushes reach a disk only while there is one.  A disk that comes was
    // flushed by its attach.
    void disk_came() {
        has_disk_ = true;
        generation_failed_ = false;
        flushed_generation_ = written_generation_;
    }
    // `flushed`: it went in an orderly way, after a flush; else what it had
    // acknowledged and not flushed may be lost, and flushes say so.
    void disk_went(bool flushed) {
        has_disk_ = false;
        if (flushed)
            flushed_generation_ = written_generation_;
    }
    // A new data generation must be stable before a write completes.
    void want_generation(bool wanted) { generation_wanted_ = wanted; }
    void generation_stable();

    DrbdStep begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags, void* owner,
                   DrbdWaiter& waiter, Request** request);
    DrbdStep local_done(Request& request, int result);
    int end(Request& request);

    // Activity log.  A transaction is worth writing now: while many of the cold
    // writes of the last one are still at the image, the guest will soon send
    // their successors, which can share it (at depth 64 one transaction then
    // serves 32 cold writes and more).  A few stragglers do not count, and a
    // lone write waits for nobody.
    bool wants_transaction() const {
        return !wait_activity_log_.empty() && eviction_possible_ &&
               wait_activity_log_.size() >= kColdWritesToWaitFor * cold_in_flight_;
    }
    void reserve_for_transaction();
    void transaction_committed();
    // It could not be written, and nothing has changed: those that it was for
    // fail.
    void transaction_abandoned(int error);

    // The disk is lost: what waits for it fails now, what is at the image ends
    // when the image answers.
    void fail_waiting(int error);

    unsigned in_flight() const { return in_flight_; }
    unsigned writes_in_flight() const { return writes_in_flight_; }
    unsigned waiting_for_activity_log() const { return wait_activity_log_.size() + reserved_.size(); }
    const GuestIoCounters& counters() const { return counters_; }

  private:
    // docs/decisions/0003: how many must wait for each one at the image.
    static constexpr unsigned kColdWritesToWaitFor = 8;

    DrbdStep refuse(Request& request, int error);
    DrbdStep begin_write(Request& request);
    DrbdStep begin_flush(Request& request);
    bool must_wait_for_overlap(const Request& request) const;
    DrbdStep enter_tree(Request& request);
    DrbdStep submit(Request& request);
    void release_overlapping();

    DrbdStep read_done(Request& request);
    DrbdStep write_done(Request& request);
    DrbdStep flush_done(Request& request);
    DrbdStep finish(Request& request, int result);
    void finish_and_wake(Request& request, int result);

    RequestPool& pool_;
    Disk& disk_;
    GuestIoListener& listener_;
    int read_error_ = 0, write_error_ = 0;
    bool has_disk_ = false;
    bool generation_wanted_ = false;   // the next write asks for it
    bool generation_pending_ = false;  // asked, not stable yet
    bool generation_failed_ = false;   // could not be made: no write of this disk completes well

    OverlapTree tree_;
    RequestQueue wait_overlap_, wait_activity_log_, reserved_, wait_flush_, wait_generation_;
    bool activity_log_starves_ = false;  // the first waiter found nothing to evict
    bool eviction_possible_ = true;      // an extent was given back since
    unsigned in_flight_ = 0, writes_in_flight_ = 0;
    unsigned cold_in_flight_ = 0;  // at the image, after having needed a transaction

    uint64_t written_generation_ = 0;  // counts completed local writes that are not stable
    uint64_t flushed_generation_ = 0;
    Request* running_flush_ = nullptr;
    GuestIoCounters counters_;
};

}  // namespace drbd
