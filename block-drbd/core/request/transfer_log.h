// SPDX-License-Identifier: GPL-2.0-or-later
// The writes of a resource that were sent and are not confirmed by a barrier
// acknowledgement, in the order of sending, over all volumes; and their epochs
// (spec 6.2 to 6.4).  Reads that the peer was asked for wait here too.
//
// In: a write is sent, completed, acknowledged; the connection is lost.  Out:
// P_BARRIER packets, and to each write: acknowledged, its epoch is confirmed, or
// the peer is lost.
// When an epoch ends.  Under A and B: before a write of it completes to the
// guest, so that nothing that depends on it shares its epoch.  Under C a write
// that completes is on both images already, and what a guest wants ordered
// across a loss of power it flushes; so the epoch ends with a flush, or just
// before one that is expected (flush_rhythm.h), after max-epoch-size packets, when the activity log, the pool of requests or a
// demotion waits for it, and after a tenth of a second.  Each end costs the
// peer a flush of its disk (docs/decisions/0014-epochs.md).
// Invariants: a P_BARRIER closes at least one write and follows all its packets;
// epochs are confirmed in order; a write's references in the activity log last
// until it leaves the log.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/bitmap/bitmap.h"
#include "core/connection/link.h"
#include "core/request/request.h"
#include "core/wire/values.h"

namespace drbd {

struct TransferLogCounters {
    uint64_t epochs_closed = 0, writes_sent = 0, acks = 0, negative_acks = 0;
};

// Bits that are set in the blocks which a range of bytes touches; a disk that came since may be smaller.
inline uint64_t count_bits(const Bitmap& bitmap, const Interval& range) {
    const uint64_t first = range.start / kBlockSize, end = std::min(divide_up(range.end, kBlockSize), bitmap.bits());
    return first < end ? bitmap.count(first, end) : 0;
}

class TransferLogListener {
  public:
    virtual void on_barrier_sent(uint64_t epoch) = 0;
    // It and all before it: those writes are stable on the peer.
    virtual void on_epoch_confirmed(uint64_t epoch) = 0;

  protected:
    ~TransferLogListener() = default;
};

class TransferLog {
  public:
    static constexpr uint64_t kEpochAgeMs = 100;

    TransferLog(Link& link, RequestPool& pool) : link_(link), pool_(pool) {}
    TransferLog(const TransferLog&) = delete;
    TransferLog& operator=(const TransferLog&) = delete;

    // Packets that requests may have queued at once, P_BARRIERs included: what
    // the pool of outgoing packets must have beside kControlPacketsMax and those
    // of peer requests.  `requests`: size of their pool.
    static constexpr unsigned packets_max(unsigned requests) {
        return 2 * (requests > 2 * kPiecesMax ? requests : 2 * kPiecesMax);
    }

    void configure(unsigned max_epoch_size) { max_epoch_size_ = max_epoch_size; }
    void set_listener(TransferLogListener& listener) { listener_ = &listener; }
    void set_volume(unsigned number, GuestIo* io) { volumes_[number] = io; }  // null: closed

    // Ends the current epoch if it has a write.  Returns the number up to which
    // confirmations are needed for everything sent so far; is_confirmed(0) holds.
    uint64_t close_epoch();
    bool is_confirmed(uint64_t epoch) const { return writes_.empty() || writes_.first()->peer.epoch > epoch; }
    void on_time();
    uint64_t next_deadline_ms() const;

    // An epoch of its own without data: an empty P_DATA that says FLUSH.  Its
    // confirmation says that the peer's disk was flushed (design D15).  Not
    // below protocol 100 or with an integrity algorithm, where it cannot be
    // said, nor without a free request: then nothing is sent.
    void send_empty_flush(unsigned volume);

    // P_BARRIER_ACK (spec 6.4).
    Result<void> on_barrier_ack(const wire::BarrierAck& ack);

    // The connection is lost; volumes have their Access without it already, and
    // begin_generation() was called where it is due.  Each write and read is
    // told, in order, at most `slice` of them; true when none is left.
    bool lose_peer(unsigned slice);
    // The peer's disk is lost while the connection stays: what it has not
    // confirmed may never be stable there, and is marked.  What it had not even
    // acknowledged is a loss to the guest, where that lives on it.
    void peer_disk_lost(unsigned volume);
    // Of the bits that are set, so many at most will be cleared when these writes are
    // confirmed; the peer may have cleared its own already.
    uint64_t blocks_to_clear(unsigned volume, const Bitmap& bitmap) const;

    // When the oldest packet was queued that the peer has not answered;
    // UINT64_MAX: none.  What the timeout of requests is measured by (spec 1.4).
    uint64_t oldest_unanswered_ms() const;
    unsigned unconfirmed() const { return writes_.size(); }
    unsigned unanswered() const { return unanswered_ + reads_.size(); }  // writes and reads
    unsigned epochs() const { return writes_.empty() ? 0 : static_cast<unsigned>(writes_.last()->peer.epoch - writes_.first()->peer.epoch) + 1; }
    // The newest epoch whose P_BARRIER was sent, and that was acknowledged.
    uint64_t closed_through() const { return current_ - 1; }
    uint64_t confirmed_through() const { return confirmed_through_; }
    const TransferLogCounters& counters() const { return counters_; }

    // ---- for GuestIo ----

    wire::BlockId handle_of(const Request& request) const;
    // The request that a handle names, still waiting for an answer or its
    // confirmation; null if there is none (spec 6.3).
    Request* find(wire::BlockId id);

    bool has_room(unsigned packets) const { return queued_ == 0 || queued_ + packets <= queued_max(); }
    void wait_for_room(Request& request) { wait_send_.push_back(request); }
    void stop_waiting(Request& request) { wait_send_.erase(request); }
    // So many packets of one write are about to be queued, in one epoch.
    void prepare(unsigned packets);
    void packet_queued() { queued_++; }
    void packet_left(bool sent);
    // They have just been queued.
    void add(Request& request);
    void add_read(Request& request);
    void remove_read(Request& request) { reads_.erase(request); }
    void acknowledged(Request& request);  // nothing is due any more but the confirmation
    void count_ack(bool negative) { (negative ? counters_.negative_acks : counters_.acks)++; }

    // The guest is about to be told: A and B end the epoch first.
    void completing(Request& request);
    // Up to which epoch a flush needs confirmations, all closed: those that hold
    // a write that completed and that the peer has.
    uint64_t epoch_to_flush();
    // Epochs up to this one were lost with the peer, if they were not confirmed.
    uint64_t lost_through() const { return lost_through_; }
    bool is_closed(uint64_t epoch) const { return epoch < current_; }
    // A write to the range failed: no older one may clear its bits.  The peer has cleared those of the older ones,
    // but for the range itself, if it failed `there`.
    void forbid_clearing(const GuestIo& io, const Interval& range, const Bitmap& bitmap, bool there);

  private:
    using LogList = List<Request, &Request::log>;

    unsigned queued_max() const { return packets_max(pool_.size()) / 2; }
    const Request* first_unacknowledged() const;
    void forget(Request& request);
    void resume_waiting();
    void tell_volumes();

    Link& link_;
    RequestPool& pool_;
    GuestIo* volumes_[DRBD_MAX_VOLUMES] = {};
    TransferLogListener* listener_ = nullptr;
    unsigned max_epoch_size_ = 2048;
    LogList writes_, reads_;
    RequestQueue wait_send_;
    uint64_t current_ = 1;            // number of the epoch that new writes join
    unsigned current_writes_ = 0, current_packets_ = 0;
    Request* current_first_ = nullptr;
    uint64_t completed_ = 0;          // the newest epoch with a write that completed
    uint64_t lost_through_ = 0, confirmed_through_ = 0;
    unsigned queued_ = 0;             // packets of requests that have not left
    unsigned unanswered_ = 0;         // writes with acknowledgements due
    mutable Request* cursor_ = nullptr;       // no write before it has any due
    bool losing_ = false;
    TransferLogCounters counters_;
};

}  // namespace drbd
