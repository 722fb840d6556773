// SPDX-License-Identifier: GPL-2.0-or-later
// The text form: known output, round trips through writer and parser, errors
// with their lines, and garbage of every kind.
#include "metafmt/dump_text.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

using namespace drbd;
using namespace drbd::metafmt;

namespace {

class StringSink : public TextSink {
  public:
    void write(std::string_view part) override { text += part; }
    std::string text;
};

// Hands out the text in pieces, so that tokens are cut everywhere.
class PieceSource : public TextSource {
  public:
    PieceSource(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
    Result<size_t> read(std::span<char> buffer) override {
        const size_t length = std::min({buffer.size(), piece_, text_.size() - at_});
        std::memcpy(buffer.data(), text_.data() + at_, length);
        at_ += length;
        return length;
    }

  private:
    std::string text_;
    size_t piece_;
    size_t at_ = 0;
};

class Collector : public DumpConsumer {
  public:
    Result<void> on_head(const DumpHead& dump_head) override {
        head = dump_head;
        return {};
    }
    Result<void> on_words(uint64_t word, uint64_t count) override {
        total += count;
        if (count <= 100000)
            words.insert(words.end(), count, word);
        return {};
    }
    DumpHead head;
    std::vector<uint64_t> words;
    uint64_t total = 0;
};

const char kGood[] =
    "version \"v08\";\n"
    "uuid { 0x1234567890ABCDEF; 0x0000000000000001; 0x0000000000000002; 0x0000000000000003; flags 0x00000093; }\n"
    "la-size-sect 6144; bm-byte-per-bit 4096; device-uuid 0x0000000000000007; la-peer-max-bio-size 1048576;\n"
    "al-stripes 1; al-stripe-size-4k 8; # a comment; { }\n"
    "bm { 10 times 0x0000000000000000; 0x00000000000000f0; 0xFFFFFFFFFFFFFFFF; }\n";

TEST(DumpText, BitmapLines) {
    std::vector<uint8_t> bitmap(4096 * 8);
    std::fill(bitmap.begin() + 6 * 128, bitmap.begin() + 8 * 128, uint8_t{0xff});
    StringSink sink;
    DumpBitmapWriter writer(Bytes(bitmap.size()), sink);
    writer.add(bitmap);
    writer.finish();
    EXPECT_EQ(sink.text,
              "# bm-bytes 32768;\nbm {\n   # at 0kB\n    96 times 0x0000000000000000;\n   # at 24576kB\n"
              "    32 times 0xFFFFFFFFFFFFFFFF;\n   # at 32768kB\n    3968 times 0x0000000000000000;\n}\n"
              "# bits-set 2048;\n");
}

TEST(DumpText, HolesAndReadZeroesPrintTheSame) {
    StringSink as_data, as_holes;
    std::vector<uint8_t> zeros(8192);
    DumpBitmapWriter data(Bytes(8192), as_data), holes(Bytes(8192), as_holes);
    data.add(zeros);
    data.finish();
    holes.add_zeros(Bytes(4096));
    holes.add(std::span(zeros).first(32));
    holes.add_zeros(Bytes(8192 - 4096 - 32));
    holes.finish();
    EXPECT_EQ(as_data.text, as_holes.text);
}

TEST(DumpText, ParsesWhateverTheBufferBoundaries) {
    for (size_t piece : {1, 2, 3, 7, 64, 4096}) {
        PieceSource source(kGood, piece);
        Collector collector;
        auto parsed = parse_dump(source, collector);
        ASSERT_TRUE(parsed.ok()) << parsed.error().text;
        EXPECT_EQ(collector.head.uuids.current, 0x1234567890abcdefu);
        EXPECT_EQ(collector.head.flags.bits, 0x93u);
        EXPECT_EQ(collector.head.la_size.value, 6144u);
        EXPECT_EQ(collector.head.device_uuid, 7u);
        EXPECT_EQ(collector.head.la_peer_max_bio_size, 1048576u);
        ASSERT_EQ(collector.words.size(), 12u);
        EXPECT_EQ(collector.words[10], 0xf0u);
        EXPECT_EQ(collector.words[11], ~0ull);
    }
}

TEST(DumpText, WriterAndParserRoundTrip) {
    uint32_t state = 7;
    auto random = [&] { return (state = state * 1664525 + 1013904223) >> 8; };
    const Layout layout = layout_for_creation(Placement::internal(), Sector(2097152), {}).value();
    for (int round = 0; round < 50; round++) {
        std::vector<uint8_t> bitmap(32768);
        for (size_t at = 0; at < bitmap.size();) {
            const uint8_t value = static_cast<uint8_t>(random() % 3 == 0 ? random() : random() % 2 ? 0xff : 0);
            for (size_t length = random() % 300 + 1; length > 0 && at < bitmap.size(); length--)
                bitmap[at++] = value;
        }
        Superblock sb = superblock_for_creation(layout);
        sb.la_size = Sector(2097016);
        sb.uuids.history[1] = random();
        StringSink sink;
        write_dump_head(sb, layout, sink);
        DumpBitmapWriter writer(dump_bitmap_size(sb), sink);
        writer.add(bitmap);
        writer.finish();
        PieceSource source(sink.text, 4096);
        Collector collector;
        auto parsed = parse_dump(source, collector);
        ASSERT_TRUE(parsed.ok()) << parsed.error().text;
        EXPECT_EQ(collector.head.uuids, sb.uuids);
        ASSERT_EQ(collector.words.size() * 8, bitmap.size());
        EXPECT_EQ(std::memcmp(collector.words.data(), bitmap.data(), bitmap.size()), 0);
    }
}

TEST(DumpText, UncleanDumpDoesNotParse) {
    const Layout layout = layout_for_creation(Placement::internal(), Sector(2097152), {}).value();
    Superblock sb = superblock_for_creation(layout);
    sb.magic = SuperblockMagic::Unclean;
    StringSink sink;
    write_dump_head(sb, layout, sink);
    DumpBitmapWriter writer(Bytes(0), sink);
    writer.finish();
    PieceSource source(sink.text, 4096);
    Collector collector;
    auto parsed = parse_dump(source, collector);
    ASSERT_FALSE(parsed.ok());
    EXPECT_EQ(std::string(parsed.error().text).rfind("line 3:", 0), 0u) << parsed.error().text;
}

TEST(DumpText, ErrorsNameTheirLine) {
    struct Row {
        const char* old_text;
        const char* new_text;
        const char* says;
    };
    const Row rows[] = {
        {"\"v08\"", "\"v07\"", "line 1: this is a dump of version 'v07'"},
        {"\"v08\"", "\"v08", "line 1: a string is not closed"},
        {"uuid", "uiud", "line 2: 'uuid' expected"},
        {"0x0000000000000001", "0x00000001", "line 2: 0x and 16"},
        {"flags 0x00000093", "flags 93", "line 2: 0x and 8"},
        {"6144", "61440", "line 5: the bitmap has 12 words"},
        {"6144", "2251799813685249", "line 3: la-size-sect 2251799813685249 is out of range"},
        {"1048576", "4294967296", "line 3: la-peer-max-bio-size"},
        {"al-stripes 1", "al-stripes 0", "line 4:"},
        {"10 times", "10 tims", "line 5: 'times' expected"},
        {"10 times", "18446744073709551615 times", "line 5: number"},
        {"10 times", "9999999999999999999 times", "line 5: the bitmap is longer"},
        {"f0; 0xF", "f0; $0xF", "line 5: character 0x24"},
    };
    for (const Row& row : rows) {
        std::string text = kGood;
        text.replace(text.find(row.old_text), std::strlen(row.old_text), row.new_text);
        PieceSource source(text, 4096);
        Collector collector;
        auto parsed = parse_dump(source, collector);
        ASSERT_FALSE(parsed.ok()) << row.new_text;
        EXPECT_EQ(parsed.error().code, ErrorCode::Invalid);
        EXPECT_EQ(std::string(parsed.error().text).rfind(row.says, 0), 0u) << parsed.error().text;
    }
}

TEST(DumpText, EveryPrefixIsAnError) {
    const std::string good(kGood);
    for (size_t length = 0; length < good.size() - 2; length++) {
        PieceSource source(good.substr(0, length), 4096);
        Collector collector;
        EXPECT_FALSE(parse_dump(source, collector).ok()) << length;
    }
}

TEST(DumpText, ChangedBytesNeverCrash) {
    uint32_t state = 1;
    auto random = [&] { return (state = state * 1664525 + 1013904223) >> 8; };
    for (int round = 0; round < 20000; round++) {
        std::string text = kGood;
        for (uint32_t i = random() % 4 + 1; i > 0; i--) {
            const size_t at = random() % text.size();
            switch (random() % 3) {
            case 0:
                text[at] = static_cast<char>(random());
                break;
            case 1:
                text.erase(at, random() % 20);
                break;
            default:
                text.insert(at, text.substr(random() % text.size(), random() % 30));
                break;
            }
        }
        PieceSource source(text, random() % 100 + 1);
        Collector collector;
        auto parsed = parse_dump(source, collector);
        if (!parsed.ok()) {
            ASSERT_EQ(std::string(parsed.error().text).rfind("line ", 0), 0u);
        }
    }
}

}  // namespace
