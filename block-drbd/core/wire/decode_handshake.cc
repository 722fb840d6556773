// SPDX-License-Identifier: GPL-2.0-or-later
#include <bit>

#include "core/wire/decode.h"
#include "core/wire/fixed_part.h"
#include "core/wire/layouts.h"
#include "core/wire/handshake_flags.h"
#include "metafmt/layout.h"

namespace drbd::wire {

namespace {

// A name ends within its field, and can be shown to a person.
Result<AlgorithmName> read_name(const Frame& frame, const char* field, std::span<const uint8_t> bytes) {
    AlgorithmName name;
    DRBD_ASSERT(bytes.size() <= sizeof name.text);
    const auto end = std::find(bytes.begin(), bytes.end(), 0);
    if (end == bytes.end())
        return Error::of(ErrorCode::Protocol, "%s: %s has no end in %zu bytes", frame.row->name, field, bytes.size());
    const size_t length = static_cast<size_t>(end - bytes.begin());
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return Error::of(ErrorCode::Protocol, "%s: %s has character 0x%02x", frame.row->name, field, bytes[i]);
        name.text[i] = static_cast<char>(bytes[i]);
    }
    return name;
}

std::span<const uint8_t> bytes_of(const char (&field)[kNameSizeMax]) {
    return {reinterpret_cast<const uint8_t*>(field), sizeof field};
}

Error bad_value(const Frame& frame, const char* field, uint64_t value) {
    return Error::of(ErrorCode::Protocol, "%s: %s is %llu", frame.row->name, field,
                     static_cast<unsigned long long>(value));
}

bool is_block_size(uint32_t size) {
    return size == 0 || (std::has_single_bit(size) && size >= kSectorSize && size <= kBulkSizeMax);
}

}  // namespace

Result<FeatureOffer> decode_features(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::ConnectionFeatures);
    const auto raw = fixed_part<RawFeatures>(frame);
    FeatureOffer offer;
    offer.version_min = raw.version_min;
    offer.version_max = raw.version_max == 0 ? raw.version_min : raw.version_max;
    offer.features.bits = raw.features;
    if (offer.version_min == 0 || offer.version_max < offer.version_min)
        return Error::of(ErrorCode::Incompatible, "P_CONNECTION_FEATURES: protocols %u to %u", offer.version_min,
                         offer.version_max);
    return offer;
}

Result<std::span<const uint8_t>> decode_challenge(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::AuthChallenge);
    if (frame.tail.size() < kChallengeSize || frame.tail.size() > kChallengeSizeMax)
        return Error::of(ErrorCode::Incompatible, "P_AUTH_CHALLENGE: %zu bytes, must be %u to %u", frame.tail.size(),
                         kChallengeSize, kChallengeSizeMax);
    return frame.tail;
}

Result<std::span<const uint8_t>> decode_auth_response(const Frame& frame, uint32_t digest_size) {
    DRBD_ASSERT(frame.packet() == Packet::AuthResponse);
    if (frame.tail.size() != digest_size)
        return Error::of(ErrorCode::Protocol,
                         "P_AUTH_RESPONSE: %zu bytes, cram-hmac-alg here makes %u; do both nodes use the same?",
                         frame.tail.size(), digest_size);
    return frame.tail;
}

Result<ProtocolParameters> decode_protocol(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::Protocol || frame.packet() == Packet::ProtocolUpdate);
    const auto raw = fixed_part<RawProtocol>(frame);
    if (raw.protocol < 1 || raw.protocol > 3)
        return bad_value(frame, "protocol", raw.protocol);
    if (raw.after_sb_0p > kAfterSplitBrainMax)
        return bad_value(frame, "after-sb-0pri", raw.after_sb_0p);
    if (raw.after_sb_1p > kAfterSplitBrainMax)
        return bad_value(frame, "after-sb-1pri", raw.after_sb_1p);
    if (raw.after_sb_2p > kAfterSplitBrainMax)
        return bad_value(frame, "after-sb-2pri", raw.after_sb_2p);
    if (raw.two_primaries > 1)
        return bad_value(frame, "two-primaries", raw.two_primaries);
    ProtocolParameters parameters;
    parameters.protocol = static_cast<ReplicationProtocol>(raw.protocol.get());
    parameters.after_sb_0p = static_cast<AfterSplitBrain>(raw.after_sb_0p.get());
    parameters.after_sb_1p = static_cast<AfterSplitBrain>(raw.after_sb_1p.get());
    parameters.after_sb_2p = static_cast<AfterSplitBrain>(raw.after_sb_2p.get());
    parameters.discard_my_data = raw.conn_flags & kConnFlagDiscardMyData;
    parameters.dry_run = raw.conn_flags & kConnFlagDryRun;
    parameters.two_primaries = raw.two_primaries != 0;
    // The name came with 87; from then on its zero at least is there.
    if (frame.agreement.version < 87) {
        if (!frame.tail.empty())
            return bad_value(frame, "length", frame.fixed.size() + frame.tail.size());
        return parameters;
    }
    auto name = read_name(frame, "data-integrity-alg", frame.tail);
    if (!name)
        return name.error();
    parameters.integrity_alg = name.value();
    return parameters;
}

Result<SyncParameters> decode_sync_parameters(const Frame& frame) {
    SyncParameters parameters;
    if (frame.packet() == Packet::SyncParam) {
        parameters.resync_rate_kib = fixed_part<RawSyncParam>(frame).resync_rate;
        if (frame.agreement.version < 88) {
            if (!frame.tail.empty())
                return bad_value(frame, "length", frame.fixed.size() + frame.tail.size());
            return parameters;
        }
        auto name = read_name(frame, "verify-alg", frame.tail);
        if (!name)
            return name.error();
        parameters.verify_alg = name.value();
        return parameters;
    }
    DRBD_ASSERT(frame.packet() == Packet::SyncParam89);
    const auto raw = fixed_part<RawSyncParam89>(frame);
    parameters.resync_rate_kib = raw.resync_rate;
    auto verify = read_name(frame, "verify-alg", bytes_of(raw.verify_alg));
    if (!verify)
        return verify.error();
    parameters.verify_alg = verify.value();
    auto csums = read_name(frame, "csums-alg", bytes_of(raw.csums_alg));
    if (!csums)
        return csums.error();
    parameters.csums_alg = csums.value();
    if (frame.agreement.version >= 95) {
        parameters.plan_ahead_ds = raw.c_plan_ahead;
        parameters.delay_target_ds = raw.c_delay_target;
        parameters.fill_target_sectors = raw.c_fill_target;
        parameters.max_rate_kib = raw.c_max_rate;
    }
    return parameters;
}

Result<Sizes> decode_sizes(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::Sizes);
    const auto raw = fixed_part<RawSizes>(frame);
    Sizes sizes;
    sizes.disk_size = Sector(raw.d_size);
    sizes.user_size = Sector(raw.u_size);
    sizes.current_size = Sector(raw.c_size);
    if (sizes.disk_size > metafmt::kCapacityMax)
        return bad_value(frame, "disk size", raw.d_size);
    if (sizes.user_size > metafmt::kCapacityMax)
        return bad_value(frame, "user size", raw.u_size);
    if (sizes.current_size > metafmt::kCapacityMax)
        return bad_value(frame, "current size", raw.c_size);
    sizes.max_bio_size = raw.max_bio_size;
    sizes.forced = raw.dds_flags & kDdsForced;
    sizes.no_resync = raw.dds_flags & kDdsNoResync;
    if (!frame.agreement.features.has(Feature::WriteSame))
        return sizes;
    if (!is_block_size(raw.physical_block_size))
        return bad_value(frame, "physical block size", raw.physical_block_size);
    if (!is_block_size(raw.logical_block_size))
        return bad_value(frame, "logical block size", raw.logical_block_size);
    sizes.limits = QueueLimits{raw.physical_block_size, raw.logical_block_size, raw.alignment_offset, raw.io_min,
                               raw.io_opt, raw.discard_enabled != 0, raw.discard_zeroes_data != 0,
                               raw.write_same_capable != 0};
    return sizes;
}

Result<GenerationReport> decode_uuids(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::Uuids);
    const auto raw = fixed_part<RawUuids>(frame);
    if (raw.bits_set > metafmt::kCapacityMax.value / kSectorsPerBlock)
        return bad_value(frame, "number of set bits", raw.bits_set);
    GenerationReport report;
    report.uuids = {raw.current, raw.bitmap, {raw.history[0], raw.history[1]}};
    report.bits_set = raw.bits_set;
    report.discard_my_data = raw.flags & kUuidFlagDiscardMyData;
    report.crashed_primary = raw.flags & kUuidFlagCrashedPrimary;
    report.inconsistent = raw.flags & kUuidFlagInconsistent;
    report.skip_initial_sync = raw.flags & kUuidFlagSkipInitialSync;
    return report;
}

Result<uint64_t> decode_sync_uuid(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::SyncUuid);
    return fixed_part<RawSyncUuid>(frame).uuid.get();
}

Result<State> decode_state(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::State);
    auto state = state_of_word(fixed_part<RawState>(frame).state);
    if (!state)
        return Error::of(ErrorCode::Protocol, "P_STATE: %.200s", state.error().text);
    // A node knows its own disk and its own role.
    if (state.value().disk == DiskState::DUnknown)
        return bad_value(frame, "disk (DUnknown)", static_cast<uint64_t>(state.value().disk));
    if (state.value().role == Role::Unknown)
        return bad_value(frame, "role (Unknown)", static_cast<uint64_t>(state.value().role));
    return state;
}

Result<StateChange> decode_state_change_request(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::StateChangeRequest ||
                frame.packet() == Packet::ConnectionStateChangeRequest);
    const auto raw = fixed_part<RawStateChangeRequest>(frame);
    auto change = state_change_of_words({raw.mask, raw.value});
    if (!change)
        return Error::of(ErrorCode::Protocol, "%s: %.200s", frame.row->name, change.error().text);
    return change;
}

Result<int32_t> decode_state_change_reply(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::StateChangeReply || frame.packet() == Packet::ConnectionStateChangeReply);
    return fixed_part<RawReply>(frame).code.get();
}

}  // namespace drbd::wire
