// SPDX-License-Identifier: GPL-2.0-or-later
// Promise: options change when they may, and what two nodes must have alike they
// compare before they are connected.
//   a value out of its range is refused, and so is, unless StandAlone, another
//     protocol, version, feature or algorithm; everything else is taken; a refusal
//     names the option and changes nothing
//   P_PROTOCOL says what the administrator has configured last, or what a
//     P_PROTOCOL_UPDATE of the peer has said since (must have, if a barrier behind it
//     was answered); P_PROTOCOL_UPDATE says what was configured on this connection
//   a node becomes Connected only if the peer has said what this one has said, or
//     has configured since; who sees a difference names the option and both values
// Verified: commands and their results, by ranges of its own; the packets of both
// nodes.  Not verified: what timeouts and sizes do (liveness, bounds).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "event_queue.h"
#include "settings.h"
#include "wire_ear.h"

namespace drbd::sim {

class Configuration {
  public:
    Configuration(const Settings& a, const Settings& b) : configured_{{{0, policies_of(a)}}, {{0, policies_of(b)}}} {}

    struct Command {
        Time now;
        unsigned volumes;
        bool stand_alone;  // or not running
        bool taken;
        std::string text;  // of the refusal
    };
    std::string on_command(int host, const Settings& before, const Settings& wanted, const Command& command);
    // The process begins with what is configured.
    void on_start(int host, Time now, const Settings& settings);
    // P_PROTOCOL or P_PROTOCOL_UPDATE of this host.
    std::string on_parameters(int host, uint32_t tcp, Time now, const Settings& settings, const TappedPacket& packet);
    // P_BARRIER of this host, and P_BARRIER_ACK.
    void on_barrier(int host, uint32_t number);
    void on_barrier_answer(int host, Time now, uint32_t number);
    // Another connection begins.
    void on_features() { unheard_[0].known = unheard_[1].known = false; }
    // A change of its connection state, with what is said of it.
    std::string on_connection(int host, const std::string& state, const std::string& text) const;

    // What holds there: what it has said, or what either has told since.
    std::vector<TappedParameters> possible(int host) const;
    // What the host has said on its last connection; protocol 0: nothing yet.
    const TappedParameters& said(int host) const { return said_[host]; }

  private:
    using Policies = std::array<uint32_t, 3>;
    static Policies policies_of(const Settings& s) { return {s.after_sb[0], s.after_sb[1], s.after_sb[2]}; }
    static Policies policies_of(const TappedParameters& p) { return {p.after_sb[0], p.after_sb[1], p.after_sb[2]}; }
    struct Since {
        Time since;
        Policies policies;
    };
    // The last update that was sent to a host, until a barrier behind it is answered.
    struct Update {
        bool known = false, has_barrier = false;
        Time sent = 0;
        Policies policies{};
        uint32_t barrier = 0;
    };
    bool is_possible(int host, Time now, const Policies& policies) const;

    std::vector<Since> configured_[2];      // by the administrator, or said by P_PROTOCOL; in this order
    std::vector<Policies> updates_[2];      // of the peer, since the last P_PROTOCOL
    std::vector<Since> own_updates_[2];     // configured on this connection
    Update unheard_[2];
    TappedParameters said_[2];
    uint32_t tcp_[2] = {~0u, ~0u};
};

}  // namespace drbd::sim
