// SPDX-License-Identifier: GPL-2.0-or-later
// The recorded streams of golden/ (make_corpus.py), and a listener that takes
// one in pieces through handshake and packets.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "packets.h"

namespace drbd::wire {

struct Recording {
    std::string name;
    Stream stream = Stream::Data;
    bool accepted = false;  // begins with P_INITIAL_*
    bool agreed = false;    // begins after the features
    Agreement agreement;
    unsigned packets = 0;
    ByteVector bytes;
};

std::vector<Recording> load_corpus();

// How far a stream went, and why it ended if not at its end.
struct Listened {
    unsigned packets = 0;
    bool in_packet = false;  // ended in the middle of one
    std::string error;
};

// `on_packet`: the frame, its bytes without bulk as they came and as our
// encoder makes them (empty: not encoded).
using OnPacket = std::function<void(const Frame&, std::span<const uint8_t> came, const ByteVector& encoded)>;

Listened listen(const Recording& recording, std::span<const uint8_t> bytes, size_t piece, Translator& translator,
                const OnPacket& on_packet = {});

}  // namespace drbd::wire
