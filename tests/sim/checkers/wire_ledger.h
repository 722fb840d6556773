// SPDX-License-Identifier: GPL-2.0-or-later
// What one host was sent that changes its image, on the connection that it has
// now: writes of the guest, by epoch, and answers of a resync; and what of it has
// been answered.  The book that acknowledgements and epochs are judged by.
//
// In: packets as they were sent (wire_ear.h), by both hosts.  Out: entries in the
// order of sending.
// A connection begins for a host when it sends its P_CONNECTION_FEATURES; nothing
// of an earlier one is kept.  An entry leaves when nothing is due for it, so the
// book is as long as what is under way.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "disk.h"
#include "wire_ear.h"

namespace drbd::sim {

struct Sent {
    uint64_t sector = 0, sectors = 0;
    unsigned volume = 0;
    uint64_t block_id = 0;
    uint64_t epoch = 0;
    bool resync = false;
    bool fua = false;
    bool written = false, received = false, refused = false;  // answers that came
    bool confirmed = false;                                   // by P_BARRIER_ACK
    bool begun = false;                                       // at the image
    bool failed = false;                                      // there; the answer may still be to come
    bool passed_over = false;                                 // sent to the disk before
    std::vector<uint64_t> values;                             // empty: zeroes

    uint64_t value(uint64_t s) const { return values.empty() ? 0 : values[s - sector]; }
    bool covers(unsigned v, uint64_t s) const { return v == volume && s >= sector && s < sector + sectors; }
    bool over() const { return resync ? written || refused : confirmed; }
};

class WireLedger {
  public:
    static constexpr uint64_t kSyncerId = ~0ull;

    // The host sent its features on this TCP connection.
    void begin(uint32_t tcp);
    uint32_t tcp() const { return tcp_; }

    // What it is sent; no part of another connection is taken.
    void add(const TappedPacket& packet);
    // A number that no P_BARRIER_ACK has echoed yet, the oldest; false: none.
    bool oldest_barrier(uint32_t& number) const;
    uint64_t oldest_epoch() const { return epoch_ - barriers_.size(); }
    void confirm_oldest();

    // The first that this answer can mean; null: nothing was sent.
    Sent* find(const TappedPacket& answer);
    // The one that is being written: the first with this content that is not begun.
    Sent* find_begun(unsigned volume, uint64_t sector, std::span<const uint64_t> values);

    // What was sent before and is not begun went by the disk that comes now.
    void on_disk_attached(unsigned volume);
    // The image has failed one that was begun.
    void on_failed(unsigned volume, uint64_t sector, uint64_t sectors);

    // Does the disk hold this, or what was sent after it, in every sector?  Else
    // the sector that does not.
    bool is_on(const Disk& disk, View view, const Sent& sent, uint64_t& missing) const;

    const std::deque<Sent>& entries() const { return entries_; }
    void forget_answered();

  private:
    void forget_first();

    std::deque<Sent> entries_;
    std::vector<std::vector<uint64_t>> rooms_;  // for values
    std::deque<uint32_t> barriers_;
    uint64_t epoch_ = 0;
    uint32_t tcp_ = ~0u;
};

std::string describe(const Sent& sent);

}  // namespace drbd::sim
