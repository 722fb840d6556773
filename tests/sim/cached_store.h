// SPDX-License-Identifier: GPL-2.0-or-later
// Sectors behind a volatile cache: what a reader sees, what is stable, and what
// was written in between.  T is the content of one sector; T{} is a sector of
// zeroes.  Sparse: memory is taken where something was written.
// At a loss of power each sector keeps its stable content or any that landed
// since, each by itself.  A cache that is full writes its oldest back.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
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

template <typename T, uint64_t kChunk>
class CachedStore {
  public:
    explicit CachedStore(uint64_t sectors) : current_(sectors), stable_(sectors), stable_since_(sectors) {}

    uint64_t sectors() const { return current_.size(); }
    const T& current(uint64_t sector) const { return current_.get(sector); }
    const T& stable(uint64_t sector) const { return stable_.get(sector); }

    // Grow whenever such a content may have changed.
    uint64_t current_changes() const { return current_changes_; }
    uint64_t stable_changes() const { return stable_changes_; }

    void land(uint64_t sector, const T& value, bool fua) {
        current_.set(sector, value);
        current_changes_++;
        if (fua) {
            stable_.set(sector, value);
            stable_changes_++;
            stable_since_.set(sector, position());
            return;
        }
        log_.push_back({sector, value});
        if (log_.size() > kCacheMax)
            flush_end(first_ + kCacheMax / 2);
    }
    // A flush that begins now covers what is before this position.
    uint64_t position() const { return first_ + log_.size(); }
    void flush_end(uint64_t position) {
        stable_changes_ += first_ < position;
        for (; first_ < position; first_++) {
            const Landed& landed = log_.front();
            if (first_ >= stable_since_.get(landed.sector))
                stable_.set(landed.sector, landed.value);
            log_.pop_front();
        }
    }
    void lose_power(Rng& random) {
        current_changes_++;
        stable_changes_++;
        const uint64_t how = random.below(4);  // everything survives, nothing does, or some
        for (uint64_t i = 0; i < log_.size(); i++) {
            const Landed& landed = log_[i];
            if (first_ + i < stable_since_.get(landed.sector))
                continue;
            if (how == 0 || (how > 1 && random.chance(0.5)))
                stable_.set(landed.sector, landed.value);
        }
        for (const Landed& landed : log_)
            current_.set(landed.sector, stable_.get(landed.sector));
        first_ += log_.size();
        log_.clear();
    }
    template <typename F>
    void for_each_volatile(F&& f) const {
        for (const Landed& landed : log_)
            f(landed.sector, landed.value);
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

    SparseArray<T, kChunk> current_, stable_;
    SparseArray<uint64_t, kChunk> stable_since_;  // older entries of the log are overwritten
    std::deque<Landed> log_;
    uint64_t first_ = 0;  // position of log_.front()
    uint64_t current_changes_ = 0, stable_changes_ = 0;
};

}  // namespace drbd::sim
