// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: the exchange of bitmaps.  Bit 1 of the second byte chooses.
// Round trip: any bytes as a bitmap.  What the sender makes of it, the receiver
// must turn into the same bitmap, and must be complete exactly at the end.
// Receiver: any packets into a bitmap that has some bits set.  Bits are only
// ever set, none past the end, and the transfer is complete exactly when the
// position is at the end.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "input.h"
#include "packets.h"

namespace {

using namespace drbd;
using namespace drbd::wire;

// Every byte of input stands for 1 to 32 equal bytes of the bitmap.
void fill(Bitmap& bitmap, std::span<const uint8_t> bytes, unsigned repeat) {
    for (size_t i = 0; i < bytes.size() * repeat; i++)
        bitmap.data()[i] = bytes[i / repeat];
    bitmap.loaded();
}

void round_trip(const Agreement& agreement, uint8_t flags, fuzz::Input& input) {
    const RunLengths run_lengths = flags & 1 ? RunLengths::On : RunLengths::Off;
    const unsigned repeat = 1 + flags / 8;
    const uint8_t odd_bits = input.u8() % 8;
    const std::span<const uint8_t> bytes = input.rest();
    const uint64_t bits = bytes.size() * repeat * 8 + odd_bits;
    if (bits == 0)
        return;
    Bitmap bitmap, copy;
    DRBD_ASSERT(bitmap.allocate(Sector(bits * kSectorsPerBlock)).ok());
    DRBD_ASSERT(copy.allocate(Sector(bits * kSectorsPerBlock)).ok());
    fill(bitmap, bytes, repeat);
    BitmapReceiver receiver(copy);
    const auto packets = send_bitmap(bitmap, {agreement, 0}, run_lengths);
    for (size_t i = 0; i < packets.size(); i++) {
        OnePacket packet(agreement, Stream::Data, packets[i]);
        DRBD_ASSERT(packet.ok());
        const auto transfer = receiver.on_packet(packet.frame());
        DRBD_ASSERT(transfer.ok());
        DRBD_ASSERT((transfer.value() == BitmapTransfer::Complete) == (i + 1 == packets.size()));
    }
    DRBD_ASSERT(copy.count() == bitmap.count());
    for (uint64_t page = 0; page < bitmap.pages(); page++)
        DRBD_ASSERT(std::equal(bitmap.page(page).begin(), bitmap.page(page).end(), copy.page(page).begin()));
}

// The payload of one packet: plain with the right number of words, plain of any
// size, compressed with a right first byte, or compressed of any content.
ByteVector chunk(const Agreement& agreement, const Bitmap& bitmap, const BitmapPosition& position, uint8_t kind,
                 fuzz::Input& input) {
    if (kind % 4 == 0) {
        const uint64_t words = std::min<uint64_t>(bitmap_chunk_words(agreement.version),
                                                  divide_up(bitmap.bits(), 64) - position.word);
        ByteVector payload(words * 8);
        input.fill(std::span(payload).first(std::min<size_t>(payload.size(), input.u8())));
        return payload;
    }
    ByteVector payload = to_vector(input.bytes(input.u8()));
    if (kind % 4 == 2)
        payload.insert(payload.begin(), static_cast<uint8_t>(2 | (kind & 0xf0)));
    return payload;
}

void check_only_set(const Bitmap& bitmap, const ByteVector& before) {
    uint64_t count = 0;
    for (uint64_t page = 0; page < bitmap.pages(); page++)
        for (size_t at = 0; at < kBlockSize; at += sizeof(uint64_t)) {
            uint64_t word, word_before;
            std::memcpy(&word, bitmap.page(page).data() + at, sizeof word);
            std::memcpy(&word_before, before.data() + page * kBlockSize + at, sizeof word);
            DRBD_ASSERT((word_before & ~word) == 0);
            count += static_cast<unsigned>(std::popcount(word));
        }
    DRBD_ASSERT(count == bitmap.count());
    for (uint64_t bit = bitmap.bits(); bit < std::min(bitmap.pages() * kBitsPerPage, bitmap.bits() + 128); bit++)
        DRBD_ASSERT(!bitmap.is_set(bit));
}

void receive(const Agreement& agreement, fuzz::Input& input) {
    const uint64_t bits = 1 + input.below(50000);  // more than one packet's
    Bitmap bitmap;
    DRBD_ASSERT(bitmap.allocate(Sector(bits * kSectorsPerBlock)).ok());
    fill(bitmap, input.bytes(std::min<uint64_t>(input.below(16), bits / 8)), 1);
    BitmapReceiver receiver(bitmap);
    while (!input.is_empty()) {
        const ByteVector before = to_vector(bitmap.data());
        const uint8_t kind = input.u8();
        const Packet number = kind % 4 < 2 ? Packet::Bitmap : Packet::CompressedBitmap;
        OnePacket packet(agreement, Stream::Data, raw_packet(agreement, static_cast<uint16_t>(number),
                                                             chunk(agreement, bitmap, receiver.position(), kind, input)));
        if (!packet.ok())
            return;
        const auto transfer = receiver.on_packet(packet.frame());
        check_only_set(bitmap, before);
        if (!transfer)
            return;
        const BitmapPosition at = receiver.position();
        DRBD_ASSERT(at.bit <= bitmap.bits() && at.word <= divide_up(bitmap.bits(), 64));
        if (transfer.value() == BitmapTransfer::Complete) {
            DRBD_ASSERT(at.bit == bitmap.bits());
            return;
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 3)
        return 0;
    fuzz::Input input(data, size);
    const Agreement agreement{kVersionMin + input.u8() % (kVersionMax - kVersionMin + 1), {}};
    const uint8_t flags = input.u8();
    if (flags & 2)
        receive(agreement, input);
    else
        round_trip(agreement, flags, input);
    return 0;
}
