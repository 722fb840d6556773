// SPDX-License-Identifier: GPL-2.0-or-later
#include <bit>

#include "core/wire/decode.h"
#include "core/wire/fixed_part.h"
#include "core/wire/layouts.h"

namespace drbd::wire {

namespace {

constexpr uint64_t kWriteSizeMax = kBulkSizeMax;
constexpr uint64_t kZeroesSizeMax = 128ull << 20;  // taken whatever was agreed

Error bad_range(const Frame& frame, const char* why, uint64_t sector, uint64_t size, Sector capacity) {
    return Error::of(ErrorCode::Protocol, "%s: %s: sector %llu, %llu bytes, volume %u has %llu sectors",
                     frame.row->name, why, static_cast<unsigned long long>(sector),
                     static_cast<unsigned long long>(size), frame.volume,
                     static_cast<unsigned long long>(capacity.value));
}

// Sectors, at least one, at most `max` bytes, inside of the volume.
Result<void> check_range(const Frame& frame, uint64_t sector, uint64_t size, uint64_t max, Sector capacity) {
    if (size == 0)
        return bad_range(frame, "empty range", sector, size, capacity);
    if (size % kSectorSize != 0)
        return bad_range(frame, "size is no multiple of 512", sector, size, capacity);
    if (size > max)
        return bad_range(frame, "size above the limit", sector, size, capacity);
    if (sector > capacity.value || size / kSectorSize > capacity.value - sector)
        return bad_range(frame, "range exceeds the volume", sector, size, capacity);
    return {};
}

// A request whose answer would not fit its header cannot be served: before 95
// there is only the short one.
uint64_t request_max(const Frame& frame) {
    return frame.agreement.version < 95 ? bulk_max(frame.agreement.version).value : kWriteSizeMax;
}

// The flags must tell what the packet's number tells.  Before 95 there were
// hardly any flags.
bool flags_fit(const Frame& frame, DataFlags flags) {
    if (frame.agreement.version < 95)
        return true;
    switch (frame.packet()) {
    case Packet::Trim: return flags.has(DataFlag::Discard) && !flags.has(DataFlag::Zeroes);
    case Packet::Zeroes: return flags.has(DataFlag::Zeroes);
    case Packet::WriteSame: return flags.has(DataFlag::WriteSame);
    default: return true;
    }
}

bool is_sized(Packet packet) {
    return packet == Packet::Trim || packet == Packet::Zeroes || packet == Packet::WriteSame;
}

}  // namespace

Result<DataWrite> decode_write(const Frame& frame, Sector capacity) {
    DRBD_ASSERT(frame.packet() == Packet::Data || is_sized(frame.packet()));
    const bool sized = is_sized(frame.packet());
    const auto raw = fixed_part<RawSizedData>(frame);
    const uint64_t size = sized ? raw.size.get() : frame.bulk_length;
    DataWrite write;
    write.sector = Sector(raw.data.sector);
    write.size = Bytes(size);
    write.id = {raw.data.block_id};
    write.sequence = raw.data.sequence;
    write.flags = {raw.data.flags};
    write.digest = frame.tail;
    if (write.id == kSyncerId)
        return Error::of(ErrorCode::Protocol, "%s: block_id is the one of resync", frame.row->name);
    if (!flags_fit(frame, write.flags))
        return Error::of(ErrorCode::Protocol, "%s: dp_flags 0x%x are of another packet", frame.row->name,
                         write.flags.bits);
    // A flush without data is legal, though nobody sends it.
    if (!sized && size == 0 && write.flags.has(DataFlag::Flush) && write.sector <= capacity)
        return write;
    if (auto range = check_range(frame, write.sector.value, size, sized ? kZeroesSizeMax : kWriteSizeMax, capacity);
        !range)
        return range.error();
    if (frame.packet() == Packet::WriteSame) {
        const uint32_t block = frame.bulk_length;
        if (!std::has_single_bit(block) || block < kSectorSize || block > kBlockSize || size % block != 0)
            return Error::of(ErrorCode::Protocol, "P_WSAME: a block of %u bytes for a range of %llu", block,
                             static_cast<unsigned long long>(size));
    }
    return write;
}

Result<DataReply> decode_data_reply(const Frame& frame, Sector capacity) {
    DRBD_ASSERT(frame.packet() == Packet::DataReply || frame.packet() == Packet::RsDataReply);
    const auto raw = fixed_part<RawData>(frame);
    if (auto range = check_range(frame, raw.sector, frame.bulk_length, kWriteSizeMax, capacity); !range)
        return range.error();
    return DataReply{Sector(raw.sector), Bytes(frame.bulk_length), {raw.block_id}, frame.tail};
}

Result<BlockRequest> decode_block_request(const Frame& frame, Sector capacity, uint32_t digest_size) {
    switch (frame.packet()) {
    case Packet::DataRequest:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::OvRequest:
        DRBD_ASSERT(digest_size == 0);
        break;
    case Packet::CsumRsRequest:
    case Packet::OvReply:
        if (frame.tail.size() != digest_size || digest_size == 0)
            return Error::of(ErrorCode::Protocol, "%s: digest of %zu bytes, the algorithm here makes %u",
                             frame.row->name, frame.tail.size(), digest_size);
        break;
    default:
        DRBD_ASSERT(false);
    }
    const auto raw = fixed_part<RawBlockRequest>(frame);
    if (auto range = check_range(frame, raw.sector, raw.size, request_max(frame), capacity); !range)
        return range.error();
    return BlockRequest{Sector(raw.sector), Bytes(raw.size), {raw.block_id}, frame.tail};
}

Result<BlockRange> decode_block_range(const Frame& frame, Sector capacity) {
    DRBD_ASSERT(frame.packet() == Packet::OutOfSync || frame.packet() == Packet::RsDeallocated);
    const auto raw = fixed_part<RawBlockRange>(frame);
    // What goes out of sync may have been a discard.
    const uint64_t max = frame.packet() == Packet::OutOfSync ? kZeroesSizeMax : kWriteSizeMax;
    if (auto range = check_range(frame, raw.sector, raw.size, max, capacity); !range)
        return range.error();
    return BlockRange{Sector(raw.sector), Bytes(raw.size)};
}

Result<BlockAck> decode_block_ack(const Frame& frame, Sector capacity) {
    DRBD_ASSERT(is_block_ack(frame.packet()));
    const auto raw = fixed_part<RawBlockAck>(frame);
    const BlockAck ack{Sector(raw.sector), Bytes(raw.size), {raw.block_id}, raw.sequence};
    const auto range = check_range(frame, raw.sector, raw.size, kZeroesSizeMax, capacity);
    if (!range && frame.packet() == Packet::NegAck && ack.sector < capacity)
        return BlockAck{ack.sector, Bytes(0), ack.id, ack.sequence};
    if (!range)
        return range.error();
    if (frame.packet() == Packet::OvResult && ack.id != kInSyncId && ack.id != kOutOfSyncId)
        return Error::of(ErrorCode::Protocol, "P_OV_RESULT: block_id %llu is no verdict",
                         static_cast<unsigned long long>(ack.id.value));
    return ack;
}

Result<BarrierNumber> decode_barrier(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::Barrier);
    return BarrierNumber{fixed_part<RawBarrier>(frame).number};
}

Result<BarrierAck> decode_barrier_ack(const Frame& frame) {
    DRBD_ASSERT(frame.packet() == Packet::BarrierAck);
    const auto raw = fixed_part<RawBarrierAck>(frame);
    if (raw.set_size == 0)
        return Error::of(ErrorCode::Protocol, "P_BARRIER_ACK: epoch 0x%08x without a write", raw.number.get());
    return BarrierAck{{raw.number}, raw.set_size};
}

}  // namespace drbd::wire
