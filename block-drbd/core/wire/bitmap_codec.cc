// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/bitmap_codec.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/wire/bit_stream.h"
#include "core/wire/vli.h"

namespace drbd::wire {

namespace {

constexpr uint64_t kWordBits = 64;
// First byte of a compressed packet.
constexpr uint8_t kEncodingMask = 0x0f;
constexpr uint8_t kEncodingRleVliBits = 2;
constexpr unsigned kPadShift = 4;
constexpr uint8_t kFirstRunSet = 0x80;

uint64_t words_of(const Bitmap& bitmap) {
    return divide_up(bitmap.bits(), kWordBits);
}

uint64_t word_of(const Bitmap& bitmap, uint64_t index) {
    constexpr uint64_t kWordsPerPage = kBitsPerPage / kWordBits;
    uint64_t word;
    std::memcpy(&word, bitmap.page(index / kWordsPerPage).data() + index % kWordsPerPage * 8, sizeof word);
    return word;
}

// The first clear bit of [from, end), or `end`.
uint64_t next_clear(const Bitmap& bitmap, uint64_t from, uint64_t end) {
    while (from < end) {
        const uint64_t rest = ~word_of(bitmap, from / kWordBits) >> (from % kWordBits);
        if (rest != 0)
            return std::min(from + static_cast<unsigned>(std::countr_zero(rest)), end);
        from = round_down(from, kWordBits) + kWordBits;
    }
    return end;
}

void set_run(Bitmap& bitmap, uint64_t begin, uint64_t end) {
    DRBD_ASSERT(begin < end && end <= bitmap.bits());
    bitmap.set_out_of_sync(Sector(begin * kSectorsPerBlock), Sector((end - begin) * kSectorsPerBlock));
}

// Sets what is set in `words` (little endian, from word `first` on).  Runs are
// put together across words, and what is set already is skipped: the peer's
// bitmap and ours are mostly alike.
void merge_words(Bitmap& bitmap, uint64_t first, std::span<const uint8_t> words) {
    uint64_t run_begin = 0, run_end = 0;
    for (uint64_t i = 0; i < words.size() / 8; i++) {
        uint64_t word;
        std::memcpy(&word, words.data() + i * 8, sizeof word);
        const uint64_t base = (first + i) * kWordBits;
        if (bitmap.bits() - base < kWordBits)
            word &= (1ull << (bitmap.bits() - base)) - 1;
        word &= ~word_of(bitmap, first + i);
        for (unsigned bit = 0; word != 0;) {
            const unsigned gap = static_cast<unsigned>(std::countr_zero(word));
            const unsigned length = static_cast<unsigned>(std::countr_one(word >> gap));
            if (run_end != base + bit + gap) {
                if (run_end != run_begin)
                    set_run(bitmap, run_begin, run_end);
                run_begin = base + bit + gap;
            }
            bit += gap + length;
            run_end = base + bit;
            word = gap + length == kWordBits ? 0 : word >> (gap + length);
        }
    }
    if (run_end != run_begin)
        set_run(bitmap, run_begin, run_end);
}

}  // namespace

BitmapSender::BitmapSender(const Bitmap& bitmap, const To& to, RunLengths run_lengths, uint64_t scan_words)
    : bitmap_(bitmap), to_(to), run_lengths_(run_lengths), scan_words_(scan_words) {
    DRBD_ASSERT(scan_words > 0);
    if (!row_of(Packet::CompressedBitmap).is_known_to(to.agreement))
        run_lengths_ = RunLengths::Off;
}

Encoded BitmapSender::next(std::span<uint8_t, kPacketSizeMax> room) {
    DRBD_ASSERT(!done_);
    if (run_lengths_ == RunLengths::On && position_.bit < bitmap_.bits())
        if (const Encoded packet = next_compressed(room); !packet.empty())
            return packet;
    return next_plain(room);
}

// Empty if plain words are smaller.  The run that does not fit begins the
// next packet.
Encoded BitmapSender::next_compressed(std::span<uint8_t, kPacketSizeMax> room) {
    const uint32_t header = header_size(to_.agreement.version);
    BitWriter code(room.subspan(header + 1));
    const bool first_set = bitmap_.is_set(position_.bit);
    const uint64_t limit = std::min(bitmap_.bits(), position_.bit + scan_words_ * kWordBits);
    uint64_t at = position_.bit;
    for (bool set = first_set; at < limit; set = !set) {
        const uint64_t end = set ? next_clear(bitmap_, at, limit) : bitmap_.next_set(at, limit);
        const VliCode run = vli_encode(end - at);
        if (!code.put(run.word, run.length))
            break;
        at = end;
    }
    if (at - position_.bit < 8 * code.length_bytes()) {
        DRBD_ASSERT(position_.word == position_.bit / kWordBits);  // plain goes back to there
        return {};
    }
    room[header] = static_cast<uint8_t>(kEncodingRleVliBits | code.pad() << kPadShift | (first_set ? kFirstRunSet : 0));
    position_ = {at, at / kWordBits};
    done_ = at == bitmap_.bits();
    return encode_bitmap_header(room, to_, Packet::CompressedBitmap, static_cast<uint32_t>(1 + code.length_bytes()));
}

// Without words left, the empty packet that ends the transfer.
Encoded BitmapSender::next_plain(std::span<uint8_t, kPacketSizeMax> room) {
    const uint32_t header = header_size(to_.agreement.version);
    const uint64_t words = std::min<uint64_t>(bitmap_chunk_words(to_.agreement.version),
                                              words_of(bitmap_) - position_.word);
    for (uint64_t i = 0; i < words; i++) {
        const uint64_t word = word_of(bitmap_, position_.word + i);
        std::memcpy(room.data() + header + i * 8, &word, sizeof word);
    }
    position_.word += words;
    position_.bit = std::min(position_.word * kWordBits, bitmap_.bits());
    done_ = words == 0;
    return encode_bitmap_header(room, to_, Packet::Bitmap, static_cast<uint32_t>(words * 8));
}

Result<BitmapTransfer> BitmapReceiver::on_packet(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::Bitmap || frame.packet() == Packet::CompressedBitmap);
    DRBD_ASSERT(!done_);
    auto transfer = frame.packet() == Packet::Bitmap ? on_plain(frame) : on_compressed(frame);
    done_ = !transfer || transfer.value() == BitmapTransfer::Complete;
    return transfer;
}

Result<BitmapTransfer> BitmapReceiver::on_plain(const Frame& frame) {
    const uint64_t words = std::min<uint64_t>(bitmap_chunk_words(frame.agreement.version),
                                              words_of(bitmap_) - position_.word);
    if (frame.tail.size() != words * 8)
        return Error::of(ErrorCode::Protocol,
                         "P_BITMAP: volume %u: %zu bytes at word %llu, must be %llu; do both nodes have the same size?",
                         frame.volume, frame.tail.size(), static_cast<unsigned long long>(position_.word),
                         static_cast<unsigned long long>(words * 8));
    merge_words(bitmap_, position_.word, frame.tail);
    position_.word += words;
    position_.bit = std::min(position_.word * kWordBits, bitmap_.bits());
    return words == 0 ? BitmapTransfer::Complete : BitmapTransfer::Continues;
}

Result<BitmapTransfer> BitmapReceiver::on_compressed(const Frame& frame) {
    if (frame.tail.size() < 2)
        return Error::of(ErrorCode::Protocol, "P_COMPRESSED_BITMAP: volume %u: %zu bytes without a run", frame.volume,
                         frame.tail.size());
    const uint8_t head = frame.tail[0];
    if ((head & kEncodingMask) != kEncodingRleVliBits)
        return Error::of(ErrorCode::Protocol, "P_COMPRESSED_BITMAP: volume %u: encoding %u is unknown", frame.volume,
                         head & kEncodingMask);
    BitReader code(frame.tail.subspan(1), (head >> kPadShift) & 7);
    uint64_t at = position_.bit;
    for (bool set = head & kFirstRunSet; code.remaining() != 0; set = !set) {
        const VliValue run = vli_decode(code.ahead(), static_cast<unsigned>(std::min<size_t>(code.remaining(), 64)));
        if (run.length == 0)
            return Error::of(ErrorCode::Protocol, "P_COMPRESSED_BITMAP: volume %u: the code ends within a run at bit %llu",
                             frame.volume, static_cast<unsigned long long>(at));
        if (run.value > bitmap_.bits() - at)
            return Error::of(ErrorCode::Protocol,
                             "P_COMPRESSED_BITMAP: volume %u: a run of %llu at bit %llu of %llu; do both nodes have "
                             "the same size?", frame.volume, static_cast<unsigned long long>(run.value),
                             static_cast<unsigned long long>(at), static_cast<unsigned long long>(bitmap_.bits()));
        if (set)
            set_run(bitmap_, at, at + run.value);
        at += run.value;
        code.skip(run.length);
    }
    position_ = {at, at / kWordBits};
    return at == bitmap_.bits() ? BitmapTransfer::Complete : BitmapTransfer::Continues;
}

}  // namespace drbd::wire
