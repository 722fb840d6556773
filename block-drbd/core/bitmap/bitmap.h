// SPDX-License-Identifier: GPL-2.0-or-later
// The out-of-sync bits of one volume: bit n stands for 4 KiB block n, 1 means
// that this copy and the peer's may differ.  Kept in memory as it lies on the
// disk (docs/METADATA.md, "Bitmap"), in pages of 4 KiB, which are what is read
// and written.  The object counts set bits and knows which pages differ from
// the disk; writing them is metadata/bitmap_write.h's work.
// Invariants: bits past the end are 0; count_ is the number of set bits; a page
// whose content may differ from the disk is dirty.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/buffer.h"
#include "core/base/result.h"
#include "core/base/units.h"

namespace drbd {

constexpr uint64_t kBitsPerPage = kBlockSize * 8;  // a page of the bitmap covers 128 MiB

// Hears of every block that is marked, those that were marked already included:
// who is about to clear a bit must know that it was set for a new reason.
class BitmapWatcher {
  public:
    virtual void on_marked(uint64_t first, uint64_t end) = 0;

  protected:
    ~BitmapWatcher() = default;
};

class Bitmap {
  public:
    // All bits clear, no page dirty.
    Result<void> allocate(Sector size);
    void release();
    // The device becomes smaller: blocks past the new end are forgotten.  The
    // memory stays.
    void shrink(Sector size);

    uint64_t bits() const { return bits_; }
    uint64_t pages() const { return pages_; }
    uint64_t count() const { return count_; }
    Bytes memory() const { return data_.size() + page_state_.size(); }

    // Reading at attach: the caller fills data() from the disk, then says so.
    std::span<uint8_t> data() { return data_.data(); }
    void loaded();

    bool is_set(uint64_t block) const { return (data_.data()[block / 8] >> (block % 8)) & 1; }

    // The first set bit at or after `from`, or bits().
    uint64_t next_set(uint64_t from) const { return next_set(from, bits_); }
    // The first set bit of [from, end), or `end`.
    uint64_t next_set(uint64_t from, uint64_t end) const;
    // The first clear bit of [from, end), or `end`.
    uint64_t next_clear(uint64_t from, uint64_t end) const;
    // Set bits of [first, end).
    uint64_t count(uint64_t first, uint64_t end) const;

    // Every block that the range touches (rounds outwards).  Returns how many
    // bits became set.
    uint64_t set_out_of_sync(Sector start, Sector length);

    // Every block that the range covers whole (rounds inwards; the last block
    // of a device counts as whole).  Returns how many bits became clear.
    uint64_t set_in_sync(Sector start, Sector length);

    uint64_t set_extent_out_of_sync(uint32_t extent);
    void set_all_out_of_sync();

    // One, or null.  It stays when the bitmap is released.
    void set_watcher(BitmapWatcher* watcher) { watcher_ = watcher; }

    // Pages that must be written.
    bool is_dirty(uint64_t page) const { return page_state_.data()[page] & kDirty; }
    // A bit was cleared since the page was last written: the image must be
    // flushed before the page is (design D15).
    bool was_cleared(uint64_t page) const { return page_state_.data()[page] & kCleared; }
    uint64_t next_dirty(uint64_t from) const;  // or pages()
    uint64_t dirty_pages() const { return dirty_pages_; }
    std::span<const uint8_t> page(uint64_t page) const {
        return data_.data().subspan(page * kBlockSize, kBlockSize);
    }
    // The caller has copied the page and is about to write the copy.
    void mark_written(uint64_t page);
    uint64_t pages_written() const { return pages_written_; }
    void mark_all_dirty();
    // The copy was not written after all.
    void mark_not_written(uint64_t page);

    static uint64_t page_of_extent(uint32_t extent) { return extent * kBlocksPerExtent / kBitsPerPage; }

  private:
    enum : uint8_t { kDirty = 1, kCleared = 2 };

    uint64_t set_bits(uint64_t first, uint64_t end);
    uint64_t clear_bits(uint64_t first, uint64_t end);
    void mark_dirty(uint64_t first_bit, uint64_t end_bit, uint8_t how);
    uint64_t word(uint64_t index) const;
    void set_word(uint64_t index, uint64_t value);

    AlignedBuffer data_;
    AlignedBuffer page_state_;  // one byte a page
    Sector size_;
    uint64_t bits_ = 0;
    uint64_t pages_ = 0;
    uint64_t count_ = 0;
    uint64_t dirty_pages_ = 0;
    uint64_t pages_written_ = 0;
    BitmapWatcher* watcher_ = nullptr;
};

}  // namespace drbd
