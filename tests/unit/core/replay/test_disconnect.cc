// SPDX-License-Identifier: GPL-2.0-or-later
// The graceful end against a kernel: as soon as it has answered on meta it closes
// both streams, and the end of data may be read before the answer.  The answer
// counts all the same (docs/decisions/0016): a copy that was to be outdated is.
#include <gtest/gtest.h>

#include "replay_node.h"

namespace drbd::test {
namespace {

using wire::Packet;

RecordedPacket packet(Packet number, std::vector<uint8_t> payload) {
    return {.node = 'a', .header = 100, .volume = 0, .packet = number, .payload = std::move(payload)};
}

// Connected, both UpToDate, the other one Primary: the recording "roles", whose
// P_STATE after `primary` is this, and a generation that is the same for both.
void become_secondary_of_a_primary(ReplayNode& node, const Meeting& meeting) {
    node.meet();
    for (const RecordedPacket& p : meeting.packets)
        if (p.node == 'a' && p.packet != Packet::InitialData)
            node.feed(p);
    std::vector<uint8_t> uuids(48);
    uuids[0] = 0x71;
    uuids[15] = 4;
    uuids[47] = 8;  // no first sync
    node.feed(packet(Packet::Uuids, uuids));
    node.feed(packet(Packet::State, {0, 1, 0x10, 0xa9}));
    ASSERT_EQ(node.node().disk(), "UpToDate");
    ASSERT_EQ(std::string(node.node().status().peer_role), "Primary");
    node.rest();
}

void ask_for_the_end(ReplayNode& node, uint64_t& operation) {
    char error[DRBD_ERROR_SIZE];
    operation = drbd_on_disconnect(node.node().core(), false, error);
    node.act();
    RecordedPacket asked{};
    ASSERT_TRUE(node.take(0, asked));
    EXPECT_EQ(asked.packet, Packet::ConnectionStateChangeRequest);
}

Meeting recorded_roles() {
    for (const Meeting& meeting : load_meetings())
        if (meeting.recording == "roles")
            return meeting;
    return {};
}

TEST(Disconnect, TheAnswerCountsBehindTheEndOfData) {
    const Meeting meeting = recorded_roles();
    for (const bool data_ends_first : {false, true}) {
        ReplayNode node(meeting, 'b');
        become_secondary_of_a_primary(node, meeting);
        uint64_t operation = 0;
        ask_for_the_end(node, operation);
        if (data_ends_first)
            node.end_data();
        node.feed_meta(packet(Packet::ConnectionStateChangeReply, {0, 0, 0, 1}));
        EXPECT_TRUE(node.node().ended_well(operation));
        EXPECT_EQ(node.connection(), "StandAlone");
        EXPECT_EQ(node.node().disk(), "Outdated") << "the Primary believes so";
    }
}

// Without an answer it is the end all the same, and nobody knows more.
TEST(Disconnect, WithoutAnAnswerItIsStandAloneToo) {
    const Meeting meeting = recorded_roles();
    ReplayNode node(meeting, 'b');
    become_secondary_of_a_primary(node, meeting);
    uint64_t operation = 0;
    ask_for_the_end(node, operation);
    node.end_data();
    node.pass(600);  // ping-timeout
    EXPECT_TRUE(node.node().ended_well(operation));
    EXPECT_EQ(node.resource_connection(), "StandAlone");
    EXPECT_EQ(node.connection(), "StandAlone") << "the volume's own";
    EXPECT_EQ(node.node().disk(), "UpToDate");
}

}  // namespace
}  // namespace drbd::test
