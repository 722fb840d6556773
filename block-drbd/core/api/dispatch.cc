// SPDX-License-Identifier: GPL-2.0-or-later
// Each packet to whom it concerns.  The connection has checked what it is and
// whether it may come now; decoding and every other distrust is the receiver's.
#include "core/api/resource.h"
#include "core/wire/decode.h"

using namespace drbd;
using wire::Frame;
using wire::Packet;

namespace {

using VolumeHandler = Result<void> (Volume::*)(const Frame&);

// Of one volume, without payload.
constexpr struct {
    Packet packet;
    VolumeHandler handler;
} kVolumePackets[] = {
    {Packet::SyncParam, &Volume::on_sync_parameters},
    {Packet::SyncParam89, &Volume::on_sync_parameters},
    {Packet::Sizes, &Volume::on_sizes},
    {Packet::Uuids, &Volume::on_uuids},
    {Packet::State, &Volume::on_state},
    {Packet::SyncUuid, &Volume::on_sync_uuid},
    {Packet::OutOfSync, &Volume::on_out_of_sync},
};

// A volume that only the peer has yet is no error (spec 4.1).
bool is_parameter(Packet packet) {
    return packet == Packet::SyncParam || packet == Packet::SyncParam89 || packet == Packet::Sizes ||
           packet == Packet::Uuids || packet == Packet::State;
}

// What a resync leaves behind when one of its volumes is closed.
bool is_of_resync(Packet packet) {
    switch (packet) {
    case Packet::Bitmap:
    case Packet::CompressedBitmap:
    case Packet::SyncUuid:
    case Packet::OutOfSync:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::CsumRsRequest:
    case Packet::RsDataReply:
    case Packet::RsDeallocated:
    case Packet::RsWriteAck:
    case Packet::NegAck:
    case Packet::NegRsDReply:
    case Packet::RsCancel:
        return true;
    default:
        return false;
    }
}

Error unexpected(const Frame& frame, const char* why) {
    return Error::of(ErrorCode::Protocol, "%s: %s", name_of(frame.packet()), why);
}

}  // namespace

bool DrbdResource::is_stalled() const {
    if (!peer_io_.may_receive())
        return true;
    for (const auto& volume : volumes_)
        if (volume && (volume->holds_peer_writes() || !volume->resync().may_receive()))
            return true;
    return false;
}

// The volume was closed while the nodes were connected, and it, or one that was opened in its
// place, has nothing to do with the packet.
bool DrbdResource::is_for_closed(const Frame& frame) {
    if (frame.volume >= nr_volumes_ || !(closed_volumes_ & 1u << frame.volume) || !is_of_resync(frame.packet()))
        return false;
    const Volume* volume = this->volume(frame.volume);
    return !volume || volume->state().connection < ConnectionState::Connected;
}

// A target waits for its answers before it begins anew, a source for the acknowledgements of its.
Result<void> DrbdResource::refuse_for_closed(const Frame& frame) {
    constexpr Sector kAnywhere(UINT64_MAX / kSectorSize);
    Link& link = connection_.link();
    const auto refuse = [&](Packet answer, Sector sector, Bytes size, wire::BlockId id) {
        link.send_meta(wire::encode_block_ack(link.room(), link.to(frame.volume), answer,
                                              {sector, size, id, link.next_sequence(frame.volume)}));
        return Result<void>();
    };
    switch (frame.packet()) {
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::CsumRsRequest: {
        const bool by_checksum = frame.packet() == Packet::CsumRsRequest;
        const auto asked = wire::decode_block_request(frame, kAnywhere, by_checksum ? static_cast<uint32_t>(frame.tail.size()) : 0);
        return asked ? refuse(Packet::NegRsDReply, asked.value().sector, asked.value().size, asked.value().id) : asked.error();
    }
    case Packet::RsDataReply: {
        const auto reply = wire::decode_data_reply(frame, kAnywhere);
        return reply ? refuse(Packet::NegAck, reply.value().sector, reply.value().size, wire::kSyncerId) : reply.error();
    }
    case Packet::RsDeallocated: {
        const auto range = wire::decode_block_range(frame, kAnywhere);
        return range ? refuse(Packet::NegAck, range.value().sector, range.value().size, wire::kSyncerId) : range.error();
    }
    default:
        return {};
    }
}

Result<BulkVerdict> DrbdResource::on_bulk(const Frame& frame) {
    if (is_for_closed(frame))
        return BulkVerdict::Discard;
    Volume* volume = this->volume(frame.volume);
    if (!volume)
        return Error::of(ErrorCode::Protocol, "%s for volume %u, which does not exist here", name_of(frame.packet()),
                         frame.volume);
    if (volume->state().connection == ConnectionState::TearDown)
        return BulkVerdict::Discard;  // the peer has asked for the end, and goes on until it has the answer
    if (volume->state().connection < ConnectionState::Connected)
        return unexpected(frame, "before the volume is connected");
    switch (frame.packet()) {
    case Packet::Data:
    case Packet::WriteSame:
        return peer_io_.on_write_announced(frame);
    case Packet::RsDataReply:
        return volume->resync().on_reply_announced(frame);
    case Packet::DataReply:
        if (auto reply = wire::decode_data_reply(frame, volume->capacity()); !reply)
            return reply.error();
        return BulkVerdict::Take;
    default:
        return unexpected(frame, "it has no payload");
    }
}

Result<void> DrbdResource::on_packet(const Frame& frame, void* buffer) {
    if (to_answer_.ends && (frame.packet() == Packet::Barrier || frame.packet() == Packet::BarrierAck))
        return {};
    switch (frame.packet()) {
    case Packet::Barrier:
        return peer_io_.on_barrier(frame);
    case Packet::BarrierAck:
        return on_barrier_ack(frame);
    case Packet::ConnectionStateChangeRequest:
        return on_question(frame);
    case Packet::ConnectionStateChangeReply:
    case Packet::StateChangeReply:
        return on_answer(frame);
    case Packet::UnplugRemote:
    case Packet::DelayProbe:
        return {};
    default:
        break;
    }
    if (is_for_closed(frame)) {
        if (buffer)
            peer_requests_.release(buffer, frame.bulk_length);
        return refuse_for_closed(frame);
    }
    Volume* volume = this->volume(frame.volume);
    // The peer has not heard yet that the volume was closed, or knows of one that is not here.
    const bool closed = frame.volume < nr_volumes_ && closed_volumes_ & 1u << frame.volume &&
                        volume && volume->state().connection == ConnectionState::WFReportParams;
    if (frame.packet() == Packet::StateChangeRequest && (!volume || closed))
        return on_question(frame);
    if (volume)
        return on_volume_packet(*volume, frame, buffer);
    if (buffer)
        peer_requests_.release(buffer, frame.bulk_length);
    if (is_parameter(frame.packet()))
        return {};
    return Error::of(ErrorCode::Protocol, "%s for volume %u, which does not exist here", name_of(frame.packet()),
                     frame.volume);
}

Result<void> DrbdResource::on_volume_packet(Volume& volume, const Frame& frame, void* buffer) {
    const Packet packet = frame.packet();
    for (const auto& row : kVolumePackets)
        if (row.packet == packet)
            return (volume.*row.handler)(frame);
    if (volume.state().connection < ConnectionState::Connected) {
        if (buffer)
            peer_requests_.release(buffer, frame.bulk_length);
        return volume.state().connection == ConnectionState::TearDown
                   ? Result<void>()
                   : Result<void>(unexpected(frame, "before the volume is connected"));
    }
    Resync& resync = volume.resync();
    switch (packet) {
    case Packet::Data:
    case Packet::Trim:
    case Packet::Zeroes:
    case Packet::WriteSame:
        return peer_io_.on_write(frame, buffer);
    case Packet::DataRequest:
        return peer_io_.on_read_request(frame);
    case Packet::DataReply: {
        auto reply = wire::decode_data_reply(frame, volume.capacity());
        if (!reply) {
            peer_requests_.release(buffer, frame.bulk_length);
            return reply.error();
        }
        return volume.io().on_data_reply(reply.value(), buffer);
    }
    case Packet::StateChangeRequest:
        return on_question(frame);
    case Packet::Bitmap:
    case Packet::CompressedBitmap:
        if (volume.state().disk < DiskState::Inconsistent)
            return {};  // it was on its way when the disk here failed
        return resync.on_bitmap_packet(frame);
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::CsumRsRequest:
        return resync.on_request(frame);
    case Packet::RsDataReply:
        return resync.on_reply(frame, buffer);
    case Packet::RsDeallocated:
        return resync.on_deallocated(frame);
    case Packet::OvRequest:
    case Packet::OvReply:
    case Packet::OvResult:
    case Packet::RsIsInSync:
        return unexpected(frame, "verify is not supported by this node");
    default:
        break;
    }
    if (wire::is_block_ack(packet))
        return on_block_ack(volume, frame);
    return unexpected(frame, "not expected now");
}

Result<void> DrbdResource::on_block_ack(Volume& volume, const Frame& frame) {
    auto ack = wire::decode_block_ack(frame, volume.capacity());
    if (!ack)
        return ack.error();
    const Packet packet = frame.packet();
    const bool of_resync = packet == Packet::NegRsDReply || packet == Packet::RsCancel ||
                           ack.value().id == wire::kSyncerId;
    if (of_resync) {
        auto known = volume.resync().on_ack(packet, ack.value());
        // One that was opened again is connected before the last acknowledgements of the one before have come.
        const bool of_closed = closed_volumes_ & 1u << frame.volume;
        return !known && of_closed ? Result<void>() : known;
    }
    if (packet == Packet::NegDReply)
        return volume.io().on_negative_reply(ack.value());
    return volume.io().on_ack(packet, ack.value());
}

Result<void> DrbdResource::on_barrier_ack(const Frame& frame) {
    auto ack = wire::decode_barrier_ack(frame);
    if (!ack)
        return ack.error();
    return log_.on_barrier_ack(ack.value());
}
