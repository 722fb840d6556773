// SPDX-License-Identifier: GPL-2.0-or-later
// Thousands of writes, barriers, reads and resync writes over several volumes,
// ended by the image in any order, with errors, lost links and lost disks by
// chance.  A model that only looks at what is handed out and what leaves on meta
// checks, for every seed:
//  - a write begins only when all writes of earlier epochs are done and what
//    they wrote without FUA is flushed;
//  - what overlaps is never at the image at once, and goes in arrival order;
//  - every barrier is answered once, in order, with the number of packets that
//    came before it, after the answers of its writes; empty epochs are not;
//  - every write is answered as it asked, an error always;
//  - at rest everything is given back.
#include <algorithm>
#include <random>
#include <utility>

#include "tests/unit/core/peer/peer_world.h"

namespace drbd::test {
namespace {

using wire::Packet;

constexpr unsigned kVolumes = 3;
constexpr uint64_t kArea = 64 << 10;  // small, so that much overlaps

struct Sent {
    unsigned volume;
    uint64_t start, end;
    uint64_t id;
    uint64_t epoch;
    uint32_t flags;
    bool is_resync = false;
    bool begun = false, done = false, answered = false, failed = false;
    PeerRequest* request = nullptr;  // of a resync

    bool overlaps(const Sent& o) const { return volume == o.volume && start < o.end && o.start < end; }
};

class RandomOrder : public testing::TestWithParam<unsigned> {
  protected:
    RandomOrder() : random_(GetParam()), world_({101, {wire::kFeaturesKnown}}, kVolumes, 64) {}

    bool chance(unsigned percent) { return random_() % 100 < percent; }
    uint64_t sector_range(uint64_t& bytes) {
        const uint64_t start = random_() % (kArea / 512) * 512;
        bytes = std::min<uint64_t>((1 + random_() % 16) * 512, kArea - start);
        return start;
    }

    void send_write() {
        uint64_t bytes;
        const uint64_t start = sector_range(bytes);
        const unsigned volume = static_cast<unsigned>(random_() % kVolumes);
        uint32_t flags = 0;
        if (chance(70))
            flags |= kAckWritten;
        if (chance(20))
            flags |= kFua;
        const bool zeroes = chance(20);
        if (zeroes)
            flags |= kZeroes;
        const uint64_t id = ++last_id_;
        if (world_.volume(volume).may_write)
            sent_.push_back({volume, start, start + bytes, id, epoch_, flags});
        else
            refused_++;
        in_epoch_++;
        ASSERT_TRUE(world_.write(volume, {start, bytes, id, flags, zeroes ? Packet::Zeroes : Packet::Data}));
    }

    void send_barrier() {
        ASSERT_TRUE(world_.barrier(static_cast<uint32_t>(epoch_ * 7 + 3)));
        if (in_epoch_ == 0)
            return;
        barriers_.push_back({epoch_, in_epoch_});
        epoch_++;
        in_epoch_ = 0;
    }

    void enter_resync() {
        if (!world_.requests.has_room(0))
            return;
        uint64_t bytes;
        const uint64_t start = sector_range(bytes);
        PeerRequest* request = world_.requests.take(0, PeerWork::ResyncWrite, 0);
        request->range.start = start;
        request->range.end = start + bytes;
        sent_.push_back({0, start, start + bytes, ++last_id_, 0, 0, true});
        sent_.back().request = request;
        if (world_.io.enter(*request, world_))
            world_.granted.push_back(request);
    }

    // What has been handed out or granted since: was it its turn?
    void check_begun() {
        const size_t known = world_.running.size();
        world_.take_io();
        for (size_t i = known; i < world_.running.size(); i++) {
            const DrbdPeerIo& io = world_.running[i];
            if (io.kind == DRBD_PEER_WRITE || io.kind == DRBD_PEER_ZEROES)
                begin(find(io), io.id);
        }
        for (PeerRequest* request : world_.granted)
            for (Sent& sent : sent_)
                if (sent.request == request && !sent.begun)
                    begin(sent, 0);
    }

    // The oldest of that range that has not begun: order is checked by begin().
    Sent& find(const DrbdPeerIo& io) {
        for (Sent& sent : sent_)
            if (!sent.is_resync && !sent.begun && sent.volume == io.volume && sent.start == io.offset &&
                sent.end == io.offset + io.bytes)
                return sent;
        ADD_FAILURE() << "the image is asked for a write that nobody sent";
        return sent_.front();
    }

    void begin(Sent& sent, uint32_t io) {
        for (const Sent& other : sent_) {
            if (&other == &sent || other.done)
                continue;
            if (!sent.is_resync && !other.is_resync)
                EXPECT_GE(other.epoch, sent.epoch) << "an earlier epoch is not done";
            if (other.overlaps(sent))
                EXPECT_GT(other.id, sent.id) << "it passed one that it overlaps";
            if (other.begun)
                EXPECT_FALSE(other.overlaps(sent)) << "two that overlap are at the image";
        }
        if (!sent.is_resync)
            for (uint64_t dirty : dirty_since_)
                EXPECT_TRUE(dirty == 0 || dirty >= sent.epoch) << "an earlier epoch is not flushed";
        sent.begun = true;
        if (!sent.is_resync)
            at_image_[io] = sent.id;
    }

    void end_some_io() {
        check_begun();
        if (world_.running.empty())
            return;
        const DrbdPeerIo io = world_.running[random_() % world_.running.size()];
        int result = 0;
        if (io.kind == DRBD_PEER_FLUSH) {
            dirty_since_[io.volume] = 0;
        } else if (io.kind != DRBD_PEER_READ) {
            Sent& sent = *std::find_if(sent_.begin(), sent_.end(),
                                       [&](const Sent& s) { return s.id == at_image_.at(io.id); });
            at_image_.erase(io.id);
            result = chance(5) ? -EIO : 0;
            sent.done = true;
            sent.failed = result != 0;
            if (result == 0 && !io.fua && dirty_since_[io.volume] == 0)
                dirty_since_[io.volume] = sent.epoch;
        }
        world_.end(io.id, result);
        check_begun();
        check_answers();
    }

    void leave_some_resync() {
        std::vector<Sent*> begun;
        for (Sent& sent : sent_)
            if (sent.is_resync && !sent.done && (sent.begun || chance(10)))
                begun.push_back(&sent);
        if (begun.empty())
            return;
        Sent& sent = *begun[random_() % begun.size()];
        sent.done = true;
        PeerRequest* request = std::exchange(sent.request, nullptr);
        std::erase(world_.granted, request);
        world_.leave_resync(*request);
        check_begun();
    }

    void check_answers() {
        for (const Ack& ack : world_.acks()) {
            if (ack.packet == Packet::BarrierAck) {
                ASSERT_FALSE(barriers_.empty());
                const auto [epoch, size] = barriers_.front();
                barriers_.erase(barriers_.begin());
                EXPECT_EQ(ack.barrier.number.value, epoch * 7 + 3);
                EXPECT_EQ(ack.barrier.set_size, size);
                for (const Sent& sent : sent_)
                    if (!sent.is_resync && sent.epoch <= epoch) {
                        EXPECT_TRUE(sent.done);
                        EXPECT_EQ(sent.answered, sent.failed || (sent.flags & kAckWritten) != 0);
                    }
                for (uint64_t dirty : dirty_since_)
                    EXPECT_TRUE(dirty == 0 || dirty > epoch) << "acknowledged without its flush";
                confirmed_++;
                continue;
            }
            const auto sent = std::find_if(sent_.begin(), sent_.end(),
                                           [&](const Sent& s) { return s.id == ack.block.id.value; });
            if (sent == sent_.end()) {
                EXPECT_EQ(ack.packet, Packet::NegAck);  // refused, no disk
                continue;
            }
            EXPECT_TRUE(sent->done && !sent->answered);
            EXPECT_EQ(ack.packet, sent->failed ? Packet::NegAck : Packet::WriteAck);
            sent->answered = true;
        }
        // What is over and confirmed need not be looked at again.
        const uint64_t oldest = barriers_.empty() ? epoch_ : barriers_.front().first;
        std::erase_if(sent_, [&](const Sent& sent) { return sent.done && (sent.is_resync || sent.epoch < oldest); });
    }

    void rest() {
        for (unsigned guard = 0; guard < 100000; guard++) {
            check_begun();
            bool resync = false;
            for (const Sent& sent : sent_)
                resync |= sent.is_resync && !sent.done;
            if (world_.running.empty() && !resync)
                break;
            if (!world_.running.empty())
                end_some_io();
            else
                leave_some_resync();
        }
        check_answers();
    }

    std::mt19937_64 random_;
    PeerWorld world_;
    std::vector<Sent> sent_;
    std::map<uint32_t, uint64_t> at_image_;
    std::vector<std::pair<uint64_t, uint32_t>> barriers_;
    uint64_t epoch_ = 1, last_id_ = 0;
    uint32_t in_epoch_ = 0;
    uint64_t dirty_since_[kVolumes] = {};  // first epoch with an unflushed write
    unsigned refused_ = 0, confirmed_ = 0;
};

TEST_P(RandomOrder, HoldsWhateverTheImageDoes) {
    for (unsigned round = 0; round < 3000; round++) {
        const unsigned what = static_cast<unsigned>(random_() % 100);
        if (what < 35) {
            if (world_.io.may_receive())
                send_write();
        } else if (what < 45) {
            if (world_.io.may_receive())
                send_barrier();
        } else if (what < 52) {
            enter_resync();
        } else if (what < 60) {
            leave_some_resync();
        } else if (what < 63 && world_.io.may_receive()) {
            ASSERT_TRUE(world_.read(static_cast<unsigned>(random_() % kVolumes), 0, 4096, ~1ull));
        } else {
            end_some_io();
        }
        world_.link_up.take_data();
        world_.release();
        if (HasFailure())
            FAIL() << "round " << round;
    }
    if (in_epoch_ != 0)
        send_barrier();
    rest();
    EXPECT_TRUE(barriers_.empty());
    world_.link_up.take_data();
    EXPECT_EQ(world_.requests.in_use(), 0u);
    EXPECT_EQ(world_.requests.bytes(), 0u);
    EXPECT_EQ(world_.io.epochs(), 0u);
    EXPECT_GT(confirmed_, 30u);
}

// The link goes at some moment: the order holds to the end, and nothing is said.
TEST_P(RandomOrder, HoldsWhenTheLinkIsLost) {
    for (unsigned life = 0; life < 20; life++) {
        const unsigned rounds = static_cast<unsigned>(random_() % 200);
        for (unsigned round = 0; round < rounds; round++) {
            if (chance(40) && world_.io.may_receive())
                send_write();
            else if (chance(20) && world_.io.may_receive())
                send_barrier();
            else if (chance(10))
                enter_resync();
            else
                end_some_io();
        }
        world_.lose_link();
        barriers_.clear();
        rest();
        EXPECT_EQ(world_.requests.in_use(), 0u);
        for (unsigned volume = 0; volume < kVolumes; volume++)
            EXPECT_EQ(world_.io.writes_pending(volume), 0u);
        sent_.clear();
        epoch_++;
        in_epoch_ = 0;
        // What no barrier covered a resync will: it is nothing to wait for.
        std::fill(std::begin(dirty_since_), std::end(dirty_since_), 0);
        world_.link_up.go_up();
        EXPECT_TRUE(world_.acks().empty());
        ASSERT_FALSE(HasFailure()) << "life " << life;
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomOrder, testing::Range(1u, 21u));

}  // namespace
}  // namespace drbd::test
