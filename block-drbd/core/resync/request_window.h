// SPDX-License-Identifier: GPL-2.0-or-later
// How much a target of a resync asks for before it has answers, and in what
// pieces.
//
// In: begin, and for each answer its size and how long it took.  Out: bytes that
// may be asked for at a time, bytes of one request.
// A fast and idle line is filled.  Where answers queue up (a slow line, a busy
// source), a guest's write queues up behind them, so the window shrinks until
// they take kResyncQueueMs longer than the quickest one did, which is the way
// there and back.  It doubles in the time of a round trip, as long as all is well.
// Invariant: kResyncWindowMin <= bytes() <= kResyncWindow.
#pragma once

#include <algorithm>
#include <bit>

#include "core/base/limits.h"
#include "core/base/units.h"

namespace drbd {

class RequestWindow {
  public:
    void begin() {
        bytes_ = kResyncWindowBegin.value;
        quickest_ms_ = UINT64_MAX;
        shrunk_at_ms_ = 0;
    }

    uint64_t bytes() const { return bytes_; }
    // A power of two, so that requests stay aligned (spec 7.2).
    uint64_t request_bytes() const { return std::bit_floor(bytes_ / 4); }

    void on_answer(uint64_t size, uint64_t asked_ms, uint64_t now_ms) {
        const uint64_t took_ms = now_ms > asked_ms ? now_ms - asked_ms : 0;
        quickest_ms_ = std::min(quickest_ms_, took_ms);
        if (took_ms <= quickest_ms_ + kResyncQueueMs) {
            bytes_ = std::min(bytes_ + size, kResyncWindow.value);
        } else if (asked_ms >= shrunk_at_ms_) {  // asked for with the window of now
            bytes_ = std::max(bytes_ / 2, kResyncWindowMin.value);
            shrunk_at_ms_ = now_ms;
        }
    }

  private:
    uint64_t bytes_ = kResyncWindowBegin.value;
    uint64_t quickest_ms_ = UINT64_MAX;
    uint64_t shrunk_at_ms_ = 0;
};

}  // namespace drbd
