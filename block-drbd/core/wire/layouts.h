// SPDX-License-Identifier: GPL-2.0-or-later
// Headers and fixed parts of packets as they lie on the wire, all integers big
// endian (docs/WIRE.md, "Headers", "Layouts").  The types have no alignment
// and no padding; sizes and offsets are asserted here and nowhere assumed.
// Values with meaning are in values.h; decode.h and encode.h go between.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/endian.h"

namespace drbd::wire {

constexpr uint32_t kMagic80 = 0x83740267;
constexpr uint16_t kMagic95 = 0x835a;
constexpr uint32_t kMagic100 = 0x8620ec20;
constexpr uint32_t kLength80Max = 32768;  // 95 to 99: longer packets have the other header

struct RawHeader80 {
    be32 magic;
    be16 command;
    be16 length;
};
static_assert(sizeof(RawHeader80) == 8);
static_assert(offsetof(RawHeader80, command) == 4);
static_assert(offsetof(RawHeader80, length) == 6);

struct RawHeader95 {
    be16 magic;
    be16 command;
    be32 length;
};
static_assert(sizeof(RawHeader95) == 8);
static_assert(offsetof(RawHeader95, command) == 2);
static_assert(offsetof(RawHeader95, length) == 4);

struct RawHeader100 {
    be32 magic;
    be16 volume;
    be16 command;
    be32 length;
    be32 pad;  // 0, and peers check it
};
static_assert(sizeof(RawHeader100) == 16);
static_assert(offsetof(RawHeader100, volume) == 4);
static_assert(offsetof(RawHeader100, command) == 6);
static_assert(offsetof(RawHeader100, length) == 8);
static_assert(offsetof(RawHeader100, pad) == 12);

struct RawFeatures {
    be32 version_min;
    be32 features;
    be32 version_max;
    uint8_t reserved[60];  // DRBD 9 has node ids here
};
static_assert(sizeof(RawFeatures) == 72);
static_assert(offsetof(RawFeatures, features) == 4);
static_assert(offsetof(RawFeatures, version_max) == 8);
static_assert(offsetof(RawFeatures, reserved) == 12);

struct RawProtocol {
    be32 protocol;
    be32 after_sb_0p;
    be32 after_sb_1p;
    be32 after_sb_2p;
    be32 conn_flags;
    be32 two_primaries;
};
static_assert(sizeof(RawProtocol) == 24);
static_assert(offsetof(RawProtocol, after_sb_0p) == 4);
static_assert(offsetof(RawProtocol, after_sb_1p) == 8);
static_assert(offsetof(RawProtocol, after_sb_2p) == 12);
static_assert(offsetof(RawProtocol, conn_flags) == 16);
static_assert(offsetof(RawProtocol, two_primaries) == 20);

struct RawSyncParam {
    be32 resync_rate;
};
static_assert(sizeof(RawSyncParam) == 4);

// The first 132 bytes from 89 on, all of them from 95 on.
struct RawSyncParam89 {
    be32 resync_rate;
    char verify_alg[64];
    char csums_alg[64];
    be32 c_plan_ahead;
    be32 c_delay_target;
    be32 c_fill_target;
    be32 c_max_rate;
};
static_assert(sizeof(RawSyncParam89) == 148);
static_assert(offsetof(RawSyncParam89, verify_alg) == 4);
static_assert(offsetof(RawSyncParam89, csums_alg) == 68);
static_assert(offsetof(RawSyncParam89, c_plan_ahead) == 132);
static_assert(offsetof(RawSyncParam89, c_delay_target) == 136);
static_assert(offsetof(RawSyncParam89, c_fill_target) == 140);
static_assert(offsetof(RawSyncParam89, c_max_rate) == 144);

// The first 32 bytes always, all of them with the feature WriteSame.
struct RawSizes {
    be64 d_size;
    be64 u_size;
    be64 c_size;
    be32 max_bio_size;
    be16 queue_order_type;
    be16 dds_flags;
    be32 physical_block_size;
    be32 logical_block_size;
    be32 alignment_offset;
    be32 io_min;
    be32 io_opt;
    uint8_t discard_enabled;
    uint8_t discard_zeroes_data;
    uint8_t write_same_capable;
    uint8_t reserved;
};
static_assert(sizeof(RawSizes) == 56);
static_assert(offsetof(RawSizes, u_size) == 8);
static_assert(offsetof(RawSizes, c_size) == 16);
static_assert(offsetof(RawSizes, max_bio_size) == 24);
static_assert(offsetof(RawSizes, queue_order_type) == 28);
static_assert(offsetof(RawSizes, dds_flags) == 30);
static_assert(offsetof(RawSizes, physical_block_size) == 32);
static_assert(offsetof(RawSizes, logical_block_size) == 36);
static_assert(offsetof(RawSizes, alignment_offset) == 40);
static_assert(offsetof(RawSizes, io_min) == 44);
static_assert(offsetof(RawSizes, io_opt) == 48);
static_assert(offsetof(RawSizes, discard_enabled) == 52);
static_assert(offsetof(RawSizes, discard_zeroes_data) == 53);
static_assert(offsetof(RawSizes, write_same_capable) == 54);

struct RawUuids {
    be64 current;
    be64 bitmap;
    be64 history[2];  // younger, older
    be64 bits_set;
    be64 flags;
};
static_assert(sizeof(RawUuids) == 48);
static_assert(offsetof(RawUuids, bitmap) == 8);
static_assert(offsetof(RawUuids, history) == 16);
static_assert(offsetof(RawUuids, bits_set) == 32);
static_assert(offsetof(RawUuids, flags) == 40);

struct RawState {
    be32 state;
};
static_assert(sizeof(RawState) == 4);

struct RawSyncUuid {
    be64 uuid;
};
static_assert(sizeof(RawSyncUuid) == 8);

struct RawStateChangeRequest {
    be32 mask;
    be32 value;
};
static_assert(sizeof(RawStateChangeRequest) == 8);
static_assert(offsetof(RawStateChangeRequest, value) == 4);

struct RawReply {
    sbe32 code;
};
static_assert(sizeof(RawReply) == 4);

struct RawData {
    be64 sector;
    be64 block_id;
    be32 sequence;
    be32 flags;
};
static_assert(sizeof(RawData) == 24);
static_assert(offsetof(RawData, block_id) == 8);
static_assert(offsetof(RawData, sequence) == 16);
static_assert(offsetof(RawData, flags) == 20);

// P_TRIM, P_ZEROES, P_WSAME.
struct RawSizedData {
    RawData data;
    be32 size;
};
static_assert(sizeof(RawSizedData) == 28);
static_assert(offsetof(RawSizedData, size) == 24);

struct RawBlockAck {
    be64 sector;
    be64 block_id;
    be32 size;
    be32 sequence;
};
static_assert(sizeof(RawBlockAck) == 24);
static_assert(offsetof(RawBlockAck, block_id) == 8);
static_assert(offsetof(RawBlockAck, size) == 16);
static_assert(offsetof(RawBlockAck, sequence) == 20);

struct RawBlockRequest {
    be64 sector;
    be64 block_id;
    be32 size;
    be32 pad;  // may hold anything
};
static_assert(sizeof(RawBlockRequest) == 24);
static_assert(offsetof(RawBlockRequest, block_id) == 8);
static_assert(offsetof(RawBlockRequest, size) == 16);

struct RawBlockRange {
    be64 sector;
    be32 size;
    be32 pad;  // may hold anything
};
static_assert(sizeof(RawBlockRange) == 16);
static_assert(offsetof(RawBlockRange, size) == 8);

struct RawBarrier {
    be32 number;  // echoed, never counted with
    be32 pad;     // may hold anything
};
static_assert(sizeof(RawBarrier) == 8);

struct RawBarrierAck {
    be32 number;
    be32 set_size;
};
static_assert(sizeof(RawBarrierAck) == 8);
static_assert(offsetof(RawBarrierAck, set_size) == 4);

}  // namespace drbd::wire
