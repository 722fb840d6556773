// SPDX-License-Identifier: GPL-2.0-or-later
// Listens to what the nodes say to each other, and asks the checkers that judge
// by it: acknowledgements, epochs, configuration, what is said of copies that stay behind.
//
// In: packets as they are sent (wire_ear.h), I/O for the peer as it begins, the
// guest's writes as they are issued and completed.  Out: complaints.
#pragma once

#include <vector>

#include "checkers/configuration.h"
#include "checkers/epochs.h"
#include "checkers/outdated.h"
#include "checkers/wire_ledger.h"
#include "wire_ear.h"

namespace drbd::sim {

class World;

class WireWatch final : public WireListener {
  public:
    explicit WireWatch(World& world);
    WireWatch(const WireWatch&) = delete;
    WireWatch& operator=(const WireWatch&) = delete;

    WireEar& ear() { return ear_; }
    Configuration& configuration() { return configuration_; }
    OutdatedCopies& outdated() { return outdated_; }
    void on_packet(int host, uint32_t tcp, const TappedPacket& packet) override;
    // True if it is a write of the guest.
    bool on_peer_write(int host, unsigned volume, uint64_t sector, std::span<const uint64_t> values);
    void on_peer_write_failed(int host, unsigned volume, uint64_t sector, uint64_t sectors) {
        ledgers_[host].on_failed(volume, sector, sectors);
    }
    // What was sent to a host without a disk is not written later.
    void on_disk_attached(int host, unsigned volume) { ledgers_[host].on_disk_attached(volume); }
    // Has this host answered a write of its last connection with P_NEG_ACK?
    bool has_refused(int host, unsigned volume) const { return refused_[host][volume]; }
    // It has everything of the peer's, and its generation: what it said before is not true any more.
    void on_resync_done(int host, unsigned volume) { generations_[host][volume] = {}; }
    // What it has said of a volume on its last connection, last.
    const TappedGenerations& generations(int host, unsigned volume) const { return generations_[host][volume]; }
    // The process that its last connection was made by.
    uint64_t process(int host) const { return process_[host]; }
    void on_guest_begins() { order_.begin_anew(); }
    void on_write_issued(uint64_t write_id) { order_.on_issued(write_id); }
    void on_write_completed(uint64_t write_id) { order_.on_completed(write_id); }

  private:
    void on_state_change_packet(int host, const TappedPacket& packet);

    World& world_;
    WireEar ear_;
    WireLedger ledgers_[2];  // by the host that it was sent to
    uint64_t process_[2] = {0, 0};
    std::vector<bool> refused_[2];
    std::vector<TappedGenerations> generations_[2];
    EpochOrder order_;
    OutdatedCopies outdated_;
    Configuration configuration_;
};

}  // namespace drbd::sim
