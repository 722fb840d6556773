// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of acknowledgements.h.
#include "checkers/acknowledgements.h"

namespace drbd::sim {

namespace {

using wire::Packet;

std::string complaint(const TappedPacket& answer, const AnsweringNode& node, const std::string& what) {
    return std::string("acknowledgements: ") + wire::name_of(answer.packet) + " of " + node.name + ", " + what;
}

std::string check_content(const WireLedger& ledger, const Sent& sent, const TappedPacket& answer, const AnsweringNode& node,
                          View view) {
    uint64_t missing = 0;
    const Disk& disk = *node.disk(node.context, sent.volume);
    if (node.is_primary || ledger.is_on(disk, view, sent, missing))
        return "";
    return complaint(answer, node, describe(sent) + ": sector " + std::to_string(missing) + (view == View::Stable ? " is not stable, there is " : " has ") +
                                       "write " + std::to_string(disk.value(view, missing) >> 12));
}

std::string check_barrier(WireLedger& ledger, const TappedPacket& answer, const AnsweringNode& node) {
    uint32_t number = 0;
    if (!ledger.oldest_barrier(number))
        return complaint(answer, node, "but no barrier was sent on this connection that it could answer");
    if (number != answer.number)
        return complaint(answer, node, "number " + std::to_string(answer.number) + ", but the oldest barrier is " + std::to_string(number));
    uint32_t packets = 0;
    for (const Sent& sent : ledger.entries()) {
        if (sent.resync || sent.epoch != ledger.oldest_epoch())
            continue;
        packets++;
        if (sent.refused)
            continue;
        if (std::string wrong = check_content(ledger, sent, answer, node, View::Stable); !wrong.empty())
            return wrong;
    }
    if (packets != answer.set_size)
        return complaint(answer, node, std::to_string(answer.set_size) + " packets, but " + std::to_string(packets) + " were sent");
    ledger.confirm_oldest();
    return "";
}

std::string check_block(WireLedger& ledger, const TappedPacket& answer, const AnsweringNode& node) {
    Sent* sent = ledger.find(answer);
    if (!sent)
        return complaint(answer, node, "sector " + std::to_string(answer.sector) + ", block_id " + std::to_string(answer.block_id) +
                                           ": nothing of the kind was sent on this connection");
    bool& given = answer.packet == Packet::RecvAck ? sent->received : answer.packet == Packet::NegAck ? sent->refused : sent->written;
    if (given || (answer.packet != Packet::RecvAck && (sent->written || sent->refused)))
        return complaint(answer, node, describe(*sent) + " has its answer");
    given = true;
    if (answer.packet != Packet::WriteAck && answer.packet != Packet::RsWriteAck)
        return "";
    return check_content(ledger, *sent, answer, node, sent->resync || sent->fua ? View::Stable : View::Current);
}

}  // namespace

std::string check_answer(WireLedger& ledger, const TappedPacket& answer, const AnsweringNode& node) {
    std::string wrong;
    if (answer.packet == Packet::BarrierAck)
        wrong = check_barrier(ledger, answer, node);
    else if (answer.packet == Packet::RecvAck || answer.packet == Packet::WriteAck || answer.packet == Packet::RsWriteAck ||
             answer.packet == Packet::NegAck)
        wrong = check_block(ledger, answer, node);
    ledger.forget_answered();
    return wrong;
}

}  // namespace drbd::sim
