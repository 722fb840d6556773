// SPDX-License-Identifier: GPL-2.0-or-later
// What chance decided in a life, one by one: faults, the administrator's
// commands, the guest's requests, errors of disks.  So that a life can be
// repeated without some of them, and the others stay what they were.
//
// Modes.  Off: nothing is done, and a life is what its seed makes of it.
// Recording: the same life, and the state of the stream of chance before each
// decision is written down (in memory that outlives the process, as a life may
// end in an assertion).  Repeating: before each decision the stream is put back
// to that state, so that nothing shifts; what the mask names does not happen,
// nor what came after the recorded life's end.
// What is not repeated exactly is how long disks and network take: those
// streams are asked by every I/O.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "event_queue.h"
#include "rng.h"

namespace drbd::sim {

enum class Source : uint8_t {
    // Can be left out.
    Kill, Power, Freeze, Cut, Stall, Partition, FailOver, Command, Request, DiskError, Tune,
    // Only repeated.
    Tick, TickInterval, Think,
    Interval,  // of what can be left out: Interval + its number
};
constexpr unsigned kMaskable = 11;
constexpr unsigned kSources = static_cast<unsigned>(Source::Interval) + kMaskable;

constexpr Source interval_of(Source source) {
    return source == Source::Tick ? Source::TickInterval
                                  : static_cast<Source>(static_cast<unsigned>(Source::Interval) + static_cast<unsigned>(source));
}

// The decisions that shall not happen: of each source, by number.
class Mask {
  public:
    bool has(Source source, uint64_t number) const { return without_[index(source)].count(number) != 0; }
    void add(Source source, uint64_t number) { without_[index(source)].insert(number); }
    bool empty() const;
    std::string text() const;              // k0-3,r5: a letter a source
    static bool parse(const std::string& text, Mask& mask);
    static const char* name(Source source);

  private:
    static unsigned index(Source source) { return static_cast<unsigned>(source); }
    std::set<uint64_t> without_[kMaskable];
};

// What was decided, in shared memory.
class Record {
  public:
    struct Entry {
        uint8_t source, host, kind;
        uint64_t state;
        Time time;
    };

    Record();
    ~Record();
    Record(const Record&) = delete;
    Record& operator=(const Record&) = delete;

    void clear();
    void add(const Entry& entry);
    std::vector<Entry> of(Source source) const;

  private:
    struct Shared;
    Shared* shared_;
};

class Decisions {
  public:
    explicit Decisions(const EventQueue& queue) : queue_(queue) {}

    void record(Record& record) { record_ = &record; }
    void repeat(const Record& record, const Mask& mask);

    // The next decision of this source is drawn now; false: it does not happen.
    bool next(Source source, Rng& random);
    // An I/O failed, or not, as chance has it.
    bool disk_error(bool drawn, int host, unsigned kind);
    // When the guest's next request may be made.
    Time next_request() const;
    uint64_t requests(uint64_t wanted) const;

  private:
    const EventQueue& queue_;
    Record* record_ = nullptr;
    bool repeats_ = false;
    Mask mask_;
    std::vector<Record::Entry> recorded_[kSources];
    std::vector<bool> used_;               // of the errors
    uint64_t count_[kSources] = {};
};

}  // namespace drbd::sim
