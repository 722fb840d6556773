// SPDX-License-Identifier: GPL-2.0-or-later
// The bitmap against a model of one bool a block.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "core/bitmap/bitmap.h"

namespace drbd {
namespace {

struct Model {
    explicit Model(uint64_t sectors) : size(sectors), set(divide_up(sectors, 8)), dirty(divide_up(set.size(), kBitsPerPage)),
                                       cleared(dirty.size()) {}
    uint64_t size;
    std::vector<bool> set, dirty, cleared;

    uint64_t mark(uint64_t start, uint64_t length) {
        uint64_t changed = 0;
        if (length == 0)
            return 0;
        for (uint64_t b = start / 8; b <= (start + length - 1) / 8; b++)
            changed += !set[b];
        for (uint64_t b = start / 8; b <= (start + length - 1) / 8; b++) {
            set[b] = true;
            if (changed)
                dirty[b / kBitsPerPage] = true;
        }
        return changed;
    }
    uint64_t clear(uint64_t start, uint64_t length) {
        uint64_t changed = 0, first = set.size(), last = 0;
        for (uint64_t b = 0; b < set.size(); b++) {
            const uint64_t end = std::min(b * 8 + 8, size);
            if (b * 8 < start || end > start + length)
                continue;
            first = std::min(first, b);
            last = b;
            changed += set[b];
            set[b] = false;
        }
        for (uint64_t b = first; changed && b <= last; b++)
            dirty[b / kBitsPerPage] = cleared[b / kBitsPerPage] = true;
        return changed;
    }
};

void expect_equal(const Bitmap& bitmap, const Model& model) {
    uint64_t count = 0, dirty = 0;
    for (uint64_t b = 0; b < model.set.size(); b++) {
        count += model.set[b];
        ASSERT_EQ(bitmap.is_set(b), model.set[b]) << "block " << b;
    }
    ASSERT_EQ(bitmap.count(), count);
    for (uint64_t p = 0; p < model.dirty.size(); p++) {
        dirty += model.dirty[p];
        ASSERT_EQ(bitmap.is_dirty(p), model.dirty[p]) << "page " << p;
        ASSERT_EQ(bitmap.was_cleared(p), model.cleared[p]) << "page " << p;
    }
    ASSERT_EQ(bitmap.dirty_pages(), dirty);
}

class BitmapOfSize : public testing::TestWithParam<uint64_t> {};

TEST_P(BitmapOfSize, DoesWhatTheModelDoes) {
    const uint64_t sectors = GetParam();
    std::mt19937_64 random(sectors);
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(sectors)).ok());
    Model model(sectors);
    ASSERT_EQ(bitmap.bits(), model.set.size());
    for (int round = 0; round < 300; round++) {
        const uint64_t start = random() % sectors;
        const uint64_t most = std::min<uint64_t>(sectors - start, random() % 4 ? 100 : sectors);
        const uint64_t length = random() % 16 == 0 ? sectors - start : random() % (most + 1);
        if (random() % 2)
            ASSERT_EQ(bitmap.set_out_of_sync(Sector(start), Sector(length)), model.mark(start, length));
        else
            ASSERT_EQ(bitmap.set_in_sync(Sector(start), Sector(length)), model.clear(start, length));
        if (random() % 5 == 0) {
            const uint64_t page = bitmap.next_dirty(random() % (bitmap.pages() + 1));
            if (page < bitmap.pages()) {
                bitmap.mark_written(page);
                model.dirty[page] = model.cleared[page] = false;
            }
        }
        if (round % 30 == 0)
            expect_equal(bitmap, model);
        const uint64_t from = random() % (model.set.size() + 1);
        uint64_t next = from;
        while (next < model.set.size() && !model.set[next])
            next++;
        ASSERT_EQ(bitmap.next_set(from), next);
        const uint64_t end = from + random() % (model.set.size() + 1 - from);
        ASSERT_EQ(bitmap.next_set(from, end), std::min(next, end));
        uint64_t clear = from;
        while (clear < end && model.set[clear])
            clear++;
        ASSERT_EQ(bitmap.next_clear(from, end), clear);
        ASSERT_EQ(bitmap.count(from, end),
                  static_cast<uint64_t>(std::count(model.set.begin() + static_cast<ptrdiff_t>(from),
                                                   model.set.begin() + static_cast<ptrdiff_t>(end), true)));
    }
    expect_equal(bitmap, model);
}

INSTANTIATE_TEST_SUITE_P(Sizes, BitmapOfSize,
                         testing::Values(1, 7, 8, 9, 511, 512, 513, 520, 8 * 32768, 8 * 32768 + 1, 8 * 32768 * 2 - 3));

TEST(Bitmap, SettingWhatIsSetDirtiesNothing) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(80000)).ok());
    bitmap.set_out_of_sync(Sector(16), Sector(64));
    bitmap.mark_written(0);
    EXPECT_EQ(bitmap.set_out_of_sync(Sector(24), Sector(8)), 0u);
    EXPECT_FALSE(bitmap.is_dirty(0));
    EXPECT_EQ(bitmap.set_in_sync(Sector(800), Sector(80)), 0u);
    EXPECT_FALSE(bitmap.is_dirty(0));
}

TEST(Bitmap, ClearingRoundsInwardsAndTheLastPartialBlockCountsAsWhole) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(8 * 10 + 3)).ok());
    bitmap.set_all_out_of_sync();
    EXPECT_EQ(bitmap.count(), 11u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(1), Sector(14)), 0u);   // covers no block whole
    EXPECT_EQ(bitmap.set_in_sync(Sector(80), Sector(2)), 0u);   // not to the end
    EXPECT_EQ(bitmap.set_in_sync(Sector(80), Sector(3)), 1u);
    EXPECT_TRUE(bitmap.was_cleared(0));
    bitmap.mark_written(0);
    EXPECT_FALSE(bitmap.was_cleared(0));
}

TEST(Bitmap, ExtentsBehindTheEndAreNotOurs) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(2 * 8192 + 8)).ok());  // two extents and a block
    EXPECT_EQ(bitmap.set_extent_out_of_sync(3), 0u);
    EXPECT_EQ(bitmap.set_extent_out_of_sync(0xfffffffe), 0u);
    EXPECT_EQ(bitmap.set_extent_out_of_sync(2), 1u);
    EXPECT_EQ(bitmap.set_extent_out_of_sync(1), kBlocksPerExtent);
    EXPECT_FALSE(bitmap.is_set(kBlocksPerExtent - 1));
}

TEST(Bitmap, LoadingCountsAndDropsWhatIsBehindTheEnd) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(8 * 70 + 1)).ok());
    for (uint8_t& byte : bitmap.data())
        byte = 0xff;
    bitmap.loaded();
    EXPECT_EQ(bitmap.count(), 71u);
    EXPECT_EQ(bitmap.next_set(70), 70u);
    EXPECT_EQ(bitmap.next_set(71), 71u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(0), Sector(8 * 70 + 1)), 71u);
    EXPECT_EQ(bitmap.next_set(0), bitmap.bits());
}

TEST(Bitmap, MarkingAllWritesEveryPageEvenThoseThatWereFull) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(3 * 8 * kBitsPerPage - 5)).ok());
    for (uint8_t& byte : bitmap.data())
        byte = 0xff;
    bitmap.loaded();
    EXPECT_EQ(bitmap.dirty_pages(), 0u);
    bitmap.set_all_out_of_sync();
    EXPECT_EQ(bitmap.dirty_pages(), 3u);
    EXPECT_EQ(bitmap.count(), bitmap.bits());
}

TEST(Bitmap, ShrinkingForgetsWhatIsBehindTheEnd) {
    Bitmap bitmap;
    ASSERT_TRUE(bitmap.allocate(Sector(3 * 8 * kBitsPerPage)).ok());
    bitmap.set_all_out_of_sync();
    bitmap.shrink(Sector(8 * kBitsPerPage + 8 * 70 + 3));
    EXPECT_EQ(bitmap.bits(), kBitsPerPage + 71);
    EXPECT_EQ(bitmap.count(), kBitsPerPage + 71);
    EXPECT_EQ(bitmap.pages(), 2u);
    EXPECT_EQ(bitmap.dirty_pages(), 2u);
    EXPECT_EQ(bitmap.page(1)[70 / 8], 0x7f);  // nothing is set behind the end
    EXPECT_EQ(bitmap.page(1)[70 / 8 + 1], 0);
    EXPECT_EQ(bitmap.set_in_sync(Sector(8 * (kBitsPerPage + 70)), Sector(3)), 1u);  // the last block, whole
    bitmap.shrink(Sector(8 * 5));
    EXPECT_EQ(bitmap.count(), 5u);
    EXPECT_EQ(bitmap.dirty_pages(), 1u);
    EXPECT_EQ(bitmap.next_dirty(1), bitmap.pages());
}

struct Watcher final : BitmapWatcher {
    void on_marked(uint64_t first, uint64_t end) override { marked.emplace_back(first, end); }
    std::vector<std::pair<uint64_t, uint64_t>> marked;
};

TEST(Bitmap, TheWatcherHearsOfEveryMark) {
    Bitmap bitmap;
    Watcher watcher;
    bitmap.set_watcher(&watcher);
    ASSERT_TRUE(bitmap.allocate(Sector(8 * 2000)).ok());
    bitmap.set_out_of_sync(Sector(9), Sector(8));
    bitmap.set_out_of_sync(Sector(8), Sector(1));  // set already
    bitmap.set_out_of_sync(Sector(8), Sector(0));
    bitmap.set_in_sync(Sector(0), Sector(800));
    bitmap.set_extent_out_of_sync(1);
    bitmap.set_extent_out_of_sync(2);  // behind the end
    using Marks = std::vector<std::pair<uint64_t, uint64_t>>;
    EXPECT_EQ(watcher.marked, (Marks{{1, 3}, {1, 2}, {1024, 2000}}));
    bitmap.set_watcher(nullptr);
    bitmap.set_all_out_of_sync();
    EXPECT_EQ(watcher.marked.size(), 3u);
}

// 20 TiB: bit numbers beyond 32 bits.
TEST(Bitmap, IsRightBeyond16TiB) {
    constexpr uint64_t kTiB = 1ull << 31;  // sectors
    Bitmap bitmap;
    auto made = bitmap.allocate(Sector(20 * kTiB + 1));
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(bitmap.bits(), 20 * (kTiB / 8) + 1);
    EXPECT_EQ(bitmap.set_out_of_sync(Sector(20 * kTiB - 1), Sector(2)), 2u);
    EXPECT_EQ(bitmap.set_extent_out_of_sync(19 * 262144 + 1), kBlocksPerExtent);
    EXPECT_EQ(bitmap.next_set(17ull << 28), (19ull << 28) + kBlocksPerExtent);
    EXPECT_EQ(bitmap.next_set((19ull << 28) + 2 * kBlocksPerExtent), (20ull << 28) - 1);
    EXPECT_EQ(bitmap.next_dirty(0), ((19ull << 28) + kBlocksPerExtent) / kBitsPerPage);
    EXPECT_EQ(bitmap.dirty_pages(), 3u);
    EXPECT_EQ(bitmap.set_in_sync(Sector(20 * kTiB - 8), Sector(9)), 2u);
    EXPECT_EQ(bitmap.count(), kBlocksPerExtent);
    EXPECT_EQ(Bitmap::page_of_extent(19 * 262144 + 1), ((19ull << 28) + 1024) / kBitsPerPage);
}

}  // namespace
}  // namespace drbd
