// SPDX-License-Identifier: GPL-2.0-or-later
// 100,000 damaged streams: flipped, replaced, cut, doubled and moved bytes of
// the recordings, in odd pieces.  Each ends with an error or waits for more;
// none reads or writes where it should not (run with the sanitizers).  What a
// decoder takes, our encoder must be able to send: it asserts the rest.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "corpus.h"

namespace drbd::wire {
namespace {

constexpr unsigned kMutations = 100000;
constexpr size_t kLengthMax = 400;  // of a stream; a few packets

void mutate(ByteVector& bytes, std::mt19937_64& random) {
    static constexpr uint32_t kInteresting[] = {0, 1, 0x7f, 0xff, 0xffff, 0x8000, 0x7fffffff, 0xffffffff, 512, 4096};
    for (unsigned n = 1 + random() % 4; n != 0 && !bytes.empty(); n--) {
        const size_t at = random() % bytes.size();
        switch (random() % 7) {
        case 0: bytes[at] = static_cast<uint8_t>(bytes[at] ^ 1u << random() % 8); break;
        case 1: bytes[at] = static_cast<uint8_t>(random()); break;
        case 2: {
            const uint32_t value = kInteresting[random() % std::size(kInteresting)];
            for (size_t i = 0; i < 4 && at + i < bytes.size(); i++)
                bytes[at + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
            break;
        }
        case 3: bytes.resize(at); break;
        case 4: bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at)); break;
        case 5: bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(random())); break;
        case 6: {
            const size_t from = random() % bytes.size(), length = std::min<size_t>(random() % 64, bytes.size() - std::max(at, from));
            const ByteVector part(bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(from + length));
            std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(at));
            break;
        }
        }
    }
}

// Where packets begin after the features: streams are cut there, so that
// damage meets every kind of packet, not only the handshake.
std::vector<size_t> packet_starts(const Recording& recording) {
    std::vector<size_t> starts;
    size_t at = 0;
    Translator translator(recording.agreement, Sector(131072));
    (void)listen(recording, recording.bytes, recording.bytes.size(), translator,
                 [&](const Frame& frame, std::span<const uint8_t> came, const ByteVector&) {
                     if (frame.agreement.version != 0)
                         starts.push_back(at);
                     at += came.size() + frame.bulk_length;
                 });
    return starts;
}

TEST(Mutations, NeverCrash) {
    const auto corpus = load_corpus();
    std::vector<std::vector<size_t>> starts;
    for (const Recording& recording : corpus)
        starts.push_back(packet_starts(recording));
    const uint64_t seed = std::getenv("WIRE_SEED") ? std::strtoull(std::getenv("WIRE_SEED"), nullptr, 0) : 1;
    std::mt19937_64 random(seed);
    unsigned refused = 0, waiting = 0;
    for (unsigned i = 0; i < kMutations; i++) {
        const size_t which = random() % corpus.size();
        const Recording& source = corpus[which];
        Recording recording{source.name, source.stream, source.accepted, false, source.agreement, 0, {}};
        size_t begin = 0;
        if (random() % 4 != 0 && !starts[which].empty()) {
            begin = starts[which][random() % starts[which].size()];
            recording.accepted = false;
            recording.agreed = true;
        }
        const size_t length = std::min(source.bytes.size() - begin, kLengthMax);
        ByteVector bytes = to_vector(std::span(source.bytes).subspan(begin, length));
        mutate(bytes, random);
        Translator translator(recording.agreement, Sector(131072));
        SCOPED_TRACE("seed " + std::to_string(seed) + " run " + std::to_string(i) + " of " + recording.name);
        const Listened listened = listen(recording, bytes, 1 + random() % 500, translator);
        refused += !listened.error.empty();
        waiting += listened.in_packet;
    }
    EXPECT_GT(refused, kMutations / 4);
    EXPECT_GT(waiting, kMutations / 100);
}

}  // namespace
}  // namespace drbd::wire
