// SPDX-License-Identifier: GPL-2.0-or-later
// The peer of peer.h: packets that the node has not asked for.
#include <cstring>

#include "core/wire/handshake_flags.h"
#include "core/wire/layouts.h"
#include "core/wire/state_word.h"
#include "peer.h"

namespace drbd::fuzz {

using wire::ByteVector;
using wire::Packet;
using wire::Stream;

namespace {

constexpr uint64_t kForeignGenerations[] = {0x1111111111111110, 0x2222222222222220, 0x3333333333333330};

}  // namespace

// --------------------------------------------------------------- fields --

const Peer::Block* Peer::some_block(Input& input) const {
    const std::deque<Block>* lists[] = {&writes_, &reads_, &resync_requests_, &replies_};
    const uint8_t which = input.u8();
    for (unsigned i = 0; i < std::size(lists); i++) {
        const auto& list = *lists[(which + i) % std::size(lists)];
        if (!list.empty())
            return &list[which / 4 % list.size()];
    }
    return nullptr;
}

uint64_t Peer::some_sector(uint16_t volume, Input& input) const {
    const uint64_t sectors = node_->is_open(volume % node_->setup().volumes)
                                 ? drbd_volume_bytes(node_->core(), volume % node_->setup().volumes) / kSectorSize
                                 : 0;
    const uint8_t kind = input.u8();
    if (kind < 128)
        return kind % 16 * 8;  // a few hot blocks
    if (kind < 192)
        return sectors == 0 ? 0 : input.u16() * uint64_t{8} % sectors;
    if (kind < 224)
        return sectors - std::min<uint64_t>(sectors, kind % 32);
    return kind < 240 ? input.u16() : input.u64();
}

uint32_t Peer::some_size(Input& input) const {
    constexpr uint32_t kSizes[] = {4096, 4096, 4096, 8192, 512, 32768, 65536, 131072, 1048576};
    const uint8_t kind = input.u8();
    if (kind < 240)
        return kSizes[kind % (kind < 230 ? 6 : std::size(kSizes))];
    return kind < 248 ? input.u16() : input.u32();
}

uint64_t Peer::some_id(Input& input) const {
    const uint8_t kind = input.u8();
    if (kind < 128)
        return wire::kSyncerId.value;
    if (kind < 192)
        return kind;
    return kind < 224 ? wire::kInSyncId.value + kind % 2 : input.u64();
}

uint64_t Peer::some_uuid(uint16_t volume, Input& input) const {
    const metafmt::Uuids node = node_uuids_[volume % kVolumesMax].value_or(metafmt::Uuids{});
    const uint8_t kind = input.u8();
    switch (kind % 12) {
    case 0:
    case 1: return node.current;
    case 2: return node.bitmap;
    case 3: return node.history[0];
    case 4: return node.history[1];
    case 5: return metafmt::kUuidJustCreated;
    case 6:
    case 7: return 0;
    case 8: return node.current ^ 1;
    case 9: return input.u64();
    default: return kForeignGenerations[kind / 12 % 3];
    }
}

State Peer::some_state(Input& input) const {
    State state;
    const uint8_t roles = input.u8();
    state.role = static_cast<Role>(roles % 3);
    state.peer = static_cast<Role>(roles / 3 % 3);
    state.connection = static_cast<ConnectionState>(input.below(kConnectionStates));
    state.disk = static_cast<DiskState>(input.below(kDiskStates));
    state.peer_disk = static_cast<DiskState>(input.below(kDiskStates));
    const uint8_t flags = input.u8();
    state.suspended = flags & 1 && flags & 64;
    state.paused_after_dependency = flags & 2 && flags & 64;
    state.paused_by_peer = flags & 4 && flags & 64;
    state.paused_by_user = flags & 8 && flags & 64;
    return state;
}

ByteVector Peer::sizes_of(uint64_t disk_sectors, uint64_t current_sectors) const {
    wire::RawSizes sizes{};
    sizes.d_size = disk_sectors;
    sizes.c_size = current_sectors;
    sizes.max_bio_size = 1u << 20;
    sizes.logical_block_size = 512;
    sizes.physical_block_size = 4096;
    ByteVector bytes = bytes_of(sizes);
    bytes.resize(wire::fixed_size(wire::row_of(Packet::Sizes), agreement_));
    return bytes;
}

// Kinds: 0 the same generation as the node's, 1 an older one (the node's data
// go to the peer), 2 a newer one, 3 just created, else any.
ByteVector Peer::uuids_of(uint16_t volume, uint8_t kind, Input& input) const {
    const metafmt::Uuids node = node_uuids_[volume % kVolumesMax].value_or(metafmt::Uuids{});
    wire::RawUuids uuids{};
    uuids.current = node.current;
    if (kind == 1) {
        uuids.current = node.bitmap != 0 ? node.bitmap : node.history[0];
    } else if (kind == 2) {
        uuids.current = kForeignGenerations[2];
        uuids.bitmap = node.current;
    } else if (kind == 3) {
        uuids.current = metafmt::kUuidJustCreated;
    } else if (kind != 0) {
        uuids.current = some_uuid(volume, input);
        uuids.bitmap = some_uuid(volume, input);
        uuids.history[0] = some_uuid(volume, input);
        uuids.history[1] = some_uuid(volume, input);
        uuids.bits_set = input.u16();
        uuids.flags = input.u8() % 16;
    }
    return bytes_of(uuids);
}

// ----------------------------------------------------------- one packet --

// Input: kind, volume; then its fields, and how they are damaged.
void Peer::say(Input& input) {
    const auto rows = wire::packet_rows();
    const wire::PacketRow& row = rows[input.u8() % rows.size()];
    const uint8_t where = input.u8();
    const uint16_t volume = where < 240 ? where % kVolumesMax : where;
    if (row.packet == Packet::ConnectionFeatures) {
        say_features(input);
        return;
    }
    if (row.packet == Packet::Bitmap && where % 4 < 3) {
        say_bitmap(volume, input);
        return;
    }
    uint32_t bulk = 0;
    ByteVector payload = payload_of(row.packet, volume, input, bulk);
    damage(payload, input);
    if (row.tail == wire::Tail::Bulk)
        send_with_bulk(row.packet, payload, bulk, volume);
    else
        send(row.packet, payload, volume);
}

ByteVector Peer::payload_of(Packet packet, uint16_t volume, Input& input, uint32_t& bulk) {
    const Block* block = input.flag() ? some_block(input) : nullptr;
    const uint64_t sector = block ? block->sector : some_sector(volume, input);
    const uint32_t size = block ? block->size : some_size(input);
    const uint64_t id = block ? block->id : some_id(input);
    const uint16_t v = volume % kVolumesMax;
    switch (packet) {
    case Packet::Data:
    case Packet::DataReply:
    case Packet::RsDataReply:
        bulk = std::min(size, wire::kBulkSizeMax + 512);
        return bytes_of(wire::RawData{sector, id, packet == Packet::Data ? ++sequence_[v] : 0u, input.u16()});
    case Packet::Trim:
    case Packet::Zeroes:
    case Packet::WriteSame:
        bulk = packet == Packet::WriteSame ? 512 : 0;
        return bytes_of(wire::RawSizedData{{sector, id, ++sequence_[v], input.u16()}, size});
    case Packet::DataRequest:
    case Packet::RsDataRequest:
    case Packet::RsThinRequest:
    case Packet::OvRequest:
    case Packet::OvReply:
    case Packet::CsumRsRequest: return bytes_of(wire::RawBlockRequest{sector, id, size, 0u});
    case Packet::OutOfSync:
    case Packet::RsDeallocated: return bytes_of(wire::RawBlockRange{sector, size, 0u});
    case Packet::Barrier: return bytes_of(wire::RawBarrier{++barrier_, 0u});
    case Packet::BarrierAck: return bytes_of(wire::RawBarrierAck{input.u8(), input.u8()});
    case Packet::Sizes: return sizes_of(input.flag() ? input.u32() : sector, input.flag() ? sector : 0);
    case Packet::Uuids: return uuids_of(volume, input.u8() % 8, input);
    case Packet::SyncUuid: return bytes_of(wire::RawSyncUuid{some_uuid(volume, input)});
    case Packet::State: return bytes_of(wire::RawState{wire::word_of(some_state(input))});
    case Packet::StateChangeRequest:
    case Packet::ConnectionStateChangeRequest: {
        constexpr uint32_t kMasks[] = {0x3, 0x1f0, 0x1e00, 0x1e000, 0x1f3, 0x1fff, 0x7fffff, 0x1e1f0};
        const uint32_t mask = kMasks[input.u8() % std::size(kMasks)];
        return bytes_of(wire::RawStateChangeRequest{mask, wire::word_of(some_state(input)) & mask});
    }
    case Packet::StateChangeReply:
    case Packet::ConnectionStateChangeReply:
        return bytes_of(wire::RawReply{static_cast<int8_t>(input.u8())});
    case Packet::AuthChallenge: return ByteVector(64, input.u8());
    case Packet::Protocol:
    case Packet::ProtocolUpdate: {
        ByteVector payload = bytes_of(wire::RawProtocol{1u + input.u8() % 3u, input.u8() % 12u, 0u, 0u, 0u, 0u});
        const char* name = parameters_.integrity_alg.text;
        payload.insert(payload.end(), name, name + parameters_.integrity_alg.length() + 1);
        return payload;
    }
    default: break;
    }
    if (wire::is_block_ack(packet))
        return bytes_of(wire::RawBlockAck{sector, id, size, ++sequence_[v]});
    ByteVector payload(wire::fixed_size(wire::row_of(packet), agreement_));
    if (wire::row_of(packet).tail != wire::Tail::None)
        wire::append(payload, input.bytes(input.u8()));
    return payload;
}

// Mostly not at all.
void Peer::damage(ByteVector& payload, Input& input) {
    const uint8_t how = input.u8();
    if (how < 200)
        return;
    if (how < 240 && !payload.empty())
        payload[input.below(payload.size())] ^= input.u8();
    else if (how < 248)
        payload.resize(payload.size() - std::min<size_t>(payload.size(), input.u8() % 8));
    else
        wire::append(payload, input.bytes(input.u8() % 32));
}

// Input: stream, how many; then the bytes.
void Peer::say_raw(Input& input) {
    const int socket = socket_of(input.flag() ? Stream::Meta : Stream::Data);
    const auto bytes = input.bytes(input.u8() % 64);
    if (socket < 0)
        return;
    // Before the agreement they may be an offer that nobody here understands.
    lines_[socket].opaque |= agreement_.version == 0;
    node_->give(static_cast<unsigned>(socket), bytes);
}

// ------------------------------------------------------------ handshake --

void Peer::say_first(unsigned socket, Stream stream) {
    Line& line = lines_[socket];
    if (!line.open || line.stream || !node_->can_give(socket))
        return;
    uint8_t room[wire::kPacketSizeMax];
    node_->give(socket, wire::encode_initial(room, stream));
    line.stream = stream;
    line.reader->begin(stream);
}

// Input: highest version, features.
void Peer::say_features(Input& input) {
    const uint8_t version = input.u8();
    const uint8_t features = input.u8();
    if (own_offer_ || agreement_.version != 0)
        return;
    own_offer_ = wire::FeatureOffer{wire::kVersionMin, version < 16 ? wire::kVersionMax - version : wire::kVersionMax,
                                    {features ^ wire::kFeaturesKnown}};
    wire::RawFeatures raw{};
    raw.version_min = own_offer_->version_min;
    raw.version_max = own_offer_->version_max;
    raw.features = own_offer_->features.bits;
    send(Packet::ConnectionFeatures, bytes_of(raw));
    agree_if_possible();
}

void Peer::say_protocol(bool discard) {
    wire::ProtocolParameters parameters = parameters_;
    parameters.discard_my_data = discard;
    uint8_t room[wire::kPacketSizeMax];
    const auto encoded = wire::encode_protocol(room, {agreement_, 0}, Packet::Protocol, parameters);
    send(Packet::Protocol, encoded.subspan(wire::header_size(agreement_.version)));
}

void Peer::say_state(uint16_t volume, const State& state) {
    send(Packet::State, bytes_of(wire::RawState{wire::word_of(state)}), volume);
}

// Input: what the peer's disk is like (0 to 3: see uuids_of), its state.
void Peer::say_parameters(uint16_t volume, Input& input) {
    const uint8_t kind = input.u8() % 8;
    const uint64_t sectors = drbd_volume_bytes(node_->core(), volume) / kSectorSize;
    const bool has_disk = kind != 7;
    uint8_t room[wire::kPacketSizeMax];
    const auto sync = wire::encode_sync_parameters(room, {agreement_, volume}, {});
    send(agreement_.version < 89 ? Packet::SyncParam : Packet::SyncParam89,
         sync.subspan(wire::header_size(agreement_.version)), volume);
    send(Packet::Sizes, sizes_of(has_disk ? sectors : 0, sectors), volume);
    if (has_disk)
        send(Packet::Uuids, uuids_of(volume, kind, input), volume);
    State state;
    if (kind >= 5)
        state = some_state(input);
    state.connection = kind < 6 ? ConnectionState::WFReportParams : state.connection;
    if (kind < 5) {
        constexpr DiskState kDisks[] = {DiskState::UpToDate, DiskState::Outdated, DiskState::UpToDate,
                                        DiskState::Inconsistent, DiskState::UpToDate};
        state.disk = kDisks[kind];
    }
    say_state(volume, state);
}

// Input: features and version (say_features), whether it discards its data, then
// say_parameters for each volume.
void Peer::connect(Input& input, unsigned automatic) {
    if (agreement_.version != 0)
        return;
    const unsigned how = automatic | kAutoSend | kAutoReceive;
    for (const Stream stream : {Stream::Data, Stream::Meta}) {
        const int socket = node_->accept();
        if (socket < 0)
            return;
        say_first(static_cast<unsigned>(socket), stream);
        node_->settle(how);
    }
    node_->advance(600);
    node_->settle(how);
    say_features(input);
    node_->settle(how);
    if (hmac_size_ != 0 && !challenge_.empty()) {
        uint8_t digest[DRBD_DIGEST_SIZE];
        send(Packet::AuthChallenge, ByteVector(64, 7));
        hmac(challenge_, digest);
        send(Packet::AuthResponse, std::span(digest).first(hmac_size_));
        node_->settle(how);
    }
    if (agreement_.version == 0)
        return;
    say_protocol((input.u8() & 15) == 15);
    node_->settle(how);
    for (uint16_t v = 0; v < node_->setup().volumes; v++) {
        if (node_->is_open(v) && agreement_.version != 0)
            say_parameters(v, input);
        node_->settle(how);
    }
}

// --------------------------------------------------------------- resync --

// Input: run-length or plain, how many ranges differ, which.
void Peer::say_bitmap(uint16_t volume, Input& input) {
    if (volume >= node_->setup().volumes || !node_->is_open(volume) || agreement_.version == 0)
        return;
    const uint64_t bytes = drbd_volume_bytes(node_->core(), volume);
    const uint8_t flags = input.u8();
    Bitmap bitmap;
    if (bytes == 0 || !bitmap.allocate(Sector(bytes / kSectorSize)).ok())
        return;
    for (unsigned i = flags / 2 % 8; i > 0; i--) {
        const uint64_t first = input.u16() % bitmap.bits();
        const uint64_t end = std::min<uint64_t>(bitmap.bits(), first + 1 + input.u8());
        bitmap.set_out_of_sync(Sector(first * kSectorsPerBlock), Sector((end - first) * kSectorsPerBlock));
    }
    const int socket = socket_of(Stream::Data);
    if (socket < 0)
        return;
    for (const ByteVector& packet : wire::send_bitmap(bitmap, {agreement_, volume}, flags & 1 ? wire::RunLengths::Off
                                                                                             : wire::RunLengths::On))
        node_->give(static_cast<unsigned>(socket), packet);
}

// What a peer would do next, by the state that the node says it is in.
void Peer::go_on(unsigned volume, Input& input) {
    const uint16_t v = static_cast<uint16_t>(volume % node_->setup().volumes);
    if (!node_->is_open(v) || agreement_.version == 0)
        return;
    const std::string state = node_->status(v).connection;
    State told;
    told.peer = Role::Secondary;
    told.peer_disk = DiskState::Inconsistent;
    told.disk = DiskState::UpToDate;
    if (state == "WFReportParams" || state == "Connected") {
        say_parameters(v, input);
    } else if (state == "WFBitMapS" || state == "WFBitMapT") {
        say_bitmap(v, input);
    } else if (state == "WFSyncUUID") {
        told.connection = ConnectionState::SyncSource;
        send(Packet::SyncUuid, bytes_of(wire::RawSyncUuid{some_uuid(v, input)}), v);
        say_state(v, told);
    } else if (state == "SyncSource") {
        const Packet packet = input.flag() ? Packet::RsThinRequest : Packet::RsDataRequest;
        for (unsigned i = 1 + input.u8() % 8; i > 0; i--)
            send(packet, bytes_of(wire::RawBlockRequest{some_sector(v, input), wire::kSyncerId.value, some_size(input), 0u}), v);
    } else if (state == "SyncTarget") {
        told.connection = input.flag() ? ConnectionState::Connected : ConnectionState::SyncSource;
        told.peer_disk = input.flag() ? DiskState::UpToDate : DiskState::Inconsistent;
        say_state(v, told);
    }
}

}  // namespace drbd::fuzz
