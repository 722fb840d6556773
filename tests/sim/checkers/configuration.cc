// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of configuration.h.
#include "checkers/configuration.h"

#include <algorithm>
#include <iterator>

namespace drbd::sim {

namespace {

// A packet that was queued before a command may be sent a moment after it.
constexpr Time kInPassing = kSecond;

struct Range {
    const char* name;
    unsigned Settings::*field;
    unsigned min, max;
};
constexpr Range kRanges[] = {  // 0: the default
    {"protocol-version-max", &Settings::version_max, 86, 101},
    {"timeout", &Settings::timeout, 1, 600},
    {"ping-timeout", &Settings::ping_timeout, 1, 300},
    {"connect-int", &Settings::connect_int, 1, 120},
    {"ping-int", &Settings::ping_int, 1, 120},
    {"ko-count", &Settings::ko_count, 1, 200},
    {"drain-timeout", &Settings::drain_timeout, 1, 120000},
    {"max-epoch-size", &Settings::max_epoch_size, 1, 20000},
    {"max-buffers", &Settings::max_buffers, 32, 131072},
    {"rr-conflict", &Settings::rr_conflict, 1, 2},
};

constexpr const char* kPolicyOptions[] = {"after-sb-0pri", "after-sb-1pri", "after-sb-2pri"};
constexpr unsigned kPoliciesAllowed[] = {0x07f, 0x781, 0x601};  // bits by their numbers
constexpr const char* kPolicies[] = {
    "disconnect", "discard-younger-primary", "discard-older-primary", "discard-zero-changes", "discard-least-changes", "discard-local",
    "discard-remote", "consensus", "discard-secondary", "call-pri-lost-after-sb", "violently-as0p",
};

uint32_t features_of(const Settings& s) { return s.features_given ? s.features : 15; }

// The option that cannot be so, or null.
const char* wrong_option(const Settings& before, const Settings& wanted, unsigned volumes, bool stand_alone) {
    for (const Range& range : kRanges)
        if (const unsigned value = wanted.*range.field; value != 0 && (value < range.min || value > range.max))
            return range.name;
    if (features_of(wanted) > 15)
        return "features";
    for (unsigned i = 0; i < 3; i++)
        if (wanted.after_sb[i] > 10 || !(kPoliciesAllowed[i] >> wanted.after_sb[i] & 1))
            return kPolicyOptions[i];
    if (volumes > 1 && wanted.version_max < 100)
        return "protocol-version-max";
    if (stand_alone)
        return nullptr;
    return wanted.protocol != before.protocol             ? "protocol"
           : wanted.version_max != before.version_max     ? "protocol-version-max"
           : features_of(wanted) != features_of(before)   ? "features"
           : wanted.integrity != before.integrity         ? "data-integrity-alg"
                                                          : nullptr;
}

std::string text_of(const char* option, const std::string& own, const std::string& peers) {
    return std::string(option) + ": this node " + own + ", the peer " + peers;
}

// The first that must be alike and is not, in the words of who sees it; empty: none.
std::string difference(const TappedParameters& own, const TappedParameters& peer) {
    const auto letter = [](const TappedParameters& p) { return std::string(1, static_cast<char>('A' + p.protocol - 1)); };
    if (own.protocol != peer.protocol)
        return text_of("protocol", letter(own), letter(peer));
    for (unsigned i = 0; i < 3; i++)
        if (const uint32_t policy = peers_policy(peer.after_sb[i]); own.after_sb[i] != policy)
            return text_of(kPolicyOptions[i], kPolicies[own.after_sb[i]], kPolicies[policy]);
    const auto name = [](const TappedParameters& p) { return p.integrity.empty() ? std::string("none") : p.integrity; };
    return own.integrity == peer.integrity ? "" : text_of("data-integrity-alg", name(own), name(peer));
}

TappedParameters with_policies(TappedParameters said, const std::array<uint32_t, 3>& policies) {
    std::ranges::copy(policies, said.after_sb);
    return said;
}

std::string who(int host) { return std::string("configuration: ") + "AB"[host] + " "; }

}  // namespace

std::string Configuration::on_command(int host, const Settings& before, const Settings& wanted, const Command& command) {
    const char* wrong = wrong_option(before, wanted, command.volumes, command.stand_alone);
    if (command.taken == (wrong != nullptr))
        return who(host) + (wrong ? std::string("takes what it must refuse: ") + wrong : "refuses what it must take: " + command.text);
    if (!command.taken)
        return command.text.find(wrong) != std::string::npos ? "" : who(host) + "refuses " + wrong + " with the words: " + command.text;
    configured_[host].push_back({command.now, policies_of(wanted)});
    own_updates_[host].push_back({command.now, policies_of(wanted)});
    return "";
}

void Configuration::on_start(int host, Time now, const Settings& settings) {
    configured_[host] = {{now, policies_of(settings)}};
    updates_[host].clear();
}

bool Configuration::is_possible(int host, Time now, const Policies& policies) const {
    const auto& configured = configured_[host];
    for (size_t i = 0; i < configured.size(); i++)
        if (const bool held = i + 1 == configured.size() || configured[i + 1].since + kInPassing > now; held && configured[i].policies == policies)
            return true;
    return std::ranges::find(updates_[host], policies) != updates_[host].end();
}

std::string Configuration::on_parameters(int host, uint32_t tcp, Time now, const Settings& settings, const TappedPacket& packet) {
    const TappedParameters& said = packet.parameters;
    const Policies policies = policies_of(said);
    const bool update = packet.packet == wire::Packet::ProtocolUpdate;
    const std::string what = who(host) + "says by " + wire::name_of(packet.packet);
    if (said.protocol != settings.protocol || said.integrity != (settings.integrity ? "played" : ""))
        return what + " another protocol or integrity than is configured";
    if (update) {
        if (std::ranges::find(own_updates_[host], policies, &Since::policies) == own_updates_[host].end())
            return what + " policies that nobody has configured on this connection";
        const Policies peers = {peers_policy(policies[0]), peers_policy(policies[1]), peers_policy(policies[2])};
        updates_[1 - host].push_back(peers);
        unheard_[1 - host] = {.known = true, .has_barrier = false, .sent = now, .policies = peers, .barrier = 0};
        return "";
    }
    const bool possible = is_possible(host, now, policies);
    said_[host] = said;
    tcp_[host] = tcp;
    if (configured_[host].back().since + kInPassing <= now)
        configured_[host] = {{now, policies}};
    updates_[host].clear();
    std::erase_if(own_updates_[host], [&](const Since& own) { return own.since + kInPassing <= now; });
    return possible ? "" : what + " policies that are neither configured nor the peer's";
}

void Configuration::on_barrier(int host, uint32_t number) {
    if (Update& update = unheard_[1 - host]; update.known && !update.has_barrier) {
        update.has_barrier = true;
        update.barrier = number;
    }
}

// The host has read everything up to the barrier, and so the update.
void Configuration::on_barrier_answer(int host, Time now, uint32_t number) {
    Update& update = unheard_[host];
    if (!update.known || !update.has_barrier || update.barrier != number)
        return;
    update.known = false;
    if (configured_[host].back().since + kInPassing > update.sent)
        return;  // who came first is not known
    configured_[host] = {{now, update.policies}};
    updates_[host].clear();
}

std::vector<TappedParameters> Configuration::possible(int host) const {
    std::vector<TappedParameters> possible{said_[host]};
    for (const Since& own : own_updates_[host])
        possible.push_back(with_policies(said_[host], own.policies));
    for (const Policies& peers : updates_[host])
        possible.push_back(with_policies(said_[host], peers));
    for (const Since& configured : configured_[host])
        possible.push_back(with_policies(said_[host], configured.policies));
    return possible;
}

std::string Configuration::on_connection(int host, const std::string& state, const std::string& text) const {
    if (tcp_[0] != tcp_[1] || said_[0].protocol == 0 || said_[1].protocol == 0)
        return "";
    // The peer's P_PROTOCOL is compared with what is configured when it comes, which may be newer than what was said.
    std::vector<TappedParameters> compared{said_[host]};
    for (const Since& own : own_updates_[host])
        compared.push_back(with_policies(said_[host], own.policies));
    bool are_alike = false, is_named = false;
    std::string wrong;
    for (const TappedParameters& own : compared) {
        const std::string found = difference(own, said_[1 - host]);
        are_alike |= found.empty();
        is_named |= !found.empty() && text.find(found) != std::string::npos;
        if (wrong.empty())
            wrong = found;
    }
    if (!are_alike && (state == "Connected" || state == "WFBitMapS" || state == "WFBitMapT"))
        return who(host) + "is " + state + " although both have said: " + wrong;
    if (!wrong.empty() && !is_named && text.find("configure both alike") != std::string::npos)
        return who(host) + "names another difference than: " + wrong + "; " + text;
    return "";
}

}  // namespace drbd::sim
