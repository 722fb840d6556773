// SPDX-License-Identifier: GPL-2.0-or-later
// Values into packets: every packet that a node of 8.4 sends.  In: room of the
// caller's (kPacketSizeMax is always enough), what was agreed, a value.  Out:
// the part of the room that was written: header, fixed part and tail.  Bulk is
// not in it: the header counts it, and the caller sends it right behind.
// An encoder asserts what the decoder checks, so what we send is never what we
// would refuse.  docs/WIRE.md.
#pragma once

#include <cstdint>
#include <span>

#include "core/wire/features.h"
#include "core/wire/packet_numbers.h"
#include "core/wire/values.h"

namespace drbd::wire {

using Room = std::span<uint8_t>;
using Encoded = std::span<const uint8_t>;

// Where a packet goes: what was agreed, and the volume it speaks of.
struct To {
    Agreement agreement;
    uint16_t volume = 0;  // of the connection: 0
};

// P_INITIAL_DATA, P_INITIAL_META: before anything is agreed.
Encoded encode_initial(Room room, Stream stream);
Encoded encode_features(Room room, const FeatureOffer& offer);

// Packets that are a header: P_PING, P_PING_ACK, P_UNPLUG_REMOTE.
Encoded encode_empty(Room room, const To& to, Packet packet);

Encoded encode_challenge(Room room, const To& to, std::span<const uint8_t> challenge);
Encoded encode_auth_response(Room room, const To& to, std::span<const uint8_t> response);
// Which of the two: P_PROTOCOL or P_PROTOCOL_UPDATE.
Encoded encode_protocol(Room room, const To& to, Packet packet, const ProtocolParameters& parameters);
// P_SYNC_PARAM or P_SYNC_PARAM89, by version.
Encoded encode_sync_parameters(Room room, const To& to, const SyncParameters& parameters);
Encoded encode_sizes(Room room, const To& to, const Sizes& sizes);
Encoded encode_uuids(Room room, const To& to, const GenerationReport& report);
Encoded encode_sync_uuid(Room room, const To& to, uint64_t uuid);
Encoded encode_state(Room room, const To& to, const State& state);
Encoded encode_state_change_request(Room room, const To& to, Packet packet, const StateChange& change);
Encoded encode_state_change_reply(Room room, const To& to, Packet packet, int32_t code);

// P_DATA, P_TRIM, P_ZEROES, P_WSAME.  `block` is the size of the one block
// that follows a P_WSAME, and 0 otherwise.
Encoded encode_write(Room room, const To& to, Packet packet, const DataWrite& write, uint32_t block = 0);
Encoded encode_data_reply(Room room, const To& to, Packet packet, const DataReply& reply);
Encoded encode_block_request(Room room, const To& to, Packet packet, const BlockRequest& request);
Encoded encode_block_range(Room room, const To& to, Packet packet, const BlockRange& range);
Encoded encode_block_ack(Room room, const To& to, Packet packet, const BlockAck& ack);
Encoded encode_barrier(Room room, const To& to, BarrierNumber number);
Encoded encode_barrier_ack(Room room, const To& to, const BarrierAck& ack);

// A chunk of the bitmap, already in place: the caller has put `length` bytes
// behind the header (bitmap_codec.h).
Encoded encode_bitmap_header(Room room, const To& to, Packet packet, uint32_t length);

}  // namespace drbd::wire
