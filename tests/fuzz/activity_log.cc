// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any blocks as an activity log, one by one and as a ring.
// A block is given as raw bytes, as raw bytes with magic and checksum made right,
// as a transaction of the encoder, freshly initialised, or in the shape of
// versions before 8.4.  Replay of whatever ring ends in a state that fits, and
// invents no extent: what a slot holds stands in a readable block of the ring.
// Input: shape of the ring, flags of the superblock; then the blocks.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "input.h"
#include "metafmt/activity_log_block.h"
#include "metafmt/activity_log_replay.h"
#include "metafmt/crc32c.h"

namespace {

using namespace drbd;
using namespace drbd::metafmt;

constexpr uint32_t kPre84Magic = 0x83740267;

void seal(Block block) {
    RawActivityLogBlock raw;
    std::memcpy(&raw, block.data(), sizeof raw);
    raw.magic = kActivityLogMagic;
    raw.type = raw.type % 3 == 2 ? static_cast<uint16_t>(ActivityLogBlockType::Initialized)
                                 : static_cast<uint16_t>(raw.type % 3);
    raw.crc32c = 0;
    std::memcpy(block.data(), &raw, sizeof raw);
    raw.crc32c = crc32c_raw(block);
    std::memcpy(block.data(), &raw, sizeof raw);
}

// Sectors of before 8.4: magic, number, 62 pairs of slot and extent, their sum.
void seal_pre84(Block block) {
    for (size_t at = 0; at < kBlockSize; at += kSectorSize) {
        be32 words[128];
        std::memcpy(words, block.data() + at, sizeof words);
        uint32_t sum = 0;
        for (unsigned entry = 0; entry < 62; entry++)
            sum ^= words[2 + entry * 2 + 1];
        words[0] = kPre84Magic;
        words[126] = sum;
        std::memcpy(block.data() + at, words, sizeof words);
    }
}

// Within what the encoder asserts.  Comes back as it was.
void encode_any(Block block, fuzz::Input& input) {
    ActivityLogTransaction transaction;
    transaction.tr_number = input.u32();
    transaction.context_size = static_cast<uint16_t>(1 + input.below(kActivityLogSlotsMax));
    transaction.context_start_slot = static_cast<uint16_t>(input.below(transaction.context_size));
    ActivityLogUpdate updates[kActivityLogUpdatesPerBlock];
    const unsigned nr_updates = input.u8() % (kActivityLogUpdatesPerBlock + 1);
    for (unsigned i = 0; i < nr_updates; i++)
        updates[i] = {static_cast<uint16_t>(input.below(transaction.context_size)), input.u32()};
    std::vector<uint32_t> context(context_length(transaction.context_start_slot, transaction.context_size), kExtentFree);
    for (unsigned i = input.u8() % 16; i > 0; i--)
        context[input.below(context.size())] = input.u32();
    transaction.updates = std::span(updates).first(nr_updates);
    transaction.context = context;
    encode_activity_log_transaction(transaction, block);

    const auto view = decode_activity_log_block(block);
    DRBD_ASSERT(view.ok());
    DRBD_ASSERT(view.value().is_update() && !view.value().is_initialized());
    DRBD_ASSERT(view.value().tr_number() == transaction.tr_number);
    DRBD_ASSERT(view.value().context_size() == transaction.context_size);
    DRBD_ASSERT(view.value().context_start_slot() == transaction.context_start_slot);
    for (unsigned i = 0; i < context.size(); i++)
        DRBD_ASSERT(view.value().context(i) == context[i]);
    for (unsigned i = 0; i < kActivityLogUpdatesPerBlock; i++) {
        const ActivityLogUpdate wanted = i < nr_updates ? updates[i] : ActivityLogUpdate{};
        DRBD_ASSERT(view.value().update(i).slot == wanted.slot && view.value().update(i).extent == wanted.extent);
    }
}

void make_block(Block block, fuzz::Input& input) {
    const uint8_t kind = input.u8() % 6;
    if (kind == 4) {
        encode_any(block, input);
        return;
    }
    if (kind == 5) {
        encode_activity_log_initialized(block);
        return;
    }
    if (kind == 0)
        return;  // nothing was ever written there
    // A short piece at some place, or the whole.
    const size_t at = input.below(kBlockSize);
    input.fill(block.subspan(at, std::min<size_t>(input.u16() % (kBlockSize + 1), kBlockSize - at)));
    if (kind == 2)
        seal(block);
    else if (kind == 3)
        seal_pre84(block);
}

std::set<uint32_t> extents_in(std::span<const uint8_t> ring, RingState state) {
    std::set<uint32_t> extents;
    for (size_t at = 0; at < ring.size(); at += kBlockSize) {
        const auto view = decode_activity_log_block(ConstBlock(ring.subspan(at, kBlockSize)));
        if (!view || !view.value().is_update())
            continue;
        DRBD_ASSERT(has_activity_log_magic(ConstBlock(ring.subspan(at, kBlockSize))));
        for (unsigned i = 0; i < kActivityLogContextPerBlock; i++)
            if (view.value().context(i) != kExtentFree)
                extents.insert(view.value().context(i));
        for (unsigned i = 0; i < kActivityLogUpdatesPerBlock; i++)
            extents.insert(view.value().update(i).extent);
    }
    for (size_t at = 0; state == RingState::Pre84 && at < ring.size(); at += sizeof(be32)) {
        be32 word;
        std::memcpy(&word, ring.data() + at, sizeof word);
        extents.insert(word);
    }
    return extents;
}

void check_state(const ActivityLogReplay& replay, const Superblock& superblock, std::span<const uint8_t> ring) {
    const std::set<uint32_t> known = extents_in(ring, replay.state());
    unsigned hot = 0;
    replay.for_each_hot_extent([&](uint32_t extent) {
        DRBD_ASSERT(known.count(extent) != 0);
        hot++;
    });
    const bool has_slots = replay.state() == RingState::HasTransactions || replay.state() == RingState::Pre84;
    DRBD_ASSERT(has_slots || (hot == 0 && replay.newest_tr_number() == 0));
    const bool lost = replay.state() == RingState::Inconsistent || replay.state() == RingState::NoValidBlock;
    DRBD_ASSERT(replay.check_usable(superblock).ok() == !(superblock.needs_replay() && lost));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const auto replay = std::make_unique<ActivityLogReplay>();
    fuzz::Input input(data, size);
    Superblock superblock;
    const uint8_t shape = input.u8();
    const ActivityLogGeometry shapes[] = {{1, 8}, {2, 8}, {4, 4}, {3, 5}, {8, 1}, {1, 9}};
    superblock.al = shapes[shape % std::size(shapes)];
    superblock.magic = shape & 0x80 ? SuperblockMagic::Unclean : SuperblockMagic::Clean;
    superblock.flags.bits = input.u8();
    superblock.al_nr_extents = input.u16();

    std::vector<uint8_t> ring(superblock.al.blocks() * kBlockSize);
    for (size_t at = 0; at < ring.size() && !input.is_empty(); at += kBlockSize) {
        const Block block(std::span(ring).subspan(at, kBlockSize));
        make_block(block, input);
    }
    replay->read(ring, superblock);
    check_state(*replay, superblock, ring);
    return 0;
}
