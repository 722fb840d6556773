// SPDX-License-Identifier: GPL-2.0-or-later
// The target of a resync: asks for what is marked, a window ahead, writes what
// comes, and believes it after a flush (spec 7.2, 7.3; design D15, D16).
//
// Life of a range: locked against the guest's writes - asked for - answered:
// takes its place among the peer's writes (PeerIo::enter) - at the image -
// written, waits for a flush - flushed: bits cleared, acknowledged, unlocked.
// A range that the source says is all zeroes is written as such, unless it
// reads as zero here already.
// In: replies, the end of I/O, locks granted, blocks marked.  Out: requests,
// I/O on the image, acknowledgements, and "everything is answered".
// Invariants: every answer of the source meets the range that was asked for;
// every answer is acknowledged, with P_NEG_ACK where the bits stay set; a block
// that was marked since it was asked for is not cleared, but asked for again.
#pragma once

#include "core/resync/parts.h"
#include "core/resync/request_window.h"

namespace drbd {

enum class TargetStep : uint8_t {
    Free,
    Locking,   // waits for writes of the guest
    Asked,     // waits for the source
    Answered,  // all zeroes, waits for a peer request
    Ordering,  // waits for overlapping writes of the peer
    AtImage,
    Written,   // waits for a flush to begin
    Flushing,
};

struct TargetRange : RangeLock {
    ListLink<TargetRange> link;
    TargetStep step = TargetStep::Free;
    PeerRequest* io = nullptr;   // Ordering, AtImage
    uint64_t times_up = 0;       // the connection it was asked on
    uint64_t asked_ms = 0;       // Asked
    bool locked = false;         // or waits for the lock
    bool thin = false;           // may be answered with "all zeroes"
    bool abandoned = false;      // the resync has ended: nothing comes of it
    bool marked = false;         // a block of it was marked meanwhile
    bool is_zero = false;        // nothing was written: it read as zero

    Sector sector() const { return Sector(range.start / kSectorSize); }
    Bytes size() const { return Bytes(range.end - range.start); }
};

class ResyncTarget final : public RangeLockListener, public PeerRangeWaiter {
  public:
    explicit ResyncTarget(const ResyncParts& parts);

    void begin();
    // Nothing more is asked for or believed.  Writes at the image end in their
    // time; what the source still answers, if the link is up, is refused.
    void stop();
    void set_paused(bool paused) { paused_ = paused; }
    bool is_running() const { return running_; }
    // Writes of a resync that has ended are at the image still, or on their way there.
    bool is_writing_on() const;
    uint64_t failed_blocks() const { return failed_blocks_; }
    // When the oldest request was sent that the source has not answered; UINT64_MAX: there is none.
    uint64_t oldest_asked_ms() const;
    // The same of a resync that has ended while the link stayed up.  A kernel source never answers what it has read when
    // this node has no disk any more (spec 3.2); a request of the next resync could not be told from it.
    uint64_t owed_since_ms() const { return !running_ && !asked_.empty() ? asked_.first()->asked_ms : UINT64_MAX; }

    Result<BulkVerdict> on_reply_announced(const wire::Frame& frame);
    Result<void> on_reply(const wire::Frame& frame, void* buffer);
    Result<void> on_deallocated(const wire::Frame& frame);
    // P_NEG_RS_DREPLY, P_RS_CANCEL
    Result<void> on_refused(wire::Packet packet, const wire::BlockAck& ack);

    void on_peer_io_done(PeerRequest& request);
    void on_peer_range_granted(PeerRequest& request) override;
    void on_range_locked(RangeLock& lock) override;
    void on_marked(uint64_t first_block, uint64_t end_block);
    void pump();
    uint64_t next_deadline_ms() const;

  private:
    using RangeList = List<TargetRange, &TargetRange::link>;

    bool may_ask() const;
    void ask_more();
    uint64_t blocks_to_ask(uint64_t first, uint64_t scan_end) const;
    void ask(TargetRange& range);
    TargetRange* find_asked(Sector sector, Bytes size);
    void no_longer_asked(TargetRange& range);
    void answered(TargetRange& range);
    void serve_answered();
    void write_zeroes(TargetRange& range, PeerRequest& request);
    void enter(TargetRange& range, PeerRequest& request);
    void begin_flush_if_due();
    void flush_done(PeerRequest& request);
    void finish_if_done();

    void refuse(TargetRange& range);
    void fail(TargetRange& range);
    void send_ack(const TargetRange& range, wire::Packet packet);
    void abandon(TargetRange& range);
    void unlock(TargetRange& range);
    void release(TargetRange& range);

    const ResyncParts& parts_;
    bool running_ = false;
    bool paused_ = false;
    bool answered_ = false;          // the listener has been told
    uint64_t position_ = 0;          // next block to look at
    bool has_more_ = false;          // the scan stopped for the sake of others
    bool again_ = false;             // a range was refused for now, or marked meanwhile
    uint64_t retry_at_ms_ = UINT64_MAX;
    uint64_t failed_blocks_ = 0;

    TargetRange ranges_[kResyncRequestsMax];
    RangeList free_, asked_, answered_zero_, written_, flushing_;
    RequestWindow window_;
    uint64_t bytes_asked_ = 0;       // in asked_
    unsigned active_ = 0;            // ranges of this resync
    uint64_t bytes_ahead_ = 0;       // of those, without what is known to be zero
    uint64_t bytes_written_ = 0;     // in written_
    uint64_t written_since_ms_ = 0;  // the first of written_
    PeerRequest* flush_ = nullptr;
    PeerRequest* set_aside_ = nullptr;  // for the reply that was announced
};

}  // namespace drbd
