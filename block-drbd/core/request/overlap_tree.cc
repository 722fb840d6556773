// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/request/overlap_tree.h"

#include <algorithm>

#include "core/base/assert.h"

namespace drbd {

namespace {

// Intervals in the tree never overlap, so the start alone orders them.
bool precedes(const Interval& a, const Interval& b) { return a.start < b.start; }

void update(Interval& node) {
    node.largest_end = node.end;
    if (node.left)
        node.largest_end = std::max(node.largest_end, node.left->largest_end);
    if (node.right)
        node.largest_end = std::max(node.largest_end, node.right->largest_end);
}

uint32_t scramble(uint32_t n) {
    n = (n ^ (n >> 16)) * 0x7feb352du;
    n = (n ^ (n >> 15)) * 0x846ca68bu;
    return n ^ (n >> 16);
}

}  // namespace

void OverlapTree::insert(Interval& interval) {
    DRBD_ASSERT(!interval.in_tree && interval.start < interval.end);
    interval.left = interval.right = nullptr;
    interval.priority = scramble(++counter_);
    interval.in_tree = true;
    update(interval);
    Interval *before, *after;
    split(root_, interval, before, after);
    root_ = merge(merge(before, &interval), after);
}

void OverlapTree::erase(Interval& interval) {
    DRBD_ASSERT(interval.in_tree);
    root_ = without(root_, interval);
    interval.in_tree = false;
}

bool OverlapTree::overlaps(const Interval& interval) const {
    for (const Interval* node = root_; node;) {
        if (node->overlaps(interval))
            return true;
        // If the left subtree ends behind our start and still has no overlap,
        // all it holds there begins behind our end, and so does what is right.
        node = node->left && node->left->largest_end > interval.start ? node->left : node->right;
    }
    return false;
}

void OverlapTree::split(Interval* tree, const Interval& at, Interval*& before, Interval*& after) {
    if (!tree) {
        before = after = nullptr;
    } else if (precedes(*tree, at)) {
        split(tree->right, at, tree->right, after);
        before = tree;
        update(*tree);
    } else {
        split(tree->left, at, before, tree->left);
        after = tree;
        update(*tree);
    }
}

Interval* OverlapTree::merge(Interval* before, Interval* after) {
    if (!before || !after)
        return before ? before : after;
    if (before->priority > after->priority) {
        before->right = merge(before->right, after);
        update(*before);
        return before;
    }
    after->left = merge(before, after->left);
    update(*after);
    return after;
}

Interval* OverlapTree::without(Interval* tree, Interval& interval) {
    DRBD_ASSERT(tree);
    if (tree == &interval)
        return merge(tree->left, tree->right);
    if (precedes(interval, *tree))
        tree->left = without(tree->left, interval);
    else
        tree->right = without(tree->right, interval);
    update(*tree);
    return tree;
}

}  // namespace drbd
