// SPDX-License-Identifier: GPL-2.0-or-later
#include "replay_node.h"

#include <cstring>

#include "core/wire/bitmap_codec.h"
#include "metafmt/superblock.h"

namespace drbd::test {

namespace {

using metafmt::MdFlag;
using wire::Packet;

constexpr unsigned kPrimary = 1;
constexpr unsigned kInconsistent = 4, kOutdated = 5, kUpToDate = 8;  // disk states
constexpr uint64_t kBitmapAt = 9 * 4096;                             // of node.h's metadata
constexpr uint64_t kJustCreated = 4;

unsigned role_in(uint32_t state) { return state & 3; }
unsigned disk_in(uint32_t state) { return state >> 9 & 15; }
unsigned peer_disk_in(uint32_t state) { return state >> 13 & 15; }

// What a node of a meeting sent of its bitmap; empty: nothing.
std::unique_ptr<Bitmap> bitmap_of(const Meeting& meeting, char node, unsigned volume, const wire::Agreement& agreed) {
    const RecordedPacket* sizes = meeting.find(node, Packet::Sizes, volume);
    auto bitmap = std::make_unique<Bitmap>();
    if (!sizes || !bitmap->allocate(Sector(sizes->long_word(0))))
        return nullptr;
    wire::BitmapReceiver receiver(*bitmap);
    wire::FrameReader reader;
    reader.begin(wire::Stream::Data);
    reader.agree(agreed);
    bool some = false;
    for (const RecordedPacket& p : meeting.packets) {
        if (p.node != node || p.volume != volume || (p.packet != Packet::Bitmap && p.packet != Packet::CompressedBitmap))
            continue;
        const auto bytes = p.bytes();
        auto fed = reader.feed(bytes);
        EXPECT_TRUE(fed.ok() && fed.value().outcome == wire::FeedOutcome::Complete) << p.text();
        auto merged = receiver.on_packet(reader.frame());
        EXPECT_TRUE(merged.ok()) << p.text();
        some = true;
    }
    return some ? std::move(bitmap) : nullptr;
}

wire::Agreement agreement_of(const Meeting& m) {
    const RecordedPacket* a = m.find('a', Packet::ConnectionFeatures);
    const RecordedPacket* b = m.find('b', Packet::ConnectionFeatures);
    if (!a || !b)
        return {};
    return {std::min(a->word(2), b->word(2)), {a->word(1) & b->word(1)}};
}

}  // namespace

ReplayNode::ReplayNode(const Meeting& meeting, char place)
    : meeting_(meeting), place_(place), other_(place == 'a' ? 'b' : 'a'), node_(meeting.nr_volumes()) {
    bool is_primary = false;
    for (unsigned v = 0; v < meeting.nr_volumes(); v++) {
        set_metadata(v);
        node_.must(node_.attach(v));
        const RecordedPacket* state = meeting.find(place, Packet::State, v);
        is_primary |= state && role_in(state->word(0)) == kPrimary;
    }
    if (is_primary)
        node_.must(node_.set_role(true));
    configure();
}

ReplayNode::~ReplayNode() {
    char error[DRBD_ERROR_SIZE];
    drbd_on_disconnect(node_.core(), true, error);
    act();
    if (node_.is_primary()) {
        node_.must(node_.set_role(false));
        act();
    }
}

// ---- what the node knew ----

void ReplayNode::configure() {
    DrbdNetConfig config{};
    char error[DRBD_ERROR_SIZE];
    config.socket_check_timeout = 1;
    const RecordedPacket* offer = meeting_.find(place_, Packet::ConnectionFeatures);
    if (offer) {
        config.protocol_version_min = offer->word(0);
        config.protocol_version_max = offer->word(2);
        config.features_given = true;
        config.features = offer->word(1);
    }
    const RecordedPacket* protocol = meeting_.find(place_, Packet::Protocol);
    if (protocol) {
        config.protocol = static_cast<DrbdProtocol>(protocol->word(0));
        const std::string alg = protocol->name(24);
        std::snprintf(config.data_integrity_alg, sizeof config.data_integrity_alg, "%s", alg.c_str());
        config.integrity_digest_size = alg.empty() ? 0 : 4;
    }
    if (const RecordedPacket* sync = meeting_.find(place_, Packet::SyncParam89)) {
        std::snprintf(config.verify_alg, sizeof config.verify_alg, "%s", sync->name(4).c_str());
        std::snprintf(config.csums_alg, sizeof config.csums_alg, "%s", sync->name(68).c_str());
    }
    config.no_use_rle = !meeting_.use_rle;
    if (meeting_.find(place_, Packet::AuthChallenge)) {
        const RecordedPacket* answer = meeting_.find(place_, Packet::AuthResponse);
        config.cram_digest_size = answer ? static_cast<unsigned>(answer->payload.size()) : 20;
        std::snprintf(config.cram_hmac_alg, sizeof config.cram_hmac_alg, "hash%u", config.cram_digest_size);
        config.crypto = {this,
                         [](void* self, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]) {
                             return static_cast<ReplayNode*>(self)->hmac(data, length, digest);
                         },
                         [](void* self, void* bytes, size_t length) {
                             auto& node = *static_cast<ReplayNode*>(self);
                             const auto* own = node.meeting_.find(node.place_, Packet::AuthChallenge);
                             EXPECT_EQ(length, own->payload.size());
                             std::memcpy(bytes, own->payload.data(), std::min(length, own->payload.size()));
                             return true;
                         }};
    }
    EXPECT_TRUE(drbd_on_net_config(node_.core(), &config, error)) << error;
    const bool discards = protocol && (protocol->word(4) & 1) != 0;
    EXPECT_NE(drbd_on_connect(node_.core(), discards, error), 0u) << error;
    act();
}

// By the recorded answers: the two nodes knew the secret, we know what they
// said.  Who was not believed had another one, and so have we then.
bool ReplayNode::hmac(const void* challenge, size_t length, uint8_t* digest) const {
    const auto* bytes = static_cast<const uint8_t*>(challenge);
    const std::vector<uint8_t> asked(bytes, bytes + length);
    std::memset(digest, 0x5a, DRBD_DIGEST_SIZE);
    for (const char node : {'a', 'b'}) {
        const RecordedPacket* question = meeting_.find(node == 'a' ? 'b' : 'a', Packet::AuthChallenge);
        const RecordedPacket* answer = meeting_.find(node, Packet::AuthResponse);
        const bool believed = node == place_ || meeting_.find('a', Packet::Protocol);
        if (question && answer && believed && question->payload == asked)
            std::memcpy(digest, answer->payload.data(), answer->payload.size());
    }
    return true;
}

void ReplayNode::set_metadata(unsigned volume) {
    const RecordedPacket* sizes = meeting_.find(place_, Packet::Sizes, volume);
    const RecordedPacket* uuids = meeting_.find(place_, Packet::Uuids, volume);
    const RecordedPacket* state = meeting_.find(place_, Packet::State, volume);
    if (!sizes || !uuids || !state) {  // it got not so far
        node_.set_image_bytes(volume, 64 * kMiB);
        node_.format_up_to_date(volume);
        return;
    }
    node_.set_image_bytes(volume, sizes->long_word(0) * 512);
    metafmt::MdFlags flags;
    flags.set(MdFlag::AlClean);
    const unsigned disk = disk_in(state->word(0));
    flags.assign(MdFlag::Consistent, disk != kInconsistent);
    flags.assign(MdFlag::WasUpToDate, disk == kUpToDate);
    flags.assign(MdFlag::PeerOutDated, peer_disk_in(state->word(0)) == kOutdated);
    // The lowest bit says that this node is Primary now.
    const uint64_t current = uuids->long_word(0);
    node_.format(volume, flags.bits, current == kJustCreated ? current : current & ~uint64_t{1}, uuids->long_word(1));
    metafmt::Superblock sb = node_.superblock(volume);
    for (unsigned i = 0; i < 2; i++)
        sb.uuids.history[i] = uuids->long_word(2 + i);
    uint8_t block[4096];
    metafmt::encode_superblock(sb, metafmt::Block(block, sizeof block));
    node_.metadata(volume).write(0, block, sizeof block);
    if (current != kJustCreated)  // docs/decisions/0013: ours begins with an empty bitmap
        set_bits(volume, uuids->long_word(4));
}

// As many as the node told; which ones, its bitmap or the merged one says.
void ReplayNode::set_bits(unsigned volume, uint64_t count) {
    if (count == 0)
        return;
    const wire::Agreement agreed = agreement_of(meeting_);
    const auto own = bitmap_of(meeting_, place_, volume, agreed);
    const auto others = bitmap_of(meeting_, other_, volume, agreed);
    const bool merged = own && own->count() != count;
    const uint64_t blocks = (meeting_.find(place_, Packet::Sizes, volume)->long_word(0) + 7) / 8;
    uint64_t set = 0;
    std::vector<uint8_t> bytes((blocks / 8 + 512) / 512 * 512);
    for (uint64_t block = 0; block < blocks && set < count; block++) {
        const bool is_own = !own || (own->is_set(block) && !(merged && others->is_set(block)));
        if (is_own) {
            bytes[block / 8] |= static_cast<uint8_t>(1u << block % 8);
            set++;
        }
    }
    EXPECT_EQ(set, count) << meeting_.text();
    node_.metadata(volume).write(kBitmapAt, bytes.data(), bytes.size());
}

// ---- the network ----

void ReplayNode::pass(uint64_t ms) {
    now_ms_ += ms;
    drbd_on_time(node_.core(), now_ms_);
    act();
}

void ReplayNode::act() {
    while (act_once()) {
    }
}

bool ReplayNode::act_once() {
    DrbdResource* core = node_.core();
    const uint32_t pending = drbd_resource_pending(core, DRBD_PENDING_ALL);
    node_.run_jobs();
    node_.wake_all();
    DrbdNetAction action;
    while (drbd_next_net_action(core, &action)) {
        if (action.kind == DRBD_NET_DIAL)
            dials_.push_back(action.socket);
        if (action.kind == DRBD_NET_CLOSE) {
            std::erase(dials_, action.socket);
            closed_ |= static_cast<int>(action.socket) == data_;
            drbd_on_closed(core, action.socket);
        }
    }
    do_peer_io();
    void* buffer;
    size_t bytes;
    while (drbd_next_release(core, &buffer, &bytes))
        std::free(buffer);
    for (unsigned socket = 0; socket < DRBD_MAX_SOCKETS; socket++)
        if (drbd_pending_sockets(core) & 1u << socket)
            send(socket);
    constexpr uint32_t kNobodys = DRBD_PENDING_NOTICE | DRBD_PENDING_TIMER | DRBD_PENDING_RECEIVE;
    return (pending & ~kNobodys) != 0;
}

// Nothing is read in a meeting; a flush is done at once, and all reads as data.
void ReplayNode::do_peer_io() {
    DrbdPeerIo io;
    while (drbd_next_peer_io(node_.core(), &io)) {
        EXPECT_TRUE(io.kind == DRBD_PEER_FLUSH || io.kind == DRBD_PEER_STATUS);
        drbd_on_peer_io_done(node_.core(), io.id, 0, nullptr, nullptr);
    }
}

void ReplayNode::send(unsigned socket) {
    auto parts = std::make_unique<DrbdSend>();
    if (!drbd_next_send(node_.core(), socket, parts.get()))
        return;
    if (static_cast<int>(socket) == data_)
        for (unsigned i = 0; i < parts->nr_parts; i++) {
            const auto* bytes = static_cast<const uint8_t*>(parts->parts[i].data);
            sent_.insert(sent_.end(), bytes, bytes + parts->parts[i].bytes);
        }
    drbd_on_sent(node_.core(), socket, parts->bytes);
    RecordedPacket packet;
    while (take_packet(sent_, place_, packet))
        ours_.push_back(packet);
}

void ReplayNode::dial(bool is_data) {
    for (unsigned i = 0; i < 30 && dials_.empty(); i++)
        pass(100);
    ASSERT_FALSE(dials_.empty()) << "the core does not dial";
    const unsigned socket = dials_.front();
    dials_.pop_front();
    (is_data ? data_ : meta_) = static_cast<int>(socket);
    drbd_on_dialled(node_.core(), socket, nullptr);
    act();
}

void ReplayNode::accept(Packet first) {
    const int socket = drbd_on_accepted(node_.core());
    ASSERT_GE(socket, 0);
    (first == Packet::InitialData ? data_ : meta_) = socket;
    const auto bytes = RecordedPacket{other_, 80, 0, first, {}}.bytes();
    size_t taken;
    DrbdBulk bulk;
    drbd_on_bytes(node_.core(), static_cast<unsigned>(socket), bytes.data(), bytes.size(), &taken, &bulk);
    act();
}

void ReplayNode::meet() {
    // A dial of ours is under way when the other one's arrives.
    const bool dials_data = meeting_.dialled_data() == place_, accepts_meta = meeting_.accepted_meta == place_;
    if (dials_data)
        dial(true);
    else
        accept(Packet::InitialData);
    if (accepts_meta)
        accept(Packet::InitialMeta);
    else
        dial(false);
    pass(150);  // socket-check-timeout
}

void ReplayNode::feed(const RecordedPacket& packet, size_t piece) {
    const auto bytes = packet.bytes();
    for (size_t at = 0; at < bytes.size() && !closed_;) {
        size_t taken = 0;
        DrbdBulk bulk;
        const size_t length = std::min(piece, bytes.size() - at);
        const DrbdReceive result =
            drbd_on_bytes(node_.core(), static_cast<unsigned>(data_), bytes.data() + at, length, &taken, &bulk);
        EXPECT_TRUE(result == DRBD_RECEIVE_CLOSED || (result == DRBD_RECEIVE_MORE && taken == length)) << packet.text();
        at += length;
        act();
    }
    pass(1);
}

void ReplayNode::feed_meta(const RecordedPacket& packet) {
    const auto bytes = packet.bytes();
    size_t taken = 0;
    DrbdBulk bulk;
    drbd_on_bytes(node_.core(), static_cast<unsigned>(meta_), bytes.data(), bytes.size(), &taken, &bulk);
    act();
}

void ReplayNode::end_data() {
    cut_data();
    act();
}

void ReplayNode::cut_data() {
    drbd_on_eof(node_.core(), static_cast<unsigned>(data_), nullptr);
}

bool ReplayNode::take(unsigned volume, RecordedPacket& packet) {
    for (size_t i = 0; i < ours_.size(); i++)
        if (ours_[i].volume == volume) {
            packet = ours_[i];
            ours_.erase(ours_.begin() + static_cast<ptrdiff_t>(i));
            return true;
        }
    return false;
}

std::vector<RecordedPacket> ReplayNode::rest() {
    return std::exchange(ours_, {});
}

std::string ReplayNode::resource_connection() const {
    DrbdConnectionStatus status;
    drbd_connection_status(const_cast<ReplayNode*>(this)->node_.core(), &status);
    return status.state;
}

std::string ReplayNode::reason() const {
    DrbdConnectionStatus status;
    drbd_connection_status(const_cast<ReplayNode*>(this)->node_.core(), &status);
    return status.reason;
}

}  // namespace drbd::test
