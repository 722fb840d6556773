// SPDX-License-Identifier: GPL-2.0-or-later
// The payload of payload.h.
#include "payload.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define DRBD_SIM_POISONS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DRBD_SIM_POISONS
#endif
#endif

#ifdef DRBD_SIM_POISONS
#include <sanitizer/asan_interface.h>
#endif

namespace drbd::sim {

namespace {

constexpr size_t kSector = 512;
constexpr size_t kEnd = 8;  // bytes of a value
constexpr size_t kSecondEnd = kSector - kEnd;
constexpr size_t kMemoryMax = size_t{4} << 30;  // of addresses; memory is taken when it is written
constexpr unsigned kClasses = 20;               // of sizes: 1, 2, 4 ... sectors
constexpr size_t kUsedByCore = 64;              // at the begin of a buffer that it gives back

void poison([[maybe_unused]] void* at, [[maybe_unused]] size_t bytes) {
#ifdef DRBD_SIM_POISONS
    ASAN_POISON_MEMORY_REGION(at, bytes);
#endif
}

void unpoison([[maybe_unused]] void* at, [[maybe_unused]] size_t bytes) {
#ifdef DRBD_SIM_POISONS
    ASAN_UNPOISON_MEMORY_REGION(at, bytes);
#endif
}

#ifdef DRBD_SIM_POISONS
constexpr size_t kGap = kSector;  // between two buffers
#else
constexpr size_t kGap = 0;
#endif

struct Memory {
    Memory() {
        void* memory = mmap(nullptr, kMemoryMax, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        DRBD_ASSERT(memory != MAP_FAILED);
        madvise(memory, kMemoryMax, MADV_HUGEPAGE);  // two places of every 512 bytes are touched
        begin = next = static_cast<uint8_t*>(memory);
        end = begin + kMemoryMax;
    }

    uint8_t *begin, *next, *end;
    std::vector<uint8_t*> free[kClasses];
};

Memory& memory() {
    static Memory& all = *new Memory;
    return all;
}

// Known before somebody asks for memory, so that nobody has to look whether it is there.
uint8_t* memory_begin = nullptr;

unsigned class_of(size_t bytes) {
    const size_t sectors = std::max<size_t>((bytes + kSector - 1) / kSector, 1);
    return static_cast<unsigned>(std::bit_width(sectors - 1));
}

}  // namespace

void* take_payload_memory(size_t bytes) {
    Memory& all = memory();
    const unsigned number = class_of(bytes);
    DRBD_ASSERT(number < kClasses);
    const size_t size = kSector << number;
    uint8_t* taken;
    if (!all.free[number].empty()) {
        taken = all.free[number].back();
        all.free[number].pop_back();
    } else {
        memory_begin = all.begin;
        DRBD_ASSERT(size + kGap <= static_cast<size_t>(all.end - all.next));
        taken = all.next;
        all.next += size + kGap;
        poison(taken, size + kGap);
    }
    unpoison(taken, bytes);
    return taken;
}

void give_payload_memory_back(void* given, size_t bytes, bool plain) {
    auto* at = static_cast<uint8_t*>(given);
    const unsigned number = class_of(bytes);
    if (plain && bytes >= kUsedByCore)
        std::memset(at + kEnd, 0, kUsedByCore - kEnd);
    else
        std::memset(at, 0, bytes);
    poison(at, kSector << number);
    memory().free[number].push_back(at);
}

bool is_payload_memory(const void* at) {
    return memory_begin && static_cast<size_t>(static_cast<const uint8_t*>(at) - memory_begin) < kMemoryMax;
}

void PayloadBuffer::take(size_t bytes) {
    DRBD_ASSERT(!data_ && bytes % kSector == 0);
    data_ = static_cast<uint8_t*>(take_payload_memory(bytes));
    size_ = bytes;
}

// ------------------------------------------------------------ on the way --

WireBytes::WireBytes(std::vector<uint8_t> used, std::span<const uint8_t> bytes, bool payload)
    : held_(std::move(used)), size_(bytes.size()), is_payload_(payload) {
    if (!payload) {
        held_.assign(bytes.begin(), bytes.end());
        return;
    }
    skipped_ = reinterpret_cast<uintptr_t>(bytes.data()) % kSector;
    const size_t sectors = (skipped_ + size_ + kSector - 1) / kSector;
    held_.resize(sectors * 2 * kEnd);
    uint8_t* to = held_.data();
    const uint8_t* at = bytes.data() - skipped_;
    for (size_t i = 0; i < sectors; i++, at += kSector, to += 2 * kEnd) {
        std::memcpy(to, at, kEnd);
        std::memcpy(to + kEnd, at + kSecondEnd, kEnd);
    }
}

void WireBytes::flip_bit(size_t at) {
    std::vector<uint8_t> all;
    bytes(0, all);
    if (is_payload_)
        held_ = std::move(all);
    is_payload_ = false;
    held_[at] ^= 1;
}

void WireBytes::expand(size_t from, size_t bytes, uint8_t* to) const {
    std::memset(to, 0, bytes);
    // Within whole sectors, of which the first begins before the bytes.
    const size_t begin = skipped_ + from, end = begin + bytes;
    for (size_t end_nr = begin / kSector * 2; end_nr * kEnd < held_.size(); end_nr++) {
        const size_t at = end_nr / 2 * kSector + end_nr % 2 * kSecondEnd;
        if (at >= end)
            break;
        const size_t first = std::max(at, begin), last = std::min(at + kEnd, end);
        if (first < last)
            std::memcpy(to + (first - begin), held_.data() + end_nr * kEnd + (first - at), last - first);
    }
}

std::span<const uint8_t> WireBytes::bytes(size_t from, std::vector<uint8_t>& room) const {
    if (!is_payload_)
        return std::span<const uint8_t>(held_).subspan(from, size_ - from);
    room.resize(size_ - from);
    expand(from, room.size(), room.data());
    return room;
}

bool WireBytes::copy(size_t from, size_t bytes, uint8_t* to) const {
    DRBD_ASSERT(from + bytes <= size_);
    if (!is_payload_) {
        std::memcpy(to, held_.data() + from, bytes);
        return false;
    }
    const size_t begin = skipped_ + from, end = begin + bytes;
    if ((reinterpret_cast<uintptr_t>(to) - begin) % kSector != 0) {
        expand(from, bytes, to);
        return false;
    }
    // Parts of sectors first and last, which a short send leaves; ends between them.
    size_t at = begin;
    const uint8_t* held = held_.data() + begin / kSector * 2 * kEnd;
    while (at < end) {
        const size_t sector = at / kSector * kSector;
        if (at == sector && end - at >= kSector) {
            std::memcpy(to, held, kEnd);
            std::memcpy(to + kSecondEnd, held + kEnd, kEnd);
            to += kSector;
            at += kSector;
        } else {
            const size_t stop = std::min(end, sector + kSector);
            for (; at < stop; at++, to++) {
                const size_t in_sector = at - sector;
                if (in_sector < kEnd)
                    *to = held[in_sector];
                else if (in_sector >= kSecondEnd)
                    *to = held[kEnd + in_sector - kSecondEnd];
            }
        }
        held += 2 * kEnd;
    }
    return true;
}

}  // namespace drbd::sim
