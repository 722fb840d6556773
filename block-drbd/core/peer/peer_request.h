// SPDX-License-Identifier: GPL-2.0-or-later
// A piece of work on the image on behalf of the peer or of a resync: a write
// that came, a read that is asked for, a flush.  And the pool of them, with the
// queue of what the shim is to do next and of the buffers it gets back.
//
// Life: take() - queued by submit() - handed out by next() - done: its owner is
// told - submitted again, or finish(), which gives buffer and request back.
// Invariants: bounded in number and in bytes; a flush always finds a request,
// because what waits for it may hold all others; a request that is handed out
// is never given back before it is done, whatever happens to the connection; a
// buffer is released once.
#pragma once

#include <cstdint>
#include <memory>

#include "core/base/limits.h"
#include "core/base/list.h"
#include "core/connection/link.h"
#include "core/request/guest_io.h"
#include "core/request/overlap_tree.h"
#include "core/wire/values.h"
#include "drbd-core.h"

namespace drbd {

// Who hears of the end of its I/O.
enum class PeerWork : uint8_t {
    Write,         // peer/: P_DATA, P_TRIM, P_ZEROES
    Read,          // peer/: P_DATA_REQUEST
    EpochFlush,    // peer/; one per volume at a time
    ResyncRead,    // resync/: as source
    ResyncStatus,  // resync/: does it read as zero?  Source or target
    ResyncWrite,   // resync/: as target; also zeroes
    ResyncFlush,   // resync/: as target; one per volume at a time
};

class PeerRangeWaiter;

struct PeerRequest {
    ListLink<PeerRequest> queue;   // to do, or waiting for its turn (PeerIo), or a list of the owner's
    uint32_t id = 0;               // index in the pool
    unsigned volume = 0;
    PeerWork work = PeerWork::Write;
    DrbdPeerIoKind io = DRBD_PEER_WRITE;
    Interval range;                // bytes on the disk
    wire::BlockId block_id;        // echoed to the peer
    wire::DataFlags flags;         // of a write
    uint32_t sequence = 0;
    uint64_t epoch = 0;            // of the receiver (peer/)
    uint64_t times_up = 0;         // Link::times_up() when it came: answers go to no other connection
    bool fua = false, may_unmap = false, wants_digest = false;
    bool discard = false;          // P_TRIM: a failure is no failure of the disk
    bool peer_has_no_disk = false; // a write that only this disk will have: bits before data
    bool thin = false;             // P_RS_THIN_REQ
    uint32_t slot = 0;             // of a resync: which of its window
    PeerRangeWaiter* waiter = nullptr;  // of a resync write that waits for its turn (PeerIo::enter)
    bool at_image = false;         // handed out
    int result = 0;
    void* buffer = nullptr;
    uint8_t digest[DRBD_DIGEST_SIZE] = {};
    uint64_t counted_bytes = 0;    // against the pool's bound

    uint64_t bytes() const { return range.end - range.start; }
    Sector sector() const { return Sector(range.start / kSectorSize); }
};

using PeerRequestList = List<PeerRequest, &PeerRequest::queue>;

class PeerRequestOwner {
  public:
    virtual void on_peer_io_done(PeerRequest& request) = 0;

  protected:
    ~PeerRequestOwner() = default;
};

class PeerRequests final : public BufferReturn {
  public:
    // Both owners are asked by PeerWork: peer/ for the first three, the volume's
    // resync for the others (set per volume; null when the volume is closed).
    explicit PeerRequests(PeerRequestOwner& peer_io) : peer_io_(peer_io) {}
    PeerRequests(const PeerRequests&) = delete;
    PeerRequests& operator=(const PeerRequests&) = delete;

    bool allocate(unsigned requests);
    void set_bytes_max(uint64_t bytes) { bytes_max_ = bytes; }
    void set_resync(unsigned volume, PeerRequestOwner* resync) { resync_[volume] = resync; }

    // Null: the bound is reached.  A payload larger than the bound is allowed
    // while nothing else holds any.  `bytes`: payload that it will hold.
    PeerRequest* take(unsigned volume, PeerWork work, uint64_t bytes);
    // May somebody take so much?  What a stalled stream waits for.
    bool has_room(uint64_t bytes) const;

    void submit(PeerRequest& request);  // request.io, range, buffer are set
    void finish(PeerRequest& request);  // not at_image, in no list; releases the buffer
    // One that belongs to no request, at least 16 bytes; null: nothing.
    void release(void* buffer, uint64_t bytes);
    void release_buffer(void* buffer, uint64_t bytes) override { release(buffer, bytes); }
    // What is queued for the volume and not handed out ends with an error, as
    // if the image had answered.
    void fail_queued(unsigned volume, PeerWork first, PeerWork last, int error);

    // C border.  `volumes`: those whose I/O may be handed out now.
    bool has_next(uint32_t volumes = ~0u) const { return (ready_ & volumes) != 0; }
    bool next(DrbdPeerIo& io, uint32_t volumes = ~0u);
    void done(uint32_t id, int result, void* buffer, const uint8_t* digest);
    bool has_release() const { return first_released_ != nullptr; }
    bool next_release(void*& buffer, size_t& bytes);

    // Of one volume, or of all: queued, at the image, or waiting for anything.
    unsigned in_use(unsigned volume) const { return in_use_[volume]; }
    unsigned in_use() const { return total_; }
    unsigned size() const { return size_; }
    uint64_t bytes() const { return bytes_; }
    uint64_t bytes_max() const { return bytes_max_; }

  private:
    // Kinds of flush, each at most once per volume at a time.
    static constexpr unsigned kReserved = 2 * DRBD_MAX_VOLUMES;

    static bool is_reserved(PeerWork work) {
        return work == PeerWork::EpochFlush || work == PeerWork::ResyncFlush;
    }
    PeerRequestOwner* owner_of(const PeerRequest& request) const;
    void tell_owner(PeerRequest& request);

    PeerRequestOwner& peer_io_;
    PeerRequestOwner* resync_[DRBD_MAX_VOLUMES] = {};
    std::unique_ptr<PeerRequest[]> requests_;
    PeerRequestList free_;
    PeerRequestList to_do_[DRBD_MAX_VOLUMES];
    uint32_t ready_ = 0;            // volumes that have something to do
    unsigned next_volume_ = 0;      // whose turn it is
    void* first_released_ = nullptr;  // chained through the buffers themselves
    void* last_released_ = nullptr;
    unsigned size_ = 0;             // without the reserve
    unsigned total_ = 0, ordinary_ = 0;
    unsigned in_use_[DRBD_MAX_VOLUMES] = {};
    uint64_t bytes_ = 0, bytes_max_ = kPeerPagesDefault * kBlockSize;
};

}  // namespace drbd
