// SPDX-License-Identifier: GPL-2.0-or-later
// A sequence log as events: Submit and Complete joined to one Request each.
//
// In: the mapped log.  Out: requests of the disks and of the guest, and the
// events that point to them, in the order of the log.  A log that is damaged
// (a hole before its end, a Complete without Submit) is an error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../recorder/seqlog.h"

namespace powercut {

inline constexpr uint64_t kNever = UINT64_MAX;

struct Request {
    Kind kind;
    Channel channel;
    bool fua;
    bool failed;
    uint64_t id;
    uint64_t offset, length;        // bytes
    const unsigned char* payload;   // of a disk's write; null otherwise
    uint64_t submit, complete;      // event numbers; kNever while in flight
};

struct Event {
    uint32_t request;  // index into requests, or into marks
    Kind kind;
    Phase phase;
    Channel channel;
};

struct SequenceLog {
    std::vector<Request> requests;
    std::vector<std::string> marks;
    std::vector<Event> events;
    std::string error;  // empty when the log is sound
};

SequenceLog read_log(const char* path);

}  // namespace powercut
