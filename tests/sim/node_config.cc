// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: what its administrator has configured.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "node.h"
#include "played_digest.h"
#include "world.h"

namespace drbd::sim {

namespace {

// For people, and for the hash of the trace.
std::string text_of(const Settings& s) {
    char text[300];
    std::snprintf(text, sizeof text,
                  "protocol %c version %u features %x integrity %d timeout %u ping %u/%u connect %u ko %u drain %u epoch %u buffers %u "
                  "after-sb %u/%u/%u asbp %d rr %u rle %d io-error %d",
                  '@' + s.protocol, s.version_max, s.features_given ? s.features : 15, s.integrity, s.timeout, s.ping_timeout, s.ping_int,
                  s.connect_int, s.ko_count, s.drain_timeout, s.max_epoch_size, s.max_buffers, s.after_sb[0], s.after_sb[1],
                  s.after_sb[2], s.always_asbp, s.rr_conflict, !s.no_use_rle, s.on_io_error);
    return text;
}

}  // namespace

DrbdNetConfig Node::net_config(const Settings& s) {
    DrbdNetConfig net{};
    net.protocol = s.protocol;
    net.protocol_version_min = 86;
    net.protocol_version_max = s.version_max;
    net.features_given = s.features_given;
    net.features = s.features;
    net.timeout = s.timeout;
    net.ping_timeout = s.ping_timeout;
    net.connect_int = s.connect_int;
    net.ping_int = s.ping_int;
    net.ko_count_given = true;
    net.ko_count = s.ko_count;
    net.drain_timeout = s.drain_timeout;
    net.max_epoch_size = s.max_epoch_size;
    net.max_buffers = s.max_buffers;
    net.resync_rate = 1 << 20;
    net.c_max_rate = 4 << 20;
    net.after_sb_0pri = s.after_sb[0];
    net.after_sb_1pri = s.after_sb[1];
    net.after_sb_2pri = s.after_sb[2];
    net.always_asbp = s.always_asbp;
    net.rr_conflict = s.rr_conflict;
    net.no_use_rle = s.no_use_rle;
    set_crypto(net, s);
    return net;
}

void Node::set_crypto(DrbdNetConfig& net, const Settings& s) {
    const Options& o = world_.options();
    if (s.integrity) {
        std::snprintf(net.data_integrity_alg, sizeof net.data_integrity_alg, "played");
        net.integrity_digest_size = kPlayedDigestSize;
    }
    if (o.secret[host_].empty())
        return;
    std::snprintf(net.cram_hmac_alg, sizeof net.cram_hmac_alg, "played");
    net.cram_digest_size = kPlayedDigestSize;
    net.crypto.opaque = this;
    net.crypto.hmac = [](void* self, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]) {
        const Node& node = *static_cast<Node*>(self);
        played_digest(node.world_.options().secret[node.host_], data, length, digest);
        return true;
    };
    net.crypto.random = [](void* self, void* bytes, size_t length) {
        for (size_t i = 0; i < length; i++)
            static_cast<uint8_t*>(bytes)[i] = static_cast<uint8_t>(static_cast<Node*>(self)->random_.next());
        return true;
    };
}

DrbdDiskConfig Node::disk_config(unsigned volume) const {
    const Options& o = world_.options();
    return {.image_bytes = o.image_bytes, .metadata_bytes = disks_[volume].metadata_device_bytes(),
            .placement = o.internal ? DRBD_PLACEMENT_INTERNAL : DRBD_PLACEMENT_FLEXIBLE, .metadata_index = 0,
            .al_extents = o.al_extents, .on_io_error = settings().on_io_error};
}

bool Node::configure(const Settings& wanted) {
    if (frozen_)
        return false;
    const bool stand_alone = !core_ || std::strcmp(connection_status().state, "StandAlone") == 0;
    char error[DRBD_ERROR_SIZE] = "";
    const DrbdNetConfig net = net_config(wanted);
    const bool taken = !core_ || drbd_on_net_config(core_now(), &net, error);
    if (taken)
        world_.net().set_user_timeout(host_, user_timeout(wanted));
    world_.trace().text(host_, "options", (text_of(wanted) + (taken ? "" : std::string(" refused: ") + error)).c_str());
    if (core_)
        world_.on_configured(*this, wanted, stand_alone, taken, error);
    if (taken) {
        settings_.add(world_.queue().now(), wanted);
        for (unsigned v = 0; core_ && v < disks_.size(); v++)
            drbd_on_disk_options(core_, v, wanted.on_io_error);
        for (auto& [request, owned] : requests_)
            request->protocol = std::min(request->protocol, wanted.protocol);
        world_.guest().on_protocol(host_, wanted.protocol);
    }
    if (core_)
        kick();
    return taken;
}

}  // namespace drbd::sim
