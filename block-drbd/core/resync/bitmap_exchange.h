// SPDX-License-Identifier: GPL-2.0-or-later
// The exchange of bitmaps before a resync (spec 3.4, traps 64 to 68).  The
// source-to-be (WFBitMapS) sends its own first; the target-to-be (WFBitMapT)
// merges it, and only then sends the result, which the source merges in turn.
// A target whose disk failed and was attached again may take the bitmap that was
// sent to the attach before for that of this one: its answer then reaches a source
// that is sending yet, and the source's second bitmap a target that has answered.
// Both are merged, and answered no more: a bit too many is resynced once more, and
// when the identifier comes each has all of the other's.  The same with the disk of the
// source: the target's answer to the exchange before ends this one, and the second is
// passed over, for it holds nothing that the first and the source's own bits have not.
// That holds for whole bitmaps.  Where one was cut in its middle nobody can tell its packets
// from those of the next, and a packet does not say where in the bitmap it belongs: the
// nodes meet anew instead of a next one.
// In: begin, packets, word of packets that have left.  Out: packets, and "both
// are merged".
// Invariants: a few packets wait to be sent at a time, from buffers that outlive
// this object (BitmapPackets); one event looks at a bounded part of the bitmap; a packet of
// the peer outside of an exchange is an error.
#pragma once

#include <memory>
#include <optional>

#include "core/generation/compare.h"
#include "core/resync/parts.h"
#include "core/wire/bitmap_codec.h"

namespace drbd {

// A packet of a bitmap on its way: what Owner::object of PacketOwner::Bitmap is.
struct BitmapPacket {
    bool in_use = false;
    uint8_t room[wire::kPacketSizeMax];
};

// Whoever closes the volume keeps them as long as one is in use.
struct BitmapPackets {
    BitmapPacket all[kBitmapPacketsMax];

    bool is_any_in_use() const;
};

class BitmapExchange {
  public:
    explicit BitmapExchange(const ResyncParts& parts) : parts_(parts) {}

    void begin(Direction direction, wire::RunLengths run_lengths);
    // Merges.  True: the peer's was the last step, both are merged.
    Result<bool> on_packet(const wire::Frame& frame);
    // What the peer may still send of its bitmap is passed over.
    void stop();
    // The resync begins: the source has sent all that it had to.
    void conclude();
    // Sends what may be sent.  True: ours was the last step.
    [[nodiscard]] bool pump();
    // There is more to send now, and nothing but the next event is missing.
    bool has_more() const { return has_more_; }
    // Packets of ours wait to be sent, of this exchange or one before.
    bool has_queued() const { return packets_->is_any_in_use(); }
    std::shared_ptr<BitmapPackets> packets() const { return packets_; }
    bool is_running() const { return step_ == Step::Sending || step_ == Step::Receiving; }

  private:
    enum class Step : uint8_t { Idle, Sending, Receiving, Answered, Stopped };

    void source_is_done();
    void end(Step step);
    BitmapPacket* free_packet();
    bool fill_packets();

    const ResyncParts& parts_;
    Step step_ = Step::Idle;
    Direction direction_ = Direction::None;
    wire::RunLengths run_lengths_ = wire::RunLengths::Off;
    bool has_more_ = false;
    bool has_answer_ = false;     // a whole bitmap of the peer has come
    bool was_cut_short_ = false;  // an exchange before, on this connection
    bool is_half_sent_ = false;   // ours was, in an exchange before, on this connection
    std::optional<wire::BitmapSender> sender_;
    std::optional<wire::BitmapReceiver> receiver_;
    std::shared_ptr<BitmapPackets> packets_ = std::make_shared<BitmapPackets>();
};

}  // namespace drbd
