// SPDX-License-Identifier: GPL-2.0-or-later
// The reader of wire_tap.h.
#include "script/wire_tap.h"

#include "core/wire/decode.h"

namespace drbd::sim {

void WireTap::begin(Tcp& tcp, unsigned side) {
    Reader& reader = tcp.reader[side];
    reader.begun = true;
    if (side == 0) {
        reader.frames.begin_accepted();  // its first packet says which stream it is
        return;
    }
    reader.frames.begin(tcp.stream);
    reader.waits_for_agreement = tcp.stream == wire::Stream::Meta;
}

void WireTap::on_sent(int host, End end, std::span<const uint8_t> bytes) {
    Tcp& tcp = connections_[end / 2];
    const unsigned side = end % 2;
    tcp.dialler = side == 0 ? host : 1 - host;
    Reader& reader = tcp.reader[side];
    if (!reader.begun)
        begin(tcp, side);
    while (!bytes.empty() && !reader.broken) {
        if (reader.waits_for_agreement) {
            reader.waits_for_agreement = false;
            reader.broken = agreement_.version == 0;
            if (reader.broken)
                return;
            reader.frames.agree(agreement_);
        }
        if (reader.frames.bulk_remaining() > 0) {
            bytes = bytes.subspan(reader.frames.take_bulk(bytes).size());
            continue;
        }
        const auto fed = reader.frames.feed(bytes);
        if (!fed.ok()) {
            reader.broken = true;
            return;
        }
        bytes = bytes.subspan(fed.value().consumed);
        if (fed.value().outcome != wire::FeedOutcome::NeedMore)
            on_frame(host, tcp, side);
    }
}

End WireTap::end_of(int host, wire::Stream stream) const {
    for (auto tcp = connections_.rbegin(); tcp != connections_.rend(); ++tcp)
        if (tcp->second.stream == stream)
            return tcp->first * 2 + (tcp->second.dialler == host ? 0 : 1);
    return kNoEnd;
}

void WireTap::on_frame(int host, Tcp& tcp, unsigned side) {
    Reader& reader = tcp.reader[side];
    const wire::Frame& frame = reader.frames.frame();
    const bool first = frame.packet() == wire::Packet::InitialData || frame.packet() == wire::Packet::InitialMeta;
    if (first)
        tcp.stream = frame.packet() == wire::Packet::InitialData ? wire::Stream::Data : wire::Stream::Meta;
    heard_(host, tcp.stream, frame);
    if (first) {
        reader.frames.begin(tcp.stream);
        reader.waits_for_agreement = tcp.stream == wire::Stream::Meta;
        return;
    }
    if (frame.packet() == wire::Packet::ConnectionFeatures)
        on_features(tcp, side);
    if (frame.packet() == wire::Packet::Protocol && digest_size_ != 0)
        reader.frames.set_integrity_digest_size(digest_size_);
}

void WireTap::on_features(Tcp& tcp, unsigned side) {
    const auto offer = wire::decode_features(tcp.reader[side].frames.frame());
    if (!offer.ok())
        return;
    tcp.offer[side] = offer.value();
    tcp.offered[side] = true;
    if (!tcp.offered[0] || !tcp.offered[1])
        return;
    const auto agreement = wire::agree(tcp.offer[0], tcp.offer[1]);
    if (!agreement.ok())
        return;  // they part
    agreement_ = agreement.value();
    for (Reader& reader : tcp.reader)
        reader.frames.agree(agreement_);
}

}  // namespace drbd::sim
