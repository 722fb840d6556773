// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/encode.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/wire/frame.h"
#include "core/wire/handshake_flags.h"
#include "core/wire/layouts.h"
#include "core/wire/state_word.h"
#include "metafmt/layout.h"

namespace drbd::wire {

namespace {

template <typename Layout>
std::span<const uint8_t> bytes_of(const Layout& layout) {
    return {reinterpret_cast<const uint8_t*>(&layout), sizeof layout};
}

// A packet may be sent here, in this size, under this agreement.
void assert_allowed(const To& to, const PacketRow& row, uint32_t length) {
    if (row.place == Place::First || row.place == Place::Features)
        DRBD_ASSERT(to.agreement.version == 0);
    else
        DRBD_ASSERT(row.is_known_to(to.agreement));
    DRBD_ASSERT(length >= fixed_size(row, to.agreement));
    DRBD_ASSERT(length <= payload_max(row, to.agreement, row.tail == Tail::Bulk ? kDigestSizeMax : 0));
    DRBD_ASSERT(to.volume == 0 || (row.scope == Scope::Volume && to.agreement.version >= 100));
}

template <typename Layout>
uint32_t put_layout(Room room, const Layout& layout) {
    DRBD_ASSERT(room.size() >= sizeof layout);
    std::memcpy(room.data(), &layout, sizeof layout);
    return sizeof layout;
}

// The header for a packet whose payload is `length` bytes.
uint32_t put_header(Room room, const To& to, Packet packet, uint32_t length) {
    const unsigned version = to.agreement.version;
    const uint16_t command = static_cast<uint16_t>(packet);
    assert_allowed(to, row_of(packet), length);
    if (version >= 100)
        return put_layout(room, RawHeader100{kMagic100, to.volume, command, length, 0u});
    if (version >= 95 && length > kLength80Max)
        return put_layout(room, RawHeader95{kMagic95, command, length});
    DRBD_ASSERT(length <= 0xffff);
    return put_layout(room, RawHeader80{kMagic80, command, static_cast<uint16_t>(length)});
}

// A whole packet; `bulk_length` bytes follow it.
Encoded put(Room room, const To& to, Packet packet, std::span<const uint8_t> fixed,
            std::span<const uint8_t> tail = {}, uint64_t bulk_length = 0) {
    DRBD_ASSERT(fixed.size() == fixed_size(row_of(packet), to.agreement));
    DRBD_ASSERT(bulk_length <= kBulkSizeMax);
    const size_t head = fixed.size() + tail.size();
    const uint32_t header = put_header(room, to, packet, static_cast<uint32_t>(head + bulk_length));
    DRBD_ASSERT(room.size() >= header + head);
    std::copy(fixed.begin(), fixed.end(), room.begin() + header);
    std::copy(tail.begin(), tail.end(), room.begin() + header + static_cast<ptrdiff_t>(fixed.size()));
    return room.first(header + head);
}

// The name with its zero.
std::span<const uint8_t> name_bytes(const AlgorithmName& name) {
    const uint32_t length = name.length();
    DRBD_ASSERT(length < kNameSizeMax);
    return {reinterpret_cast<const uint8_t*>(name.text), length + 1};
}

uint32_t size32(Bytes size, uint64_t max) {
    DRBD_ASSERT(size.value <= max);
    DRBD_ASSERT(size.value % kSectorSize == 0);
    return static_cast<uint32_t>(size.value);
}

void assert_digest(std::span<const uint8_t> digest) {
    DRBD_ASSERT(digest.size() <= kDigestSizeMax);
}

}  // namespace

Encoded encode_initial(Room room, Stream stream) {
    return put(room, {}, stream == Stream::Data ? Packet::InitialData : Packet::InitialMeta, {});
}

Encoded encode_features(Room room, const FeatureOffer& offer) {
    DRBD_ASSERT(offer.version_min >= kVersionMin && offer.version_max <= kVersionMax);
    DRBD_ASSERT(offer.version_min <= offer.version_max);
    DRBD_ASSERT((offer.features.bits & ~kFeaturesKnown) == 0);
    RawFeatures raw{};
    raw.version_min = offer.version_min;
    raw.version_max = offer.version_max;
    raw.features = offer.features.bits;
    return put(room, {}, Packet::ConnectionFeatures, bytes_of(raw));
}

Encoded encode_empty(Room room, const To& to, Packet packet) {
    DRBD_ASSERT(packet == Packet::Ping || packet == Packet::PingAck || packet == Packet::UnplugRemote);
    return put(room, to, packet, {});
}

Encoded encode_challenge(Room room, const To& to, std::span<const uint8_t> challenge) {
    DRBD_ASSERT(challenge.size() == kChallengeSize);
    return put(room, to, Packet::AuthChallenge, {}, challenge);
}

Encoded encode_auth_response(Room room, const To& to, std::span<const uint8_t> response) {
    DRBD_ASSERT(!response.empty());
    assert_digest(response);
    return put(room, to, Packet::AuthResponse, {}, response);
}

Encoded encode_protocol(Room room, const To& to, Packet packet, const ProtocolParameters& parameters) {
    DRBD_ASSERT(packet == Packet::Protocol || packet == Packet::ProtocolUpdate);
    DRBD_ASSERT(!parameters.dry_run || to.agreement.version >= 92);
    RawProtocol raw;
    raw.protocol = static_cast<uint32_t>(parameters.protocol);
    raw.after_sb_0p = static_cast<uint32_t>(parameters.after_sb_0p);
    raw.after_sb_1p = static_cast<uint32_t>(parameters.after_sb_1p);
    raw.after_sb_2p = static_cast<uint32_t>(parameters.after_sb_2p);
    raw.conn_flags = (parameters.discard_my_data ? kConnFlagDiscardMyData : 0u) |
                     (parameters.dry_run ? kConnFlagDryRun : 0u);
    raw.two_primaries = parameters.two_primaries;
    if (to.agreement.version < 87) {
        DRBD_ASSERT(parameters.integrity_alg.length() == 0);
        return put(room, to, packet, bytes_of(raw));
    }
    return put(room, to, packet, bytes_of(raw), name_bytes(parameters.integrity_alg));
}

Encoded encode_sync_parameters(Room room, const To& to, const SyncParameters& parameters) {
    if (to.agreement.version < 89) {
        const RawSyncParam raw{parameters.resync_rate_kib};
        if (to.agreement.version < 88)
            return put(room, to, Packet::SyncParam, bytes_of(raw));
        return put(room, to, Packet::SyncParam, bytes_of(raw), name_bytes(parameters.verify_alg));
    }
    RawSyncParam89 raw{};
    raw.resync_rate = parameters.resync_rate_kib;
    const auto verify = name_bytes(parameters.verify_alg);
    std::memcpy(raw.verify_alg, verify.data(), verify.size());
    const auto csums = name_bytes(parameters.csums_alg);
    std::memcpy(raw.csums_alg, csums.data(), csums.size());
    raw.c_plan_ahead = parameters.plan_ahead_ds;
    raw.c_delay_target = parameters.delay_target_ds;
    raw.c_fill_target = parameters.fill_target_sectors;
    raw.c_max_rate = parameters.max_rate_kib;
    return put(room, to, Packet::SyncParam89,
               bytes_of(raw).first(fixed_size(row_of(Packet::SyncParam89), to.agreement)));
}

Encoded encode_sizes(Room room, const To& to, const Sizes& sizes) {
    DRBD_ASSERT(sizes.disk_size <= metafmt::kCapacityMax);
    DRBD_ASSERT(sizes.user_size <= metafmt::kCapacityMax);
    DRBD_ASSERT(sizes.current_size <= metafmt::kCapacityMax);
    DRBD_ASSERT(sizes.limits.has_value() == to.agreement.features.has(Feature::WriteSame));
    RawSizes raw{};
    raw.d_size = sizes.disk_size.value;
    raw.u_size = sizes.user_size.value;
    raw.c_size = sizes.current_size.value;
    raw.max_bio_size = sizes.max_bio_size;
    raw.dds_flags = static_cast<uint16_t>((sizes.forced ? kDdsForced : 0) | (sizes.no_resync ? kDdsNoResync : 0));
    if (sizes.limits) {
        raw.physical_block_size = sizes.limits->physical_block_size;
        raw.logical_block_size = sizes.limits->logical_block_size;
        raw.alignment_offset = sizes.limits->alignment_offset;
        raw.io_min = sizes.limits->io_min;
        raw.io_opt = sizes.limits->io_opt;
        raw.discard_enabled = sizes.limits->discard_enabled;
        raw.discard_zeroes_data = sizes.limits->discard_zeroes_data;
        raw.write_same_capable = sizes.limits->write_same_capable;
    }
    return put(room, to, Packet::Sizes, bytes_of(raw).first(fixed_size(row_of(Packet::Sizes), to.agreement)));
}

Encoded encode_uuids(Room room, const To& to, const GenerationReport& report) {
    DRBD_ASSERT(report.bits_set <= metafmt::kCapacityMax.value / kSectorsPerBlock);
    DRBD_ASSERT(!report.skip_initial_sync || to.agreement.version >= 90);
    RawUuids raw;
    raw.current = report.uuids.current;
    raw.bitmap = report.uuids.bitmap;
    raw.history[0] = report.uuids.history[0];
    raw.history[1] = report.uuids.history[1];
    raw.bits_set = report.bits_set;
    raw.flags = (report.discard_my_data ? kUuidFlagDiscardMyData : 0) |
                (report.crashed_primary ? kUuidFlagCrashedPrimary : 0) |
                (report.inconsistent ? kUuidFlagInconsistent : 0) |
                (report.skip_initial_sync ? kUuidFlagSkipInitialSync : 0);
    return put(room, to, Packet::Uuids, bytes_of(raw));
}

Encoded encode_sync_uuid(Room room, const To& to, uint64_t uuid) {
    return put(room, to, Packet::SyncUuid, bytes_of(RawSyncUuid{uuid}));
}

Encoded encode_state(Room room, const To& to, const State& state) {
    DRBD_ASSERT(state.role != Role::Unknown);
    DRBD_ASSERT(state.disk != DiskState::DUnknown);
    return put(room, to, Packet::State, bytes_of(RawState{word_of(state)}));
}

Encoded encode_state_change_request(Room room, const To& to, Packet packet, const StateChange& change) {
    DRBD_ASSERT(packet == Packet::StateChangeRequest || packet == Packet::ConnectionStateChangeRequest);
    const StateChangeWords words = words_of(change);
    return put(room, to, packet, bytes_of(RawStateChangeRequest{words.mask, words.value}));
}

Encoded encode_state_change_reply(Room room, const To& to, Packet packet, int32_t code) {
    DRBD_ASSERT(packet == Packet::StateChangeReply || packet == Packet::ConnectionStateChangeReply);
    return put(room, to, packet, bytes_of(RawReply{code}));
}

Encoded encode_write(Room room, const To& to, Packet packet, const DataWrite& write, uint32_t block) {
    DRBD_ASSERT(write.id != kSyncerId);
    // A flush without data is legal as P_DATA alone.
    DRBD_ASSERT(write.size.value != 0 || (packet == Packet::Data && write.flags.has(DataFlag::Flush)));
    assert_digest(write.digest);
    const RawData data{write.sector.value, write.id.value, write.sequence, write.flags.bits};
    if (packet == Packet::Data) {
        DRBD_ASSERT(block == 0);
        const uint32_t size = size32(write.size, bulk_max(to.agreement.version).value);
        return put(room, to, packet, bytes_of(data), write.digest, size);
    }
    const Features features = to.agreement.features;
    const RawSizedData raw{data, size32(write.size, zeroes_max(features).value)};
    if (packet == Packet::WriteSame) {
        DRBD_ASSERT(write.flags.has(DataFlag::WriteSame));
        DRBD_ASSERT(std::has_single_bit(block) && block >= kSectorSize && block <= kBlockSize);
        DRBD_ASSERT(write.size.value % block == 0);
        return put(room, to, packet, bytes_of(raw), write.digest, block);
    }
    // Neither carries a digest, and a peer that wants one fails P_ZEROES: with
    // data-integrity-alg the caller sends something else.
    DRBD_ASSERT(block == 0);
    DRBD_ASSERT(write.digest.empty());
    if (packet == Packet::Trim)
        DRBD_ASSERT(to.agreement.version < 95 ||
                    (write.flags.has(DataFlag::Discard) && !write.flags.has(DataFlag::Zeroes)));
    else
        DRBD_ASSERT(packet == Packet::Zeroes && write.flags.has(DataFlag::Zeroes));
    return put(room, to, packet, bytes_of(raw));
}

Encoded encode_data_reply(Room room, const To& to, Packet packet, const DataReply& reply) {
    DRBD_ASSERT(packet == Packet::DataReply || packet == Packet::RsDataReply);
    DRBD_ASSERT(reply.size.value != 0);
    assert_digest(reply.digest);
    const RawData raw{reply.sector.value, reply.id.value, 0u, 0u};
    return put(room, to, packet, bytes_of(raw), reply.digest, size32(reply.size, kBulkSizeMax));
}

Encoded encode_block_request(Room room, const To& to, Packet packet, const BlockRequest& request) {
    const bool digested = packet == Packet::CsumRsRequest || packet == Packet::OvReply;
    DRBD_ASSERT(digested || packet == Packet::DataRequest || packet == Packet::RsDataRequest ||
                packet == Packet::RsThinRequest || packet == Packet::OvRequest);
    DRBD_ASSERT(request.digest.empty() != digested);
    DRBD_ASSERT(request.size.value != 0);
    assert_digest(request.digest);
    const unsigned version = to.agreement.version;
    const uint64_t max = version < 95 ? bulk_max(version).value : kBulkSizeMax;
    const RawBlockRequest raw{request.sector.value, request.id.value, size32(request.size, max), 0u};
    return put(room, to, packet, bytes_of(raw), request.digest);
}

Encoded encode_block_range(Room room, const To& to, Packet packet, const BlockRange& range) {
    DRBD_ASSERT(packet == Packet::OutOfSync || packet == Packet::RsDeallocated);
    DRBD_ASSERT(range.size.value != 0);
    const uint64_t max = packet == Packet::OutOfSync ? 128ull << 20 : kBulkSizeMax;
    return put(room, to, packet, bytes_of(RawBlockRange{range.sector.value, size32(range.size, max), 0u}));
}

Encoded encode_block_ack(Room room, const To& to, Packet packet, const BlockAck& ack) {
    DRBD_ASSERT(is_block_ack(packet));
    DRBD_ASSERT(ack.size.value != 0);
    DRBD_ASSERT(packet != Packet::OvResult || ack.id == kInSyncId || ack.id == kOutOfSyncId);
    const RawBlockAck raw{ack.sector.value, ack.id.value, size32(ack.size, 128ull << 20), ack.sequence};
    return put(room, to, packet, bytes_of(raw));
}

Encoded encode_barrier(Room room, const To& to, BarrierNumber number) {
    return put(room, to, Packet::Barrier, bytes_of(RawBarrier{number.value, 0u}));
}

Encoded encode_barrier_ack(Room room, const To& to, const BarrierAck& ack) {
    DRBD_ASSERT(ack.set_size != 0);
    return put(room, to, Packet::BarrierAck, bytes_of(RawBarrierAck{ack.number.value, ack.set_size}));
}

Encoded encode_bitmap_header(Room room, const To& to, Packet packet, uint32_t length) {
    DRBD_ASSERT(packet == Packet::Bitmap || packet == Packet::CompressedBitmap);
    const uint32_t header = put_header(room, to, packet, length);
    DRBD_ASSERT(room.size() >= header + length);
    return room.first(header + length);
}

}  // namespace drbd::wire
