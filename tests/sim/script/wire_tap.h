// SPDX-License-Identifier: GPL-2.0-or-later
// Reads along on the wire: what the two processes send, cut into packets by the
// core's own reader of frames.
// In: every piece of bytes that a process gives to its TCP stream.  Out: each
// packet, once, when its last byte but bulk is sent; what is lost on the way
// was sent all the same.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>

#include "core/wire/frame.h"
#include "link.h"

namespace drbd::sim {

class WireTap {
  public:
    using Heard = std::function<void(int host, wire::Stream stream, const wire::Frame& frame)>;

    // `integrity_digest_size`: of data-integrity-alg, if it is used.
    WireTap(uint32_t integrity_digest_size, Heard heard) : digest_size_(integrity_digest_size), heard_(std::move(heard)) {}

    void on_sent(int host, End end, std::span<const uint8_t> bytes);
    // The host's end of the youngest connection that is this stream.
    End end_of(int host, wire::Stream stream) const;

  private:
    struct Reader {
        wire::FrameReader frames;
        bool begun = false, broken = false;
        bool waits_for_agreement = false;  // meta, which begins without features of its own
    };
    struct Tcp {
        Reader reader[2];               // of what the dialling and the accepting end sends
        wire::Stream stream = wire::Stream::Data;
        int dialler = 0;                // host of the first end
        wire::FeatureOffer offer[2];
        bool offered[2] = {false, false};
    };

    void begin(Tcp& tcp, unsigned side);
    void on_frame(int host, Tcp& tcp, unsigned side);
    void on_features(Tcp& tcp, unsigned side);

    uint32_t digest_size_;
    Heard heard_;
    std::map<End, Tcp> connections_;    // by number of the connection
    wire::Agreement agreement_;         // the last one; meta follows its data
};

}  // namespace drbd::sim
