// SPDX-License-Identifier: GPL-2.0-or-later
// One volume's resync: the exchange of bitmaps, then block after block from
// SyncSource to SyncTarget (spec section 7; design D15, D16).  This object
// brings each event to the part that it concerns: bitmap_exchange.h, target.h,
// source.h, unconfirmed.h, progress.h.
//
// In: begin and end, as the volume's state demands; the packets of a resync; the
// end of its I/O.  Out: packets, I/O on the image, bits cleared, and to the
// volume: bitmaps exchanged, everything answered.
// The target asks, a bounded window ahead; the source answers.  Each range is
// locked against the guest's writes: on the target from the request until the
// data is stable, on the source while it is read (GuestIo::lock_range); on
// the target the write also takes its place among the peer's (PeerIo::enter).
// Invariants: every request of the target gets one answer; as target a bit is
// cleared and the answer acknowledged only after a flush that covers the write;
// no bit is cleared on one side's knowledge, nor one that was set anew
// meanwhile; what a lost peer acknowledged since its last barrier
// acknowledgement is marked again.
#pragma once

#include <optional>

#include "core/resync/bitmap_exchange.h"
#include "core/resync/parts.h"
#include "core/resync/progress.h"
#include "core/resync/source.h"
#include "core/resync/target.h"
#include "core/resync/unconfirmed.h"

namespace drbd {

class Resync final : public PeerRequestOwner, public BitmapWatcher {
  public:
    // Large (all bounds of limits.h are in it).  It watches the disk's bitmap.
    Resync(unsigned volume, Link& link, PeerRequests& requests, PeerIo& peer_io, GuestIo& io, Disk& disk,
           PeerVolume& peer_volume, ResyncListener& listener);
    // With locks of the caller's.
    Resync(unsigned volume, Link& link, PeerRequests& requests, PeerIo& peer_io, ResyncLocks& locks, Disk& disk,
           PeerVolume& peer_volume, ResyncListener& listener);
    ~Resync();
    Resync(const Resync&) = delete;
    Resync& operator=(const Resync&) = delete;

    // Bitmap exchange.  Source sends first, target answers with the merged one.
    // Packets leave with pump().
    void begin_bitmap(Direction direction, wire::RunLengths run_lengths);
    Result<void> on_bitmap_packet(const wire::Frame& frame);

    // The state is SyncSource or SyncTarget now.
    void begin(Direction direction);
    // Paused: the target asks for nothing new; what is on its way is finished.
    void set_paused(bool paused) { target_.set_paused(paused); }
    // Disk or state is gone: what is on its way is refused, on both sides.
    void abort();
    // The link is down; before the writes that were sent on it are marked.  And: the peer's disk is gone, and the link
    // stays.  What the target acknowledged and may have lost is marked again; true if there was such.
    bool on_link_lost();
    bool on_peer_disk_lost();
    bool is_running() const { return target_.is_running() || source_.is_running(); }
    // What an ended resync has received is not on this node's disk yet.
    bool is_writing_on() const { return target_.is_writing_on(); }
    ResyncProgress progress(uint64_t now_ms) const;

    // Packets of a resync.
    Result<BulkVerdict> on_reply_announced(const wire::Frame& frame);
    Result<void> on_request(const wire::Frame& frame);              // P_RS_DATA_REQUEST, P_RS_THIN_REQ
    Result<void> on_reply(const wire::Frame& frame, void* buffer);  // P_RS_DATA_REPLY; takes the buffer
    Result<void> on_deallocated(const wire::Frame& frame);
    // P_RS_WRITE_ACK or P_NEG_ACK with block_id all ones; P_NEG_RS_DREPLY, P_RS_CANCEL.
    Result<void> on_ack(wire::Packet packet, const wire::BlockAck& ack);

    // What a target that does not flush acknowledged is believed after a
    // barrier acknowledgement (unconfirmed.h).  Epochs by the transfer log's
    // numbers, from 1; an acknowledgement covers all up to its own.
    void on_barrier_sent(uint64_t epoch) { unconfirmed_.on_barrier_sent(epoch); }
    void on_barrier_acknowledged(uint64_t epoch) { unconfirmed_.on_barrier_acknowledged(epoch); }
    // There is something to confirm and the guest writes nothing: an empty
    // write that flushes, and a barrier, would do it.
    bool wants_confirmation() const;
    // A source whose target says that it is done asks without delay, and its end
    // of the resync waits while an answer can come.
    void hurry_confirmation() { hurry_ = true; }
    bool is_hurried() const { return hurry_; }  // the target is done
    bool waits_for_confirmation() const { return may_confirm() && !unconfirmed_.empty(); }
    // The target has asked for something since the source began: what it says of its state now belongs to this resync.
    bool was_asked() const { return source_.was_asked(); }
    // Of those that are marked here: sent to the target, which has not said what became of them.
    uint64_t unacknowledged_blocks() const { return source_.unacknowledged_blocks(); }
    // Acknowledged by the target, and marked here all the same: at most so many.
    uint64_t kept_blocks() const { return source_.kept_blocks(); }
    // The data stream is read on only then.
    bool may_receive() const { return source_.may_receive(); }
    uint64_t total_blocks() const { return progress_.total_blocks(); }  // of the last one that began
    uint64_t oldest_asked_ms() const { return target_.oldest_asked_ms(); }
    uint64_t owed_since_ms() const { return target_.owed_since_ms(); }

    // PacketOwner::Bitmap
    bool has_packets_queued() const { return bitmap_exchange_.has_queued(); }
    std::shared_ptr<BitmapPackets> bitmap_packets() const { return bitmap_exchange_.packets(); }
    static void bitmap_packet_left(const Owner& owner, bool sent);
    // PacketOwner::ForPeer with work ResyncRead.
    void on_packet_left(PeerRequest& request, bool sent);
    void on_peer_io_done(PeerRequest& request) override;
    void on_marked(uint64_t first_block, uint64_t end_block) override;

    // Goes on with what waits.  At the end of every event of the core, and at
    // next_deadline_ms().
    void pump();
    void on_time(uint64_t) { pump(); }
    uint64_t next_deadline_ms() const;

  private:
    void stop();
    bool may_confirm() const;
    bool may_ask_for_confirmation() const;

    std::optional<GuestIoLocks> guest_locks_;
    ResyncParts parts_;
    BitmapExchange bitmap_exchange_;
    Unconfirmed unconfirmed_;
    ResyncTarget target_;
    ResyncSource source_;
    ProgressMeter progress_;
    bool hurry_ = false;
};

}  // namespace drbd
