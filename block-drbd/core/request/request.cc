// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/request/request.h"

#include <new>
#include <type_traits>

namespace drbd {

namespace {

void append(DrbdWaiter*& first, DrbdWaiter*& last, DrbdWaiter& waiter) {
    waiter.next = nullptr;
    (last ? last->next : first) = &waiter;
    last = &waiter;
}

DrbdWaiter* pop(DrbdWaiter*& first, DrbdWaiter*& last) {
    DrbdWaiter* waiter = first;
    if (waiter) {
        first = waiter->next;
        if (!first)
            last = nullptr;
    }
    return waiter;
}

}  // namespace

bool RequestPool::allocate(unsigned size) {
    static_assert(alignof(Request) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ && std::is_trivially_destructible_v<Request>);
    memory_.reset(new (std::nothrow) std::byte[size * sizeof(Request)]);
    size_ = memory_ ? size : 0;
    return memory_ != nullptr;
}

Request* RequestPool::take(DrbdWaiter& waiter, void* owner) {
    Request* request = take();
    if (!request) {
        waiter.owner = owner;
        append(waiting_first_, waiting_last_, waiter);
        waited_++;
        return nullptr;
    }
    request->owner = owner;
    return request;
}

Request* RequestPool::take() {
    // In the order of their places, then in the order in which they came back.
    Request* request;
    if (made_ < size_) {
        request = new (&place(made_)) Request;
        request->index = made_++;
    } else {
        request = free_.pop_front();
    }
    if (request) {
        in_use_++;
        request->uses++;
    }
    return request;
}

void RequestPool::give_back(Request& request) {
    DRBD_ASSERT(request.stage == Stage::Done && !request.range.in_tree && !request.holds_extents);
    DRBD_ASSERT(request.peer.over() && request.peer.in_outbox == 0 && !request.log.linked && !request.answer);
    request.stage = Stage::Free;
    in_use_--;
    free_.push_back(request);
    if (DrbdWaiter* waiter = pop(waiting_first_, waiting_last_))
        append(ready_first_, ready_last_, *waiter);
}

void RequestPool::wake(Request& request) {
    DRBD_ASSERT(request.step != DRBD_STEP_WAIT);
    woken_.push_back(request);
}

void* RequestPool::next_wake() {
    if (Request* request = woken_.pop_front())
        return request->owner;
    if (DrbdWaiter* waiter = pop(ready_first_, ready_last_))
        return waiter->owner;
    return nullptr;
}

bool RequestPool::take_back_wake(Request& request) {
    if (!decltype(woken_)::is_linked(request))
        return false;
    woken_.erase(request);
    return true;
}

// Nearly always there are none.
bool RequestPool::take_back_wake(DrbdWaiter& waiter) {
    DrbdWaiter* previous = nullptr;
    for (DrbdWaiter* w = ready_first_; w; previous = w, w = w->next)
        if (w == &waiter) {
            (previous ? previous->next : ready_first_) = w->next;
            if (ready_last_ == w)
                ready_last_ = previous;
            return true;
        }
    return false;
}

}  // namespace drbd
