// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/net_config.h"

#include <cstring>
#include <iterator>

namespace drbd {

namespace {

using wire::AfterSplitBrain;

// Numbers: 0 in the configuration is the default; what is given lies between.
struct NumberRow {
    unsigned DrbdNetConfig::*field;
    const char* name;
    unsigned fallback, min, max;
};
constexpr NumberRow kNumbers[] = {
    {&DrbdNetConfig::protocol_version_min, "protocol-version-min", wire::kVersionMin, wire::kVersionMin, wire::kVersionMax},
    {&DrbdNetConfig::protocol_version_max, "protocol-version-max", wire::kVersionMax, wire::kVersionMin, wire::kVersionMax},
    {&DrbdNetConfig::timeout, "timeout", 60, 1, 600},
    {&DrbdNetConfig::ping_timeout, "ping-timeout", 5, 1, 300},
    {&DrbdNetConfig::socket_check_timeout, "socket-check-timeout", 0, 0, 300},
    {&DrbdNetConfig::connect_int, "connect-int", 10, 1, 120},
    {&DrbdNetConfig::ping_int, "ping-int", 10, 1, 120},
    {&DrbdNetConfig::ko_count, "ko-count", 0, 0, 200},
    {&DrbdNetConfig::drain_timeout, "drain-timeout", 0, 0, 600 * 200},
    {&DrbdNetConfig::max_epoch_size, "max-epoch-size", 2048, 1, 20000},
    {&DrbdNetConfig::max_buffers, "max-buffers", kPeerPagesDefault, 32, 131072},
    {&DrbdNetConfig::rr_conflict, "rr-conflict", 0, 0, 2},
    {&DrbdNetConfig::resync_rate, "resync-rate", 250, 1, 4194304},
};

constexpr const char* kPolicyNames[] = {
    "disconnect", "discard-younger-primary", "discard-older-primary", "discard-zero-changes",
    "discard-least-changes", "discard-local", "discard-remote", "consensus", "discard-secondary",
    "call-pri-lost-after-sb", "violently-as0p",
};
static_assert(std::size(kPolicyNames) == wire::kAfterSplitBrainMax + 1);

constexpr uint32_t bit(AfterSplitBrain policy) {
    return 1u << static_cast<uint32_t>(policy);
}

struct PolicyRow {
    unsigned DrbdNetConfig::*field;
    AfterSplitBrain wire::ProtocolParameters::*parameter;
    const char* name;
    uint32_t allowed;
};
using enum AfterSplitBrain;
constexpr PolicyRow kPolicies[] = {
    {&DrbdNetConfig::after_sb_0pri, &wire::ProtocolParameters::after_sb_0p, "after-sb-0pri",
     bit(Disconnect) | bit(DiscardYoungerPrimary) | bit(DiscardOlderPrimary) | bit(DiscardZeroChanges) |
         bit(DiscardLeastChanges) | bit(DiscardLocal) | bit(DiscardRemote)},
    {&DrbdNetConfig::after_sb_1pri, &wire::ProtocolParameters::after_sb_1p, "after-sb-1pri",
     bit(Disconnect) | bit(Consensus) | bit(DiscardSecondary) | bit(CallPriLost) | bit(ViolentlyAs0p)},
    {&DrbdNetConfig::after_sb_2pri, &wire::ProtocolParameters::after_sb_2p, "after-sb-2pri",
     bit(Disconnect) | bit(CallPriLost) | bit(ViolentlyAs0p)},
};

const char* name_of(AfterSplitBrain policy) {
    return kPolicyNames[static_cast<uint32_t>(policy)];
}

struct AlgorithmRow {
    char (DrbdNetConfig::*field)[DRBD_NAME_SIZE];
    const char* name;
};
constexpr AlgorithmRow kAlgorithms[] = {
    {&DrbdNetConfig::data_integrity_alg, "data-integrity-alg"},
    {&DrbdNetConfig::verify_alg, "verify-alg"},
    {&DrbdNetConfig::csums_alg, "csums-alg"},
    {&DrbdNetConfig::cram_hmac_alg, "cram-hmac-alg"},
};

Result<void> check_algorithms(const DrbdNetConfig& config) {
    for (const AlgorithmRow& row : kAlgorithms) {
        const char* text = config.*row.field;
        if (!std::memchr(text, 0, DRBD_NAME_SIZE))
            return Error::of(ErrorCode::Invalid, "%s: the name has more than %d characters", row.name,
                             static_cast<int>(DRBD_NAME_SIZE) - 1);
        for (; *text; text++)
            if (*text <= ' ' || *text > '~')
                return Error::of(ErrorCode::Invalid, "%s: the name has character 0x%02x", row.name,
                                 static_cast<uint8_t>(*text));
    }
    const struct {
        const char* name;
        const char* algorithm;
        unsigned size;
    } digests[] = {{"data-integrity-alg", config.data_integrity_alg, config.integrity_digest_size},
                   {"cram-hmac-alg", config.cram_hmac_alg, config.cram_digest_size}};
    for (const auto& digest : digests)
        if (digest.algorithm[0] && (digest.size < 1 || digest.size > DRBD_DIGEST_SIZE))
            return Error::of(ErrorCode::Invalid, "%s %s: a digest of %u bytes; 1 to %d are possible", digest.name,
                             digest.algorithm, digest.size, static_cast<int>(DRBD_DIGEST_SIZE));
    if (config.cram_hmac_alg[0] && (!config.crypto.hmac || !config.crypto.random))
        return Error::of(ErrorCode::Invalid, "cram-hmac-alg %s: there is no shared secret; give one, or leave "
                         "cram-hmac-alg away", config.cram_hmac_alg);
    return {};
}

Error differs(const char* option, const char* own, const char* peer) {
    return Error::of(ErrorCode::Incompatible, "%s: this node %s, the peer %s; configure both alike, then connect", option,
                     own, peer);
}

// discard-local of one node is discard-remote of the other, and the peer's stands here as seen from this node.
Error policy_differs(const char* option, AfterSplitBrain own, AfterSplitBrain peer) {
    if ((own == DiscardLocal && peer == DiscardRemote) || (own == DiscardRemote && peer == DiscardLocal))
        return Error::of(ErrorCode::Incompatible, "%s: %s on both nodes: they would not agree on whose data goes; configure %s on the "
                         "other one, then connect", option, name_of(own), name_of(peer));
    return differs(option, name_of(own), name_of(peer));
}

const char* letter(wire::ReplicationProtocol protocol) {
    static constexpr const char* kLetters[] = {"A", "B", "C"};
    return kLetters[static_cast<uint32_t>(protocol) - 1];
}

const char* or_none(const wire::AlgorithmName& name) {
    return name.length() != 0 ? name.text : "none";
}

}  // namespace

Result<DrbdNetConfig> complete(const DrbdNetConfig& given) {
    DrbdNetConfig config = given;
    if (!config.ko_count_given)
        config.ko_count = 7;
    for (const NumberRow& row : kNumbers) {
        unsigned& value = config.*row.field;
        if (value == 0)
            value = row.fallback;
        if (value < row.min || value > row.max)
            return Error::of(ErrorCode::Invalid, "%s %u: must be %u to %u", row.name, value, row.min, row.max);
    }
    if (config.protocol == 0)
        config.protocol = DRBD_PROTOCOL_C;
    if (config.protocol < DRBD_PROTOCOL_A || config.protocol > DRBD_PROTOCOL_C)
        return Error::of(ErrorCode::Invalid, "protocol %u: must be A, B or C", static_cast<unsigned>(config.protocol));
    if (config.protocol_version_min > config.protocol_version_max)
        return Error::of(ErrorCode::Invalid, "protocol-version-min %u is above protocol-version-max %u",
                         config.protocol_version_min, config.protocol_version_max);
    if (!config.features_given)
        config.features = wire::kFeaturesKnown;
    if (config.features & ~wire::kFeaturesKnown)
        return Error::of(ErrorCode::Invalid, "features 0x%x: known are 0x%x", config.features, wire::kFeaturesKnown);
    for (const PolicyRow& row : kPolicies) {
        const unsigned policy = config.*row.field;
        if (policy > wire::kAfterSplitBrainMax || !(row.allowed & (1u << policy)))
            return Error::of(ErrorCode::Invalid, "%s: %s is no policy for it", row.name,
                             policy > wire::kAfterSplitBrainMax ? "an unknown number" : kPolicyNames[policy]);
    }
    if (auto checked = check_algorithms(config); !checked)
        return checked.error();

    config.features_given = config.ko_count_given = true;
    if (config.socket_check_timeout == 0)
        config.socket_check_timeout = config.ping_timeout;
    if (config.drain_timeout == 0)
        config.drain_timeout = config.ko_count != 0 ? config.ko_count * config.timeout : config.timeout;
    if (config.c_plan_ahead == 0 && config.c_delay_target == 0 && config.c_fill_target == 0 && config.c_max_rate == 0) {
        const wire::SyncParameters defaults;
        config.c_plan_ahead = defaults.plan_ahead_ds;
        config.c_delay_target = defaults.delay_target_ds;
        config.c_fill_target = defaults.fill_target_sectors;
        config.c_max_rate = defaults.max_rate_kib;
    }
    return config;
}

const char* first_fixed_difference(const DrbdNetConfig& a, const DrbdNetConfig& b) {
    if (a.protocol != b.protocol)
        return "protocol";
    if (a.protocol_version_min != b.protocol_version_min)
        return "protocol-version-min";
    if (a.protocol_version_max != b.protocol_version_max)
        return "protocol-version-max";
    if (a.features != b.features)
        return "features";
    for (const AlgorithmRow& row : kAlgorithms)
        if (std::strcmp(a.*row.field, b.*row.field) != 0)
            return row.name;
    if (a.integrity_digest_size != b.integrity_digest_size)
        return "data-integrity-alg";
    if (a.cram_digest_size != b.cram_digest_size)
        return "cram-hmac-alg";
    return nullptr;
}

bool same_policies(const DrbdNetConfig& a, const DrbdNetConfig& b) {
    for (const PolicyRow& row : kPolicies)
        if (a.*row.field != b.*row.field)
            return false;
    return true;
}

wire::FeatureOffer offer_of(const DrbdNetConfig& config) {
    return {config.protocol_version_min, config.protocol_version_max, {config.features}};
}

wire::ProtocolParameters parameters_of(const DrbdNetConfig& config, bool discard_my_data) {
    wire::ProtocolParameters parameters;
    parameters.protocol = static_cast<wire::ReplicationProtocol>(config.protocol);
    for (const PolicyRow& row : kPolicies)
        parameters.*row.parameter = static_cast<AfterSplitBrain>(config.*row.field);
    parameters.discard_my_data = discard_my_data;
    std::memcpy(parameters.integrity_alg.text, config.data_integrity_alg, sizeof parameters.integrity_alg.text);
    return parameters;
}

wire::ProtocolParameters seen_from_here(wire::ProtocolParameters peer) {
    for (const PolicyRow& row : kPolicies) {
        AfterSplitBrain& policy = peer.*row.parameter;
        if (policy == DiscardLocal)
            policy = DiscardRemote;
        else if (policy == DiscardRemote)
            policy = DiscardLocal;
    }
    return peer;
}

void adopt(DrbdNetConfig& config, const wire::ProtocolParameters& peer) {
    config.protocol = static_cast<DrbdProtocol>(peer.protocol);
    for (const PolicyRow& row : kPolicies)
        config.*row.field = static_cast<unsigned>(peer.*row.parameter);
}

Result<void> compare(const wire::ProtocolParameters& own, const wire::ProtocolParameters& peer) {
    if (own.protocol != peer.protocol)
        return differs("protocol", letter(own.protocol), letter(peer.protocol));
    for (const PolicyRow& row : kPolicies)
        if (own.*row.parameter != peer.*row.parameter)
            return policy_differs(row.name, own.*row.parameter, peer.*row.parameter);
    if (own.discard_my_data && peer.discard_my_data)
        return Error::of(ErrorCode::Incompatible, "discard-my-data: given on this node and on the peer; connect again "
                         "with it on the one whose changes are to be lost");
    if (own.two_primaries != peer.two_primaries)
        return differs("allow-two-primaries", own.two_primaries ? "yes" : "no", peer.two_primaries ? "yes" : "no");
    if (!(own.integrity_alg == peer.integrity_alg))
        return differs("data-integrity-alg", or_none(own.integrity_alg), or_none(peer.integrity_alg));
    return {};
}

}  // namespace drbd
