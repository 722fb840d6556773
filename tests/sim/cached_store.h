// SPDX-License-Identifier: GPL-2.0-or-later
// Sectors behind a volatile cache: what a reader sees, what is stable, and what
// was written in between.  T is the content of one sector; T{} is a sector of
// zeroes.  Sparse: memory is taken where something was written.
// At a loss of power each sector keeps its stable content or any that landed
// since, each by itself.  A cache that is full writes its oldest back.
// Changes is told of every sector whose content may have changed (changes.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "rng.h"

namespace drbd::sim {

template <typename T, uint64_t kChunk>
class SparseArray {
  public:
    explicit SparseArray(uint64_t size) : size_(size), chunks_((size + kChunk - 1) / kChunk) {}

    uint64_t size() const { return size_; }
    const T& get(uint64_t i) const {
        const auto& chunk = chunks_[i / kChunk];
        return chunk ? chunk[i % kChunk] : kZero;
    }
    void set(uint64_t i, const T& value) {
        auto& chunk = chunks_[i / kChunk];
        if (!chunk) {
            if (value == T{})
                return;
            chunk = std::make_unique<T[]>(kChunk);
        }
        chunk[i % kChunk] = value;
    }
    // The part of a chunk from there on, or null: T{}.
    const T* at(uint64_t i) const {
        const auto& chunk = chunks_[i / kChunk];
        return chunk ? &chunk[i % kChunk] : nullptr;
    }
    // Calls f(first index, T[kChunk]) for everything that may differ from T{}.
    template <typename F>
    void for_each_chunk(F&& f) const {
        for (uint64_t c = 0; c < chunks_.size(); c++)
            if (chunks_[c])
                f(c * kChunk, chunks_[c].get());
    }

  private:
    static constexpr T kZero{};
    uint64_t size_;
    std::vector<std::unique_ptr<T[]>> chunks_;
};

// A queue in one piece of memory.
template <typename T>
class Ring {
  public:
    uint64_t size() const { return size_; }
    const T& operator[](uint64_t i) const { return memory_[(first_ + i) & (memory_.size() - 1)]; }
    const T& front() const { return memory_[first_]; }
    void push_back(const T& value) {
        if (size_ == memory_.size())
            grow();
        memory_[(first_ + size_++) & (memory_.size() - 1)] = value;
    }
    void pop_front() {
        first_ = (first_ + 1) & (memory_.size() - 1);
        size_--;
    }
    void clear() { first_ = size_ = 0; }

  private:
    void grow() {
        std::vector<T> larger(std::max<uint64_t>(memory_.size() * 2, 16));
        for (uint64_t i = 0; i < size_; i++)
            larger[i] = (*this)[i];
        memory_ = std::move(larger);
        first_ = 0;
    }

    std::vector<T> memory_;  // a power of two
    uint64_t first_ = 0, size_ = 0;
};

template <typename T, uint64_t kChunk, typename Changes>
class CachedStore {
  public:
    explicit CachedStore(uint64_t sectors)
        : current_(sectors), stable_(sectors), stable_since_(sectors), current_changes_(sectors), stable_changes_(sectors) {}

    uint64_t sectors() const { return current_.size(); }
    const T& current(uint64_t sector) const { return current_.get(sector); }
    const T& stable(uint64_t sector) const { return stable_.get(sector); }
    const SparseArray<T, kChunk>& all_current() const { return current_; }
    const SparseArray<T, kChunk>& all_stable() const { return stable_; }

    const Changes& current_changes() const { return current_changes_; }
    const Changes& stable_changes() const { return stable_changes_; }

    void land(uint64_t sector, const T& value, bool fua) {
        set_current(sector, value);
        if (fua) {
            set_stable(sector, value);
            stable_since_.set(sector, position());
            return;
        }
        log_.push_back({sector, value});
        if (log_.size() > kCacheMax)
            flush_end(first_ + kCacheMax / 2);
    }
    void land_all(uint64_t sector, std::span<const T> values, bool fua) {
        for (const T& value : values)
            land(sector++, value, fua);
    }
    // A flush that begins now covers what is before this position.
    uint64_t position() const { return first_ + log_.size(); }
    void flush_end(uint64_t position) {
        for (; first_ < position; first_++) {
            const Landed& landed = log_.front();
            if (first_ >= stable_since_.get(landed.sector))
                set_stable(landed.sector, landed.value);
            log_.pop_front();
        }
    }
    void lose_power(Rng& random) {
        const uint64_t how = random.below(4);  // everything survives, nothing does, or some
        for (uint64_t i = 0; i < log_.size(); i++) {
            const Landed& landed = log_[i];
            if (first_ + i < stable_since_.get(landed.sector))
                continue;
            if (how == 0 || (how > 1 && random.chance(0.5)))
                set_stable(landed.sector, landed.value);
        }
        for (uint64_t i = 0; i < log_.size(); i++)
            set_current(log_[i].sector, stable_.get(log_[i].sector));
        first_ += log_.size();
        log_.clear();
    }
    template <typename F>
    void for_each_volatile(F&& f) const {
        for (uint64_t i = 0; i < log_.size(); i++)
            f(log_[i].sector, log_[i].value);
    }
    template <typename F>
    void for_each_chunk(F&& f) const {
        current_.for_each_chunk(f);
    }

  private:
    static constexpr uint64_t kCacheMax = 16384;
    struct Landed {
        uint64_t sector;
        T value;
    };

    void set_current(uint64_t sector, const T& value) {
        current_.set(sector, value);
        current_changes_.add(sector);
    }
    void set_stable(uint64_t sector, const T& value) {
        stable_.set(sector, value);
        stable_changes_.add(sector);
    }

    SparseArray<T, kChunk> current_, stable_;
    SparseArray<uint64_t, kChunk> stable_since_;  // older entries of the log are overwritten
    Ring<Landed> log_;
    uint64_t first_ = 0;  // position of log_.front()
    Changes current_changes_, stable_changes_;
};

}  // namespace drbd::sim
