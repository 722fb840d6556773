// SPDX-License-Identifier: GPL-2.0-or-later
// Recordings of two kernel nodes: every packet is read in any pieces, decodes
// without an error, and comes out of our encoder as it came.
#include <gtest/gtest.h>

#include <set>

#include "corpus.h"

namespace drbd::wire {
namespace {

constexpr Sector kDisk{131072};  // no recording has a larger one

// What kernels leave undefined, and we send as zero.
ByteVector without_garbage(const Frame& frame, std::span<const uint8_t> came) {
    ByteVector bytes = to_vector(came);
    const size_t header = header_size(frame.agreement.version);
    switch (frame.packet()) {
    case Packet::DataRequest:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::OvRequest:
    case Packet::OvReply:
    case Packet::CsumRsRequest: std::fill_n(bytes.begin() + header + 20, 4, 0); break;
    case Packet::RsDeallocated: std::fill_n(bytes.begin() + header + 12, 4, 0); break;
    case Packet::Barrier: std::fill_n(bytes.begin() + header + 4, 4, 0); break;
    default: break;
    }
    return bytes;
}

// The third connection of these scenarios was made with use-rle=no.
bool without_run_lengths(const Recording& recording) {
    return recording.name.starts_with("resync-10-") || recording.name.starts_with("resync-at-90-10-") ||
           recording.name.starts_with("thin-10-");
}

TEST(Golden, EveryPacketDecodesAndIsEncodedAlike) {
    const auto corpus = load_corpus();
    ASSERT_GT(corpus.size(), 50u);
    std::set<Packet> seen;
    for (const Recording& recording : corpus)
        for (size_t piece : {size_t{1}, size_t{7}, size_t{4096}, recording.bytes.size()}) {
            SCOPED_TRACE(recording.name + ", pieces of " + std::to_string(piece));
            Translator translator(recording.agreement, kDisk);
            const Listened listened = listen(recording, recording.bytes, piece, translator,
                [&](const Frame& frame, std::span<const uint8_t> came, const ByteVector& encoded) {
                    seen.insert(frame.packet());
                    if (frame.packet() == Packet::Bitmap || frame.packet() == Packet::CompressedBitmap)
                        return;
                    EXPECT_EQ(encoded, without_garbage(frame, came)) << frame.row->name;
                });
            EXPECT_EQ(listened.error, "");
            EXPECT_EQ(listened.packets, recording.packets);
            EXPECT_FALSE(listened.in_packet);
        }
    EXPECT_GE(seen.size(), 40u);  // of 50: the rest was never seen between two kernels
}

TEST(Golden, BitmapsAreEncodedAsTheKernelDoes) {
    unsigned transfers = 0, plain = 0, compressed = 0;
    for (const Recording& recording : load_corpus()) {
        Translator translator(recording.agreement, kDisk);
        const Listened listened = listen(recording, recording.bytes, recording.bytes.size(), translator);
        EXPECT_EQ(listened.error, "");
        for (const auto& transfer : translator.transfers()) {
            transfers++;
            (transfer.received.size() > 1 ? plain : compressed)++;
            EXPECT_EQ(without_run_lengths(recording) ? transfer.sent_plain : transfer.sent_rle, transfer.received)
                << recording.name;
        }
    }
    EXPECT_GE(transfers, 8u);
    EXPECT_GE(plain, 2u);
    EXPECT_GE(compressed, 4u);
}

TEST(Golden, EveryTruncationWaitsForMore) {
    for (const Recording& recording : load_corpus()) {
        if (recording.bytes.size() > 400)
            continue;
        for (size_t length = 0; length < recording.bytes.size(); length++) {
            Translator translator(recording.agreement, kDisk);
            const Listened listened = listen(recording, std::span(recording.bytes).first(length), length, translator);
            ASSERT_EQ(listened.error, "") << recording.name << " cut at " << length;
            ASSERT_LT(listened.packets, recording.packets);
        }
    }
}

}  // namespace
}  // namespace drbd::wire
