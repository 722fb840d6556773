// SPDX-License-Identifier: GPL-2.0-or-later
// Replay of the activity log: what a model of the writer says is hot must be
// what replay finds, whatever the ring's shape, its number or the torn block.
#include "metafmt/activity_log_replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

using namespace drbd;
using namespace drbd::metafmt;

namespace {

// Writes transactions as the driver does and remembers what is hot.
class RingWriter {
  public:
    RingWriter(ActivityLogGeometry al, uint32_t nr_slots, uint32_t first_number)
        : al_(al), slots_(nr_slots, kExtentFree), number_(first_number), ring_(al.blocks() * kBlockSize) {
        for (uint64_t i = 0; i < al_.blocks(); i++)
            encode_activity_log_initialized(block(i));
    }

    Block block(uint64_t index) { return Block(std::span(ring_).subspan(index * kBlockSize, kBlockSize)); }
    Block block_of_last() { return block(al_.block_at(al_.position_of(number_ - 1))); }

    void write(const std::vector<ActivityLogUpdate>& updates) {
        const uint32_t length = context_length(context_start_, static_cast<uint32_t>(slots_.size()));
        encode_activity_log_transaction({number_, updates, static_cast<uint16_t>(slots_.size()),
                                         static_cast<uint16_t>(context_start_),
                                         std::span(slots_).subspan(context_start_, length)},
                                        block(al_.block_at(al_.position_of(number_))));
        for (const ActivityLogUpdate& update : updates)
            slots_[update.slot] = update.extent;
        context_start_ = next_context_start(context_start_, static_cast<uint32_t>(slots_.size()));
        number_++;
    }

    std::set<uint32_t> hot() const {
        std::set<uint32_t> hot(slots_.begin(), slots_.end());
        hot.erase(kExtentFree);
        return hot;
    }
    uint32_t number() const { return number_; }
    const std::vector<uint8_t>& ring() const { return ring_; }
    std::vector<uint8_t>& ring() { return ring_; }

    Superblock superblock() const {
        Superblock sb;
        sb.al = al_;
        sb.magic = SuperblockMagic::Unclean;
        sb.flags.set(MdFlag::PrimaryInd);
        return sb;
    }

  private:
    ActivityLogGeometry al_;
    std::vector<uint32_t> slots_;
    uint32_t number_;
    uint32_t context_start_ = 0;
    std::vector<uint8_t> ring_;
};

struct Replayed {
    std::unique_ptr<ActivityLogReplay> replay = std::make_unique<ActivityLogReplay>();
    std::set<uint32_t> hot;
};

Replayed replay(const std::vector<uint8_t>& ring, const Superblock& sb) {
    Replayed out;
    out.replay->read(ring, sb);
    out.replay->for_each_hot_extent([&](uint32_t extent) { out.hot.insert(extent); });
    return out;
}

TEST(ActivityLogReplay, FreshRing) {
    RingWriter writer({1, 8}, 67, 0);
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::Initialized);
    EXPECT_TRUE(out.hot.empty());
    EXPECT_TRUE(out.replay->check_usable(writer.superblock()).ok());
}

TEST(ActivityLogReplay, OverwrittenSlotIsNoLongerHot) {
    RingWriter writer({1, 8}, 67, 0);
    writer.write({{0, 5}});
    writer.write({{0, 6}, {1, 7}});
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::HasTransactions);
    EXPECT_EQ(out.hot, (std::set<uint32_t>{6, 7}));
    EXPECT_EQ(out.replay->newest_tr_number(), 1u);
}

TEST(ActivityLogReplay, AgreesWithTheWriterAfterEveryTransaction) {
    struct Row {
        ActivityLogGeometry al;
        uint32_t slots, first_number;
    };
    // Numbers that wrap are tried where the ring's length divides 2^32; in
    // other shapes the position jumps at the wrap, as in the kernel.
    const Row rows[] = {{{1, 8}, 67, 0},       {{1, 8}, 1237, 0xfffffff0}, {{1, 8}, 6433, 0x7ffffff0},
                        {{4, 8}, 5000, 0},     {{2, 16}, 1237, 0xffffff00}, {{8, 1}, 67, 3},
                        {{1, 128}, 65534, 0},  {{5, 7}, 2000, 0}};
    for (const Row& row : rows) {
        RingWriter writer(row.al, row.slots, row.first_number);
        uint32_t state = row.slots;
        auto random = [&] { return (state = state * 1664525 + 1013904223) >> 8; };
        auto reader = std::make_unique<ActivityLogReplay>();
        for (int transaction = 0; transaction < 120; transaction++) {
            std::vector<ActivityLogUpdate> updates;
            std::set<uint16_t> used;
            for (uint32_t i = random() % 64 + 1; i > 0; i--) {
                const auto slot = static_cast<uint16_t>(random() % row.slots);
                if (used.insert(slot).second)
                    updates.push_back({slot, random() % 100000});
            }
            writer.write(updates);
            reader->read(writer.ring(), writer.superblock());
            std::set<uint32_t> hot;
            reader->for_each_hot_extent([&](uint32_t extent) { hot.insert(extent); });
            ASSERT_EQ(hot, writer.hot()) << row.al.stripes << "x" << row.al.stripe_size_4k << " " << transaction;
            ASSERT_EQ(reader->newest_tr_number(), writer.number() - 1);
        }
    }
}

TEST(ActivityLogReplay, TornNewestTransactionCountsAsNotWritten) {
    for (int transactions = 1; transactions < 20; transactions++) {
        RingWriter writer({1, 8}, 67, 0);
        for (int i = 0; i < transactions; i++)
            writer.write({{static_cast<uint16_t>(i % 3), static_cast<uint32_t>(100 + i)}});
        const auto before = writer.hot();
        writer.write({{5, 999}});
        writer.block_of_last()[2000] ^= 1;
        EXPECT_EQ(replay(writer.ring(), writer.superblock()).hot, before) << transactions;
    }
}

TEST(ActivityLogReplay, TornFirstTransactionEver) {
    RingWriter writer({1, 8}, 67, 0);
    writer.write({{0, 1}});
    writer.block(0)[100] ^= 1;
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::Clean);
    EXPECT_TRUE(out.hot.empty());
    EXPECT_TRUE(out.replay->check_usable(writer.superblock()).ok());
}

TEST(ActivityLogReplay, UnreadableBlockOtherThanTheFirstIsInconsistent) {
    RingWriter writer({1, 8}, 67, 0);
    writer.block(3)[0] ^= 1;
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::Inconsistent);
    EXPECT_FALSE(out.replay->check_usable(writer.superblock()).ok());
    writer.block(0)[0] ^= 1;
    EXPECT_EQ(replay(writer.ring(), writer.superblock()).replay->state(), RingState::Inconsistent);
}

TEST(ActivityLogReplay, NothingReadable) {
    RingWriter writer({1, 8}, 67, 0);
    std::fill(writer.ring().begin(), writer.ring().end(), uint8_t{0x5a});
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::NoValidBlock);
    EXPECT_FALSE(out.replay->check_usable(writer.superblock()).ok());
    Superblock secondary = writer.superblock();
    secondary.flags.clear(MdFlag::PrimaryInd);
    EXPECT_TRUE(out.replay->check_usable(secondary).ok());
}

TEST(ActivityLogReplay, SlotsOutOfRangeAreIgnored) {
    RingWriter writer({1, 8}, 67, 0);
    writer.write({{0, 1}});
    RawActivityLogBlock raw;
    std::memcpy(&raw, writer.block_of_last().data(), sizeof raw);
    raw.update_slot[1] = 65534;
    raw.update_extent[1] = 77;
    raw.context_start_slot = 65000;
    raw.context[900] = 78;
    raw.crc32c = 0;
    std::memcpy(writer.block_of_last().data(), &raw, sizeof raw);
    // Damage with a right checksum: computed here, since no encoder makes it.
    uint32_t crc = 0;
    for (size_t i = 0; i < sizeof raw; i++) {
        crc ^= writer.block_of_last()[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
    }
    raw.crc32c = crc;
    std::memcpy(writer.block_of_last().data(), &raw, sizeof raw);
    auto out = replay(writer.ring(), writer.superblock());
    EXPECT_EQ(out.replay->state(), RingState::HasTransactions);
    EXPECT_EQ(out.hot, (std::set<uint32_t>{1}));
}

// ---- rings from before 8.4 ----

void put_u32(std::vector<uint8_t>& bytes, size_t offset, uint32_t value) {
    for (int i = 0; i < 4; i++)
        bytes[offset + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

void put_old_sector(std::vector<uint8_t>& ring, size_t sector, uint32_t number,
                    const std::vector<ActivityLogUpdate>& entries) {
    const size_t base = sector * 512;
    put_u32(ring, base, 0x83740267);
    put_u32(ring, base + 4, number);
    uint32_t sum = 0;
    for (size_t i = 0; i < 62; i++) {
        const uint32_t extent = i < entries.size() ? entries[i].extent : kExtentFree;
        put_u32(ring, base + 8 + i * 8, i < entries.size() ? entries[i].slot : 0xffff);
        put_u32(ring, base + 12 + i * 8, extent);
        sum ^= extent;
    }
    put_u32(ring, base + 504, sum);
}

Superblock old_superblock(uint32_t al_nr_extents) {
    Superblock sb;
    sb.flags.set(MdFlag::PrimaryInd);
    sb.al_nr_extents = al_nr_extents;
    return sb;
}

TEST(ActivityLogReplay, Pre84UpdateComesAfterItsContext) {
    std::vector<uint8_t> ring(8 * 4096);
    put_old_sector(ring, 0, 1, {{0, 10}});
    put_old_sector(ring, 1, 2, {{0, 11}, {0, 10}, {1, 12}});
    auto out = replay(ring, old_superblock(127));
    EXPECT_EQ(out.replay->state(), RingState::Pre84);
    EXPECT_EQ(out.hot, (std::set<uint32_t>{11, 12}));
}

TEST(ActivityLogReplay, Pre84WrapsAndSkipsTornSectors) {
    std::vector<uint8_t> ring(8 * 4096);
    // 127 extents: four sectors are used; the newest transaction is in sector 1.
    put_old_sector(ring, 2, 0xfffffffe, {{0, 1}});
    put_old_sector(ring, 3, 0xffffffff, {{1, 2}});
    put_old_sector(ring, 0, 0, {{0, 3}});
    put_old_sector(ring, 1, 1, {{2, 4}});
    put_old_sector(ring, 4, 2, {{3, 5}});  // outside the used part
    auto out = replay(ring, old_superblock(127));
    EXPECT_EQ(out.hot, (std::set<uint32_t>{2, 3, 4}));
    ring[512 + 12] ^= 1;
    EXPECT_EQ(replay(ring, old_superblock(127)).hot, (std::set<uint32_t>{2, 3}));
}

TEST(ActivityLogReplay, Pre84WithoutAnyValidSectorIsNoError) {
    std::vector<uint8_t> ring(8 * 4096);
    const Superblock sb = old_superblock(0xffffffff);
    auto out = replay(ring, sb);
    EXPECT_EQ(out.replay->state(), RingState::Pre84);
    EXPECT_TRUE(out.hot.empty());
    EXPECT_TRUE(out.replay->check_usable(sb).ok());
}

}  // namespace
