// SPDX-License-Identifier: GPL-2.0-or-later
// What packets say, as values: sizes have units, names end, enumerators are
// known ones.  decode.h makes them from bytes it does not trust, encode.h
// turns them into bytes.  Spans point into the frame that was decoded and live
// as long as it does.  docs/WIRE.md, "Handshake", "Blocks".
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "core/base/units.h"
#include "core/state/state.h"
#include "core/wire/packet_numbers.h"
#include "metafmt/data_generation.h"

namespace drbd::wire {

// The name of a digest; empty: none.
struct AlgorithmName {
    char text[kNameSizeMax] = {};

    bool operator==(const AlgorithmName& other) const { return std::strcmp(text, other.text) == 0; }
    uint32_t length() const { return static_cast<uint32_t>(std::strlen(text)); }
};

enum class ReplicationProtocol : uint32_t { A = 1, B = 2, C = 3 };

enum class AfterSplitBrain : uint32_t {
    Disconnect, DiscardYoungerPrimary, DiscardOlderPrimary, DiscardZeroChanges, DiscardLeastChanges,
    DiscardLocal, DiscardRemote, Consensus, DiscardSecondary, CallPriLost, ViolentlyAs0p,
};
constexpr uint32_t kAfterSplitBrainMax = static_cast<uint32_t>(AfterSplitBrain::ViolentlyAs0p);

// P_PROTOCOL, P_PROTOCOL_UPDATE, as the sender is configured: who compares
// swaps DiscardLocal and DiscardRemote first.
struct ProtocolParameters {
    ReplicationProtocol protocol = ReplicationProtocol::C;
    AfterSplitBrain after_sb_0p = AfterSplitBrain::Disconnect;
    AfterSplitBrain after_sb_1p = AfterSplitBrain::Disconnect;
    AfterSplitBrain after_sb_2p = AfterSplitBrain::Disconnect;
    bool discard_my_data = false;
    bool dry_run = false;
    bool two_primaries = false;
    AlgorithmName integrity_alg;

    bool operator==(const ProtocolParameters&) const = default;
};

// P_SYNC_PARAM, P_SYNC_PARAM89.  What a version does not carry keeps its value.
struct SyncParameters {
    uint32_t resync_rate_kib = 250;
    AlgorithmName verify_alg;              // 88
    AlgorithmName csums_alg;               // 89
    uint32_t plan_ahead_ds = 20;           // 95, tenths of a second
    uint32_t delay_target_ds = 10;         // 95
    uint32_t fill_target_sectors = 100;    // 95
    uint32_t max_rate_kib = 102400;        // 95

    bool operator==(const SyncParameters&) const = default;
};

struct QueueLimits {
    uint32_t physical_block_size = 0;
    uint32_t logical_block_size = 0;
    uint32_t alignment_offset = 0;
    uint32_t io_min = 0;
    uint32_t io_opt = 0;
    bool discard_enabled = false;
    bool discard_zeroes_data = false;
    bool write_same_capable = false;

    bool operator==(const QueueLimits&) const = default;
};

// P_SIZES
struct Sizes {
    Sector disk_size;       // what the disk could provide, 0 without a disk
    Sector user_size;       // configured limit, 0: none
    Sector current_size;    // exported; 0 asks for an answer
    uint32_t max_bio_size = 0;
    bool forced = false;
    bool no_resync = false;
    std::optional<QueueLimits> limits;  // with the feature WriteSame

    bool operator==(const Sizes&) const = default;
};

// P_UUIDS
struct GenerationReport {
    metafmt::Uuids uuids;
    uint64_t bits_set = 0;
    bool discard_my_data = false;
    bool crashed_primary = false;
    bool inconsistent = false;
    bool skip_initial_sync = false;

    bool operator==(const GenerationReport&) const = default;
};

// A handle that its maker gets back unchanged.
struct BlockId {
    uint64_t value = 0;

    bool operator==(const BlockId&) const = default;
};
constexpr BlockId kSyncerId{~0ull};
constexpr BlockId kInSyncId{4711};
constexpr BlockId kOutOfSyncId{4712};

enum class DataFlag : uint32_t {
    HardBarrier = 1, RwSync = 2, MaySetInSync = 4, Unplug = 8, Fua = 16, Flush = 32, Discard = 64,
    SendReceiveAck = 128, SendWriteAck = 256, WriteSame = 512, Zeroes = 1024,
};

struct DataFlags {
    uint32_t bits = 0;

    bool operator==(const DataFlags&) const = default;
    constexpr bool has(DataFlag flag) const { return (bits & static_cast<uint32_t>(flag)) != 0; }
    constexpr void set(DataFlag flag) { bits |= static_cast<uint32_t>(flag); }
};

// P_DATA, P_TRIM, P_ZEROES, P_WSAME.  `size` is the range on the disk; bulk is
// that long for P_DATA and one logical block for P_WSAME.
struct DataWrite {
    Sector sector;
    Bytes size;
    BlockId id;
    uint32_t sequence = 0;
    DataFlags flags;
    std::span<const uint8_t> digest;
};

// P_DATA_REPLY, P_RS_DATA_REPLY
struct DataReply {
    Sector sector;
    Bytes size;
    BlockId id;
    std::span<const uint8_t> digest;
};

// P_DATA_REQUEST, P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_OV_REQUEST; with a
// digest P_CSUM_RS_REQUEST and P_OV_REPLY.
struct BlockRequest {
    Sector sector;
    Bytes size;
    BlockId id;
    std::span<const uint8_t> digest;
};

// P_OUT_OF_SYNC, P_RS_DEALLOCATED
struct BlockRange {
    Sector sector;
    Bytes size;

    bool operator==(const BlockRange&) const = default;
};

// The acknowledgements on meta.
struct BlockAck {
    Sector sector;
    Bytes size;
    BlockId id;
    uint32_t sequence = 0;

    bool operator==(const BlockAck&) const = default;
};

// Opaque: the peer's counter in its own byte order, echoed.
struct BarrierNumber {
    uint32_t value = 0;

    bool operator==(const BarrierNumber&) const = default;
};

struct BarrierAck {
    BarrierNumber number;
    uint32_t set_size = 0;

    bool operator==(const BarrierAck&) const = default;
};

// P_STATE_CHG_REQ, P_CONN_ST_CHG_REQ: the fields to change, from the sender's
// point of view.
struct StateChange {
    std::optional<Role> role;
    std::optional<Role> peer;
    std::optional<ConnectionState> connection;
    std::optional<DiskState> disk;
    std::optional<DiskState> peer_disk;
    std::optional<bool> suspended;
    std::optional<bool> paused_after_dependency;
    std::optional<bool> paused_by_peer;
    std::optional<bool> paused_by_user;
    std::optional<bool> suspended_no_data;
    std::optional<bool> suspended_fencing;

    bool operator==(const StateChange&) const = default;
};

}  // namespace drbd::wire
