// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any sequence of events against one real node, with its assertions on.
//
// Input: the setup (volumes, pools, disks and what is on them, network options),
// what happens by itself, then one event after the other: a byte says which, the
// next ones its details.  A guest, an administrator, metadata and image with
// errors in any order, a peer that is hostile or half plausible, time.
// At the end everything in flight is ended, the peer goes, and the node must
// come to rest: no request is lost, no buffer, no operation, no memory.
// What no caller of drbd-core.h may do is not done (node.h).
#include <cerrno>
#include <cstring>

#include "core/wire/encode.h"
#include "metafmt/activity_log_block.h"
#include "metafmt/layout.h"
#include "node.h"
#include "peer.h"

namespace {

using namespace drbd;
using namespace drbd::fuzz;

constexpr unsigned kEventsMax = 400;
constexpr int kErrors[] = {0, -EIO, -ENOSPC, -ENOMEM, -EINVAL, -EAGAIN};
constexpr uint64_t kTimes[] = {0, 1, 10, 100, 500, 1000, 5000, 6000, 10000, 42000, 60000, 1000000};

bool play_hmac(void*, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]) {
    Peer::hmac({static_cast<const uint8_t*>(data), length}, digest);
    return true;
}

bool play_random(void*, void* bytes, size_t length) {
    std::memset(bytes, 0x42, length);
    return true;
}

class Sequence {
  public:
    explicit Sequence(Input& input) : input_(input) {}
    void run();

  private:
    Setup setup();
    DrbdNetConfig net_config();
    void configure();
    void format(unsigned volume);
    void event(uint8_t kind);
    void command(uint8_t kind);
    void guest_request();
    void network(uint8_t kind);
    unsigned volume() { return static_cast<unsigned>(input_.u8() % node_->setup().volumes); }
    unsigned socket() { return input_.u8() % DRBD_MAX_SOCKETS; }
    int result() { return kErrors[std::min<size_t>(input_.u8() % 16, std::size(kErrors) - 1)]; }
    uint64_t amount();

    Input& input_;
    Peer peer_;
    std::unique_ptr<Node> node_;
    unsigned automatic_ = 0;
    wire::ProtocolParameters parameters_;
    uint32_t digest_size_ = 0, hmac_size_ = 0;
};

Setup Sequence::setup() {
    constexpr uint64_t kImages[] = {64ull << 20, 16ull << 20, (8ull << 20) + 3 * 512, 1ull << 30};
    constexpr unsigned kPools[] = {64, 2, 8, 1};
    const uint8_t shape = input_.u8();
    const uint8_t more = input_.u8();
    Setup setup;
    setup.volumes = 1 + (shape & 1);
    setup.max_requests = kPools[shape >> 1 & 3];
    setup.image_bytes = kImages[shape >> 3 & 3];
    setup.internal = shape & 32;
    setup.al_extents = shape & 64 ? 67 : 0;
    setup.on_io_error = shape & 128 ? DRBD_ON_IO_ERROR_PASS_ON : DRBD_ON_IO_ERROR_DETACH;
    setup.digest_size = more & 1 ? 4 : 0;
    setup.max_buffers = more & 2 ? 32 : 0;
    digest_size_ = setup.digest_size;
    hmac_size_ = more & 4 ? 16 : 0;
    return setup;
}

DrbdNetConfig Sequence::net_config() {
    const uint8_t a = input_.u8(), b = input_.u8();
    DrbdNetConfig config{};
    config.protocol = static_cast<DrbdProtocol>(a % 4);
    config.protocol_version_min = 86;
    config.protocol_version_max = 101;
    config.features_given = a & 4;
    config.features = b & 15;
    config.ko_count_given = a & 8;
    config.ko_count = b >> 4 & 3;
    config.max_epoch_size = a & 16 ? 2 : 0;
    config.max_buffers = node_->setup().max_buffers;
    config.no_use_rle = a & 32;
    config.after_sb_0pri = a & 64 ? 3 : 0;
    config.after_sb_1pri = a & 64 ? 7 : 0;
    config.rr_conflict = b >> 6 & 1;
    config.always_asbp = b & 128;
    config.resync_rate = 1 << 20;
    config.c_max_rate = 4 << 20;
    if (digest_size_ != 0)
        std::strcpy(config.data_integrity_alg, "crc32c");
    config.integrity_digest_size = digest_size_;
    if (hmac_size_ != 0)
        std::strcpy(config.cram_hmac_alg, "md5");
    config.cram_digest_size = hmac_size_;
    config.crypto = {nullptr, play_hmac, play_random};
    return config;
}

void Sequence::configure() {
    char error[DRBD_ERROR_SIZE];
    const DrbdNetConfig config = net_config();
    if (!drbd_on_net_config(node_->core(), &config, error))
        return;
    wire::ProtocolParameters parameters;
    parameters.protocol = static_cast<wire::ReplicationProtocol>(config.protocol == 0 ? DRBD_PROTOCOL_C : config.protocol);
    parameters.after_sb_0p = static_cast<wire::AfterSplitBrain>(config.after_sb_0pri);
    parameters.after_sb_1p = static_cast<wire::AfterSplitBrain>(config.after_sb_1pri);
    std::memcpy(parameters.integrity_alg.text, config.data_integrity_alg, sizeof config.data_integrity_alg);
    peer_.set_parameters(parameters, digest_size_, hmac_size_);
}

// Metadata as a past would have left it.  Input: flags, generations, whether it
// is clean, one word of the bitmap, and damage.
void Sequence::format(unsigned volume) {
    using namespace metafmt;
    constexpr uint64_t kGenerations[] = {0x1111111111111110, 0, 4, 0x2222222222222220, 0x3333333333333330, 0x1111111111111111};
    const auto generation = [&] { return kGenerations[input_.u8() % std::size(kGenerations)]; };
    const Placement placement = node_->setup().internal ? Placement::internal() : Placement::flexible_external();
    PlayedDisk& disk = node_->metadata(volume);
    const auto layout = layout_for_creation(placement, Sector(disk.bytes() / kSectorSize), {});
    DRBD_ASSERT(layout.ok());
    Superblock superblock = superblock_for_creation(layout.value());
    const uint8_t shape = input_.u8();
    superblock.flags.bits = shape & 1 ? input_.u8() : 0x91;  // else Consistent, WasUpToDate, AlClean
    superblock.magic = shape & 2 ? SuperblockMagic::Unclean : SuperblockMagic::Clean;
    superblock.uuids.current = generation();
    superblock.uuids.bitmap = shape & 4 ? generation() : 0;
    superblock.uuids.history[0] = shape & 4 ? generation() : 0;
    superblock.la_size = capacity_max(layout.value(), Sector(node_->setup().image_bytes / kSectorSize));
    if (shape & 8)
        superblock.la_size = Sector(superblock.la_size.value / 2);
    uint8_t block[kBlockSize];
    encode_superblock(superblock, block);
    if (shape >= 0xf0)
        block[input_.below(96)] ^= input_.u8();
    disk.write(to_bytes(layout.value().superblock).value, block, kBlockSize);
    encode_activity_log_initialized(block);
    for (uint64_t i = 0; i < layout.value().al.blocks(); i++)
        disk.write(to_bytes(layout.value().activity_log).value + i * kBlockSize, block, kBlockSize);
    std::memset(block, shape & 16 ? input_.u8() : 0, kBlockSize);
    disk.write(to_bytes(layout.value().bitmap).value, block, kBlockSize);
}

uint64_t Sequence::amount() {
    const uint8_t kind = input_.u8();
    return kind < 200 ? UINT64_MAX : kind < 230 ? kind - 200 : input_.u16();
}

void Sequence::guest_request() {
    const unsigned v = volume();
    const uint8_t kind = input_.u8(), where = input_.u8(), size = input_.u8();
    const uint64_t end = node_->is_open(v) ? drbd_volume_bytes(node_->core(), v) : 0;
    constexpr uint64_t kSizes[] = {4096, 512, 8192, 65536, 1 << 20, 4096, 12288, 131072};
    constexpr DrbdRequestKind kKinds[] = {DRBD_REQUEST_WRITE, DRBD_REQUEST_READ, DRBD_REQUEST_ZEROES, DRBD_REQUEST_DISCARD,
                                          DRBD_REQUEST_FLUSH, DRBD_REQUEST_WRITE, DRBD_REQUEST_WRITE, DRBD_REQUEST_READ};
    const DrbdRequestKind what = kKinds[kind % std::size(kKinds)];
    if (what == DRBD_REQUEST_FLUSH) {
        node_->begin_request(v, what, 0, 0, 0);
        return;
    }
    uint64_t bytes = kSizes[size % std::size(kSizes)];
    if ((what == DRBD_REQUEST_ZEROES || what == DRBD_REQUEST_DISCARD) && size >= 128)
        bytes = (size - 127ull) << 19;
    uint64_t offset = where % 16 * 4096;
    if (where >= 128)
        offset = where * 4ull << 20;  // another extent
    if (where >= 240)
        offset = end - std::min(end, bytes);
    unsigned flags = 0;
    if (what != DRBD_REQUEST_READ)
        flags = (kind & 16 ? DRBD_REQUEST_FUA : 0u) | (kind & 32 ? DRBD_REQUEST_MAY_UNMAP : 0u);
    if (what == DRBD_REQUEST_DISCARD)
        flags |= DRBD_REQUEST_MAY_UNMAP;
    node_->begin_request(v, what, offset % (end + 1) / 512 * 512, bytes, flags);
}

void Sequence::command(uint8_t kind) {
    char error[DRBD_ERROR_SIZE] = "";
    DrbdResource* core = node_->core();
    const unsigned v = volume();
    const bool flag = input_.flag();
    const DrbdDiskConfig disk = node_->disk_config(v);
    if (!node_->is_open(v)) {
        node_->open(v);
        return;
    }
    trace("  command %u, volume %u, flag %d", kind % 16, v, flag);
    switch (kind % 16) {
    case 0: drbd_on_attach(core, v, &disk, error); return;
    case 1: drbd_on_detach(core, v, flag, error); return;
    case 2: drbd_on_set_role(core, true, flag, error); return;
    case 3: drbd_on_set_role(core, false, false, error); return;
    case 4: drbd_on_connect(core, flag, error); return;
    case 5: drbd_on_disconnect(core, flag, error); return;
    case 6: drbd_on_invalidate(core, v, error); return;
    case 7: drbd_on_outdate(core, v, error); return;
    case 8: drbd_on_invalidate_remote(core, v, error); return;
    case 9: drbd_on_new_current_uuid(core, v, flag, true, error); return;
    case 10: {
        const DrbdCreateMd options = {.force = flag, .al_stripes = 0, .al_stripe_size_kb = 0, .peer_max_bio_size = 0};
        drbd_on_create_md(core, v, &disk, &options, error);
        return;
    }
    case 11:
        if (drbd_on_leave(core, v, flag, error))
            node_->set_leaving(v);
        return;
    case 12: drbd_on_activate(core, v, &disk, flag, error); return;
    case 13: drbd_on_disk_options(core, v, flag ? DRBD_ON_IO_ERROR_PASS_ON : DRBD_ON_IO_ERROR_DETACH); return;
    case 14: configure(); return;
    case 15: node_->close(v); return;
    }
}

void Sequence::network(uint8_t kind) {
    trace("  network %u", kind % 12);
    switch (kind % 12) {
    case 0: node_->take_net_action(); return;
    case 1: node_->end_dial(input_.u8(), input_.u8() % 4 != 3); return;
    case 2: node_->end_close(input_.u8()); return;
    case 3: {
        const int s = node_->accept();
        const uint8_t what = input_.u8();
        if (s >= 0 && what < 250)
            peer_.say_first(static_cast<unsigned>(s), what % 2 == 0 ? wire::Stream::Data : wire::Stream::Meta);
        return;
    }
    case 4: node_->fail_to_listen(); return;
    case 5: {
        const unsigned s = socket();
        const uint64_t bytes = amount();
        node_->send(s, bytes, input_.u8() >= 192);
        return;
    }
    case 6: {
        const unsigned s = socket();
        node_->end_send(s, amount());
        return;
    }
    case 7: {
        const unsigned s = socket();
        const uint64_t bytes = amount();
        node_->receive(s, bytes, input_.u8() < 240);
        return;
    }
    case 8: {
        const bool meta = input_.flag();
        peer_.end(meta ? wire::Stream::Meta : wire::Stream::Data, input_.flag());
        return;
    }
    case 9: {
        const unsigned s = socket();
        node_->end_stream(s, input_.flag());
        return;
    }
    case 10: node_->advance_to_deadline(); return;
    case 11: node_->advance(kTimes[input_.u8() % std::size(kTimes)]); return;
    }
}

void Sequence::event(uint8_t kind) {
    trace("event %u at %zu bytes from the end", kind % 20, input_.size());
    switch (kind % 20) {
    case 0: command(input_.u8()); return;
    case 1:
    case 2: guest_request(); return;
    case 3: {
        const uint8_t which = input_.u8();
        node_->act(which, result());
        return;
    }
    case 4: node_->take_wake(); return;
    case 5: node_->take_job(volume()); return;
    case 6: {
        const unsigned v = volume();
        const int how = result();
        node_->end_job(v, how, how == 0 || input_.flag());
        return;
    }
    case 7: node_->take_peer_io(); return;
    case 8: {
        const uint8_t which = input_.u8();
        node_->end_peer_io(which, result());
        return;
    }
    case 9: network(input_.u8()); return;
    case 10: peer_.connect(input_, automatic_); return;
    case 11:
    case 12: peer_.say(input_); return;
    case 13: peer_.answer(input_); return;
    case 14: {
        const unsigned v = volume();
        peer_.go_on(v, input_);
        return;
    }
    case 15: peer_.say_raw(input_); return;
    case 16: {
        const unsigned v = volume();
        node_->drain(v, input_.flag());
        return;
    }
    case 17: automatic_ = input_.u8() & kAutoAll; return;
    case 18: peer_.set_helpful(input_.flag()); return;
    case 19: node_->settle(kAutoAll); return;
    }
}

void Sequence::run() {
    const Setup shape = setup();
    node_ = std::make_unique<Node>(shape, peer_);
    peer_.set_node(node_.get());
    automatic_ = input_.u8() ^ kAutoAll;
    peer_.set_helpful(!(automatic_ & 128));
    automatic_ &= kAutoAll;
    configure();
    for (unsigned v = 0; v < shape.volumes; v++)
        format(v);
    for (unsigned events = 0; events < kEventsMax && !input_.is_empty(); events++) {
        peer_.begin_event();
        event(input_.u8());
        node_->settle(automatic_);
    }
    peer_.set_helpful(false);
    node_->come_to_rest();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input(data, size);
    Sequence(input).run();
    return 0;
}
