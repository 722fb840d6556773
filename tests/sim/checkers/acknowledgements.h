// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: an answer says what is true on the disk of the node that gives it, and
// answers something that came on the same connection.
//   P_RECV_ACK, P_WRITE_ACK, P_RS_WRITE_ACK, P_NEG_ACK: that packet was sent on
//     this connection, and this answer was not given before
//   P_WRITE_ACK, P_RS_WRITE_ACK of a write: the image has it; with FUA, stable
//   P_RS_WRITE_ACK of a resync: it is stable
//   P_BARRIER_ACK: the oldest barrier, the number of packets of its epoch, and
//     each of its writes that was not refused is stable
// Verified: when the answer's last byte is given to the network, from the bytes
// of both nodes and the played disk.  Not verified: content where the answering
// node is Primary, whose own guest may have overwritten it; that an answer comes
// at all (liveness); answers to reads and to questions of state.
#pragma once

#include <string>

#include "checkers/wire_ledger.h"

namespace drbd::sim {

struct AnsweringNode {
    char name;
    bool is_primary;
    const Disk* (*disk)(const void* context, unsigned volume);
    const void* context;
};

// Notes the answer in the book.  Empty, or what is wrong.
std::string check_answer(WireLedger& ledger, const TappedPacket& answer, const AnsweringNode& node);

}  // namespace drbd::sim
