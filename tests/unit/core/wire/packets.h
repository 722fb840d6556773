// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of core/wire share: bytes from hex, one packet through a
// FrameReader, and a Translator that decodes every packet and encodes it
// again, as a node would that only listens.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/wire/bitmap_codec.h"
#include "core/wire/decode.h"
#include "core/wire/encode.h"
#include "core/wire/frame.h"

namespace drbd::wire {

using ByteVector = std::vector<uint8_t>;

ByteVector hex(std::string_view digits);  // blanks are skipped
ByteVector to_vector(std::span<const uint8_t> bytes);
void append(ByteVector& bytes, std::span<const uint8_t> more);

// A packet of any content, its header by version.
ByteVector raw_packet(const Agreement& agreement, uint16_t command, std::span<const uint8_t> payload,
                      uint16_t volume = 0);

constexpr Agreement kNewest{101, {15}};

// Feeds bytes until a frame is whole.  error() or frame().
class OnePacket {
  public:
    OnePacket(const Agreement& agreement, Stream stream, std::span<const uint8_t> bytes, uint32_t digest_size = 0);

    bool ok() const { return ok_; }
    const Error& error() const { return *error_; }
    const Frame& frame() const { return reader_.frame(); }
    FrameReader& reader() { return reader_; }
    const Fed& fed() const { return fed_; }

  private:
    FrameReader reader_;
    bool ok_ = false;
    std::unique_ptr<Error> error_;
    Fed fed_;
};

// Every packet of a transfer.
std::vector<ByteVector> send_bitmap(const Bitmap& bitmap, const To& to, RunLengths run_lengths);

uint32_t digest_size_of(const AlgorithmName& name);

class Translator {
  public:
    Translator(const Agreement& agreement, Sector capacity) : to_{agreement, 0}, capacity_(capacity) {}

    // The packet as our encoder makes it, without bulk; or the decoder's error.
    // A part of a bitmap is received and not encoded here.
    Result<bool> translate(const Frame& frame, ByteVector& encoded);
    uint32_t integrity_digest_size() const { return integrity_digest_size_; }

    // A bitmap that came whole, and how our encoder sends it with use-rle on and off.
    struct Transfer {
        std::vector<ByteVector> received, sent_rle, sent_plain;
    };
    std::vector<Transfer>& transfers() { return transfers_; }

  private:
    struct Incoming {
        Bitmap bitmap;
        std::unique_ptr<BitmapReceiver> receiver;
        std::vector<ByteVector> packets;
    };

    Result<bool> translate_bitmap(const Frame& frame);

    To to_;
    Sector capacity_;
    uint32_t integrity_digest_size_ = 0;
    uint32_t csums_digest_size_ = 20;
    uint32_t verify_digest_size_ = 20;
    std::map<uint16_t, Sector> sizes_;
    std::map<uint16_t, std::unique_ptr<Incoming>> incoming_;
    std::vector<Transfer> transfers_;
};

}  // namespace drbd::wire
