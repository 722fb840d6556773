// SPDX-License-Identifier: GPL-2.0-or-later
// One request of the guest, and the pool that all requests of a resource come
// from.  From drbd_on_guest_request() to drbd_request_end() it belongs to one
// coroutine of the caller, which does the step that the request names; where it
// waits is a named stage.  A write that was sent outlives its coroutine: it goes
// back to the pool when the peer has confirmed its epoch, or is lost, and
// nothing of it is queued to be sent (guest_io.h).
#pragma once

#include <cstddef>
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
    WaitState,        // the state of the volume does not admit it yet
    WaitOverlap,      // another write of the same range is under way
    WaitActivityLog,  // its extents are not hot
    Reserved,         // they are in the transaction that is being written
    Copy,             // its payload is being copied
    WaitSend,         // too many packets wait to be sent
    Local,            // the image is doing it
    WaitPeer,         // the image has no part in it any more, the peer has
    Deliver,          // a read: the peer's answer is here
    WaitFlush,        // somebody else's flush may cover this one
    WaitConfirm,      // a flush: the peer's half
    WaitGeneration,   // done locally, but the new data generation is not stable (design D14)
    WaitHandover,     // the peer alone has it, and no disk says yet that this one is not as good
    Done,
};

// A write goes in at most so many packets; zeroes that would need more are refused (ENOTSUP).
constexpr unsigned kPiecesMax = 256;

// What became of a request on its way to the peer and there (replicate.cc, acknowledge.cc).
struct PeerSide {
    uint64_t epoch = 0;             // of the transfer log
    uint64_t sent_ms = 0;
    uint64_t barrier_ms = 0;        // the first of an epoch: when its P_BARRIER was sent
    uint32_t piece_bytes = 0;       // of each packet but the last
    uint32_t digest_piece = 0;      // a digest of each so many bytes was asked for
    uint16_t pieces = 0;
    uint16_t in_outbox = 0;         // packets that wait to be sent
    uint16_t receive_acks_due = 0;
    uint16_t write_acks_due = 0;
    bool replicated = false;        // it was sent, or counts as sent
    bool unsent = false;            // a packet never left: the connection is about to be lost
    bool asks_receive_ack = false;
    bool asks_write_ack = false;
    bool completes_on_write_ack = false;
    bool needs_confirmation = false;       // completes with the confirmation of its epoch
    bool place_needs_confirmation = false; // keeps its range until then
    bool clearable = false;         // the peer may clear bits for it (dp_flag 4)
    bool may_clear = false;         // and so may we, once it is confirmed
    bool failed = false;            // a P_NEG_ACK came
    bool confirmed = false;         // its epoch's P_BARRIER_ACK came
    bool lost = false;              // the peer was lost before that
    uint32_t late_blocks = 0;       // confirmed, and so many bits wait for this node's own disk
    uint32_t kept_blocks = 0;       // so many bits the peer may clear, and this node may not
    uint64_t received[kPiecesMax / 64];  // by piece: P_RECV_ACK came
    uint64_t written[kPiecesMax / 64];   // P_WRITE_ACK, P_RS_WRITE_ACK or P_NEG_ACK

    bool over() const { return !replicated || confirmed || lost; }
};
}  // namespace drbd

struct DrbdRequest {
    drbd::Volume* volume = nullptr;  // where it came in; for the C border
    drbd::GuestIo* io = nullptr;     // the same, for the transfer log
    void* owner = nullptr;
    DrbdRequestKind kind = DRBD_REQUEST_READ;
    drbd::Stage stage = drbd::Stage::Free;
    DrbdStep step = DRBD_STEP_WAIT;
    bool fua = false;
    bool may_unmap = false;
    bool holds_extents = false;
    bool cold = false;           // needed a transaction
    bool local_over = false;     // the image has answered, or has no part in it
    bool local_ok = false;
    bool ended = false;          // drbd_request_end() was called
    bool retried = false;        // READ: the peer refused it once
    bool flush_waived = false;   // FLUSH: the image could not do it, the peer alone covers
    int result = 0;
    uint32_t index = 0;          // in the pool
    uint32_t uses = 0;           // of this place in the pool: part of the handle
    uint32_t attachment = 0;     // of the disk that holds_extents speaks of
    drbd::Interval range;        // bytes
    drbd::ExtentRange extents;
    uint64_t ticket = 0;            // its place among those who wait for a range
    uint64_t waits_since_ms = 0;    // WaitOverlap
    uint64_t flush_generation = 0;  // FLUSH: what must be covered; running: what will be
    uint64_t flush_epoch = 0;       // FLUSH: up to which epoch confirmations are needed
    const uint8_t* payload = nullptr;  // the copy (design D5)
    const uint8_t* digest = nullptr;   // one for each piece
    void* answer = nullptr;            // READ: the peer's
    uint64_t answer_offset = 0;        // the part of the request that is asked for, or has come
    uint32_t answer_bytes = 0;
    drbd::PeerSide peer;
    drbd::ListLink<DrbdRequest> queue;  // of its stage
    drbd::ListLink<DrbdRequest> wake;
    drbd::ListLink<DrbdRequest> log;    // of the transfer log

    bool changes_data() const {
        return kind == DRBD_REQUEST_WRITE || kind == DRBD_REQUEST_ZEROES || kind == DRBD_REQUEST_DISCARD;
    }
    uint64_t bytes() const { return range.end - range.start; }
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
    Request* take();  // or null; for a request that no guest waits for
    void give_back(Request& request);
    // Null also for one that was never taken.
    Request* at(uint32_t index) { return index < made_ ? &place(index) : nullptr; }

    // The request may go on: its owner will be returned by next_wake().
    void wake(Request& request);
    void* next_wake();
    // Whose owner does not wait yet is told otherwise that it may go on.  True if it was to be woken.
    bool take_back_wake(Request& request);
    bool take_back_wake(DrbdWaiter& waiter);
    bool has_wake() const { return !woken_.empty() || ready_first_; }

    unsigned size() const { return size_; }
    unsigned in_use() const { return in_use_; }
    uint64_t waited() const { return waited_; }

  private:
    Request& place(uint32_t index) { return reinterpret_cast<Request*>(memory_.get())[index]; }

    std::unique_ptr<std::byte[]> memory_;  // of a request: not touched before it is taken for the first time
    unsigned made_ = 0;                    // requests that were taken once
    RequestQueue free_;
    List<Request, &Request::wake> woken_;
    DrbdWaiter *waiting_first_ = nullptr, *waiting_last_ = nullptr;  // no request was free
    DrbdWaiter *ready_first_ = nullptr, *ready_last_ = nullptr;      // may try again
    unsigned size_ = 0;
    unsigned in_use_ = 0;
    uint64_t waited_ = 0;
};

}  // namespace drbd
