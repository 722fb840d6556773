// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's requests on one volume, from admission to completion, on this
// node's image and on the peer's.
//
// In: a request, the end of its local I/O, what the peer answered, the end of an
// activity-log transaction, a change of what is allowed.  Out: the next step of
// a request, wake-ups of others, packets, and to the volume: a disk error, a
// transaction or a generation is wanted.
// A write goes through: admission, overlap, activity log, copy, packets, image,
// acknowledgements, data generation, completion, confirmation of its epoch.
// submit.cc has the way down, replicate.cc what is sent, acknowledge.cc what
// comes back, complete.cc the end; read.cc reads, flush.cc flushes, overlap.cc
// who waits for a range.
// Invariants: writes and range locks in the tree never overlap; a write that is
// at the image holds its extents; an extent is dropped only after the bits are
// decided; nothing completes while a packet of its payload waits to be sent.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "core/metadata/disk.h"
#include "core/request/flush_rhythm.h"
#include "core/request/range_lock.h"
#include "core/request/request.h"
#include "core/request/transfer_log.h"
#include "core/wire/decode.h"

namespace drbd {

// What the state of a volume allows its guest (spec 6.1, 6.9).
struct Access {
    int read_error = -EIO;    // 0, or the errno
    int write_error = -EROFS;
    bool image = false;       // writes go to the image
    bool image_reads = false; // UpToDate: every read may
    bool image_reads_in_sync = false;  // Inconsistent: reads of ranges without a set bit may
    bool image_alone = true;  // a write that the image alone has is a success: it is good, and has not failed
    bool peer_reads = false;  // the peer is UpToDate: what the image cannot answer it does
    bool replicate = false;   // writes go to the peer
    bool send_out_of_sync = false;  // WFBitMapS: the peer is told of bits that are set newly
    bool may_set_in_sync = false;   // in a sync state (dp_flag 4)
    bool hold = false;        // new requests wait: the state is about to change (WFBitMapT, WFSyncUUID, suspended)
};

// What a volume hears from its guest requests.
class GuestIoListener {
  public:
    // The image failed a request.  Not every error is a reason to give the
    // disk up (ENOSPC, a failed discard): that is the listener's to judge.
    virtual void on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) = 0;
    // A write was admitted, and the data generation must be renewed first.
    virtual void on_generation_wanted() = 0;
    // The peer failed a write: from here on there is one copy of it.  If that
    // asks for a new generation (design D14), begin_generation() now.
    virtual void on_peer_write_failed() {}
    // An epoch is confirmed: bits may have become clear, extents free.
    virtual void on_writes_confirmed() {}

  protected:
    ~GuestIoListener() = default;
};

// Takes back the buffer of a read that the peer answered.
class BufferReturn {
  public:
    virtual void release_buffer(void* buffer, uint64_t bytes) = 0;

  protected:
    ~BufferReturn() = default;
};

struct GuestIoCounters {
    uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0, zeroes = 0, zeroed_bytes = 0;
    uint64_t flushes = 0, flushes_saved = 0, overlaps_waited = 0, read_errors = 0, write_errors = 0;
    uint64_t sent_writes = 0, sent_bytes = 0, remote_reads = 0, negative_acks = 0;
};

class GuestIo {
  public:
    static constexpr uint64_t kColdPatienceMs = 100;  // of wants_transaction()

    GuestIo(RequestPool& pool, Disk& disk, GuestIoListener& listener, TransferLog& log, Link& link,
            BufferReturn& buffers, unsigned volume)
        : pool_(pool), disk_(disk), listener_(listener), log_(log), link_(link), buffers_(buffers),
          volume_(volume) {
        log_.set_volume(volume, this);
    }
    ~GuestIo() { log_.set_volume(volume_, nullptr); }
    GuestIo(const GuestIo&) = delete;
    GuestIo& operator=(const GuestIo&) = delete;

    // ---- state ----

    // What may be done from here on; those who were held wait for go_on().
    void change_access(const Access& access);
    void go_on();
    void set_access(const Access& access) {
        change_access(access);
        go_on();
    }
    // The image holds in its cache what the next guest reads: its first flush reaches it.
    void image_is_unflushed() { written_generation_++; }
    // Completed writes are counted; a flush of the image covers those before it began.
    uint64_t written_generation() const { return written_generation_; }
    uint64_t flushed_generation() const { return flushed_generation_; }
    void image_flushed(uint64_t generation) { flushed_generation_ = std::max(flushed_generation_, generation); }
    const Access& access() const { return access_; }
    // max_bio_size of the peer's P_SIZES; only below protocol 94 it means something.
    void set_peer_bio_max(uint32_t bytes) { peer_bio_max_ = bytes; }

    // Flushes reach a disk only while there is one.  A disk that comes was
    // flushed by its attach.
    void disk_came();
    // `flushed`: it went in an orderly way, after a flush; else what it had
    // acknowledged and not flushed may be lost, and flushes say so.  Nothing of
    // the disk is touched after it.
    void disk_went(bool flushed);
    // The disk is lost (after disk_went()): what waits for it goes on with the
    // peer alone if writes are replicated, else it fails; what is at the image
    // ends when the image answers.
    void fail_waiting(int error);

    // A new data generation must be stable before a write completes on this
    // copy alone (design D14): the next write asks for it, or it is being
    // written from now on.
    void want_generation(bool wanted) { generation_wanted_ = wanted; }
    void begin_generation() {
        generation_wanted_ = false;
        generation_pending_ = true;
    }
    void generation_stable();
    // The same at the other end: this node's good disk is given up, and until
    // the peer's new generation is stable there, or Inconsistent here, a crash of
    // both would make two equal copies of them.  What the peer alone has completes
    // with the end: 0, or an errno if the peer is lost as well.
    void begin_handover() { handover_pending_ = true; }
    void end_handover(int error);
    bool in_handover() const { return handover_pending_; }

    // ---- a request ----

    DrbdStep begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags, void* owner,
                   DrbdWaiter& waiter, Request** request);
    DrbdStep copied(Request& request, const void* payload, const uint8_t* digest);
    DrbdStep local_done(Request& request, int result);
    DrbdStep delivered(Request& request);
    int end(Request& request);
    // With step COPY: digests are wanted of each so many bytes of the payload
    // (the last may be shorter), one behind the other; 0: none.
    static uint32_t digest_piece(const Request& request) { return request.peer.digest_piece; }

    // ---- from the peer: an error breaks the connection ----

    // P_RECV_ACK, P_WRITE_ACK, P_RS_WRITE_ACK, P_NEG_ACK, P_SUPERSEDED, P_RETRY_WRITE.
    Result<void> on_ack(wire::Packet packet, const wire::BlockAck& ack);
    // The buffer is released, now or when the guest has it.  From Stage::Deliver
    // on answer() is valid, for that part of the request.
    Result<void> on_data_reply(const wire::DataReply& reply, void* buffer);
    Result<void> on_negative_reply(const wire::BlockAck& ack);  // P_NEG_DREPLY
    static const void* answer(const Request& request) { return request.answer; }
    void on_packet_left(Request& request, bool sent);

    // ---- range locks of a resync ----

    // True: granted at once; else its listener is told later, from no call of it.
    bool lock_range(RangeLock& lock);
    void unlock_range(RangeLock& lock);  // held or waiting

    // ---- activity log ----

    // A transaction is worth writing now: while many of the cold writes of the
    // last one are still at the image, the guest will soon send their
    // successors, which can share it (at depth 64 one transaction then serves 32
    // cold writes and more).  A few stragglers do not count, a lone write waits
    // for nobody, and none longer than kColdPatienceMs (one may be stuck at the image).
    bool wants_transaction() const {
        return !wait_activity_log_.empty() && eviction_possible_ &&
               (wait_activity_log_.size() >= kColdWritesToWaitFor * cold_in_flight_ ||
                link_.now_ms() >= cold_since_ms_ + kColdPatienceMs);
    }
    // When a transaction becomes worth writing by time alone; UINT64_MAX: it is already, or nobody waits.
    uint64_t next_deadline_ms() const {
        return wait_activity_log_.empty() || !eviction_possible_ || wants_transaction() ? UINT64_MAX : cold_since_ms_ + kColdPatienceMs;
    }
    void reserve_for_transaction();
    void transaction_committed();
    // It could not be written, and nothing has changed: those that it was for
    // fail.
    void transaction_abandoned(int error);

    unsigned in_flight() const { return in_flight_; }  // that the guest waits for
    unsigned writes_in_flight() const { return writes_in_flight_; }
    unsigned at_image() const { return at_image_; }
    unsigned outstanding() const { return outstanding_; }  // requests that are not free again
    unsigned unconfirmed() const { return unconfirmed_; }  // writes in the transfer log
    // Bits that the target of a resync may have cleared with the guest's writes, and that are set here.  At most so many.
    uint64_t uncleared_blocks() const { return late_blocks_ + kept_blocks_; }
    void resync_begins() { kept_blocks_ = 0; }
    unsigned held() const { return wait_state_.size(); }
    // A write waits for one before it, or for a range that a resync has locked.
    // Since when a write waits for its range; UINT64_MAX: none does.
    uint64_t waiting_since_ms() const;
    unsigned waiting_for_activity_log() const { return wait_activity_log_.size() + reserved_.size(); }
    const GuestIoCounters& counters() const { return counters_; }

    // ---- for TransferLog ----

    unsigned volume() const { return volume_; }
    void on_confirmed(Request& request);
    void on_peer_lost(Request& request);  // a write or a read
    void on_peer_disk_lost(const Request& request);
    void on_epochs_confirmed();           // or lost: flushes may go on
    void on_room(Request& request);       // it waited to send
    // `there`: the peer marks it, too.  Returns how many bits became set.
    uint64_t mark_out_of_sync(const Interval& range, bool there = false);
    void send_empty_flush(Request& request);

  private:
    // docs/decisions/0003: how many must wait for each one at the image.
    static constexpr unsigned kColdWritesToWaitFor = 8;

    // What a write becomes on the wire.
    struct Shape {
        wire::Packet packet = wire::Packet::Data;
        uint32_t piece = 0;
        uint32_t pieces = 0;
        bool possible() const { return pieces != 0 && pieces <= kPiecesMax; }
    };

    // submit.cc
    DrbdStep admit(Request& request);
    DrbdStep hold(Request& request);
    void begin_wanted_generation();
    DrbdStep begin_write(Request& request);
    DrbdStep hold_extents(Request& request);
    DrbdStep launch(Request& request);
    DrbdStep submit(Request& request);
    bool has_image() const { return access_.image && has_disk_; }
    void note_loss_there(const Request& request);
    // What the image has will be overwritten with what the peer has.
    bool rests_on_peer() const { return !has_image() || !access_.image_alone; }
    bool holds_current(const Request& request) const {
        return request.holds_extents && has_disk_ && request.attachment == attachment_;
    }
    void drop_extents(Request& request);

    // overlap.cc
    bool must_wait_for_range(const Interval& range) const;
    DrbdStep enter_tree(Request& request);
    void release_overlapping();
    bool release_one();

    // replicate.cc
    bool may_replicate() const { return access_.replicate && link_.agreement().version != 0; }
    bool confirms_flushes() const;
    Shape shape_of(const Request& request) const;
    DrbdStep ask_for_copy(Request& request, const Shape& shape);
    void send_write(Request& request, const Shape& shape);
    void set_expectations(Request& request);
    wire::DataFlags flags_of(const Request& request, wire::Packet packet) const;
    void send_out_of_sync(Request& request);
    void send(Request& request, wire::Encoded header, const Payload& payload);

    // acknowledge.cc
    Result<void> on_write_ack(Request& request, wire::Packet packet, unsigned piece);
    Result<void> on_unknown_ack(wire::Packet packet, const wire::BlockAck& ack);

    // read.cc
    DrbdStep route_read(Request& request, bool ask_peer_too);
    DrbdStep ask_peer(Request& request, uint64_t offset);
    DrbdStep read_done(Request& request);
    void retry_read(Request& request, bool ask_peer_too);

    // flush.cc
    DrbdStep begin_flush(Request& request);
    DrbdStep flush_done(Request& request);
    DrbdStep flush_without_image(Request& request, int error);
    DrbdStep flush_covered(Request& request);
    DrbdStep flush_confirmed(Request& request);
    void forget_reported_loss();

    // complete.cc
    DrbdStep write_done(Request& request);
    bool remote_ok(const Request& request) const;
    bool may_complete(const Request& request) const;
    DrbdStep try_complete(Request& request);
    DrbdStep wait_for_generation(Request& request);
    DrbdStep finish_on_peer(Request& request);
    void advance(Request& request);  // try_complete() for one that waits
    bool place_is_certain(const Request& request) const;
    void clear_bits_if_earned(Request& request);
    void count_uncleared(Request& request);
    DrbdStep finish(Request& request, int result);
    void finish_and_wake(Request& request, int result);
    void wake_unless_waiting(Request& request, DrbdStep step) {
        if (step != DRBD_STEP_WAIT)
            pool_.wake(request);
    }
    void settle(Request& request);

    RequestPool& pool_;
    Disk& disk_;
    GuestIoListener& listener_;
    TransferLog& log_;
    Link& link_;
    BufferReturn& buffers_;
    const unsigned volume_;
    Access access_;
    uint64_t cold_since_ms_ = 0;       // the first in wait_activity_log_ came, or was left by a transaction
    bool has_disk_ = false;
    uint32_t attachment_ = 0;          // counts disks that came
    uint32_t peer_bio_max_ = 0;
    bool generation_wanted_ = false;   // the next write asks for it
    bool generation_pending_ = false;  // asked, not stable yet
    bool handover_pending_ = false;    // what the peer alone has is held back
    bool generation_failed_ = false;   // could not be made: no write of this disk completes well on it alone

    OverlapTree tree_;
    RequestQueue wait_state_, wait_overlap_, wait_activity_log_, reserved_, wait_flush_, wait_confirm_,
        wait_generation_, wait_handover_;
    RangeLockQueue wait_lock_;
    uint64_t tickets_ = 0;
    bool releasing_ = false, release_again_ = false;
    bool activity_log_starves_ = false;  // the first waiter found nothing to evict
    bool eviction_possible_ = true;      // an extent was given back since
    unsigned in_flight_ = 0, writes_in_flight_ = 0, at_image_ = 0, outstanding_ = 0, unconfirmed_ = 0;
    unsigned cold_in_flight_ = 0;  // at the image, after having needed a transaction
    unsigned clearable_ = 0;       // unconfirmed writes that may clear bits
    uint64_t late_blocks_ = 0;     // uncleared, of confirmed writes that are still at the image
    uint64_t kept_blocks_ = 0;     // those that nothing clears: beside a failed write, or of a failed read

    uint64_t written_generation_ = 0;     // counts completed local writes that are not stable
    uint64_t flushed_generation_ = 0;
    uint64_t local_only_generation_ = 0;  // the last of them that the peer does not have
    bool lost_writes_ = false;            // completed ones are on no copy that can be made stable
    bool owes_loss_ = false;              // the peer's was lost with some, and no flush has said so since
    Request* running_flush_ = nullptr;
    FlushRhythm rhythm_;
    GuestIoCounters counters_;
};

}  // namespace drbd
