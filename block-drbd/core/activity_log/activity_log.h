// SPDX-License-Identifier: GPL-2.0-or-later
// The hot extents of one volume: the 4 MiB areas that may be written now.  An
// extent is hot when a transaction on the disk says so; after a crash every
// hot extent counts as out of sync (spec section 8.4, design D7).
//
// In: ranges of extents that requests want to hold.  Out: "hot, held", or "not
// hot": then the caller queues, and prepares a transaction that makes the
// extents of many callers hot at once, at most 64.  Life of a transaction:
// reserve() for one caller after the other, encode(), write, commit(); or
// abandon() instead of encode().
// Invariants: an extent has at most one slot; an extent that is held, or part
// of the transaction being written, is never evicted; the ring on the disk,
// with the transaction that is being written or without it, names at least
// every extent that is held and hot.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/base/limits.h"
#include "core/base/result.h"
#include "metafmt/activity_log_block.h"

namespace drbd {

struct ExtentRange {
    uint32_t first = 0;
    uint32_t last = 0;  // inclusive
    uint32_t count() const { return last - first + 1; }
};

class ActivityLog {
  public:
    // The ring on the disk must be freshly initialised: numbering starts at 0,
    // so that the first transaction goes to position 0 (spec 8.4, replay 2).
    Result<void> allocate(uint32_t nr_slots, metafmt::ActivityLogGeometry geometry);
    void release();

    // No transaction was written since the ring was initialised.
    bool is_pristine() const { return transactions_ == 0; }
    uint32_t nr_slots() const { return nr_slots_; }
    uint32_t used() const { return used_; }
    uint32_t referenced() const { return referenced_; }
    uint64_t transactions() const { return transactions_; }
    uint64_t updates_written() const { return updates_written_; }
    Bytes memory() const;

    // All extents of the range are hot: each gets a reference.  Otherwise
    // nothing changes.
    bool try_hold(ExtentRange range);
    // `written`: how many writes the image had completed by then, whatever was flushed.
    void drop(ExtentRange range, uint64_t written);

    // Adds the range to the transaction in preparation; its extents get a
    // reference at once.  False if it does not fit any more (slots of the
    // transaction, or nothing to evict): then nothing changes.
    bool reserve(ExtentRange range);
    bool is_prepared() const { return nr_updates_ != 0; }

    // Extents that the transaction in preparation evicts.  Their bits must be
    // on the disk before the transaction is.
    std::span<const uint32_t> evicted() const { return {evicted_, nr_evicted_}; }
    // The writes that the image must have made stable before: as many as had been
    // completed when the last of these extents was dropped; 0: none is evicted.
    uint64_t evicted_written() const;

    // The block to write, and its place in the ring counted in blocks.
    uint64_t encode(metafmt::Block block);

    // The block is stable: what was reserved is hot.
    void commit();

    // The transaction will not be written after all, and no part of it was:
    // every range reserved for it is withdrawn, then the log is as before.
    void withdraw(ExtentRange range);
    void abandon();

  private:
    static constexpr uint32_t kNone = 0xffffffff;

    struct Slot {
        uint32_t extent = metafmt::kExtentFree;
        uint32_t references = 0;
        uint64_t written = 0;  // at the last drop; of an earlier extent of the slot at most
        uint32_t previous = kNone, next = kNone;  // list of what may be evicted, oldest first
        bool idle = false;                        // in that list
        bool pending = false;                     // part of the transaction in preparation
    };

    uint32_t find(uint32_t extent) const;  // its slot, or kNone
    void index_insert(uint32_t extent, uint32_t slot);
    void index_erase(uint32_t extent);
    uint32_t bucket_of(uint32_t extent) const { return (extent * 2654435761u) >> index_shift_; }
    void idle_push(uint32_t slot);
    void idle_erase(uint32_t slot);
    void reference(uint32_t slot);

    uint32_t nr_slots_ = 0;
    metafmt::ActivityLogGeometry geometry_;
    std::unique_ptr<Slot[]> slots_;
    std::unique_ptr<uint32_t[]> on_disk_;  // extent of each slot as the ring has it
    std::unique_ptr<uint32_t[]> index_;    // open addressing: slot numbers by extent
    uint32_t index_size_ = 0;              // power of two, at least twice the slots
    uint32_t index_shift_ = 0;
    uint32_t idle_first_ = kNone, idle_last_ = kNone;
    uint32_t idle_count_ = 0;
    uint32_t used_ = 0;                    // slots with an extent; the others are [used_, nr_slots_)
    uint32_t referenced_ = 0;

    metafmt::ActivityLogUpdate updates_[metafmt::kActivityLogUpdatesPerBlock];
    uint32_t replaced_[metafmt::kActivityLogUpdatesPerBlock];  // by each update; free if the slot was
    unsigned nr_updates_ = 0;
    uint32_t evicted_[metafmt::kActivityLogUpdatesPerBlock];
    unsigned nr_evicted_ = 0;
    uint32_t tr_number_ = 0;
    uint32_t context_start_ = 0;
    uint64_t transactions_ = 0;
    uint64_t updates_written_ = 0;
};

}  // namespace drbd
