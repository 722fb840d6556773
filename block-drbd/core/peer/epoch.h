// SPDX-License-Identifier: GPL-2.0-or-later
// The receiver's epochs, of all volumes together (spec 6.5): which one a write
// belongs to, how many of its writes are not done, and what the barrier that
// ended it wants to have echoed.
//
// In: a write came, a write is done, a barrier came.  Out: is the oldest epoch
// over, with the answer to its barrier.
// Invariants: epochs end in the order in which they began; the last one is the
// current one, which no barrier has ended yet; an epoch without a write is
// never ended, so none is acknowledged.  Nothing is allocated: every epoch but
// the current one costs the peer a packet, and who sends more of them than fit
// here is made to wait.
#pragma once

#include <cstdint>

#include "core/base/limits.h"
#include "core/wire/values.h"

namespace drbd {

class ReceiverEpochs {
  public:
    // A packet that writes came; set_size counts it whatever becomes of it.
    void count_write() { at(current_).set_size++; }
    // It will be done on the disk: the epoch is not over before.
    uint64_t begin_write() {
        at(current_).pending++;
        return current_;
    }
    void end_write(uint64_t epoch);

    // A barrier came.  False: the current epoch is empty and goes on.
    bool end_current(wire::BarrierNumber number);
    bool has_room() const { return current_ - oldest_ < kEpochsMax - 1; }

    // Writes of this epoch may be at the disk.
    uint64_t oldest() const { return oldest_; }
    bool is_oldest_over() const { return oldest_ != current_ && at(oldest_).pending == 0; }
    wire::BarrierAck oldest_answer() const { return {at(oldest_).number, at(oldest_).set_size}; }
    void remove_oldest();

    // Nothing is pending and no barrier is unanswered.
    bool is_idle() const { return oldest_ == current_ && at(current_).pending == 0; }
    // A new connection: nothing that came before counts.
    void begin_connection();
    // That are not over, or not acknowledged yet.
    unsigned unfinished() const { return static_cast<unsigned>(current_ - oldest_) + (at(current_).set_size != 0); }

  private:
    struct Epoch {
        wire::BarrierNumber number;
        uint32_t set_size = 0;  // packets that write, those refused included
        uint32_t pending = 0;   // writes that are not done
    };

    static constexpr unsigned kEpochsMax = kPeerRequestsMax + 2;

    Epoch& at(uint64_t epoch) { return ring_[epoch % kEpochsMax]; }
    const Epoch& at(uint64_t epoch) const { return ring_[epoch % kEpochsMax]; }

    Epoch ring_[kEpochsMax];
    uint64_t oldest_ = 1, current_ = 1;
};

}  // namespace drbd
