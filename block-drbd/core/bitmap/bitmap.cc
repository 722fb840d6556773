// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/bitmap/bitmap.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "metafmt/bitmap_layout.h"

namespace drbd {

static_assert(std::endian::native == std::endian::little, "the bitmap is worked on in its disk order");

namespace {

// Bits [first, end) of a word.
uint64_t mask(uint64_t first, uint64_t end) {
    const uint64_t below_end = end == 64 ? ~0ull : (1ull << end) - 1;
    return below_end & ~((1ull << first) - 1);
}

}  // namespace

Result<void> Bitmap::allocate(Sector size) {
    release();
    size_ = size;
    bits_ = metafmt::bitmap_bits(size);
    pages_ = divide_up(bits_, kBitsPerPage);
    if (auto made = data_.allocate(Bytes(pages_ * kBlockSize), "bitmap"); !made)
        return made;
    return page_state_.allocate(Bytes(std::max<uint64_t>(pages_, 1)), "state of the bitmap's pages");
}

void Bitmap::release() {
    data_.release();
    page_state_.release();
    size_ = Sector(0);
    bits_ = pages_ = count_ = dirty_pages_ = pages_written_ = 0;
}

uint64_t Bitmap::word(uint64_t index) const {
    uint64_t value;
    std::memcpy(&value, data_.data().data() + index * 8, sizeof value);
    return value;
}

void Bitmap::set_word(uint64_t index, uint64_t value) {
    std::memcpy(data_.data().data() + index * 8, &value, sizeof value);
}

void Bitmap::loaded() {
    // A tool may have marked a whole extent, and so bits past the end.
    for (uint64_t bit = bits_; bit < pages_ * kBitsPerPage; bit = round_down(bit, 8) + 8)
        if (data_.data()[bit / 8] >> (bit % 8) != 0) {
            mark_dirty(bit, bit + 1, kDirty);
            break;
        }
    metafmt::clear_bits_past_end(data_.data(), bits_);
    count_ = 0;
    for (uint64_t i = 0; i < data_.size().value / 8; i++)
        count_ += static_cast<unsigned>(std::popcount(word(i)));
}

uint64_t Bitmap::next_set(uint64_t from, uint64_t end) const {
    DRBD_ASSERT(end <= bits_);
    while (from < end) {
        const uint64_t rest = word(from / 64) >> (from % 64);
        if (rest != 0)
            return std::min(from + static_cast<unsigned>(std::countr_zero(rest)), end);
        from = round_down(from, 64) + 64;
    }
    return end;
}

uint64_t Bitmap::next_clear(uint64_t from, uint64_t end) const {
    DRBD_ASSERT(end <= bits_);
    while (from < end) {
        const uint64_t rest = ~word(from / 64) >> (from % 64);
        if (rest != 0)
            return std::min(from + static_cast<unsigned>(std::countr_zero(rest)), end);
        from = round_down(from, 64) + 64;
    }
    return end;
}

uint64_t Bitmap::count(uint64_t first, uint64_t end) const {
    DRBD_ASSERT(first <= end && end <= bits_);
    uint64_t found = 0;
    for (uint64_t at = first; at < end;) {
        const uint64_t index = at / 64;
        const uint64_t stop = std::min(end, (index + 1) * 64);
        found += static_cast<unsigned>(std::popcount(word(index) & mask(at % 64, stop - index * 64)));
        at = stop;
    }
    return found;
}

uint64_t Bitmap::set_bits(uint64_t first, uint64_t end) {
    DRBD_ASSERT(first <= end && end <= bits_);
    uint64_t newly_set = 0;
    for (uint64_t at = first; at < end;) {
        const uint64_t index = at / 64;
        const uint64_t stop = std::min(end, (index + 1) * 64);
        const uint64_t bits = mask(at % 64, stop - index * 64);
        const uint64_t old_word = word(index);
        newly_set += static_cast<unsigned>(std::popcount(bits & ~old_word));
        set_word(index, old_word | bits);
        at = stop;
    }
    if (newly_set != 0)
        mark_dirty(first, end, kDirty);
    count_ += newly_set;
    if (watcher_ && first < end)
        watcher_->on_marked(first, end);
    return newly_set;
}

uint64_t Bitmap::set_out_of_sync(Sector start, Sector length) {
    if (length.value == 0)
        return 0;
    const uint64_t first = start.value / kSectorsPerBlock;
    const uint64_t end = divide_up(start.value + length.value, kSectorsPerBlock);
    return set_bits(first, end);
}

uint64_t Bitmap::set_in_sync(Sector start, Sector length) {
    const uint64_t first = divide_up(start.value, kSectorsPerBlock);
    const uint64_t stop = start.value + length.value;
    const uint64_t end = stop >= size_.value ? bits_ : stop / kSectorsPerBlock;
    return first < end ? clear_bits(first, end) : 0;
}

uint64_t Bitmap::clear_bits(uint64_t first, uint64_t end) {
    DRBD_ASSERT(first <= end && end <= bits_);
    uint64_t newly_clear = 0;
    for (uint64_t at = first; at < end;) {
        const uint64_t index = at / 64;
        const uint64_t word_end = std::min(end, (index + 1) * 64);
        const uint64_t bits = mask(at % 64, word_end - index * 64);
        const uint64_t old_word = word(index);
        newly_clear += static_cast<unsigned>(std::popcount(bits & old_word));
        set_word(index, old_word & ~bits);
        at = word_end;
    }
    if (newly_clear != 0)
        mark_dirty(first, end, kDirty | kCleared);
    DRBD_ASSERT(newly_clear <= count_);
    count_ -= newly_clear;
    return newly_clear;
}

void Bitmap::shrink(Sector size) {
    DRBD_ASSERT(size <= size_);
    const uint64_t bits = metafmt::bitmap_bits(size);
    clear_bits(bits, bits_);
    size_ = size;
    bits_ = bits;
    const uint64_t pages = divide_up(bits_, kBitsPerPage);
    for (uint64_t page = pages; page < pages_; page++)
        if (is_dirty(page)) {
            page_state_.data()[page] = 0;
            dirty_pages_--;
        }
    pages_ = pages;
}

uint64_t Bitmap::set_extent_out_of_sync(uint32_t extent) {
    const uint64_t first = extent * kBlocksPerExtent;
    if (first >= bits_)
        return 0;  // a log of a larger device: nothing of it is ours
    return set_bits(first, std::min(first + kBlocksPerExtent, bits_));
}

void Bitmap::set_all_out_of_sync() {
    // Whatever the pages on the disk hold, all of them are to be written.
    set_bits(0, bits_);
    mark_all_dirty();
}

void Bitmap::mark_dirty(uint64_t first_bit, uint64_t end_bit, uint8_t how) {
    for (uint64_t page = first_bit / kBitsPerPage; page * kBitsPerPage < end_bit; page++) {
        uint8_t& state = page_state_.data()[page];
        dirty_pages_ += !(state & kDirty);
        state = static_cast<uint8_t>(state | how);
    }
}

void Bitmap::mark_all_dirty() {
    mark_dirty(0, bits_, kDirty);
}

void Bitmap::mark_written(uint64_t page) {
    uint8_t& state = page_state_.data()[page];
    dirty_pages_ -= state & kDirty;
    state = 0;
    pages_written_++;
}

void Bitmap::mark_not_written(uint64_t page) {
    uint8_t& state = page_state_.data()[page];
    dirty_pages_ += !(state & kDirty);
    state = kDirty | kCleared;  // what it was is not known any more: the stricter
}

uint64_t Bitmap::next_dirty(uint64_t from) const {
    if (from >= pages_ || dirty_pages_ == 0)
        return pages_;
    const auto states = page_state_.data().subspan(from, pages_ - from);
    const auto found = std::find_if(states.begin(), states.end(), [](uint8_t s) { return s & kDirty; });
    return from + static_cast<uint64_t>(found - states.begin());
}

}  // namespace drbd
