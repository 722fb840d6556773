// SPDX-License-Identifier: GPL-2.0-or-later
// Every recorded meeting of two kernel nodes, replayed packet by packet into the
// core in the place of a and in the place of b: it sends what the kernel sent
// there, byte for byte but for what a node determines itself, and decides what
// the kernel decided.
#include <gtest/gtest.h>

#include "core/state/state.h"
#include "replay_node.h"

namespace drbd::test {
namespace {

using wire::Packet;

constexpr uint64_t kJustCreated = 4;
constexpr size_t kSizesAgreed = 32;  // bytes of P_SIZES; queue limits of the disk follow

// The kernel's packet as ours must be.
RecordedPacket expected(const Meeting& m, const RecordedPacket& recorded, const RecordedPacket& ours) {
    RecordedPacket wanted = recorded;
    if (wanted.packet == Packet::Sizes && wanted.payload.size() == ours.payload.size())
        std::copy(ours.payload.begin() + kSizesAgreed, ours.payload.end(), wanted.payload.begin() + kSizesAgreed);
    // docs/decisions/0013: a fresh disk's bitmap is empty, the kernel's is full.
    if (wanted.packet == Packet::Uuids && wanted.long_word(0) == kJustCreated)
        std::fill(wanted.payload.begin() + 32, wanted.payload.begin() + 40, 0);
    // Several volumes need 100, and ours offers nothing else.
    if (wanted.packet == Packet::ConnectionFeatures && m.nr_volumes() > 1)
        wanted.payload[3] = 100;
    return wanted;
}

// The state that a node announced after its decision; 0: it announced none.
unsigned decided_connection(const Meeting& m, char node, unsigned volume) {
    const RecordedPacket* state = m.find(node, Packet::State, volume, 1);
    return state ? state->word(0) >> 4 & 0x1f : 0;
}

// Without a bit that differs, below 95 (spec 6): a resync that is over when it begins.
bool is_over_at_once(const Meeting& m) {
    for (const RecordedPacket& p : m.packets)
        if (p.packet == Packet::CompressedBitmap || p.header != 80 || (p.packet == Packet::Uuids && p.long_word(4) != 0))
            return false;
    return true;
}

bool follows(const std::string& ours, unsigned announced, bool over_at_once) {
    switch (static_cast<ConnectionState>(announced)) {
    case ConnectionState::Connected: return ours == "Connected";
    case ConnectionState::WFBitMapS: return ours == "SyncSource" || (over_at_once && ours == "Connected");
    case ConnectionState::WFBitMapT: return ours == "SyncTarget" || (over_at_once && ours == "Connected");
    default: return false;
    }
}

// Meetings that came to nothing: where the kernel nodes stood then (Unconnected:
// they went on trying), and what ours says of it.
constexpr struct {
    const char* scenario;
    unsigned first, last;
    const char *a, *b;
    const char* reason;
} kRefused[] = {
    {"auth", 3, 3, "StandAlone", "StandAlone", "shared-secret or cram-hmac-alg"},
    {"auth", 4, 6, "Unconnected", "Unconnected", "cram-hmac-alg here makes"},
    {"auth", 7, 7, "StandAlone", "Unconnected", "configure both alike"},
    {"splitbrain", 2, 2, "StandAlone", "StandAlone", "split brain"},
};

void check_refusal(const Meeting& m, char place, const ReplayNode& node) {
    const std::string scenario = m.recording.substr(0, m.recording.find('@'));
    for (const auto& row : kRefused)
        if (scenario == row.scenario && m.number >= row.first && m.number <= row.last) {
            EXPECT_EQ(node.resource_connection(), place == 'a' ? row.a : row.b) << node.reason();
            EXPECT_NE(node.reason().find(row.reason), std::string::npos) << node.reason();
            EXPECT_TRUE(node.is_closed());
            return;
        }
    ADD_FAILURE() << "the kernels refused nothing here, ours: " << node.resource_connection() << ": " << node.reason();
}

void replay(const Meeting& m, char place, size_t piece, ReplayNode& node) {
    node.meet();
    for (const RecordedPacket& p : m.packets) {
        if (p.packet == Packet::InitialData && p.node != place)
            continue;  // meet() said it
        if (p.node != place) {
            node.feed(p, piece);
            continue;
        }
        RecordedPacket ours{};
        ASSERT_TRUE(node.take(p.volume, ours)) << "not sent: " << p.text() << "\n" << node.reason();
        ASSERT_TRUE(ours == expected(m, p, ours)) << "the kernel: " << p.text() << "\nours:       " << ours.text();
    }
}

void check(const Meeting& m, char place, size_t piece) {
    SCOPED_TRACE(m.text() + ", ours as " + place);
    ReplayNode node(m, place);
    replay(m, place, piece, node);
    if (testing::Test::HasFatalFailure())
        return;
    for (unsigned v = 0; v < m.nr_volumes(); v++) {
        const unsigned announced = decided_connection(m, place, v);
        if (announced == 0)
            check_refusal(m, place, node);
        else
            EXPECT_TRUE(follows(node.connection(v), announced, is_over_at_once(m)))
                << node.connection(v) << " after " << name_of(static_cast<ConnectionState>(announced)) << ": "
                << node.node().status(v).sync_reason;
    }
    // What follows is what belongs to the resync.
    for (const RecordedPacket& p : node.rest())
        EXPECT_TRUE(p.packet == Packet::RsDataRequest || p.packet == Packet::RsThinRequest) << "more: " << p.text();
}

void check_all(size_t piece) {
    const std::vector<Meeting> meetings = load_meetings();
    EXPECT_EQ(meetings.size(), 46u);
    for (const Meeting& m : meetings)
        for (const char place : {'a', 'b'})
            check(m, place, piece);
}

TEST(Meetings, AreReplayedInTheKernelsPlace) {
    check_all(SIZE_MAX);
}

TEST(Meetings, AreReplayedByteByByte) {
    check_all(1);
}

// The judge can fail: one bit is otherwise.
TEST(Meetings, AreNotJudgedByAccident) {
    const std::vector<Meeting> meetings = load_meetings();
    unsigned noticed = 0, changed = 0;
    for (Meeting m : meetings)
        for (RecordedPacket& p : m.packets) {
            if (p.node != 'a' || p.packet == Packet::InitialData || p.payload.empty())
                continue;
            RecordedPacket other = p;
            other.payload[p.packet == Packet::ConnectionFeatures ? 7 : 3] ^= 1;
            changed++;
            noticed += !(expected(m, other, p) == expected(m, p, p));
        }
    EXPECT_GT(changed, 200u);
    EXPECT_EQ(noticed, changed);
}

}  // namespace
}  // namespace drbd::test
