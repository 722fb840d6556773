// SPDX-License-Identifier: GPL-2.0-or-later
// Virtual time and what will happen in it.  In: functions to call at a time;
// out: they are called in the order of their times, those of one time in the
// order in which they were asked for.  Nothing is ever taken back: who may have
// gone meanwhile looks when it is called.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace drbd::sim {

using Time = uint64_t;  // microseconds since the run began

constexpr Time kMillisecond = 1000;
constexpr Time kSecond = 1000 * kMillisecond;

class EventQueue {
  public:
    using Function = std::function<void()>;

    Time now() const { return now_; }
    uint64_t events() const { return events_; }
    bool empty() const { return heap_.empty(); }
    void at(Time time, Function function);
    void after(Time delay, Function function) { at(now_ + delay, std::move(function)); }
    // The next event; false if there is none.
    bool run_next();

  private:
    struct Entry {
        Time time;
        uint64_t number;
        uint32_t slot;
        // For a heap whose first is the earliest.
        bool operator<(const Entry& o) const { return time != o.time ? time > o.time : number > o.number; }
    };

    Time now_ = 0;
    uint64_t events_ = 0;
    uint64_t next_number_ = 0;
    std::vector<Entry> heap_;
    std::vector<Function> functions_;
    std::vector<uint32_t> free_;
};

}  // namespace drbd::sim
