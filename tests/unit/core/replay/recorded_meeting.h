// SPDX-License-Identifier: GPL-2.0-or-later
// Meetings of two kernel nodes, a and b, as they were recorded (meetings.txt, by
// extract_meetings.py): the packets of the data stream from the first one to the
// decision and what follows from it at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/wire/packet_numbers.h"

namespace drbd::test {

struct RecordedPacket {
    char node;           // who sent it
    unsigned header;     // 80, 95, 100
    uint16_t volume;
    wire::Packet packet;
    std::vector<uint8_t> payload;

    std::vector<uint8_t> bytes() const;  // as on the wire
    uint32_t word(size_t index) const;   // of the payload, in 32 bits
    uint64_t long_word(size_t index) const;
    std::string name(size_t at) const;   // of an algorithm, at a byte of the payload
    std::string text() const;            // for messages
    bool operator==(const RecordedPacket&) const = default;
};

struct Meeting {
    std::string recording;
    unsigned number;
    char accepted_meta;
    bool use_rle;
    std::vector<RecordedPacket> packets;

    std::string text() const { return recording + ", meeting " + std::to_string(number); }
    char dialled_data() const { return packets.front().node; }
    // The first, or the count-th from 0, that a node sent; null: there is none.
    const RecordedPacket* find(char node, wire::Packet packet, unsigned volume = 0, unsigned count = 0) const;
    unsigned nr_volumes() const;
};

// Of the build's source tree.
std::vector<Meeting> load_meetings();

// Takes a packet from the front of what a node sent; false: none is whole.
bool take_packet(std::vector<uint8_t>& bytes, char node, RecordedPacket& packet);

}  // namespace drbd::test
