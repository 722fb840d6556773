// SPDX-License-Identifier: GPL-2.0-or-later
// The writes of one volume that are under way, by their range on the disk.
// Two writes that overlap must not be under way at once: image and peer could
// finish them in a different order.  An intrusive treap, ordered by start, with
// the largest end of each subtree; its priorities come from a counter, so that
// a run can be repeated.  Nothing is allocated.
#pragma once

#include <cstdint>

namespace drbd {

struct Interval {
    uint64_t start = 0;
    uint64_t end = 0;  // exclusive

    bool overlaps(const Interval& o) const { return start < o.end && o.start < end; }

    // The tree's own.
    uint64_t largest_end = 0;
    uint32_t priority = 0;
    bool in_tree = false;
    Interval* left = nullptr;
    Interval* right = nullptr;
};

class OverlapTree {
  public:
    void insert(Interval& interval);
    void erase(Interval& interval);
    bool overlaps(const Interval& interval) const;
    bool empty() const { return root_ == nullptr; }

  private:
    static void split(Interval* tree, const Interval& at, Interval*& before, Interval*& after);
    static Interval* merge(Interval* before, Interval* after);
    static Interval* without(Interval* tree, Interval& interval);

    Interval* root_ = nullptr;
    uint32_t counter_ = 0;
};

}  // namespace drbd
