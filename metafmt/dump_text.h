// SPDX-License-Identifier: GPL-2.0-or-later
// The text form of metadata that dump-md prints and restore-md reads
// (docs/METADATA.md, "Text form").  Both directions stream: a bitmap may be
// 512 MiB and is never held as a whole.  The writer takes the bitmap piece by
// piece and merges equal lines into "N times"; the parser hands the words to
// a DumpConsumer as runs.  The parser takes any bytes whatever and ends with
// success or with an error that names the line; it reads no further than the
// fixed size of a token and allocates nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/base/result.h"
#include "metafmt/layout.h"
#include "metafmt/superblock.h"

namespace drbd::metafmt {

class TextSink {
  public:
    virtual void write(std::string_view text) = 0;

  protected:
    ~TextSink() = default;
};

class TextSource {
  public:
    // Fills `buffer` from the front; 0 is the end.
    virtual Result<size_t> read(std::span<char> buffer) = 0;

  protected:
    ~TextSource() = default;
};

// ---- writing ----

// Everything up to the bitmap.  If the superblock is not clean, a marker line
// is written that no parser accepts.
void write_dump_head(const Superblock& superblock, const Layout& layout, TextSink& sink);

// The bitmap, in lines of four 64-bit words; its length is whole 4 KiB blocks.
class DumpBitmapWriter {
  public:
    DumpBitmapWriter(Bytes bitmap_size, TextSink& sink);

    void add(std::span<const uint8_t> bytes);  // a multiple of 32
    void add_zeros(Bytes length);              // a multiple of 32
    void finish();

  private:
    static constexpr unsigned kWordsPerLine = 4;
    static constexpr unsigned kBytesPerLine = kWordsPerLine * 8;

    void add_uniform_lines(uint64_t word, uint64_t lines);
    void add_plain_line(const uint64_t (&words)[kWordsPerLine]);
    void write_position();
    void write_pending();

    TextSink& sink_;
    uint64_t line_ = 0;  // index of the next line to print
    uint64_t pending_word_ = 0;
    uint64_t pending_lines_ = 0;
    uint64_t bits_set_ = 0;
};

// What the bitmap of a dump is as long as: its area for `la_size`, whole 4 KiB.
Bytes dump_bitmap_size(const Superblock& superblock);

// ---- parsing ----

// Fields of the dump; offsets and md_size are comments there, and follow from
// the device it is restored to.
struct DumpHead {
    Uuids uuids;
    MdFlags flags;
    Sector la_size;
    uint64_t device_uuid = 0;
    uint32_t la_peer_max_bio_size = 0;
    ActivityLogGeometry al;
};

class DumpConsumer {
  public:
    // An error of either ends the parsing and is returned.
    virtual Result<void> on_head(const DumpHead& head) = 0;
    virtual Result<void> on_words(uint64_t word, uint64_t count) = 0;

  protected:
    ~DumpConsumer() = default;
};

// Success means the whole text was read, and the bitmap is as long as la-size
// needs.  Errors are Invalid and say which line.
Result<void> parse_dump(TextSource& source, DumpConsumer& consumer);

}  // namespace drbd::metafmt
