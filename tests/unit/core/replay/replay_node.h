// SPDX-License-Identifier: GPL-2.0-or-later
// Our node in the place of one of the two of a recorded meeting: the real core
// through its C border, with what that node knew (identifiers, bits, disk
// state, role, options: all told by its packets), and the other one's packets
// fed to it.
// In: a meeting, whose place.  Out: what the core sends on the data stream.
// Invariants: time moves only here; everything that the core asks for is done
// before a packet is looked at.
#pragma once

#include <deque>
#include <memory>

#include "recorded_meeting.h"
#include "tests/unit/core/node.h"

namespace drbd::test {

class ReplayNode {
  public:
    ReplayNode(const Meeting& meeting, char place);
    ~ReplayNode();

    // Both streams, dialled by whom they were dialled by.
    void meet();
    void feed(const RecordedPacket& packet, size_t piece = SIZE_MAX);
    // On meta; the end of data.
    void feed_meta(const RecordedPacket& packet);
    void end_data();
    void cut_data();  // the same, and nothing is done that the core asks for then
    // The next packet of ours for a volume; false: there is none.
    bool take(unsigned volume, RecordedPacket& packet);
    void act();  // does everything that the core asks for
    void pass(uint64_t ms);
    // Those that nobody took.
    std::vector<RecordedPacket> rest();

    std::string connection(unsigned volume = 0) const { return node_.status(volume).connection; }
    std::string resource_connection() const;
    std::string reason() const;
    bool is_closed() const { return closed_; }
    Node& node() { return node_; }

  private:
    bool is_ours(const RecordedPacket& p) const { return p.node == place_; }
    void configure();
    void set_metadata(unsigned volume);
    void set_bits(unsigned volume, uint64_t count);
    bool hmac(const void* challenge, size_t length, uint8_t* digest) const;
    bool act_once();
    void do_peer_io();
    void send(unsigned socket);
    void dial(bool is_data);
    void accept(wire::Packet first);

    const Meeting& meeting_;
    const char place_, other_;
    Node node_;
    uint64_t now_ms_ = 1000;
    std::deque<unsigned> dials_;
    int data_ = -1, meta_ = -1;
    bool closed_ = false;
    std::vector<uint8_t> sent_;         // on data
    std::vector<RecordedPacket> ours_;  // of it, whole packets
};

}  // namespace drbd::test
