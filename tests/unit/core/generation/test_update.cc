// SPDX-License-Identifier: GPL-2.0-or-later
// Identifiers through a resync: both nodes end with the same, and an end or a
// start that one of them missed is recognised at the next handshake.
#include <gtest/gtest.h>

#include "core/generation/compare.h"
#include "core/generation/update.h"

namespace drbd {
namespace {

constexpr uint64_t kA = 0x1000'0000'0000'0a00;
constexpr uint64_t kB = 0x2000'0000'0000'0b00;
constexpr uint64_t kC = 0x3000'0000'0000'0c00;
constexpr uint64_t kD = 0x4000'0000'0000'0d00;

Uuids uuids(uint64_t current, uint64_t bitmap = 0, uint64_t young = 0, uint64_t old = 0) {
    return {.current = current, .bitmap = bitmap, .history = {young, old}};
}

// A Primary wrote alone: generation kB, its bitmap counts from kA.
struct Pair {
    Uuids source = uuids(kB | 1, kA | 1, kC, kD);
    Uuids target = uuids(kA, 0, kC, kD);
    Uuids source_before = source;  // what the target has stored
    Random random{1, 2};

    void begin() { source = with_resync_begun(source, random); }
    void hear() { target = with_sync_uuid(target, source.bitmap, Role::Secondary); }
    void target_ends() { target = with_resync_finished_as_target(target, source_before, Role::Secondary); }
    void source_ends() { source = with_resync_finished_as_source(source); }
    CompareResult meet() const { return compare_generations({.self = {source}, .peer = {target}}); }
};

TEST(Update, AResyncEndsWithTheSameIdentifiersOnBothNodes) {
    Pair pair;
    pair.begin();
    EXPECT_EQ(pair.source, uuids(kB | 1, (kA + kSyncUuidOffset) | 1, kA | 1, kC));
    pair.hear();
    EXPECT_EQ(pair.target, uuids(kA + kSyncUuidOffset, 0, kC, kD)) << "the old generation is forgotten";
    pair.target_ends();
    pair.source_ends();
    EXPECT_EQ(pair.source, uuids(kB | 1, 0, (kA + kSyncUuidOffset) | 1, kA | 1));
    EXPECT_EQ(pair.target, uuids(kB, 0, kA + kSyncUuidOffset, kA | 1)) << "bit 0 follows the role";
    EXPECT_EQ(pair.meet().rule->number, 40u);
}

TEST(Update, AResyncCutOffAtAnyStepIsRecognised) {
    Pair pair;
    EXPECT_EQ(pair.meet().rule->number, 70u);
    pair.begin();
    EXPECT_EQ(pair.meet().rule->number, 71u) << "the target did not hear of the start";
    EXPECT_EQ(pair.meet().self.bitmap, kA | 1);
    pair.hear();
    EXPECT_EQ(pair.meet().rule->number, 70u) << "it counts from the sync identifier now";
    pair.target_ends();
    EXPECT_EQ(pair.meet().rule->number, 34u) << "the source did not hear of the end";
    EXPECT_EQ(pair.meet().self, uuids(kB | 1, 0, (kA + kSyncUuidOffset) | 1, kA | 1));
    pair.source_ends();
    EXPECT_EQ(pair.meet().rule->number, 40u);
}

TEST(Update, AResyncBegunAgainAfterALossCountsOn) {
    Pair pair;
    pair.begin();
    pair.hear();
    pair.source_before = pair.source;
    pair.begin();  // the connection was lost, and the target knows the sync identifier
    pair.hear();
    EXPECT_EQ(pair.target.current, kA + 2 * kSyncUuidOffset);
    pair.target_ends();
    pair.source_ends();
    EXPECT_EQ(pair.target, uuids(kB, 0, kA + 2 * kSyncUuidOffset, (kA + kSyncUuidOffset) | 1));
    EXPECT_EQ(pair.meet().verdict, SyncVerdict::NoSync);
}

TEST(Update, ASyncIdentifierIsFreshWhereNoneIsCountedFrom) {
    Random random(3, 4);
    for (const uint64_t bitmap : {uint64_t{0}, uint64_t{1}, metafmt::kUuidJustCreated}) {
        const Uuids begun = with_resync_begun(uuids(kB, bitmap), random);
        EXPECT_GT(begun.bitmap, metafmt::kUuidJustCreated);
        EXPECT_NE(begun.bitmap, bitmap + kSyncUuidOffset);
        EXPECT_EQ(begun.history[0], bitmap) << "as the kernel does";
        EXPECT_EQ(begun.current, kB);
    }
    // The sum must not become a reserved value.
    const Uuids wraps = with_resync_begun(uuids(kB, 0 - kSyncUuidOffset), random);
    EXPECT_FALSE(same_generation(wraps.bitmap, 0));
    const Uuids wraps_to_created = with_resync_begun(uuids(kB, 4 - kSyncUuidOffset), random);
    EXPECT_FALSE(same_generation(wraps_to_created.bitmap, metafmt::kUuidJustCreated));
}

TEST(Update, APrimaryTargetKeepsItsBit) {
    const Uuids heard = with_sync_uuid(uuids(kA | 1, kC), kD, Role::Primary);
    EXPECT_EQ(heard, uuids(kD | 1));
    EXPECT_EQ(with_resync_finished_as_target(heard, uuids(kB, kA, kC), Role::Primary),
              uuids(kB | 1, 0, kD | 1, kA));
}

TEST(Update, ASourceWithoutABitmapIdentifierKeepsItsHistory) {
    EXPECT_EQ(with_resync_finished_as_source(uuids(kB, 0, kC, kD)), uuids(kB, 0, kC, kD));
}

TEST(Update, SkippingTheFirstSyncLeavesOneGenerationAndNoHistory) {
    Random random(5, 6);
    const Uuids fresh = uuids(metafmt::kUuidJustCreated);
    ASSERT_TRUE(may_skip_initial_sync(fresh));
    EXPECT_FALSE(may_skip_initial_sync(uuids(kA)));
    const Uuids announced = with_initial_sync_skip_announced(fresh, Role::Secondary, random);
    EXPECT_EQ(announced.bitmap, metafmt::kUuidJustCreated);
    const Uuids own = with_initial_sync_skipped(announced);
    const Uuids peers = with_peers_first_generation(fresh, announced.current, Role::Secondary);
    EXPECT_EQ(own, uuids(announced.current));
    EXPECT_EQ(peers, own);
    const Uuids primary = with_initial_sync_skip_announced(fresh, Role::Primary, random);
    EXPECT_EQ(primary.current & kUuidPrimaryBit, kUuidPrimaryBit);
}

}  // namespace
}  // namespace drbd
