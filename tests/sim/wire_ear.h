// SPDX-License-Identifier: GPL-2.0-or-later
// Reads along what the nodes say to each other: cuts the bytes that a host gave
// to the network into packets.
//
// In: bytes as a process sends them, by connection and end.  Out: packets, to
// one listener, at the moment when the last byte was sent.
// It has a decoder of its own (docs/WIRE.md, "Headers"): each header says by its
// magic how it is to be read, so no handshake has to be followed.  Payload that
// is content of blocks is told as the values of the played disks (disk.h).
// A stream that makes no sense is passed over from there on: to refuse it is the
// core's business.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/wire/packet_numbers.h"
#include "link.h"

namespace drbd::sim {

// What P_PROTOCOL and P_PROTOCOL_UPDATE say, in the sender's terms.
struct TappedParameters {
    uint32_t protocol = 0;            // 0: none
    uint32_t after_sb[3] = {};
    std::string integrity;
};

// What P_UUIDS says.
struct TappedGenerations {
    bool known = false;
    uint64_t current = 0, bitmap = 0, history[2] = {};
    uint64_t bits = 0, flags = 0;
};

struct TappedPacket {
    wire::Packet packet;
    unsigned volume = 0;
    uint64_t sector = 0, bytes = 0;   // of blocks: the range
    uint64_t block_id = 0;
    uint32_t flags = 0;               // P_DATA, P_TRIM, P_ZEROES
    uint32_t number = 0;              // P_BARRIER, P_BARRIER_ACK
    uint32_t set_size = 0;            // P_BARRIER_ACK
    uint32_t mask = 0, value = 0;     // a question about a change of the state; `value` alone: the answer
    TappedParameters parameters;
    TappedGenerations generations;
    std::vector<uint64_t> values;     // content, by sector; empty: none, or zeroes
};

class WireListener {
  public:
    // `tcp` names the TCP connection that it went on, `host` is the sender.
    virtual void on_packet(int host, uint32_t tcp, const TappedPacket& packet) = 0;

  protected:
    ~WireListener() = default;
};

class WireEar {
  public:
    explicit WireEar(WireListener& listener) : listener_(listener) {}

    // `wire` are the same bytes, with the ends of sectors side by side.
    void on_sent(int host, End end, std::span<const uint8_t> bytes, const WireBytes& wire);

  private:
    // Of a packet that is not whole yet.
    struct Stream {
        bool senseless = false;
        std::vector<uint8_t> head;       // all but the content of blocks
        size_t head_size = 0;            // 0: not known before the header is there
        size_t header_size = 0, content_size = 0;
        size_t content_got = 0;
        uint8_t sector[512];             // one that comes in pieces
        TappedPacket packet;
        bool is_known = false;
    };

    // These take what they need of the bytes.
    void read_head(Stream& stream, std::span<const uint8_t>& bytes);
    void read_content(Stream& stream, std::span<const uint8_t>& bytes, const WireBytes& wire);
    void end_packet(Stream& stream, int host, uint32_t tcp);

    WireListener& listener_;
    std::vector<std::unique_ptr<Stream>> streams_;  // by end
};

}  // namespace drbd::sim
