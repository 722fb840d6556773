// SPDX-License-Identifier: GPL-2.0-or-later
// A resync that loses its connection after every packet, and its target its
// power: what differs is still named by a bitmap, and the next one ends well.
#include <gtest/gtest.h>

#include "tests/unit/core/resync/pair.h"

namespace drbd::test {
namespace {

enum class Writer { None, Source, Target };
enum class Loss { Link, Power };

struct Cut : testing::TestWithParam<std::pair<Writer, Loss>> {};

// False: the resync was over before.
bool cut_after(uint64_t seed, unsigned packets, Writer writer, Loss loss) {
    Pair pair(seed);
    pair.make_different(writer == Writer::None ? 60 : 10);
    if (writer != Writer::None) {
        pair.writer = writer == Writer::Source ? &pair.a : &pair.b;
        pair.writes_left = 0;
    }
    pair.packets_until_cut = packets;
    pair.exchange_bitmaps();
    bool may_write = writer == Writer::Source;
    const bool over = pair.run([&] {
        may_write |= pair.b.resync.is_running();
        if (may_write && pair.linked && writer != Writer::None && pair.delivered % 3 == 0)
            pair.writes_left = 3;
        return !pair.linked || (pair.b.answered != 0 && pair.delivered > packets);
    }, 20'000);
    EXPECT_EQ(pair.a.error, "");
    EXPECT_EQ(pair.b.error, "");
    if (!over || pair.linked)
        return false;
    pair.finish_io();
    if (loss == Loss::Power)
        pair.lose_power(pair.b);
    EXPECT_EQ(pair.unmarked_differences(), 0u);
    pair.reconnect();
    pair.exchange_bitmaps();
    EXPECT_TRUE(pair.run_to_the_end());
    EXPECT_EQ(pair.b.answered, 1u);
    EXPECT_EQ(pair.differences(), 0u);
    EXPECT_EQ(pair.a.disk.bitmap.count(), 0u);
    EXPECT_EQ(pair.b.disk.bitmap.count(), 0u);
    return true;
}

TEST_P(Cut, AfterEveryPacket) {
    const auto [writer, loss] = GetParam();
    unsigned cuts = 0;
    // Without a writer a resync is over after some 40 packets.
    const unsigned most = writer == Writer::None ? 40 : 120;
    for (unsigned seed = 0; seed < 120; seed++) {
        const unsigned packets = 1 + seed % most;
        SCOPED_TRACE("seed " + std::to_string(seed) + ", after " + std::to_string(packets) + " packets");
        cuts += cut_after(seed, packets, writer, loss);
        ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(cuts, 60u);
}

INSTANTIATE_TEST_SUITE_P(All, Cut,
                         testing::Values(std::pair{Writer::None, Loss::Link}, std::pair{Writer::None, Loss::Power},
                                         std::pair{Writer::Source, Loss::Link}, std::pair{Writer::Source, Loss::Power},
                                         std::pair{Writer::Target, Loss::Link}));

}  // namespace
}  // namespace drbd::test
