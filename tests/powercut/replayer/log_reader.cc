// SPDX-License-Identifier: GPL-2.0-or-later
// Reading a sequence log.  Contract: log_reader.h.

#include "log_reader.h"

#include <cstring>
#include <unordered_map>

namespace powercut {

namespace {

uint64_t key_of(Channel channel, uint64_t id) {
    return uint64_t{static_cast<uint8_t>(channel) == 2} << 63 | id;
}

}  // namespace

SequenceLog read_log(const char* path) {
    SequenceLog log;
    LogHeader* header = map_log(path, 0);
    if (!header) {
        log.error = std::string(path) + ": not a sequence log";
        return log;
    }
    std::unordered_map<uint64_t, uint32_t> open;
    const auto* base = reinterpret_cast<const unsigned char*>(header);
    const uint64_t end = std::min(header->tail.load(), header->capacity);
    for (uint64_t place = kFirstRecord; place < end;) {
        const auto* record = reinterpret_cast<const Record*>(base + place);
        // An appender that was killed between reserving and committing leaves
        // a hole; nothing after it can be placed, so the log ends there.
        if (record->committed.load(std::memory_order_acquire) != kCommitted)
            break;
        const unsigned char* payload = record->payload_bytes ? base + place + sizeof(Record) : nullptr;
        const uint64_t number = log.events.size();
        place += sizeof(Record) + ((record->payload_bytes + 7) & ~uint64_t{7});
        if (record->kind == Kind::Mark) {
            log.events.push_back({static_cast<uint32_t>(log.marks.size()), Kind::Mark, Phase::Submit,
                                  Channel::Guest});
            log.marks.emplace_back(reinterpret_cast<const char*>(payload), record->payload_bytes);
            continue;
        }
        const uint64_t key = key_of(record->channel, record->id);
        if (record->phase == Phase::Submit) {
            open[key] = static_cast<uint32_t>(log.requests.size());
            log.requests.push_back({record->kind, record->channel, (record->flags & kFlagFua) != 0,
                                    false, record->id, record->offset, record->length, payload,
                                    number, kNever});
        } else {
            auto found = open.find(key);
            if (found == open.end()) {
                log.error = "a completion without its request at event " + std::to_string(number);
                return log;
            }
            Request& request = log.requests[found->second];
            request.complete = number;
            request.failed = record->phase == Phase::Fail;
        }
        log.events.push_back({open[key], record->kind, record->phase, record->channel});
    }
    return log;
}

}  // namespace powercut
