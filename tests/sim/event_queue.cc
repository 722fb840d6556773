// SPDX-License-Identifier: GPL-2.0-or-later
// The queue of event_queue.h: a heap of small entries; the functions stand
// still beside it.
#include "event_queue.h"

#include <algorithm>

namespace drbd::sim {

void EventQueue::at(Time time, Function function) {
    uint32_t slot;
    if (free_.empty()) {
        slot = static_cast<uint32_t>(functions_.size());
        functions_.push_back(std::move(function));
    } else {
        slot = free_.back();
        free_.pop_back();
        functions_[slot] = std::move(function);
    }
    heap_.push_back({std::max(time, now_), next_number_++, slot});
    std::push_heap(heap_.begin(), heap_.end());
}

bool EventQueue::run_next() {
    if (heap_.empty())
        return false;
    std::pop_heap(heap_.begin(), heap_.end());
    const Entry entry = heap_.back();
    heap_.pop_back();
    now_ = entry.time;
    events_++;
    Function function = std::move(functions_[entry.slot]);
    free_.push_back(entry.slot);
    function();
    return true;
}

}  // namespace drbd::sim
