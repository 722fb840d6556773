// SPDX-License-Identifier: GPL-2.0-or-later
// The texts of packet_text.h, one function a kind of packet.
#include "script/packet_text.h"

#include "core/base/units.h"
#include "core/wire/decode.h"

namespace drbd::sim {

namespace {

using wire::Frame;
using wire::Packet;

// No volume of a script is larger; the core checks its own.
constexpr Sector kAnySize{1ull << 40};

std::string range(Sector sector, Bytes size) {
    return " " + range_text(sector.value, size.value / 512);
}

template <typename T, typename F>
std::string decoded(const Result<T>& result, F&& text) {
    return result.ok() ? text(result.value()) : std::string(" (") + result.error().text + ")";
}

std::string features(const Frame& frame) {
    return decoded(wire::decode_features(frame), [](const wire::FeatureOffer& o) {
        return " versions " + std::to_string(o.version_min) + ".." + std::to_string(o.version_max) + " features " +
               std::to_string(o.features.bits);
    });
}

std::string parameters(const Frame& frame) {
    return decoded(wire::decode_protocol(frame), [](const wire::ProtocolParameters& p) {
        std::string text = std::string(" protocol ") + "?ABC"[static_cast<unsigned>(p.protocol)];
        if (p.discard_my_data)
            text += " discard-my-data";
        if (p.integrity_alg.length() > 0)
            text += std::string(" integrity ") + p.integrity_alg.text;
        return text;
    });
}

std::string sizes(const Frame& frame) {
    return decoded(wire::decode_sizes(frame), [](const wire::Sizes& s) {
        return " disk " + std::to_string(s.disk_size.value) + " current " + std::to_string(s.current_size.value);
    });
}

std::string report(const Frame& frame, Names& names) {
    return decoded(wire::decode_uuids(frame), [&](const wire::GenerationReport& g) {
        std::string text = " " + names.generations(g.uuids) + " bits " + std::to_string(g.bits_set);
        if (g.discard_my_data)
            text += " discard-my-data";
        if (g.crashed_primary)
            text += " crashed-primary";
        if (g.inconsistent)
            text += " inconsistent";
        if (g.skip_initial_sync)
            text += " skip-initial-sync";
        return text;
    });
}

std::string state(const Frame& frame) {
    return decoded(wire::decode_state(frame), [](const State& s) {
        return std::string(" ") + name_of(s.connection) + " " + name_of(s.role) + "/" + name_of(s.peer) + " " + name_of(s.disk) +
               "/" + name_of(s.peer_disk);
    });
}

std::string change(const Frame& frame) {
    return decoded(wire::decode_state_change_request(frame), [](const wire::StateChange& c) {
        std::string text;
        if (c.role)
            text += std::string(" role=") + name_of(*c.role);
        if (c.peer)
            text += std::string(" peer=") + name_of(*c.peer);
        if (c.connection)
            text += std::string(" connection=") + name_of(*c.connection);
        if (c.disk)
            text += std::string(" disk=") + name_of(*c.disk);
        if (c.peer_disk)
            text += std::string(" peer-disk=") + name_of(*c.peer_disk);
        return text;
    });
}

std::string write(const Frame& frame) {
    return decoded(wire::decode_write(frame, kAnySize), [](const wire::DataWrite& w) {
        using enum wire::DataFlag;
        static const struct { wire::DataFlag flag; const char* name; } flags[] = {
            {MaySetInSync, " may-set-in-sync"}, {Fua, " fua"}, {Flush, " flush"}, {Discard, " discard"},
            {SendReceiveAck, " wants-receive-ack"}, {SendWriteAck, " wants-write-ack"}, {Zeroes, " zeroes"},
        };
        std::string text = range(w.sector, w.size) + " seq " + std::to_string(w.sequence);
        for (const auto& row : flags)
            if (w.flags.has(row.flag))
                text += row.name;
        return text;
    });
}

std::string block_request(const Frame& frame) {
    return decoded(wire::decode_block_request(frame, kAnySize, static_cast<uint32_t>(frame.tail.size())),
                   [](const wire::BlockRequest& r) { return range(r.sector, r.size); });
}

std::string content(const Frame& frame, Names& names) {
    switch (frame.packet()) {
    case Packet::ConnectionFeatures: return features(frame);
    case Packet::Protocol:
    case Packet::ProtocolUpdate: return parameters(frame);
    case Packet::Sizes: return sizes(frame);
    case Packet::Uuids: return report(frame, names);
    case Packet::SyncUuid: return decoded(wire::decode_sync_uuid(frame), [&](uint64_t u) { return " " + names.generation(u); });
    case Packet::State: return state(frame);
    case Packet::StateChangeRequest:
    case Packet::ConnectionStateChangeRequest: return change(frame);
    case Packet::StateChangeReply:
    case Packet::ConnectionStateChangeReply:
        return decoded(wire::decode_state_change_reply(frame), [](int32_t code) { return " " + std::to_string(code); });
    case Packet::Data:
    case Packet::Trim:
    case Packet::Zeroes: return write(frame);
    case Packet::DataReply:
    case Packet::RsDataReply:
        return decoded(wire::decode_data_reply(frame, kAnySize), [](const wire::DataReply& r) { return range(r.sector, r.size); });
    case Packet::DataRequest:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest: return block_request(frame);
    case Packet::OutOfSync:
    case Packet::RsDeallocated:
        return decoded(wire::decode_block_range(frame, kAnySize), [](const wire::BlockRange& r) { return range(r.sector, r.size); });
    case Packet::BarrierAck:
        return decoded(wire::decode_barrier_ack(frame), [](const wire::BarrierAck& b) { return " writes " + std::to_string(b.set_size); });
    default:
        // The rest has nothing to show, or is an acknowledgement of a block.
        if (wire::is_block_ack(frame.packet()))
            return decoded(wire::decode_block_ack(frame, kAnySize), [](const wire::BlockAck& a) {
                return range(a.sector, a.size) + " seq " + std::to_string(a.sequence);
            });
        return "";
    }
}

}  // namespace

std::string range_text(uint64_t sector, uint64_t sectors) {
    return std::to_string(sector) + "+" + std::to_string(sectors);
}

std::string packet_text(const Frame& frame, Names& names) {
    const std::string volume = frame.row->scope == wire::Scope::Volume && frame.volume != 0 ? " volume " + std::to_string(frame.volume) : "";
    return std::string(frame.row->name) + volume + content(frame, names);
}

}  // namespace drbd::sim
