// SPDX-License-Identifier: GPL-2.0-or-later
// The listener of wire_watch.h.
#include "wire_watch.h"

#include "checkers/acknowledgements.h"
#include "world.h"

namespace drbd::sim {

WireWatch::WireWatch(World& world)
    : world_(world), ear_(*this), refused_{std::vector<bool>(world.options().volumes), std::vector<bool>(world.options().volumes)},
      generations_{std::vector<TappedGenerations>(world.options().volumes), std::vector<TappedGenerations>(world.options().volumes)},
      outdated_(world.options().volumes), configuration_(settings_of(world.options(), 0), settings_of(world.options(), 1)) {}

void WireWatch::on_packet(int host, uint32_t tcp, const TappedPacket& packet) {
    if (packet.packet == wire::Packet::ConnectionFeatures) {
        ledgers_[host].begin(tcp);
        if (ledgers_[1 - host].tcp() == tcp)
            for (int h = 0; h < 2; h++)
                process_[h] = world_.node(h).incarnation();
        configuration_.on_features();
        order_.begin_anew();
        refused_[host].assign(refused_[host].size(), false);
        generations_[host].assign(generations_[host].size(), {});
        return;
    }
    if (packet.packet == wire::Packet::Protocol || packet.packet == wire::Packet::ProtocolUpdate) {
        const std::string wrong = configuration_.on_parameters(host, tcp, world_.queue().now(), world_.node(host).settings(), packet);
        if (!wrong.empty())
            world_.complain(wrong);
        return;
    }
    WireLedger& sent = ledgers_[1 - host];
    if (sent.tcp() == tcp) {
        sent.add(packet);
        const bool named = packet.packet == wire::Packet::Data && !packet.values.empty() && packet.values.front() != 0;
        const auto protocol = static_cast<DrbdProtocol>(configuration_.said(host).protocol);
        if (named && host == world_.guest().host()) {
            world_.guest().on_write_sent(packet.values.front() >> 12, protocol);
            if (const std::string wrong = order_.on_sent(packet.values.front() >> 12, sent.entries().back().epoch);
                protocol != DRBD_PROTOCOL_C && !wrong.empty())
                world_.complain(wrong);
        }
    }
    const Node& node = world_.node(host);
    if (!node.is_running() || packet.volume >= world_.options().volumes)
        return;
    on_state_change_packet(host, packet);
    if (packet.packet == wire::Packet::Barrier)
        configuration_.on_barrier(host, packet.number);
    if (packet.packet == wire::Packet::BarrierAck)
        configuration_.on_barrier_answer(host, world_.queue().now(), packet.number);
    if (packet.packet == wire::Packet::Uuids)
        world_.on_generations(host, packet.volume, generations_[host][packet.volume] = packet.generations);
    if (packet.packet == wire::Packet::NegAck)
        refused_[host][packet.volume] = true;
    const AnsweringNode answering{
        .name = "AB"[host], .is_primary = node.is_primary(),
        .disk = [](const void* context, unsigned volume) { return &static_cast<const Node*>(context)->disk(volume); },
        .context = &node};
    if (const std::string wrong = check_answer(ledgers_[host], packet, answering); !wrong.empty())
        world_.complain(wrong);
}

void WireWatch::on_state_change_packet(int host, const TappedPacket& packet) {
    const Node &own = world_.node(host), &peer = world_.node(1 - host);
    std::string wrong;
    if (packet.packet == wire::Packet::StateChangeRequest || packet.packet == wire::Packet::ConnectionStateChangeRequest)
        wrong = outdated_.on_asked(host, own, peer, {.mask = packet.mask, .value = packet.value});
    else if (packet.packet == wire::Packet::StateChangeReply || packet.packet == wire::Packet::ConnectionStateChangeReply)
        wrong = outdated_.on_answered(host, own, peer, static_cast<int32_t>(packet.value) >= 1);
    if (!wrong.empty())
        world_.complain(wrong);
}

bool WireWatch::on_peer_write(int host, unsigned volume, uint64_t sector, std::span<const uint64_t> values) {
    Sent* begun = ledgers_[host].find_begun(volume, sector, values);
    if (!begun)
        return false;
    begun->begun = true;
    if (begun->resync || world_.node(host).is_primary())
        return !begun->resync;
    const Node& node = world_.node(host);
    const DrbdVolumeStatus status = node.status(volume);
    const bool failures_are_heard = std::string(status.peer_role) != "Unknown" || std::string(status.disk) == "Inconsistent";
    if (const std::string wrong = check_epochs_before(ledgers_[host], *begun, node.disk(volume), failures_are_heard); !wrong.empty())
        world_.complain(wrong);
    return true;
}

}  // namespace drbd::sim
