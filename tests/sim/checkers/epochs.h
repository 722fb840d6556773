// SPDX-License-Identifier: GPL-2.0-or-later
// Promise (protocols A, B and C): if a write of an epoch is on the survivor's
// disk, all of the epochs before it are, and stable, so that no loss of power can
// part them; and under A and B a write that the guest issued after another had
// completed is of a later epoch than that.
// Verified, receiver: when a write for the peer begins at the image, every write
// of an earlier epoch that was not refused is stable there, by the bytes that were
// sent and the played disk; or it has failed, and the peer is told so or, where
// it is lost, the disk is not called good any more.  Sender: when a write's packet is sent, by the epochs
// of what had completed when the guest issued it.
// Not verified: answers of a resync, which belong to no epoch (a SyncTarget is
// Inconsistent, and no survivor); zeroes on the sender's side, which carry no name.
#pragma once

#include <string>
#include <unordered_map>

#include "checkers/wire_ledger.h"

namespace drbd::sim {

// `begun` is about to be written to `disk` by the host that has this book.  Of a write that has failed somebody hears:
// the peer, while it is there, or whoever asks for the state of the disk.
std::string check_epochs_before(const WireLedger& ledger, const Sent& begun, const Disk& disk, bool failures_are_heard);

// The sender's half, for the guest's writes of one connection.
class EpochOrder {
  public:
    // Another connection, or another guest.
    void begin_anew();
    void on_issued(uint64_t write_id) { least_[write_id] = next_; }
    void on_completed(uint64_t write_id);
    // A packet of this write went out in that epoch.
    std::string on_sent(uint64_t write_id, uint64_t epoch);

  private:
    std::unordered_map<uint64_t, uint64_t> least_;  // the first epoch that the write may be of
    std::unordered_map<uint64_t, uint64_t> epoch_;  // that it is of
    uint64_t next_ = 0;                             // of what is issued now
};

}  // namespace drbd::sim
