// SPDX-License-Identifier: GPL-2.0-or-later
// Intrusive doubly linked list: the element carries the link, so that nothing
// is allocated and an element leaves in constant time.  An element is in at
// most one list per link; a list knows its length.
#pragma once

#include "core/base/assert.h"

namespace drbd {

template <typename T>
struct ListLink {
    T* previous = nullptr;
    T* next = nullptr;
    bool linked = false;
};

template <typename T, ListLink<T> T::*Link>
class List {
  public:
    List() = default;
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    bool empty() const { return first_ == nullptr; }
    unsigned size() const { return size_; }
    T* first() const { return first_; }
    T* last() const { return last_; }
    static T* next(const T& element) { return (element.*Link).next; }
    static T* previous(const T& element) { return (element.*Link).previous; }
    static bool is_linked(const T& element) { return (element.*Link).linked; }

    void push_back(T& element) {
        ListLink<T>& link = element.*Link;
        DRBD_ASSERT(!link.linked);
        link = {last_, nullptr, true};
        (last_ ? (last_->*Link).next : first_) = &element;
        last_ = &element;
        size_++;
    }

    void erase(T& element) {
        ListLink<T>& link = element.*Link;
        DRBD_ASSERT(link.linked);
        (link.previous ? (link.previous->*Link).next : first_) = link.next;
        (link.next ? (link.next->*Link).previous : last_) = link.previous;
        link = {};
        size_--;
    }

    T* pop_front() {
        T* element = first_;
        if (element)
            erase(*element);
        return element;
    }

  private:
    T* first_ = nullptr;
    T* last_ = nullptr;
    unsigned size_ = 0;
};

}  // namespace drbd
