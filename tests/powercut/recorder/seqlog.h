// SPDX-License-Identifier: GPL-2.0-or-later
// The sequence log: one order over everything that a disk and a guest saw.
//
// A file, mapped shared by every process that appends (the recorder below the
// driver, the guest above it).  An appender reserves its place with one atomic
// addition, so the places are the order of events; a record counts once its
// `committed` word is set.  The file outlives any process that is killed.
//
// In: submit and complete events with export, offset, length, flags, payload.
// Out: records, 8-byte aligned, from kFirstRecord on.
// Contract that gives the order its meaning: a disk appends Complete before it
// answers, a guest appends Submit before it sends and Complete after the
// answer.  So "A complete before B submit" in the log was so in the world.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace powercut {

inline constexpr uint64_t kLogMagic = 0x44524244'53455131;  // "DRBDSEQ1"
inline constexpr uint64_t kFirstRecord = 4096;
inline constexpr uint32_t kCommitted = 0x600dc0de;
inline constexpr uint64_t kSectorSize = 512;

enum class Kind : uint8_t { Write = 1, Zero = 2, Trim = 3, Flush = 4, Mark = 5 };
enum class Phase : uint8_t { Submit = 1, Complete = 2, Fail = 3 };
enum class Channel : uint8_t { Data = 0, Metadata = 1, Guest = 2 };
inline constexpr uint8_t kFlagFua = 1;

struct LogHeader {
    uint64_t magic;
    uint64_t capacity;            // bytes of the file
    std::atomic<uint64_t> tail;   // first free byte
    std::atomic<uint64_t> next_id;    // numbers of disk requests
    std::atomic<uint64_t> completed;  // disk requests that have ended
};

struct Record {
    std::atomic<uint32_t> committed;
    Kind kind;
    Phase phase;
    Channel channel;
    uint8_t flags;
    uint64_t id;             // pairs Complete with its Submit, per channel
    uint64_t offset;         // bytes
    uint64_t length;         // bytes
    uint64_t payload_bytes;  // bytes that follow, then padding to 8
};
static_assert(sizeof(LogHeader) == 40 && sizeof(Record) == 40);
static_assert(offsetof(Record, id) == 8 && offsetof(Record, payload_bytes) == 32);

// Maps an existing log, or makes one when capacity is not 0.  Null on failure
// with errno set.
LogHeader* map_log(const char* path, uint64_t capacity);

// Appends one record.  False when the log is full: the caller must fail its
// request, because an event that is missing makes every verdict worthless.
bool append(LogHeader* log, Kind kind, Phase phase, Channel channel, uint8_t flags, uint64_t id,
            uint64_t offset, uint64_t length, const void* payload, uint64_t payload_bytes);

// What a guest writes into one sector: its request's number and the sector's
// own, all over the sector, so that a sector tells whose it is.
inline constexpr uint64_t kPatternMagic = 0x44524244'47554553;  // "DRBDGUES"
void fill_pattern(void* buffer, uint64_t first_sector, uint64_t sectors, uint64_t request);

}  // namespace powercut
