// SPDX-License-Identifier: GPL-2.0-or-later
// What the peer's application does to this node's image: writes that come,
// their order by epochs, the acknowledgements, and reads (spec sections 3.2,
// 6.5, 6.7, 6.9; design D6).
//
// In: decoded packets, the end of I/O on the image.  Out: I/O on the image
// (PeerRequests), acknowledgements on meta, data replies on data, and to the
// volume: bits to set or clear, a disk that failed.
// Invariants: every write of the peer is answered as its flags ask, once, and an
// error always; a write of epoch n+1 begins only when all writes of epochs up to
// n, of all volumes, are done and flushed; P_BARRIER_ACK follows all
// acknowledgements of its epoch and the flush; writes that overlap, of the peer
// or of a resync, are not at the image at once; nothing of an earlier connection
// is answered.
// write.cc has the way of a write to the image and back, acknowledge.cc what
// the peer hears of it, flush.cc the ends of epochs, read.cc the reads.
#pragma once

#include "core/connection/connection.h"
#include "core/peer/epoch.h"
#include "core/peer/peer_request.h"
#include "core/peer/range_order.h"
#include "core/wire/decode.h"

namespace drbd {

// What peer writes need of a volume; implemented by Volume.
class PeerVolume {
  public:
    virtual bool peer_may_write() const = 0;       // disk >= Inconsistent and usable
    virtual bool takes_replicated_writes() const = 0;  // and what the peer's guest writes counts here
    virtual bool peer_may_read() const = 0;        // disk UpToDate
    virtual bool is_syncing() const = 0;           // own connection state SyncSource..PausedSyncT
    virtual bool peer_has_no_disk() const = 0;     // pdsk < Inconsistent: its writes are on this disk only
    virtual void set_out_of_sync(Sector start, Bytes length) = 0;
    virtual void set_in_sync(Sector start, Bytes length) = 0;
    // The bits of the range are on the disk; true: already.  Else
    // PeerIo::bits_are_stable() follows (used when the peer has no disk).
    virtual bool want_bits_stable(Sector start, Bytes length) = 0;
    virtual Sector capacity() const = 0;
    // The image failed; judged by on-io-error.
    virtual void on_peer_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) = 0;
    virtual void count_received(uint64_t bytes) = 0;
    virtual void count_peer_read() = 0;

  protected:
    ~PeerVolume() = default;
};

// A resync write whose turn has come.
class PeerRangeWaiter {
  public:
    virtual void on_peer_range_granted(PeerRequest& request) = 0;

  protected:
    ~PeerRangeWaiter() = default;
};

class PeerIo final : public PeerRequestOwner {
  public:
    PeerIo(Link& link, PeerRequests& requests) : link_(link), requests_(requests) {}
    PeerIo(const PeerIo&) = delete;
    PeerIo& operator=(const PeerIo&) = delete;

    // Null: closed; then nothing of it may be under way.
    void set_volume(unsigned number, PeerVolume* volume);

    // Any packet can be taken: a request, the largest payload, an epoch.  The
    // data stream is not to be read while this is false.
    bool may_receive() const { return requests_.has_room(kWriteMax.value) && epochs_.has_room(); }
    // Packets.  An error breaks the connection.
    // P_DATA, P_WSAME: what to do with the payload.  Take: a request is set
    // aside for it.
    Result<BulkVerdict> on_write_announced(const wire::Frame& frame);
    // P_DATA, P_TRIM, P_ZEROES, P_WSAME.  The buffer is PeerIo's from here on,
    // whatever is returned; null if the payload was discarded.
    Result<void> on_write(const wire::Frame& frame, void* buffer);
    Result<void> on_barrier(const wire::Frame& frame);
    Result<void> on_read_request(const wire::Frame& frame);  // P_DATA_REQUEST
    // The number of an acknowledgement of the peer (spec 6.7).
    void on_peer_sequence(unsigned volume, uint32_t sequence);
    uint32_t peer_sequence(unsigned volume) const { return volumes_[volume].peer_sequence; }

    // Resync writes take part in the order: granted at once (true), or by
    // on_peer_range_granted() later.  In arrival order with overlapping writes
    // of the peer.  While it waits the request's `queue` is PeerIo's.
    bool enter(PeerRequest& resync_write, PeerRangeWaiter& waiter);
    void leave(PeerRequest& resync_write);

    void on_peer_io_done(PeerRequest& request) override;
    void on_packet_left(PeerRequest& request, bool sent);  // a data reply
    void bits_are_stable(unsigned volume);
    // The connection is lost: no acknowledgement any more; what is at the image
    // ends there, what waits for its epoch is done all the same, in its order
    // (it was received).
    void link_lost();
    // The disk of the volume cannot be used any more: what waits fails.
    void disk_lost(unsigned volume);
    // The image was flushed while no write of the peer was at it.
    void disk_flushed(unsigned volume);

    // Writes of the peer that are not on the disk yet: a promotion waits for 0
    // (design, "never before received writes are on the disk").
    unsigned writes_pending(unsigned volume) const { return volumes_[volume].writes; }
    // The disk may hold some of them in its cache.
    bool has_unflushed(unsigned volume) const { return volumes_[volume].unflushed || flush_begun_; }
    unsigned epochs() const { return epochs_.unfinished(); }

  private:
    struct PerVolume {
        PeerVolume* volume = nullptr;
        RangeOrder order;
        PeerRequestList wait_bits;      // granted; their bits are not on the disk yet
        unsigned writes = 0;            // received and not done
        bool unflushed = false;         // a write is done that the disk may hold in its cache
        bool disk_lost = false;         // being told: its errors are no news
        uint32_t peer_sequence = 0;
    };

    // write.cc
    Result<PeerVolume*> volume_of(const wire::Frame& frame);
    void begin_connection_if_new();
    void drop_announced();
    void refuse_write(const wire::DataWrite& write, unsigned volume);
    void begin_write(PeerRequest& request, const wire::Frame& frame, const wire::DataWrite& write);
    void submit_write(PeerRequest& request);
    void write_done(PeerRequest& request);
    void end_write(PeerRequest& request);
    void go_on(PerVolume& v);
    void fail_waiting(unsigned volume);

    // flush.cc
    void end_epochs();
    void begin_flushes();
    void flush_done(PeerRequest& request);
    void flush_failed(unsigned volume, int error);

    // acknowledge.cc
    wire::DataFlags wanted_answers(wire::DataFlags flags) const;
    bool may_answer(const PeerRequest& request) const;
    void send_ack(unsigned volume, wire::Packet packet, Sector sector, Bytes size, wire::BlockId id);
    void acknowledge_reception(const PeerRequest& request);
    void acknowledge_write(const PeerRequest& request);
    void acknowledge_epoch();

    // read.cc
    void read_done(PeerRequest& request);
    bool begin_read(PeerRequest& request);
    void refuse_read(unsigned volume, Sector sector, Bytes size, wire::BlockId id);

    Link& link_;
    PeerRequests& requests_;
    PerVolume volumes_[DRBD_MAX_VOLUMES];
    ReceiverEpochs epochs_;
    PeerRequest* announced_ = nullptr;  // set aside for a payload that is on its way
    PeerRequestList granted_;           // their turn has come; being told
    uint64_t times_up_ = 0;             // the connection that the epochs belong to
    unsigned flushes_ = 0;              // at the end of the oldest epoch, under way
    bool flush_begun_ = false;
    bool ending_epochs_ = false;
};

}  // namespace drbd
