// SPDX-License-Identifier: GPL-2.0-or-later
// Packets into values.  This is where the peer is distrusted: whatever bytes
// come, a decoder returns a value that satisfies values.h, or a Protocol error
// that names packet, field and value.  The reader of frames has checked which
// packet it is and how long; who calls has chosen the decoder by
// frame.packet(), so the wrong one is our own error and asserted.
// `capacity` is the exported size of the volume: no range exceeds it.  What
// needs the state of the connection (is the handle ours, does the
// configuration match) is not decided here.  docs/WIRE.md names each rule.
#pragma once

#include <cstdint>
#include <span>

#include "core/base/result.h"
#include "core/wire/features.h"
#include "core/wire/frame.h"
#include "core/wire/state_word.h"
#include "core/wire/values.h"

namespace drbd::wire {

// ---- handshake (decode_handshake.cc) ----

Result<FeatureOffer> decode_features(const Frame& frame);
// Incompatible if it is too short or too long.
Result<std::span<const uint8_t>> decode_challenge(const Frame& frame);
Result<std::span<const uint8_t>> decode_auth_response(const Frame& frame, uint32_t digest_size);
// P_PROTOCOL, P_PROTOCOL_UPDATE
Result<ProtocolParameters> decode_protocol(const Frame& frame);
// P_SYNC_PARAM, P_SYNC_PARAM89
Result<SyncParameters> decode_sync_parameters(const Frame& frame);
Result<Sizes> decode_sizes(const Frame& frame);
Result<GenerationReport> decode_uuids(const Frame& frame);
Result<uint64_t> decode_sync_uuid(const Frame& frame);
Result<State> decode_state(const Frame& frame);
// P_STATE_CHG_REQ, P_CONN_ST_CHG_REQ
Result<StateChange> decode_state_change_request(const Frame& frame);
// P_STATE_CHG_REPLY, P_CONN_ST_CHG_REPLY: the code as it is
Result<int32_t> decode_state_change_reply(const Frame& frame);

// ---- blocks (decode_blocks.cc) ----

// P_DATA, P_TRIM, P_ZEROES, P_WSAME
Result<DataWrite> decode_write(const Frame& frame, Sector capacity);
// P_DATA_REPLY, P_RS_DATA_REPLY
Result<DataReply> decode_data_reply(const Frame& frame, Sector capacity);
// P_DATA_REQUEST, P_RS_DATA_REQUEST, P_RS_THIN_REQ, P_OV_REQUEST: digest_size
// is 0; P_CSUM_RS_REQUEST, P_OV_REPLY: that of csums-alg or verify-alg.
Result<BlockRequest> decode_block_request(const Frame& frame, Sector capacity, uint32_t digest_size);
// P_OUT_OF_SYNC, P_RS_DEALLOCATED
Result<BlockRange> decode_block_range(const Frame& frame, Sector capacity);
// Every acknowledgement of a block on meta.  P_NEG_ACK may come with a size of
// no use (the peer had no disk): it is 0 then.
Result<BlockAck> decode_block_ack(const Frame& frame, Sector capacity);
Result<BarrierNumber> decode_barrier(const Frame& frame);
Result<BarrierAck> decode_barrier_ack(const Frame& frame);

}  // namespace drbd::wire
