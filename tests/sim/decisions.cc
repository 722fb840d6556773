// SPDX-License-Identifier: GPL-2.0-or-later
// The decisions of decisions.h.
#include "decisions.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/base/assert.h"
#include "numbers.h"

namespace drbd::sim {

namespace {

struct Name {
    char letter;
    const char* name;
};

constexpr Name kNames[kMaskable] = {
    {'k', "kills"},      {'p', "losses of power"}, {'z', "freezes"},  {'c', "cuts"},     {'s', "stalls"},
    {'n', "partitions"}, {'f', "fail-overs"},      {'a', "commands"}, {'r', "requests"}, {'d', "disk errors"},
    {'o', "changes of options"},
};

constexpr uint64_t kEntriesMax = 8u << 20;  // memory is taken when it is written

}  // namespace

// ------------------------------------------------------------------ mask --

const char* Mask::name(Source source) {
    return kNames[index(source)].name;
}

bool Mask::empty() const {
    return std::ranges::all_of(without_, [](const auto& numbers) { return numbers.empty(); });
}

std::string Mask::text() const {
    std::string text;
    for (unsigned s = 0; s < kMaskable; s++)
        for (auto at = without_[s].begin(); at != without_[s].end();) {
            const uint64_t first = *at;
            uint64_t last = first;
            for (++at; at != without_[s].end() && *at == last + 1; ++at)
                last++;
            text += (text.empty() ? "" : ",") + std::string(1, kNames[s].letter) + std::to_string(first) +
                    (last == first ? "" : "-" + std::to_string(last));
        }
    return text;
}

bool Mask::parse(const std::string& text, Mask& mask) {
    const char* at = text.c_str();
    while (*at) {
        const auto* row = std::find_if(kNames, kNames + kMaskable, [&](const Name& name) { return name.letter == *at; });
        if (row == kNames + kMaskable)
            return false;
        const std::string_view range(at + 1, std::strcspn(at + 1, ","));
        const size_t dash = range.find('-');
        uint64_t first = 0, last = 0;
        if (!read_number(range.substr(0, dash), 0, kEntriesMax - 1, first))
            return false;
        last = first;
        if (dash != std::string_view::npos && !read_number(range.substr(dash + 1), first, kEntriesMax - 1, last))
            return false;
        for (uint64_t n = first; n <= last; n++)
            mask.add(static_cast<Source>(row - kNames), n);
        at += 1 + range.size();
        at += *at == ',';
    }
    return true;
}

// ---------------------------------------------------------------- record --

struct Record::Shared {
    uint64_t count;
    Entry entries[kEntriesMax];
};

Record::Record() {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DRBD_ASSERT(memory != MAP_FAILED);
    shared_ = static_cast<Shared*>(memory);
}

Record::~Record() {
    munmap(shared_, sizeof(Shared));
}

void Record::clear() {
    shared_->count = 0;
}

void Record::add(const Entry& entry) {
    if (shared_->count < kEntriesMax)
        shared_->entries[shared_->count++] = entry;
}

std::vector<Record::Entry> Record::of(Source source) const {
    std::vector<Entry> found;
    for (uint64_t i = 0; i < shared_->count; i++)
        if (shared_->entries[i].source == static_cast<uint8_t>(source))
            found.push_back(shared_->entries[i]);
    return found;
}

// ------------------------------------------------------------- decisions --

void Decisions::repeat(const Record& record, const Mask& mask) {
    repeats_ = true;
    mask_ = mask;
    for (unsigned s = 0; s < kSources; s++)
        recorded_[s] = record.of(static_cast<Source>(s));
    used_.resize(recorded_[static_cast<unsigned>(Source::DiskError)].size());
}

bool Decisions::next(Source source, Rng& random) {
    const unsigned s = static_cast<unsigned>(source);
    const uint64_t number = count_[s]++;
    if (record_)
        record_->add({static_cast<uint8_t>(s), 0, 0, random.state(), queue_.now()});
    if (!repeats_)
        return true;
    if (number >= recorded_[s].size())
        return false;
    random = Rng(recorded_[s][number].state);
    return s >= kMaskable || !mask_.has(source, number);
}

bool Decisions::disk_error(bool drawn, int host, unsigned kind) {
    if (record_ && drawn)
        record_->add({static_cast<uint8_t>(Source::DiskError), static_cast<uint8_t>(host), static_cast<uint8_t>(kind), 0, queue_.now()});
    if (!repeats_)
        return drawn;
    const auto& errors = recorded_[static_cast<unsigned>(Source::DiskError)];
    for (size_t i = 0; i < errors.size() && errors[i].time <= queue_.now(); i++)
        if (!used_[i] && errors[i].host == host && errors[i].kind == kind) {
            used_[i] = true;
            return !mask_.has(Source::DiskError, i);
        }
    return false;
}

Time Decisions::next_request() const {
    const unsigned s = static_cast<unsigned>(Source::Request);
    return repeats_ && count_[s] < recorded_[s].size() ? recorded_[s][count_[s]].time : 0;
}

uint64_t Decisions::requests(uint64_t wanted) const {
    return repeats_ ? std::min<uint64_t>(wanted, recorded_[static_cast<unsigned>(Source::Request)].size()) : wanted;
}

}  // namespace drbd::sim
