// SPDX-License-Identifier: GPL-2.0-or-later
// Cuts a TCP stream into packets (docs/WIRE.md, "Headers").  In: the bytes in
// any pieces, and what was agreed.  Out: one Frame after the other: header
// fields checked against the table of packets, and a span of everything that
// is no bulk.  Bulk is not copied: the caller receives it where it belongs.
//
//   feed() -> NeedMore    all bytes taken, at least `needed` more are missing
//          -> Complete    frame() is whole
//          -> BulkFollows frame() has all but bulk_remaining() bytes, which the
//                         caller takes from its piece (take_bulk) or receives
//                         elsewhere (on_bulk_received) before it feeds again
//
// Invariants: never reads past the packet, holds at most kPacketSizeMax bytes,
// and a frame's length obeys its row.  After an error the stream has no
// meaning any more; the reader must be begun anew.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/result.h"
#include "core/wire/packet_numbers.h"

namespace drbd::wire {

// Spans are valid until the next feed.
struct Frame {
    const PacketRow* row = nullptr;
    Agreement agreement;                // it was read under
    uint16_t volume = 0;                // 0 for packets of the connection
    std::span<const uint8_t> fixed;
    std::span<const uint8_t> tail;      // all of it, or the digest before bulk
    uint32_t bulk_length = 0;

    Packet packet() const { return row->packet; }
};

enum class FeedOutcome : uint8_t { NeedMore, Complete, BulkFollows };

struct Fed {
    FeedOutcome outcome = FeedOutcome::NeedMore;
    size_t consumed = 0;
    size_t needed = 0;  // NeedMore: of the header, or of the rest of the packet
};

class FrameReader {
  public:
    FrameReader() = default;
    FrameReader(const FrameReader&) = delete;  // frames point into it
    FrameReader& operator=(const FrameReader&) = delete;

    // An accepted socket: the first packet says which stream it is, then begin().
    void begin_accepted();
    // A stream before the features are known.  Nothing may be fed to meta
    // before agree(); data takes P_CONNECTION_FEATURES only.
    void begin(Stream stream);
    // From the next packet on.
    void agree(const Agreement& agreement);
    // Length of the digest before bulk: data-integrity-alg of the peer, which
    // its P_PROTOCOL or P_PROTOCOL_UPDATE names.  From the next packet on.
    void set_integrity_digest_size(uint32_t size);

    Result<Fed> feed(std::span<const uint8_t> bytes);
    const Frame& frame() const;

    uint32_t bulk_remaining() const { return bulk_remaining_; }
    // The front of `bytes` that is bulk; the rest is for feed().
    std::span<const uint8_t> take_bulk(std::span<const uint8_t> bytes);
    void on_bulk_received(size_t length);

  private:
    enum class Phase : uint8_t { First, Features, Meta, Agreed };
    enum class Step : uint8_t { Header, Head, Done, Broken };

    void reset(Phase phase, Stream stream);
    uint32_t header_size() const;
    size_t fill(std::span<const uint8_t> bytes, uint32_t until);
    Result<void> check_magic() const;
    Result<void> parse_header();
    Result<void> check_packet(uint16_t command, uint32_t length);
    Result<void> check_length(uint32_t length);
    Result<Fed> fail(const Error& error);

    Phase phase_ = Phase::First;
    Stream stream_ = Stream::Data;
    Step step_ = Step::Header;
    Agreement agreement_;
    uint32_t integrity_digest_size_ = 0;
    uint32_t filled_ = 0;      // bytes of buffer_
    uint32_t head_end_ = 0;    // header and all but bulk
    uint32_t bulk_remaining_ = 0;
    Frame frame_;
    uint8_t buffer_[kPacketSizeMax];
};

// The largest payload of a packet, bulk and digest included; the smallest is
// fixed_size.  Encoders use it too.
uint32_t payload_max(const PacketRow& row, const Agreement& agreement, uint32_t integrity_digest_size);

constexpr uint32_t header_size(unsigned version) { return version >= 100 ? 16 : 8; }

}  // namespace drbd::wire
