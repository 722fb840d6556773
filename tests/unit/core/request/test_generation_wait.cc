// SPDX-License-Identifier: GPL-2.0-or-later
// Design D14 at its narrowest place: a write that the image has done does not
// complete before the generation is stable.  A volume writes the generation
// before any transaction, so through the border no write is ever that early;
// here the extents are hot beforehand.
#include <gtest/gtest.h>

#include <cerrno>

#include "../connection/link_up.h"
#include "core/request/guest_io.h"

namespace drbd {
namespace {

struct Listener : GuestIoListener, BufferReturn {
    void on_disk_error(DrbdRequestKind, uint64_t, uint64_t, int) override { errors++; }
    void on_generation_wanted() override { wanted++; }
    void release_buffer(void*, uint64_t) override {}
    int errors = 0, wanted = 0;
};

struct GenerationWait : testing::Test {
    GenerationWait() {
        EXPECT_TRUE(pool.allocate(8));
        disk.size = Sector(64 << 11);
        EXPECT_TRUE(disk.bitmap.allocate(disk.size).ok());
        EXPECT_TRUE(disk.activity_log.allocate(67, {}).ok());
        EXPECT_TRUE(disk.activity_log.reserve({0, 3}));
        disk.activity_log.commit();
        io.disk_came();
        io.set_access({.read_error = 0, .write_error = 0, .image = true, .image_reads = true});
        io.want_generation(true);
    }
    ~GenerationWait() override { disk.activity_log.drop({0, 3}, 0); }

    DrbdStep begin(DrbdRequestKind kind, Request*& request, uint64_t offset = 0) {
        return io.begin(kind, offset, kind == DRBD_REQUEST_FLUSH ? 0 : 4096, 0, this, waiter, &request);
    }

    RequestPool pool;
    Disk disk;
    Listener listener;
    test::LinkUp peer;
    TransferLog log{peer.link, pool};
    GuestIo io{pool, disk, listener, log, peer.link, listener, 0};
    DrbdWaiter waiter{};
};

TEST_F(GenerationWait, CompletionsWaitTogetherAndAreWokenOnceStable) {
    Request *a, *b, *c;
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, a), DRBD_STEP_SUBMIT);
    EXPECT_EQ(listener.wanted, 1);
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, b, 1 << 20), DRBD_STEP_SUBMIT);
    EXPECT_EQ(listener.wanted, 1) << "one generation for both";
    EXPECT_EQ(io.local_done(*a, 0), DRBD_STEP_WAIT);
    EXPECT_EQ(io.local_done(*b, 0), DRBD_STEP_WAIT);
    EXPECT_EQ(pool.next_wake(), nullptr);
    EXPECT_EQ(io.writes_in_flight(), 2u) << "whoever waits for writes waits for them";
    io.generation_stable();
    for (Request* r : {a, b}) {
        EXPECT_EQ(pool.next_wake(), this);
        EXPECT_EQ(r->step, DRBD_STEP_COMPLETE);
        EXPECT_EQ(io.end(*r), 0);
    }
    EXPECT_EQ(pool.next_wake(), nullptr);
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, c), DRBD_STEP_SUBMIT);
    EXPECT_EQ(io.local_done(*c, 0), DRBD_STEP_COMPLETE);
    EXPECT_EQ(io.end(*c), 0);
    EXPECT_EQ(listener.wanted, 1);
}

// It was sent before: the disk was attached again since, and the peer that did not answer is gone.
TEST_F(GenerationWait, AnOldWriteBeginsTheGenerationThatIsWanted) {
    Request* w;
    io.want_generation(false);
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, w), DRBD_STEP_SUBMIT);
    EXPECT_EQ(listener.wanted, 0);
    io.want_generation(true);
    EXPECT_EQ(io.local_done(*w, 0), DRBD_STEP_WAIT);
    EXPECT_EQ(listener.wanted, 1);
    io.generation_stable();
    EXPECT_EQ(pool.next_wake(), this);
    EXPECT_EQ(io.end(*w), 0);
}

TEST_F(GenerationWait, ReadsAndFailuresDoNotWait) {
    Request *w, *r;
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, w), DRBD_STEP_SUBMIT);
    ASSERT_EQ(begin(DRBD_REQUEST_READ, r, 8192), DRBD_STEP_SUBMIT);
    EXPECT_EQ(io.local_done(*r, 0), DRBD_STEP_COMPLETE);
    EXPECT_EQ(io.end(*r), 0);
    EXPECT_EQ(io.local_done(*w, -ENOSPC), DRBD_STEP_COMPLETE);
    EXPECT_EQ(io.end(*w), -ENOSPC);
    io.generation_stable();
}

TEST_F(GenerationWait, ALostDiskFailsThem) {
    Request* w;
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, w), DRBD_STEP_SUBMIT);
    ASSERT_EQ(io.local_done(*w, 0), DRBD_STEP_WAIT);
    io.disk_went(false);
    io.fail_waiting(-EIO);
    EXPECT_EQ(pool.next_wake(), this);
    EXPECT_EQ(io.end(*w), -EIO);
    EXPECT_EQ(io.in_flight(), 0u);
    // What the write held went with the disk.
    disk.activity_log.drop({0, 0}, 0);
}

TEST_F(GenerationWait, AWriteAtTheImageFailsTooWhenTheGenerationCouldNotBeMade) {
    Request* w;
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, w), DRBD_STEP_SUBMIT);
    io.disk_went(false);
    io.fail_waiting(-EIO);
    ASSERT_EQ(io.local_done(*w, 0), DRBD_STEP_COMPLETE);
    EXPECT_EQ(io.end(*w), -EIO) << "it would have completed under the old generation";
    disk.activity_log.drop({0, 0}, 0);
}

TEST_F(GenerationWait, ARangeStaysTakenWhileItWaits) {
    Request *a, *b;
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, a), DRBD_STEP_SUBMIT);
    ASSERT_EQ(begin(DRBD_REQUEST_WRITE, b), DRBD_STEP_WAIT);
    ASSERT_EQ(io.local_done(*a, 0), DRBD_STEP_WAIT);
    EXPECT_EQ(b->stage, Stage::WaitOverlap);
    io.generation_stable();
    EXPECT_EQ(io.end(*a), 0);
    EXPECT_EQ(b->step, DRBD_STEP_SUBMIT);
    EXPECT_EQ(io.local_done(*b, 0), DRBD_STEP_COMPLETE);
    EXPECT_EQ(io.end(*b), 0);
    EXPECT_EQ(pool.next_wake(), this);
    EXPECT_EQ(pool.next_wake(), this);
    EXPECT_EQ(pool.next_wake(), nullptr);
}

}  // namespace
}  // namespace drbd
