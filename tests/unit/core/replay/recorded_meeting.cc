// SPDX-License-Identifier: GPL-2.0-or-later
#include "recorded_meeting.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "core/base/assert.h"

namespace drbd::test {

namespace {

void append(std::vector<uint8_t>& bytes, uint64_t value, unsigned size) {
    for (unsigned i = size; i > 0; i--)
        bytes.push_back(static_cast<uint8_t>(value >> (i - 1) * 8));
}

uint64_t number_at(const std::vector<uint8_t>& bytes, size_t at, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | bytes.at(at + i);
    return value;
}

wire::Packet packet_named(const std::string& name) {
    static const auto packets = [] {
        std::map<std::string, wire::Packet> all;
        for (unsigned number = 0; number <= 0xffff; number++)
            if (const wire::PacketRow* row = wire::find_row(static_cast<uint16_t>(number)))
                all[row->name] = row->packet;
        return all;
    }();
    const auto found = packets.find(name);
    if (found == packets.end()) {
        std::fprintf(stderr, "meetings.txt: no packet has the name %s\n", name.c_str());
        std::abort();
    }
    return found->second;
}

// Hexadecimal, zN for N zeroes, - for nothing.
std::vector<uint8_t> payload_of(std::istream& words) {
    std::vector<uint8_t> bytes;
    for (std::string word; words >> word;) {
        if (word == "-")
            continue;
        if (word[0] == 'z') {
            bytes.resize(bytes.size() + std::stoul(word.substr(1)));
            continue;
        }
        for (size_t at = 0; at < word.size(); at += 2)
            bytes.push_back(static_cast<uint8_t>(std::stoul(word.substr(at, 2), nullptr, 16)));
    }
    return bytes;
}

}  // namespace

std::vector<uint8_t> RecordedPacket::bytes() const {
    std::vector<uint8_t> all;
    const uint64_t command = static_cast<uint16_t>(packet);
    if (header == 80) {
        append(all, 0x83740267, 4);
        append(all, command, 2);
        append(all, payload.size(), 2);
    } else if (header == 95) {
        append(all, 0x835a, 2);
        append(all, command, 2);
        append(all, payload.size(), 4);
    } else {
        append(all, 0x8620ec20, 4);
        append(all, volume, 2);
        append(all, command, 2);
        append(all, payload.size(), 4);
        append(all, 0, 4);
    }
    all.insert(all.end(), payload.begin(), payload.end());
    return all;
}

uint32_t RecordedPacket::word(size_t index) const { return static_cast<uint32_t>(number_at(payload, index * 4, 4)); }
uint64_t RecordedPacket::long_word(size_t index) const { return number_at(payload, index * 8, 8); }

std::string RecordedPacket::name(size_t at) const {
    std::string name;
    for (; at < payload.size() && payload[at] != 0 && name.size() < 63; at++)
        name.push_back(static_cast<char>(payload[at]));
    return name;
}

std::string RecordedPacket::text() const {
    std::string text = std::string(1, node) + " h" + std::to_string(header) + " " + std::to_string(volume) + " " +
                       wire::name_of(packet) + " " + std::to_string(payload.size()) + ":";
    for (size_t i = 0; i < payload.size() && i < 160; i++) {
        char hex[4];
        std::snprintf(hex, sizeof hex, i % 4 == 0 ? " %02x" : "%02x", payload[i]);
        text += hex;
    }
    return text;
}

const RecordedPacket* Meeting::find(char node, wire::Packet packet, unsigned volume, unsigned count) const {
    for (const RecordedPacket& p : packets)
        if (p.node == node && p.packet == packet && p.volume == volume && count-- == 0)
            return &p;
    return nullptr;
}

unsigned Meeting::nr_volumes() const {
    unsigned most = 0;
    for (const RecordedPacket& p : packets)
        most = std::max<unsigned>(most, p.volume);
    return most + 1;
}

std::vector<Meeting> load_meetings() {
    std::ifstream file(MEETINGS);
    std::vector<Meeting> meetings;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string first;
        words >> first;
        if (first == "meeting") {
            Meeting& m = meetings.emplace_back();
            std::string rle;
            words >> m.recording >> m.number >> m.accepted_meta >> rle;
            m.use_rle = rle == "yes";
        } else if (first != "end") {
            RecordedPacket& p = meetings.back().packets.emplace_back();
            std::string header, name;
            words >> header >> p.volume >> name;
            p.node = first[0];
            p.header = static_cast<unsigned>(std::stoul(header.substr(1)));
            p.packet = packet_named(name);
            p.payload = payload_of(words);
        }
    }
    return meetings;
}

bool take_packet(std::vector<uint8_t>& bytes, char node, RecordedPacket& packet) {
    if (bytes.size() < 8)
        return false;
    size_t size = 8, length;
    uint64_t command;
    packet = {.node = node, .header = 80, .volume = 0, .packet = {}, .payload = {}};
    if (number_at(bytes, 0, 4) == 0x83740267) {
        command = number_at(bytes, 4, 2);
        length = number_at(bytes, 6, 2);
    } else if (number_at(bytes, 0, 2) == 0x835a) {
        packet.header = 95;
        command = number_at(bytes, 2, 2);
        length = number_at(bytes, 4, 4);
    } else {
        size = 16;
        if (bytes.size() < size)
            return false;
        DRBD_ASSERT(number_at(bytes, 0, 4) == 0x8620ec20);
        packet.header = 100;
        packet.volume = static_cast<uint16_t>(number_at(bytes, 4, 2));
        command = number_at(bytes, 6, 2);
        length = number_at(bytes, 8, 4);
    }
    if (bytes.size() < size + length)
        return false;
    packet.packet = static_cast<wire::Packet>(command);
    const auto begin = bytes.begin() + static_cast<ptrdiff_t>(size);
    const auto end = begin + static_cast<ptrdiff_t>(length);
    packet.payload.assign(begin, end);
    bytes.erase(bytes.begin(), end);
    return true;
}

}  // namespace drbd::test
