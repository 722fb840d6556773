// SPDX-License-Identifier: GPL-2.0-or-later
// The activity log against a model, with a ring in memory that is replayed as
// a crash would find it.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "core/activity_log/activity_log.h"
#include "metafmt/activity_log_replay.h"

namespace drbd {
namespace {

// The log, its ring on the "disk", and who holds what.
class Bench {
  public:
    Bench(uint32_t slots, metafmt::ActivityLogGeometry geometry) : geometry_(geometry), ring_(geometry.blocks() * kBlockSize) {
        EXPECT_TRUE(log.allocate(slots, geometry).ok());
        for (uint64_t i = 0; i < geometry.blocks(); i++)
            metafmt::encode_activity_log_initialized(block(i));
        superblock_.al = geometry;
        superblock_.al_nr_extents = slots;
        superblock_.flags.set(metafmt::MdFlag::PrimaryInd);
    }

    metafmt::Block block(uint64_t i) { return metafmt::Block(ring_.data() + i * kBlockSize, kBlockSize); }

    bool hold(ExtentRange range) {
        if (!log.try_hold(range))
            return false;
        for (uint32_t e = range.first; e <= range.last; e++) {
            EXPECT_TRUE(hot.count(e)) << e << " was held without being hot";
            holds[e]++;
        }
        return true;
    }
    bool reserve(ExtentRange range) {
        const std::set<uint32_t> evicted_before = evicted();
        if (!log.reserve(range))
            return false;
        for (uint32_t e = range.first; e <= range.last; e++)
            holds[e]++;
        for (uint32_t e : evicted()) {
            EXPECT_FALSE(holds.count(e) && !evicted_before.count(e) && !hot.count(e)) << e;
            if (!evicted_before.count(e))
                EXPECT_FALSE(held_hot(e)) << e << " is held and was evicted";
            hot.erase(e);
        }
        for (uint32_t e = range.first; e <= range.last; e++)
            pending.insert(e);
        return true;
    }
    void drop(ExtentRange range, uint64_t written = 0) {
        log.drop(range, written);
        for (uint32_t e = range.first; e <= range.last; e++)
            if (--holds[e] == 0)
                holds.erase(e);
    }
    // The transaction reaches the disk, torn first: a crash in between counts too.
    void commit(std::mt19937_64& random) {
        uint8_t bytes[kBlockSize];
        std::memset(bytes, 0, sizeof bytes);
        const uint64_t place = log.encode(metafmt::Block(bytes, kBlockSize));
        ASSERT_LT(place, geometry_.blocks());
        const uint64_t torn = random() % 9 * 512;
        std::memcpy(block(place).data(), bytes, torn);
        expect_replay_covers();
        std::memcpy(block(place).data(), bytes, kBlockSize);
        expect_replay_covers();
        log.commit();
        hot.insert(pending.begin(), pending.end());
        pending.clear();
        expect_replay_covers();
    }
    // The transaction is given up before anything of it was written.
    void abandon(const std::vector<ExtentRange>& reserved) {
        const std::set<uint32_t> restored = evicted();
        for (ExtentRange range : reserved) {
            log.withdraw(range);
            for (uint32_t e = range.first; e <= range.last; e++)
                if (--holds[e] == 0)
                    holds.erase(e);
        }
        log.abandon();
        EXPECT_FALSE(log.is_prepared());
        hot.insert(restored.begin(), restored.end());
        pending.clear();
        expect_replay_covers();
    }
    // What a crash would mark holds everything that may be written now.
    void expect_replay_covers() {
        auto replay = std::make_unique<metafmt::ActivityLogReplay>();
        replay->read(ring_, superblock_);
        ASSERT_TRUE(replay->check_usable(superblock_).ok());
        std::set<uint32_t> marked;
        replay->for_each_hot_extent([&](uint32_t e) { marked.insert(e); });
        for (const auto& [extent, count] : holds)
            if (hot.count(extent))
                ASSERT_TRUE(marked.count(extent)) << "extent " << extent << " is held, the ring does not know it";
    }
    std::set<uint32_t> evicted() const { return {log.evicted().begin(), log.evicted().end()}; }
    bool held_hot(uint32_t e) const { return holds.count(e) && hot.count(e); }

    ActivityLog log;
    std::map<uint32_t, unsigned> holds;
    std::set<uint32_t> hot, pending;

  private:
    metafmt::ActivityLogGeometry geometry_;
    std::vector<uint8_t> ring_;
    metafmt::Superblock superblock_;
};

struct Shape {
    uint32_t slots;
    uint32_t stripes, stripe_size;
    uint32_t extents;  // of the disk
    int rounds;
};

class RandomLog : public testing::TestWithParam<Shape> {};

TEST_P(RandomLog, NeverForgetsWhatIsHeld) {
    const Shape shape = GetParam();
    std::mt19937_64 random(shape.slots);
    Bench bench(shape.slots, {shape.stripes, shape.stripe_size});
    std::vector<ExtentRange> held, reserved;
    size_t committed = 0;  // of the reserved ones, those whose transaction is on the disk
    for (int round = 0; round < shape.rounds; round++) {
        const uint32_t length = random() % 10 == 0 ? 33 : 1 + static_cast<uint32_t>(random() % 3);
        const uint32_t first = static_cast<uint32_t>(random() % (shape.extents - length));
        const ExtentRange range{first, first + length - 1};
        if (bench.hold(range)) {
            held.push_back(range);
        } else if (bench.reserve(range)) {
            reserved.push_back(range);
        } else if (bench.log.is_prepared()) {
            bench.commit(random);
            committed = reserved.size();
        }
        while (!held.empty() && (random() % 3 == 0 || held.size() > 12)) {
            const size_t i = random() % held.size();
            bench.drop(held[i]);
            held[i] = held.back();
            held.pop_back();
        }
        if (random() % 20 == 0 && bench.log.is_prepared()) {
            bench.abandon({reserved.begin() + static_cast<long>(committed), reserved.end()});
            reserved.resize(committed);
        }
        if (random() % 6 == 0 && !reserved.empty()) {
            if (bench.log.is_prepared())
                bench.commit(random);
            held.insert(held.end(), reserved.begin(), reserved.end());
            reserved.clear();
            committed = 0;
        }
        std::set<uint32_t> referenced;
        for (const auto& [extent, count] : bench.holds)
            referenced.insert(extent);
        ASSERT_EQ(bench.log.referenced(), referenced.size());
        ASSERT_LE(bench.log.used(), shape.slots);
        if (testing::Test::HasFatalFailure())
            return;
    }
    EXPECT_GT(bench.log.transactions(), static_cast<uint64_t>(shape.rounds / 50));
}

INSTANTIATE_TEST_SUITE_P(Shapes, RandomLog,
                         testing::Values(Shape{67, 1, 8, 300, 4000}, Shape{67, 4, 5, 100000, 4000},
                                         Shape{257, 1, 8, 1000, 3000}, Shape{1237, 1, 8, 3000, 2500},
                                         Shape{6433, 1, 8, 20000, 2500}));

TEST(ActivityLog, AFullLogRefusesAndChangesNothing) {
    std::mt19937_64 random(1);
    Bench bench(67, {1, 8});
    for (uint32_t e = 0; e < 64; e++)
        ASSERT_TRUE(bench.reserve({e, e}));
    EXPECT_FALSE(bench.reserve({64, 64})) << "a transaction has 64 updates";
    bench.commit(random);
    ASSERT_TRUE(bench.reserve({64, 66}));
    bench.commit(random);
    EXPECT_FALSE(bench.reserve({100, 100}));
    EXPECT_FALSE(bench.reserve({66, 67})) << "66 is hot, 67 has no room";
    EXPECT_EQ(bench.log.referenced(), 67u);
    EXPECT_FALSE(bench.log.is_prepared());
    bench.drop({5, 5});
    EXPECT_FALSE(bench.reserve({100, 101}));
    ASSERT_TRUE(bench.reserve({100, 100}));
    EXPECT_EQ(bench.evicted(), std::set<uint32_t>{5});
    EXPECT_FALSE(bench.log.try_hold({5, 5})) << "evicted";
    EXPECT_FALSE(bench.log.try_hold({100, 100})) << "not stable yet";
    bench.commit(random);
    EXPECT_TRUE(bench.hold({100, 100}));
}

TEST(ActivityLog, ARangeDoesNotEvictItself) {
    std::mt19937_64 random(1);
    Bench bench(67, {1, 8});
    for (uint32_t e = 0; e < 67; e += 33)
        if (e + 32 < 67) {
            ASSERT_TRUE(bench.reserve({e, e + 32}));
            if (e)
                bench.commit(random), bench.drop({0, 32});
            else
                bench.commit(random);
        }
    // 33 idle, 33 held, one free; 32..64 shares extent 32 with the idle ones.
    ASSERT_TRUE(bench.reserve({66, 66}));
    bench.commit(random);
    bench.drop({33, 65});
    ASSERT_TRUE(bench.reserve({65, 97}));  // 65 and 66 hot, 31 to come
    for (uint32_t e : bench.evicted())
        EXPECT_TRUE(e < 65) << e;
    bench.commit(random);
}

TEST(ActivityLog, KnowsWhatEvictedExtentsNeedFlushed) {
    std::mt19937_64 random(1);
    Bench bench(67, {1, 8});
    ASSERT_TRUE(bench.reserve({0, 31}));
    EXPECT_EQ(bench.log.evicted_written(), 0u) << "free slots";
    bench.commit(random);
    for (const ExtentRange range : {ExtentRange{32, 63}, ExtentRange{64, 66}}) {
        ASSERT_TRUE(bench.reserve(range));
        bench.commit(random);
    }
    for (uint32_t e = 0; e < 67; e++)
        bench.drop({e, e}, 1000 + e);
    ASSERT_TRUE(bench.reserve({500, 501}));
    EXPECT_EQ(bench.log.evicted_written(), 1001u) << "the later of 0 and 1";
    bench.commit(random);
    EXPECT_EQ(bench.log.evicted_written(), 0u);
}

TEST(ActivityLog, EvictsTheLeastRecentlyUsed) {
    std::mt19937_64 random(1);
    Bench bench(67, {1, 8});
    for (uint32_t e = 0; e < 67; e++) {
        if (!bench.reserve({e, e})) {
            bench.commit(random);
            ASSERT_TRUE(bench.reserve({e, e}));
        }
    }
    bench.commit(random);
    for (uint32_t e = 0; e < 67; e++)
        bench.drop({e, e});
    ASSERT_TRUE(bench.hold({0, 0}));  // used again
    bench.drop({0, 0});
    ASSERT_TRUE(bench.reserve({500, 501}));
    EXPECT_EQ(bench.evicted(), (std::set<uint32_t>{1, 2}));
    bench.commit(random);
}

// Many keys that hash into few buckets: erasing must not cut a chain.
TEST(ActivityLog, FindsEverythingDespiteCollisions) {
    std::mt19937_64 random(7);
    Bench bench(67, {1, 8});
    // Multiplication by an odd constant: the inverse gives extents of one bucket.
    uint32_t inverse = 1;
    for (int i = 0; i < 5; i++)
        inverse *= 2 - 2654435761u * inverse;
    std::vector<uint32_t> extents;
    for (uint32_t i = 0; i < 200; i++) {
        const uint32_t extent = (((i % 3 ? 0xffu : 0x0u) << 24) + i * 977) * inverse;
        if (extent < 0xfffffff0u)
            extents.push_back(extent);
    }
    std::vector<uint32_t> held;
    for (int round = 0; round < 1000; round++) {
        const uint32_t e = extents[random() % extents.size()];
        if (!bench.hold({e, e})) {
            if (!bench.reserve({e, e})) {
                ASSERT_FALSE(held.empty());
                bench.drop({held.front(), held.front()});
                held.erase(held.begin());
                continue;
            }
            if (bench.log.is_prepared())
                bench.commit(random);
        }
        held.push_back(e);
        if (held.size() > 30) {
            bench.drop({held.front(), held.front()});
            held.erase(held.begin());
        }
    }
    EXPECT_EQ(bench.log.used(), 67u);
}

TEST(ActivityLog, OneExtentEvictedAndWantedInTheSameTransaction) {
    std::mt19937_64 random(1);
    Bench bench(67, {1, 8});
    ASSERT_TRUE(bench.reserve({0, 32}));
    bench.commit(random);
    ASSERT_TRUE(bench.reserve({33, 65}));
    bench.commit(random);
    ASSERT_TRUE(bench.reserve({66, 66}));
    bench.commit(random);
    bench.drop({0, 32});
    ASSERT_TRUE(bench.reserve({100, 100}));
    const uint32_t victim = *bench.evicted().begin();
    ASSERT_TRUE(bench.reserve({victim, victim}));
    bench.commit(random);
    EXPECT_TRUE(bench.hold({victim, victim}));
    EXPECT_TRUE(bench.hold({100, 100}));
}

}  // namespace
}  // namespace drbd
