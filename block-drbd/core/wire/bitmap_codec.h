// SPDX-License-Identifier: GPL-2.0-or-later
// The exchange of bitmaps, one direction (docs/WIRE.md, "Bitmap").  The sender
// turns a Bitmap into packets, plain or compressed, whichever is smaller; the
// receiver merges such packets into its own Bitmap.  Both keep a position that
// must agree with the other side's, packet by packet.
// Invariants: the position only grows, except that a compressed attempt that
// was not worth it falls back to the beginning of its 64-bit word; nothing
// past the last bit is sent or set; bits are only ever set.
#pragma once

#include <cstdint>

#include "core/base/limits.h"
#include "core/base/result.h"
#include "core/bitmap/bitmap.h"
#include "core/wire/encode.h"
#include "core/wire/frame.h"

namespace drbd::wire {

// Next bit for compressed packets, next 64-bit word for plain ones.
struct BitmapPosition {
    uint64_t bit = 0;
    uint64_t word = 0;

    bool operator==(const BitmapPosition&) const = default;
};

// Words of a full plain packet: what fits into 4096 bytes with the header.
constexpr uint32_t bitmap_chunk_words(unsigned version) { return (kPacketSizeMax - header_size(version)) / 8; }

enum class RunLengths : uint8_t { Off, On };  // use-rle

class BitmapSender {
  public:
    // One packet covers at most `scan_words` words of the bitmap, so that a call
    // has a bound also where the bitmap is of one colour; a run that goes on
    // begins the next packet.
    BitmapSender(const Bitmap& bitmap, const To& to, RunLengths run_lengths,
                 uint64_t scan_words = kBitmapWordsPerEvent);

    bool is_done() const { return done_; }
    const BitmapPosition& position() const { return position_; }

    // The next packet, whole.  Not when done.
    Encoded next(std::span<uint8_t, kPacketSizeMax> room);

  private:
    Encoded next_compressed(std::span<uint8_t, kPacketSizeMax> room);
    Encoded next_plain(std::span<uint8_t, kPacketSizeMax> room);

    const Bitmap& bitmap_;
    To to_;
    RunLengths run_lengths_;
    uint64_t scan_words_;
    BitmapPosition position_;
    bool done_ = false;
};

enum class BitmapTransfer : uint8_t { Continues, Complete };

class BitmapReceiver {
  public:
    explicit BitmapReceiver(Bitmap& bitmap) : bitmap_(bitmap) {}

    const BitmapPosition& position() const { return position_; }

    // A P_BITMAP or P_COMPRESSED_BITMAP.  After an error, bits of this packet
    // may be set already; that is harmless, but the transfer is lost.
    Result<BitmapTransfer> on_packet(const Frame& frame);

  private:
    Result<BitmapTransfer> on_plain(const Frame& frame);
    Result<BitmapTransfer> on_compressed(const Frame& frame);

    Bitmap& bitmap_;
    BitmapPosition position_;
    bool done_ = false;
};

}  // namespace drbd::wire
