// SPDX-License-Identifier: GPL-2.0-or-later
// The pool: bounds in number and bytes, the reserve for flushes, turns of the
// volumes, buffers given back once and in order.
#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

struct Owner : PeerRequestOwner {
    void on_peer_io_done(PeerRequest& request) override { done.push_back({request.id, request.result}); }
    std::vector<std::pair<uint32_t, int>> done;
};

struct Pool : testing::Test {
    Pool() : requests(owner) { EXPECT_TRUE(requests.allocate(4)); }
    Owner owner;
    PeerRequests requests;
};

TEST_F(Pool, BoundedInNumberButAFlushAlwaysFindsOne) {
    std::vector<PeerRequest*> taken;
    for (unsigned i = 0; i < 4; i++) {
        ASSERT_TRUE(requests.has_room(0));
        taken.push_back(requests.take(0, PeerWork::Write, 0));
    }
    EXPECT_FALSE(requests.has_room(0));
    EXPECT_EQ(requests.take(0, PeerWork::Read, 0), nullptr);
    for (unsigned volume = 0; volume < DRBD_MAX_VOLUMES; volume++) {
        taken.push_back(requests.take(volume, PeerWork::EpochFlush, 0));
        taken.push_back(requests.take(volume, PeerWork::ResyncFlush, 0));
        ASSERT_NE(taken.back(), nullptr);
    }
    EXPECT_EQ(requests.in_use(0), 6u);
    EXPECT_EQ(requests.in_use(), 4u + 2 * DRBD_MAX_VOLUMES);
    for (PeerRequest* request : taken)
        requests.finish(*request);
    EXPECT_EQ(requests.in_use(), 0u);
    EXPECT_TRUE(requests.has_room(0));
}

TEST_F(Pool, BoundedInBytesButOnePayloadAlwaysFits) {
    requests.set_bytes_max(64 << 10);
    PeerRequest* large = requests.take(0, PeerWork::Write, 1 << 20);
    ASSERT_NE(large, nullptr);
    EXPECT_EQ(requests.take(0, PeerWork::Write, 512), nullptr);
    requests.finish(*large);
    PeerRequest* first = requests.take(0, PeerWork::Write, 32 << 10);
    PeerRequest* second = requests.take(0, PeerWork::Write, 32 << 10);
    ASSERT_TRUE(first && second);
    EXPECT_FALSE(requests.has_room(512));
    EXPECT_EQ(requests.bytes(), 64u << 10);
    requests.finish(*first);
    EXPECT_TRUE(requests.has_room(512));
    requests.finish(*second);
    EXPECT_EQ(requests.bytes(), 0u);
}

TEST_F(Pool, VolumesTakeTurnsAndMayBeLeftOut) {
    for (unsigned volume : {0u, 0u, 0u, 5u}) {
        PeerRequest* request = requests.take(volume, PeerWork::Read, 0);
        request->io = DRBD_PEER_READ;
        request->range.end = 512;
        requests.submit(*request);
    }
    EXPECT_TRUE(requests.has_next());
    EXPECT_TRUE(requests.has_next(1u << 5));
    EXPECT_FALSE(requests.has_next(1u << 4));
    DrbdPeerIo io;
    std::vector<unsigned> order;
    EXPECT_FALSE(requests.next(io, 1u << 4));
    while (requests.next(io))
        order.push_back(io.volume);
    EXPECT_EQ(order, (std::vector<unsigned>{0, 5, 0, 0}));
}

TEST_F(Pool, QueuedOnesCanBeFailedThoseAtTheImageCannot) {
    PeerRequest* at_image = requests.take(0, PeerWork::Write, 0);
    PeerRequest* queued = requests.take(0, PeerWork::Write, 0);
    PeerRequest* other = requests.take(1, PeerWork::Write, 0);
    PeerRequest* flush = requests.take(0, PeerWork::EpochFlush, 0);
    for (PeerRequest* request : {at_image, queued, other, flush}) {
        request->io = DRBD_PEER_FLUSH;
        requests.submit(*request);
    }
    DrbdPeerIo io;
    ASSERT_TRUE(requests.next(io, 1));
    EXPECT_EQ(io.id, at_image->id);
    requests.fail_queued(0, PeerWork::Write, PeerWork::Read, -EIO);
    EXPECT_EQ(owner.done, (std::vector<std::pair<uint32_t, int>>{{queued->id, -EIO}}));
    ASSERT_TRUE(requests.next(io, 1));
    EXPECT_EQ(io.id, flush->id);
    EXPECT_FALSE(requests.has_next(1));
    EXPECT_TRUE(requests.has_next(2));
}

TEST_F(Pool, ReleasedBuffersComeBackInOrder) {
    alignas(8) uint8_t a[512], b[4096], c[512];
    requests.release(a, sizeof a);
    requests.release(nullptr, 512);
    PeerRequest* request = requests.take(0, PeerWork::Write, sizeof b);
    request->range.end = sizeof b;
    request->buffer = b;
    requests.finish(*request);
    requests.release(c, sizeof c);
    std::vector<std::pair<void*, size_t>> released;
    void* buffer;
    size_t bytes;
    ASSERT_TRUE(requests.has_release());
    while (requests.next_release(buffer, bytes))
        released.emplace_back(buffer, bytes);
    EXPECT_EQ(released, (std::vector<std::pair<void*, size_t>>{{a, 512}, {b, 4096}, {c, 512}}));
    EXPECT_FALSE(requests.has_release());
    requests.release(a, sizeof a);
    ASSERT_TRUE(requests.next_release(buffer, bytes));
    EXPECT_EQ(buffer, a);
}

TEST_F(Pool, WorkOfAClosedVolumeIsGivenBackByItself) {
    PeerRequest* request = requests.take(3, PeerWork::ResyncRead, 4096);
    request->io = DRBD_PEER_READ;
    request->range.end = 4096;
    requests.submit(*request);
    DrbdPeerIo io;
    ASSERT_TRUE(requests.next(io));
    alignas(8) uint8_t data[4096];
    requests.done(io.id, 0, data, nullptr);
    EXPECT_EQ(requests.in_use(), 0u);
    EXPECT_TRUE(requests.has_release());
    EXPECT_TRUE(owner.done.empty());
}

}  // namespace
}  // namespace drbd::test
