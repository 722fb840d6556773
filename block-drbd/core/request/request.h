// SPDX-License-Identifier: GPL-2.0-or-later
// One request of the guest, and the pool that all requests of a resource come
// from.  A request is owned by the pool; from drbd_on_guest_request() to
// drbd_request_end() it belongs to one coroutine of the caller, which does the
// step that the request names.  Where a request waits is a named stage.
#pragma once

#include <cstdint>
#include <memory>

#include "core/activity_log/activity_log.h"
#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/request/overlap_tree.h"
#include "drbd-core.h"

namespace drbd {
class GuestIo;
class Volume;

enum class Stage : uint8_t {
    Free,
    WaitOverlap,      // another write of the same range is under way
    WaitActivityLog,  // its extents are not hot
    Reserved,         // they are in the transaction that is being written
    Local,            // the image is doing it
    WaitFlush,        // somebody else's flush may cover this one
    WaitGeneration,   // done locally, but the new data generation is not stable (design D14)
    Done,
};
}  // namespace drbd

struct DrbdRequest {
    drbd::Volume* volume = nullptr;  // where it came in; for the C border
    void* owner = nullptr;
    DrbdRequestKind kind = DRBD_REQUEST_READ;
    drbd::Stage stage = drbd::Stage::Free;
    DrbdStep step = DRBD_STEP_WAIT;
    bool fua = false;
    bool holds_extents = false;
    bool cold = false;           // needed a transaction
    int result = 0;
    drbd::Interval range;        // bytes
    drbd::ExtentRange extents;
    uint64_t flush_generation = 0;  // FLUSH: what must be covered; running: what will be
    drbd::ListLink<DrbdRequest> queue;  // of its stage
    drbd::ListLink<DrbdRequest> wake;

    bool changes_data() const {
        return kind == DRBD_REQUEST_WRITE || kind == DRBD_REQUEST_ZEROES || kind == DRBD_REQUEST_DISCARD;
    }
};

namespace drbd {

using Request = ::DrbdRequest;
using RequestQueue = List<Request, &Request::queue>;

class RequestPool {
  public:
    bool allocate(unsigned size);

    // Null when all are in use; then the waiter is queued and woken when one
    // is free again.
    Request* take(DrbdWaiter& waiter, void* owner);
    void give_back(Request& request);

    // The request may go on: its owner will be returned by next_wake().
    void wake(Request& request);
    void* next_wake();
    bool has_wake() const { return !woken_.empty() || ready_first_; }

    unsigned size() const { return size_; }
    unsigned in_use() const { return in_use_; }
    uint64_t waited() const { return waited_; }

  private:
    std::unique_ptr<Request[]> requests_;
    RequestQueue free_;
    List<Request, &Request::wake> woken_;
    DrbdWaiter *waiting_first_ = nullptr, *waiting_last_ = nullptr;  // no request was free
    DrbdWaiter *ready_first_ = nullptr, *ready_last_ = nullptr;      // may try again
    unsigned size_ = 0;
    unsigned in_use_ = 0;
    uint64_t waited_ = 0;
};

}  // namespace drbd
