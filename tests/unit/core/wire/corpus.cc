// SPDX-License-Identifier: GPL-2.0-or-later
#include "corpus.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace drbd::wire {

std::vector<Recording> load_corpus() {
    const std::string folder = WIRE_GOLDEN "/";
    std::ifstream index(folder + "corpus.txt");
    std::vector<Recording> corpus;
    std::string name, stream, begin, features;
    unsigned version, packets;
    while (index >> name >> stream >> begin >> version >> features >> packets) {
        Recording recording{name, stream == "data" ? Stream::Data : Stream::Meta, begin == "accepted", false,
                            {version, {static_cast<uint32_t>(std::stoul(features, nullptr, 16))}}, packets, {}};
        std::ifstream file(folder + name, std::ios::binary);
        recording.bytes.assign(std::istreambuf_iterator<char>(file), {});
        corpus.push_back(std::move(recording));
    }
    return corpus;
}

Listened listen(const Recording& recording, std::span<const uint8_t> bytes, size_t piece, Translator& translator,
                const OnPacket& on_packet) {
    FrameReader reader;
    const auto begin_stream = [&] {
        reader.begin(recording.stream);
        if (recording.stream == Stream::Meta || recording.agreed)
            reader.agree(recording.agreement);
    };
    if (recording.accepted)
        reader.begin_accepted();
    else
        begin_stream();
    Listened listened;
    ByteVector came, encoded;
    const auto whole = [&] {
        listened.packets++;
        came.clear();
        if (reader.frame().packet() == Packet::InitialData || reader.frame().packet() == Packet::InitialMeta)
            begin_stream();
        else if (reader.frame().packet() == Packet::ConnectionFeatures)
            reader.agree(recording.agreement);
        else
            reader.set_integrity_digest_size(translator.integrity_digest_size());
    };
    for (size_t at = 0; at < bytes.size();) {
        std::span<const uint8_t> rest = bytes.subspan(at, std::min(piece, bytes.size() - at));
        at += rest.size();
        while (!rest.empty()) {
            if (reader.bulk_remaining() != 0) {
                rest = rest.subspan(reader.take_bulk(rest).size());
                if (reader.bulk_remaining() == 0)
                    whole();
                continue;
            }
            auto fed = reader.feed(rest);
            if (!fed) {
                listened.error = fed.error().text;
                return listened;
            }
            append(came, rest.first(fed.value().consumed));
            rest = rest.subspan(fed.value().consumed);
            listened.in_packet = fed.value().outcome == FeedOutcome::NeedMore;
            if (listened.in_packet)
                continue;
            encoded.clear();
            const auto translated = translator.translate(reader.frame(), encoded);
            if (!translated) {
                listened.error = translated.error().text;
                return listened;
            }
            if (on_packet)
                on_packet(reader.frame(), came, encoded);
            if (reader.bulk_remaining() == 0)
                whole();
        }
    }
    listened.in_packet |= reader.bulk_remaining() != 0;
    return listened;
}

}  // namespace drbd::wire
