// SPDX-License-Identifier: GPL-2.0-or-later
// Power is lost at random moments of a random life (world.h).  A failure names
// its seed; DRBD_TEST_SEED=N runs that one alone, DRBD_TEST_SEEDS=N as many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ostream>

#include "world.h"

namespace drbd::test {

void PrintTo(const WorldOptions& o, std::ostream* out) {
    *out << (o.internal ? "internal" : "external") << " " << (o.image_bytes >> 20) << " MiB, al-extents "
         << o.al_extents << ", depth " << o.depth;
}

namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

void live(uint64_t seed, WorldOptions options) {
    World world(seed, options);
    std::mt19937_64 random(~seed);
    for (int life = 0; life < 12 && world.complaint().empty(); life++) {
        world.run(static_cast<unsigned>(random() % 4000));
        world.lose_power_and_judge();
    }
    world.settle();
    ASSERT_EQ(world.complaint(), "") << "seed " << seed;
    ASSERT_GT(world.writes_completed(), 0u) << "seed " << seed;
}

class PowerLoss : public testing::TestWithParam<WorldOptions> {};

TEST_P(PowerLoss, LosesNothingThatWasPromised) {
    const uint64_t one = from_environment("DRBD_TEST_SEED", 0);
    if (one != 0) {
        live(one, GetParam());
        return;
    }
    const uint64_t seeds = from_environment("DRBD_TEST_SEEDS", 2);
    for (uint64_t seed = 1; seed <= seeds && !HasFatalFailure(); seed++)
        live(seed, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Worlds, PowerLoss,
    testing::Values(WorldOptions{},                                             // evicts all the time
                    WorldOptions{.internal = true},
                    WorldOptions{.al_extents = 1237},                           // never evicts
                    WorldOptions{.image_bytes = 90ull << 20, .depth = 64},      // requests meet
                    WorldOptions{.al_stripes = 3, .depth = 2},
                    WorldOptions{.depth = 32, .max_requests = 8},               // the pool runs out
                    WorldOptions{.flush = 0.3, .fua = 0.4, .admin = 0.05}));    // administrators everywhere

}  // namespace
}  // namespace drbd::test
