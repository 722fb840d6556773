// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any text as a dump of metadata, in pieces of any size.
// An error names its line.  What is taken is printed by dump-md's writer, and
// that is taken again as the same head and the same bitmap; the dump of metadata
// that is not clean is refused.
// Input: size of the pieces; then the text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/endian.h"
#include "metafmt/bitmap_layout.h"
#include "metafmt/dump_text.h"

namespace {

using namespace drbd;
using namespace drbd::metafmt;

constexpr uint64_t kWordsKept = 65536;  // of a bitmap; a longer one is only counted

class Pieces final : public TextSource {
  public:
    Pieces(std::string_view text, size_t piece) : rest_(text), piece_(piece) {}
    Result<size_t> read(std::span<char> buffer) override {
        const size_t length = std::min({buffer.size(), piece_, rest_.size()});
        std::memcpy(buffer.data(), rest_.data(), length);
        rest_.remove_prefix(length);
        return length;
    }

  private:
    std::string_view rest_;
    size_t piece_;
};

class Kept final : public DumpConsumer {
  public:
    Result<void> on_head(const DumpHead& told) override {
        DRBD_ASSERT(heads++ == 0 && total == 0);
        head = told;
        return {};
    }
    Result<void> on_words(uint64_t word, uint64_t count) override {
        DRBD_ASSERT(heads == 1 && count > 0);
        total += count;
        DRBD_ASSERT(total <= bitmap_words(kCapacityMax));
        if (total <= kWordsKept)
            words.insert(words.end(), count, word);
        return {};
    }
    DumpHead head;
    unsigned heads = 0;
    std::vector<uint64_t> words;
    uint64_t total = 0;
};

class Text final : public TextSink {
  public:
    void write(std::string_view part) override { text += part; }
    std::string text;
};

std::string print(const Superblock& superblock, const std::vector<uint64_t>& words) {
    const auto layout = layout_for_creation(Placement::flexible_external(), Sector(1ull << 20), {});
    DRBD_ASSERT(layout.ok());
    Text sink;
    write_dump_head(superblock, layout.value(), sink);
    std::vector<uint8_t> bytes(words.size() * 8);
    for (size_t i = 0; i < words.size(); i++) {
        const le64 word = words[i];
        std::memcpy(bytes.data() + i * 8, &word, sizeof word);
    }
    DumpBitmapWriter writer(Bytes(bytes.size()), sink);
    writer.add(bytes);
    writer.finish();
    return sink.text;
}

bool same(const DumpHead& a, const DumpHead& b) {
    return a.uuids == b.uuids && a.flags == b.flags && a.la_size == b.la_size && a.device_uuid == b.device_uuid &&
           a.la_peer_max_bio_size == b.la_peer_max_bio_size && a.al == b.al;
}

void round_trip(const Kept& kept, size_t piece) {
    Superblock superblock;
    superblock.uuids = kept.head.uuids;
    superblock.flags = kept.head.flags;
    superblock.la_size = kept.head.la_size;
    superblock.device_uuid = kept.head.device_uuid;
    superblock.la_peer_max_bio_size = kept.head.la_peer_max_bio_size;
    superblock.al = kept.head.al;
    std::vector<uint64_t> words = kept.words;
    words.resize(round_up(words.size(), 4));  // a line is the unit of the writer
    const std::string text = print(superblock, words);
    Pieces source(text, piece);
    Kept again;
    const auto parsed = parse_dump(source, again);
    DRBD_ASSERT(parsed.ok() == superblock.is_clean());
    if (!parsed)
        return;
    DRBD_ASSERT(same(again.head, kept.head));
    DRBD_ASSERT(again.words == words);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 1)
        return 0;
    const size_t piece = 1 + data[0] * size_t{16};
    Pieces source({reinterpret_cast<const char*>(data + 1), size - 1}, piece);
    Kept kept;
    const auto parsed = parse_dump(source, kept);
    if (!parsed) {
        DRBD_ASSERT(parsed.error().code == ErrorCode::Invalid);
        DRBD_ASSERT(std::strncmp(parsed.error().text, "line ", 5) == 0);
        return 0;
    }
    DRBD_ASSERT(kept.total >= bitmap_words(kept.head.la_size));
    if (kept.total <= kWordsKept)
        round_trip(kept, piece);
    return 0;
}
