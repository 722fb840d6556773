// SPDX-License-Identifier: GPL-2.0-or-later
// The overlap tree against a list that is searched whole.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "core/request/overlap_tree.h"

namespace drbd {
namespace {

class RandomTree : public testing::TestWithParam<unsigned> {};  // how far ranges reach

TEST_P(RandomTree, AnswersAsAListWould) {
    const unsigned span = GetParam();
    std::mt19937_64 random(span);
    OverlapTree tree;
    std::vector<std::unique_ptr<Interval>> in_tree;
    unsigned inserted = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        auto interval = std::make_unique<Interval>();
        interval->start = random() % 5000;
        interval->end = interval->start + 1 + random() % span;
        const bool expected = std::any_of(in_tree.begin(), in_tree.end(),
                                          [&](const auto& other) { return other->overlaps(*interval); });
        ASSERT_EQ(tree.overlaps(*interval), expected) << "round " << round;
        if (!expected) {
            tree.insert(*interval);
            in_tree.push_back(std::move(interval));
            inserted++;
        } else {
            refused++;
        }
        while (!in_tree.empty() && random() % 100 < 48) {
            const size_t i = random() % in_tree.size();
            tree.erase(*in_tree[i]);
            in_tree[i] = std::move(in_tree.back());
            in_tree.pop_back();
        }
    }
    EXPECT_GT(inserted, 1000u);
    EXPECT_GT(refused, 100u);
    for (auto& interval : in_tree)
        tree.erase(*interval);
    EXPECT_TRUE(tree.empty());
}

INSTANTIATE_TEST_SUITE_P(Spans, RandomTree, testing::Values(40, 200, 2000));

TEST(OverlapTree, NeighboursDoNotOverlap) {
    OverlapTree tree;
    Interval a, b, c;
    a.start = 0, a.end = 10, b.start = 10, b.end = 20, c.start = 9, c.end = 10;
    tree.insert(a);
    EXPECT_FALSE(tree.overlaps(b));
    EXPECT_TRUE(tree.overlaps(c));
    tree.insert(b);
    tree.erase(a);
    EXPECT_FALSE(tree.overlaps(c));
    tree.erase(b);
}

}  // namespace
}  // namespace drbd
