// SPDX-License-Identifier: GPL-2.0-or-later
// Guesses from a guest's last flushes when the next one comes.
//
// A flush under C waits for the confirmation of its epoch: a second way to the
// peer and back, after that of the write.  Who commits each transaction (a
// database, the journal of a file system) flushes after the same few writes
// again and again.  Then the epoch may end with the last of them, and P_BARRIER
// leaves with its data in one system call (docs/decisions/0022-flush-rhythm.md).
// A wrong guess costs the peer one flush of its disk, and is not repeated before
// the guest has found a rhythm anew.
#pragma once

#include <cstdint>

namespace drbd {

class FlushRhythm {
  public:
    static constexpr unsigned kEqualIntervals = 4;  // that make a rhythm

    void write_sent() { writes_++; }
    void flush_came() {
        if (writes_ == 0)
            return;  // a second flush says nothing new
        equal_ = writes_ != interval_ ? 1 : equal_ < kEqualIntervals ? equal_ + 1 : equal_;
        interval_ = writes_;
        writes_ = 0;
    }
    // After the write that was sent last.
    bool flush_is_next() const { return writes_ == interval_ && equal_ == kEqualIntervals; }

  private:
    uint64_t writes_ = 0;    // since the last flush
    uint64_t interval_ = 0;  // between the two before
    unsigned equal_ = 0;     // intervals of that length, one behind the other
};

}  // namespace drbd
