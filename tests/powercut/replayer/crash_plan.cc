// SPDX-License-Identifier: GPL-2.0-or-later
// Choosing crash points.  Contract: crash_plan.h.

#include "crash_plan.h"

#include <algorithm>

namespace powercut {

namespace {

bool concerns_metadata(const SequenceLog& log, const Geometry& geometry, const Event& event) {
    if (event.kind == Kind::Mark)
        return true;
    if (event.channel == Channel::Guest || !geometry.has_metadata ||
        event.channel != geometry.metadata_channel())
        return false;
    return event.kind == Kind::Flush || !geometry.internal ||
           log.requests[event.request].offset >= geometry.metadata_begin;
}

// How many changes are unstable after each number of events.
std::vector<uint32_t> count_unstable(const SequenceLog& log) {
    std::vector<uint32_t> counts = {0}, pending;
    for (const Event& event : log.events) {
        if (event.channel != Channel::Guest) {
            const Request& request = log.requests[event.request];
            if (event.phase == Phase::Submit && event.kind != Kind::Flush)
                pending.push_back(event.request);
            else if (event.phase == Phase::Complete && (event.kind == Kind::Flush || request.fua))
                std::erase_if(pending, [&](uint32_t index) {
                    const Request& other = log.requests[index];
                    return event.kind == Kind::Flush ? other.channel == request.channel &&
                                                           other.complete < request.submit
                                                     : index == event.request;
                });
        }
        counts.push_back(static_cast<uint32_t>(pending.size()));
    }
    return counts;
}

}  // namespace

std::vector<CrashState> plan_states(const SequenceLog& log, const Geometry& geometry,
                                    uint64_t count, uint64_t seed) {
    std::vector<uint64_t> metadata_points;
    for (uint64_t i = 0; i < log.events.size(); i++)
        if (concerns_metadata(log, geometry, log.events[i])) {
            metadata_points.push_back(i);
            metadata_points.push_back(i + 1);
        }
    const std::vector<uint32_t> unstable = count_unstable(log);
    std::vector<CrashState> states;
    for (uint64_t draw = 0; states.size() < count; draw++) {
        const uint64_t value = draw_of(seed, draw);
        const bool near = !metadata_points.empty() && (value & 1);
        const uint64_t point = near ? metadata_points[(value >> 8) % metadata_points.size()]
                                    : (value >> 8) % (log.events.size() + 1);
        const uint64_t state_seed = draw_of(seed ^ 0x5eed, draw) >> 16;
        if (unstable[point] == 0) {
            states.push_back({point, Mode::None, state_seed});
            continue;
        }
        static constexpr Mode kOfOne[] = {Mode::None, Mode::All, Mode::TornLast};
        for (unsigned i = 0; i < 3 && states.size() < count; i++) {
            const Mode mode = unstable[point] == 1
                                  ? kOfOne[i]
                                  : static_cast<Mode>((value % kModeCount + 2 * i) % kModeCount);
            states.push_back({point, mode, state_seed + i});
        }
    }
    std::stable_sort(states.begin(), states.end(),
                     [](const CrashState& a, const CrashState& b) { return a.point < b.point; });
    return states;
}

}  // namespace powercut
