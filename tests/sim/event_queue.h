// SPDX-License-Identifier: GPL-2.0-or-later
// Virtual time and what will happen in it.  In: functions to call at a time;
// out: they are called in the order of their times, those of one time in the
// order in which they were asked for.  Nothing is ever taken back: who may have
// gone meanwhile looks when it is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace drbd::sim {

using Time = uint64_t;  // microseconds since the run began

constexpr Time kMillisecond = 1000;
constexpr Time kSecond = 1000 * kMillisecond;

// A function that is called once; it is kept in place, not in memory of its own.
class Event {
  public:
    Event() = default;
    template <typename F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, Event>)
    Event(F&& function) {  // NOLINT: implicit on purpose
        using Function = std::remove_cvref_t<F>;
        static_assert(sizeof(Function) <= kRoom && alignof(Function) <= alignof(std::max_align_t));
        new (room_) Function(std::forward<F>(function));
        call_ = [](void* at) { (*static_cast<Function*>(at))(); };
        if constexpr (!std::is_trivially_copyable_v<Function>)
            move_ = [](void* from, void* to) {
                auto* moved = static_cast<Function*>(from);
                if (to)
                    new (to) Function(std::move(*moved));
                std::destroy_at(moved);
            };
    }
    Event(Event&& other) noexcept { take(other); }
    Event& operator=(Event&& other) noexcept {
        if (this != &other) {
            clear();
            take(other);
        }
        return *this;
    }
    ~Event() { clear(); }

    void operator()() { call_(room_); }

  private:
    static constexpr size_t kRoom = 144;

    void take(Event& other) {
        if (other.move_)
            other.move_(other.room_, room_);
        else if (other.call_)
            std::memcpy(room_, other.room_, kRoom);
        call_ = std::exchange(other.call_, nullptr);
        move_ = std::exchange(other.move_, nullptr);
    }
    void clear() {
        if (move_)
            move_(room_, nullptr);
        call_ = nullptr;
        move_ = nullptr;
    }

    void (*call_)(void*) = nullptr;
    void (*move_)(void* from, void* to) = nullptr;  // and destroys; null: bytes will do
    alignas(std::max_align_t) unsigned char room_[kRoom];
};

class EventQueue {
  public:
    using Function = Event;

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
