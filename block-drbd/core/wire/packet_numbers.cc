// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/packet_numbers.h"

#include <array>
#include <iterator>

namespace drbd::wire {

namespace {

using enum Feature;
constexpr auto kTrim = None;  // kernels send P_TRIM even if the feature was not agreed (docs/WIRE.md, "Versions and features")
constexpr uint8_t kAny = kVersionMin;
constexpr uint8_t kNewest = kVersionMax;
constexpr Scope kConn = Scope::Connection;
constexpr Scope kVol = Scope::Volume;

constexpr PacketRow kRows[] = {
    // packet, name, place, scope, fixed, tail, versions, feature
    {Packet::Data, "P_DATA", Place::Data, kVol, 24, Tail::Bulk, kAny, kNewest, None},
    {Packet::DataReply, "P_DATA_REPLY", Place::Data, kVol, 24, Tail::Bulk, kAny, kNewest, None},
    {Packet::RsDataReply, "P_RS_DATA_REPLY", Place::Data, kVol, 24, Tail::Bulk, kAny, kNewest, None},
    {Packet::Barrier, "P_BARRIER", Place::Data, kConn, 8, Tail::None, kAny, kNewest, None},
    {Packet::Bitmap, "P_BITMAP", Place::Data, kVol, 0, Tail::BitmapChunk, kAny, kNewest, None},
    {Packet::UnplugRemote, "P_UNPLUG_REMOTE", Place::Data, kVol, 0, Tail::None, kAny, kNewest, None},
    {Packet::DataRequest, "P_DATA_REQUEST", Place::Data, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::RsDataRequest, "P_RS_DATA_REQUEST", Place::Data, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::SyncParam, "P_SYNC_PARAM", Place::Data, kVol, 4, Tail::Text, kAny, 88, None},
    {Packet::Protocol, "P_PROTOCOL", Place::Data, kConn, 24, Tail::Text, kAny, kNewest, None},
    {Packet::Uuids, "P_UUIDS", Place::Data, kVol, 48, Tail::None, kAny, kNewest, None},
    {Packet::Sizes, "P_SIZES", Place::Data, kVol, 32, Tail::None, kAny, kNewest, None},
    {Packet::State, "P_STATE", Place::Data, kVol, 4, Tail::None, kAny, kNewest, None},
    {Packet::SyncUuid, "P_SYNC_UUID", Place::Data, kVol, 8, Tail::None, kAny, kNewest, None},
    {Packet::AuthChallenge, "P_AUTH_CHALLENGE", Place::Data, kConn, 0, Tail::Secret, kAny, kNewest, None},
    {Packet::AuthResponse, "P_AUTH_RESPONSE", Place::Data, kConn, 0, Tail::Secret, kAny, kNewest, None},
    {Packet::StateChangeRequest, "P_STATE_CHG_REQ", Place::Data, kVol, 8, Tail::None, kAny, kNewest, None},
    {Packet::Ping, "P_PING", Place::Meta, kConn, 0, Tail::None, kAny, kNewest, None},
    {Packet::PingAck, "P_PING_ACK", Place::Meta, kConn, 0, Tail::None, kAny, kNewest, None},
    {Packet::RecvAck, "P_RECV_ACK", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::WriteAck, "P_WRITE_ACK", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::RsWriteAck, "P_RS_WRITE_ACK", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::Superseded, "P_SUPERSEDED", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::NegAck, "P_NEG_ACK", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::NegDReply, "P_NEG_DREPLY", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::NegRsDReply, "P_NEG_RS_DREPLY", Place::Meta, kVol, 24, Tail::None, kAny, kNewest, None},
    {Packet::BarrierAck, "P_BARRIER_ACK", Place::Meta, kConn, 8, Tail::None, kAny, kNewest, None},
    {Packet::StateChangeReply, "P_STATE_CHG_REPLY", Place::Meta, kVol, 4, Tail::None, kAny, kNewest, None},
    {Packet::OvRequest, "P_OV_REQUEST", Place::Data, kVol, 24, Tail::None, 88, kNewest, None},
    {Packet::OvReply, "P_OV_REPLY", Place::Data, kVol, 24, Tail::Digest, 88, kNewest, None},
    {Packet::OvResult, "P_OV_RESULT", Place::Meta, kVol, 24, Tail::None, 88, kNewest, None},
    {Packet::CsumRsRequest, "P_CSUM_RS_REQUEST", Place::Data, kVol, 24, Tail::Digest, 89, kNewest, None},
    {Packet::RsIsInSync, "P_RS_IS_IN_SYNC", Place::Meta, kVol, 24, Tail::None, 89, kNewest, None},
    {Packet::SyncParam89, "P_SYNC_PARAM89", Place::Data, kVol, 148, Tail::None, 89, kNewest, None},
    {Packet::CompressedBitmap, "P_COMPRESSED_BITMAP", Place::Data, kVol, 0, Tail::BitmapChunk, 90, kNewest, None},
    {Packet::DelayProbe, "P_DELAY_PROBE", Place::Either, kConn, 8, Tail::None, kAny, 99, None},
    {Packet::OutOfSync, "P_OUT_OF_SYNC", Place::Data, kVol, 16, Tail::None, 96, kNewest, None},
    {Packet::RsCancel, "P_RS_CANCEL", Place::Meta, kVol, 24, Tail::None, 96, kNewest, None},
    {Packet::ConnectionStateChangeRequest, "P_CONN_ST_CHG_REQ", Place::Data, kConn, 8, Tail::None, 100, kNewest, None},
    {Packet::ConnectionStateChangeReply, "P_CONN_ST_CHG_REPLY", Place::Meta, kConn, 4, Tail::None, 100, kNewest, None},
    {Packet::RetryWrite, "P_RETRY_WRITE", Place::Meta, kVol, 24, Tail::None, 100, kNewest, None},
    {Packet::ProtocolUpdate, "P_PROTOCOL_UPDATE", Place::Data, kConn, 24, Tail::Text, 100, kNewest, None},
    {Packet::Trim, "P_TRIM", Place::Data, kVol, 28, Tail::None, kAny, kNewest, kTrim},
    {Packet::RsThinRequest, "P_RS_THIN_REQ", Place::Data, kVol, 24, Tail::None, kAny, kNewest, ThinResync},
    {Packet::RsDeallocated, "P_RS_DEALLOCATED", Place::Data, kVol, 16, Tail::None, kAny, kNewest, ThinResync},
    {Packet::WriteSame, "P_WSAME", Place::Data, kVol, 28, Tail::Bulk, kAny, kNewest, Feature::WriteSame},
    {Packet::Zeroes, "P_ZEROES", Place::Data, kVol, 28, Tail::None, kAny, kNewest, WriteZeroes},
    {Packet::InitialMeta, "P_INITIAL_META", Place::First, kConn, 0, Tail::None, 0, 0, None},
    {Packet::InitialData, "P_INITIAL_DATA", Place::First, kConn, 0, Tail::None, 0, 0, None},
    {Packet::ConnectionFeatures, "P_CONNECTION_FEATURES", Place::Features, kConn, 72, Tail::None, 0, 0, None},
};

constexpr bool rows_ascend() {
    for (unsigned i = 1; i < std::size(kRows); i++)
        if (kRows[i - 1].packet >= kRows[i].packet)
            return false;
    return true;
}
static_assert(rows_ascend(), "one row a packet, in order");

constexpr uint8_t kNoRow = 0xff;

constexpr std::array<uint8_t, 0x40> index_of_rows() {
    std::array<uint8_t, 0x40> index{};
    index.fill(kNoRow);
    for (unsigned i = 0; i < std::size(kRows); i++)
        if (static_cast<unsigned>(kRows[i].packet) < index.size())
            index[static_cast<unsigned>(kRows[i].packet)] = static_cast<uint8_t>(i);
    return index;
}
constexpr auto kIndex = index_of_rows();  // of the small numbers, which are all but the handshake's

}  // namespace

std::span<const PacketRow> packet_rows() {
    return kRows;
}

const PacketRow* find_row(uint16_t number) {
    if (number < kIndex.size())
        return kIndex[number] == kNoRow ? nullptr : &kRows[kIndex[number]];
    for (const PacketRow& row : kRows)
        if (static_cast<uint16_t>(row.packet) == number)
            return &row;
    return nullptr;
}

const PacketRow& row_of(Packet packet) {
    const PacketRow* row = find_row(static_cast<uint16_t>(packet));
    DRBD_ASSERT(row != nullptr);
    return *row;
}

uint32_t fixed_size(const PacketRow& row, const Agreement& agreement) {
    if (row.packet == Packet::Sizes && agreement.features.has(Feature::WriteSame))
        return 56;  // at any version
    if (row.packet == Packet::SyncParam89 && agreement.version < 95)
        return 132;
    return row.fixed;
}

}  // namespace drbd::wire
