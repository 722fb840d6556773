// SPDX-License-Identifier: GPL-2.0-or-later
#include <bit>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "metafmt/bitmap_layout.h"
#include "metafmt/dump_text.h"

namespace drbd::metafmt {
namespace {

[[gnu::format(printf, 2, 3)]] void print(TextSink& sink, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    DRBD_ASSERT(length >= 0 && static_cast<size_t>(length) < sizeof text);
    sink.write(std::string_view(text, static_cast<size_t>(length)));
}

}  // namespace

Bytes dump_bitmap_size(const Superblock& superblock) { return to_bytes(bitmap_sectors_on_disk(superblock.la_size)); }

void write_dump_head(const Superblock& sb, const Layout& layout, TextSink& sink) {
    print(sink, "version \"v08\";\n\n");
    if (!sb.is_clean())
        print(sink, "Unclean_dump._The_bitmap_is_not_to_be_trusted.\n# Run apply-al first if this is to be restored.\n\n");
    print(sink, "# md_size_sect %" PRIu64 "\n", layout.md_size.value);
    print(sink, "# md_offset %" PRIu64 "\n", to_bytes(layout.superblock).value);
    print(sink, "# al_offset %" PRIu64 "\n", to_bytes(layout.activity_log).value);
    print(sink, "# bm_offset %" PRIu64 "\n\n", to_bytes(layout.bitmap).value);
    print(sink, "uuid {\n    0x%016" PRIX64 "; 0x%016" PRIX64 "; 0x%016" PRIX64 "; 0x%016" PRIX64 ";\n", sb.uuids.current,
          sb.uuids.bitmap, sb.uuids.history[0], sb.uuids.history[1]);
    print(sink, "    flags 0x%08X;\n}\n", sb.flags.bits);
    print(sink, "# al-extents %u;\n", sb.al_nr_extents);
    print(sink, "la-size-sect %" PRIu64 ";\n", sb.la_size.value);
    print(sink, "bm-byte-per-bit %u;\n", kBitmapBytesPerBit);
    print(sink, "device-uuid 0x%016" PRIX64 ";\n", sb.device_uuid);
    print(sink, "la-peer-max-bio-size %u;\n", sb.la_peer_max_bio_size);
    print(sink, "al-stripes %u;\nal-stripe-size-4k %u;\n", sb.al.stripes, sb.al.stripe_size_4k);
}

DumpBitmapWriter::DumpBitmapWriter(Bytes bitmap_size, TextSink& sink) : sink_(sink) {
    print(sink_, "# bm-bytes %" PRIu64 ";\nbm {\n", bitmap_size.value);
}

void DumpBitmapWriter::add(std::span<const uint8_t> bytes) {
    DRBD_ASSERT(bytes.size() % kBytesPerLine == 0);
    for (; !bytes.empty(); bytes = bytes.subspan(kBytesPerLine)) {
        le64 raw[kWordsPerLine];
        std::memcpy(raw, bytes.data(), sizeof raw);
        const uint64_t words[kWordsPerLine] = {raw[0], raw[1], raw[2], raw[3]};
        for (uint64_t word : words)
            bits_set_ += static_cast<unsigned>(std::popcount(word));
        // A run is one of equal 32-bit words.
        const bool uniform = words[0] == words[1] && words[1] == words[2] && words[2] == words[3] &&
                             words[0] >> 32 == (words[0] & 0xffffffff);
        if (uniform)
            add_uniform_lines(words[0], 1);
        else
            add_plain_line(words);
    }
}

void DumpBitmapWriter::add_zeros(Bytes length) {
    DRBD_ASSERT(length.value % kBytesPerLine == 0);
    if (length.value > 0)
        add_uniform_lines(0, length.value / kBytesPerLine);
}

void DumpBitmapWriter::add_uniform_lines(uint64_t word, uint64_t lines) {
    if (pending_lines_ > 0 && pending_word_ != word)
        write_pending();
    pending_word_ = word;
    pending_lines_ += lines;
}

void DumpBitmapWriter::write_position() {
    constexpr unsigned kLinesPerPosition = 8;
    constexpr unsigned kKilobytesPerLine = 1024;  // 256 blocks of 4 KiB
    if (line_ % kLinesPerPosition == 0)
        print(sink_, "   # at %" PRIu64 "kB\n", line_ * kKilobytesPerLine);
}

void DumpBitmapWriter::add_plain_line(const uint64_t (&words)[kWordsPerLine]) {
    write_pending();
    write_position();
    print(sink_, "    0x%016" PRIX64 "; 0x%016" PRIX64 "; 0x%016" PRIX64 "; 0x%016" PRIX64 ";\n", words[0], words[1],
          words[2], words[3]);
    line_++;
}

void DumpBitmapWriter::write_pending() {
    const uint64_t lines = pending_lines_;
    pending_lines_ = 0;
    if (lines == 1) {
        const uint64_t word = pending_word_;
        add_plain_line({word, word, word, word});
    } else if (lines > 1) {
        write_position();
        print(sink_, "    %" PRIu64 " times 0x%016" PRIX64 ";\n", lines * kWordsPerLine, pending_word_);
        line_ += lines;
    }
}

void DumpBitmapWriter::finish() {
    write_pending();
    print(sink_, "}\n# bits-set %" PRIu64 ";\n", bits_set_);
}

}  // namespace drbd::metafmt
