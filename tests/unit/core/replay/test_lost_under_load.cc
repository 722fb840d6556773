// SPDX-License-Identifier: GPL-2.0-or-later
// A peer that is lost while many writes wait for it: they are told in several
// events, and any call of the guest's is one.
#include <gtest/gtest.h>

#include "replay_node.h"

namespace drbd::test {
namespace {

Meeting recorded_resync() {
    for (const Meeting& meeting : load_meetings())
        if (meeting.recording == "resync" && meeting.number == 2)
            return meeting;
    return {};
}

// A source's generation is not the peer's already: nothing waits for a new one.
void become_source(ReplayNode& node, const Meeting& meeting) {
    node.meet();
    for (const RecordedPacket& p : meeting.packets)
        if (p.node == 'b' && p.packet != wire::Packet::InitialData)
            node.feed(p);
    ASSERT_EQ(node.connection(), "SyncSource");
    ASSERT_TRUE(node.node().is_primary());
}

// The call that ends the wait says how it goes on: who made it does not wait yet, and cannot be woken (Node looks).
TEST(LostUnderLoad, NobodyIsWokenByTheCallThatTellsToWait) {
    const Meeting meeting = recorded_resync();
    const std::vector<uint8_t> payload(4096);
    for (size_t first = 0; first < 60; first++) {
        ReplayNode node(meeting, 'a');
        become_source(node, meeting);
        std::vector<Guest*> writes;
        for (uint64_t i = 0; i < 60; i++) {
            writes.push_back(&node.node().write(i * 4096));
            node.act();
            node.node().copied(*writes.back(), payload.data());
            node.act();
        }
        node.cut_data();
        for (size_t i = 0; i < writes.size(); i++)
            node.node().local_done(*writes[(first + i) % writes.size()]);
        node.act();
        for (Guest* write : writes)
            ASSERT_EQ(write->result, 0);
    }
}

}  // namespace
}  // namespace drbd::test
