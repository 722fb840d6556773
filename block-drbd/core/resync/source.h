// SPDX-License-Identifier: GPL-2.0-or-later
// The source of a resync: reads what the target asks for and answers (spec 3.2,
// traps 71, 72, 74; design D15, D16).
//
// Life of a request: queued - locked against the guest's writes - perhaps: does
// it read as zero? - read - answered, and unlocked as soon as the answer is
// queued - acknowledged by the target: bits cleared, remembered as unconfirmed.
// In: requests, acknowledgements, the end of I/O, packets that have left.  Out:
// I/O on the image, answers, bits.
// Invariants: every request gets exactly one answer while the link is up; an
// acknowledgement must meet an answer; a block that was marked after it was
// read is not cleared; reads leave half of the pool of peer requests to the
// writes of the peer, so that two nodes that are each other's source go on.
#pragma once

#include "core/resync/parts.h"
#include "core/resync/unconfirmed.h"

namespace drbd {

struct SourceRequest {
    ListLink<SourceRequest> link;
    Sector sector;
    Bytes size;
    wire::BlockId id;        // echoed
    bool thin = false;
    // Blocks that were marked since: the acknowledgement does not clear them.
    uint64_t first_marked = 0, end_marked = 0;

    Interval range() const {
        Interval range;
        range.start = to_bytes(sector).value;
        range.end = range.start + size.value;
        return range;
    }
    void add_marked(uint64_t first, uint64_t end);
};

// A request that is being read.
struct SourceRead : RangeLock {
    ListLink<SourceRead> link;
    SourceRequest* request = nullptr;  // null: abandoned, or not in use
    PeerRequest* io = nullptr;
    bool at_image = false;             // else it waits for the lock
};

class ResyncSource final : public RangeLockListener {
  public:
    ResyncSource(const ResyncParts& parts, Unconfirmed& unconfirmed);

    void begin();
    // What is not answered is refused, if the link is up.
    void stop();
    bool is_running() const { return running_; }
    uint64_t failed_blocks() const { return failed_blocks_; }
    bool was_asked() const { return was_asked_; }  // since begin()
    uint64_t unacknowledged_blocks() const;
    uint64_t kept_blocks() const { return kept_blocks_; }
    // There is room for a request.  Acknowledgements come on the other stream, and may stand still on it while
    // requests go on: those wait in the socket, then.  No time limit: a target may write as slowly as its disk does.
    bool may_receive() const { return !free_.empty(); }

    // P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_CSUM_RS_REQUEST; only while may_receive().
    Result<void> on_request(const wire::Frame& frame);
    // P_RS_WRITE_ACK, P_NEG_ACK
    Result<void> on_ack(wire::Packet packet, const wire::BlockAck& ack);

    void on_peer_io_done(PeerRequest& request);
    void on_packet_left(PeerRequest& request);
    void on_range_locked(RangeLock& lock) override;
    void on_marked(uint64_t first_block, uint64_t end_block);
    void pump();

  private:
    using RequestList = List<SourceRequest, &SourceRequest::link>;

    bool has_room(uint64_t bytes) const;
    void begin_io(SourceRead& read);
    void answer(SourceRead& read, PeerRequest& io, bool deallocated);
    void refuse(SourceRequest& request);
    void abandon(SourceRead& read);
    void clear_bits(const SourceRequest& request);
    SourceRequest* find_answered(Sector sector, Bytes size);

    const ResyncParts& parts_;
    Unconfirmed& unconfirmed_;
    bool running_ = false;
    bool was_asked_ = false;
    uint64_t failed_blocks_ = 0;
    uint64_t kept_blocks_ = 0;  // acknowledged, and marked meanwhile, or beside such a block
    SourceRequest requests_[kResyncUnansweredMax];
    RequestList free_, queued_, answered_;
    SourceRead reads_[kResyncReadsMax];
    List<SourceRead, &SourceRead::link> free_reads_;
};

}  // namespace drbd
