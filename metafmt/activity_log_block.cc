// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/activity_log_block.h"

#include <cstring>

#include "metafmt/crc32c.h"

namespace drbd::metafmt {
namespace {

// The checksum covers the whole block with its own field as zero.
uint32_t checksum_of(ConstBlock block) {
    constexpr size_t kField = offsetof(RawActivityLogBlock, crc32c);
    static constexpr uint8_t kZero[sizeof(uint32_t)] = {};
    uint32_t crc = crc32c_raw(block.first<kField>());
    crc = crc32c_raw(kZero, crc);
    return crc32c_raw(block.subspan<kField + sizeof(uint32_t)>(), crc);
}

void seal(RawActivityLogBlock& raw, Block block) {
    raw.crc32c = 0;
    std::memcpy(block.data(), &raw, sizeof raw);
    raw.crc32c = checksum_of(block);
    std::memcpy(block.data() + offsetof(RawActivityLogBlock, crc32c), &raw.crc32c, sizeof raw.crc32c);
}

}  // namespace

void encode_activity_log_transaction(const ActivityLogTransaction& transaction, Block block) {
    DRBD_ASSERT(transaction.updates.size() <= kActivityLogUpdatesPerBlock);
    DRBD_ASSERT(transaction.context.size() <= kActivityLogContextPerBlock);
    DRBD_ASSERT(transaction.context_start_slot + transaction.context.size() <= transaction.context_size);

    RawActivityLogBlock raw;
    raw.magic = kActivityLogMagic;
    raw.tr_number = transaction.tr_number;
    raw.type = static_cast<uint16_t>(ActivityLogBlockType::Update);
    raw.n_updates = static_cast<uint16_t>(transaction.updates.size());
    raw.context_size = transaction.context_size;
    raw.context_start_slot = transaction.context_start_slot;
    for (unsigned i = 0; i < kActivityLogUpdatesPerBlock; i++) {
        const bool used = i < transaction.updates.size();
        const ActivityLogUpdate update = used ? transaction.updates[i] : ActivityLogUpdate{};
        DRBD_ASSERT(!used || update.slot < transaction.context_size);
        raw.update_slot[i] = update.slot;
        raw.update_extent[i] = update.extent;
    }
    for (unsigned i = 0; i < kActivityLogContextPerBlock; i++)
        raw.context[i] = i < transaction.context.size() ? transaction.context[i] : kExtentFree;
    seal(raw, block);
}

void encode_activity_log_initialized(Block block) {
    RawActivityLogBlock raw;
    raw.magic = kActivityLogMagic;
    raw.type = static_cast<uint16_t>(ActivityLogBlockType::Initialized);
    seal(raw, block);
}

bool has_activity_log_magic(ConstBlock block) {
    be32 magic;
    std::memcpy(&magic, block.data(), sizeof magic);
    return magic == kActivityLogMagic;
}

Result<ActivityLogBlockView> decode_activity_log_block(ConstBlock block) {
    if (!has_activity_log_magic(block))
        return Error::of(ErrorCode::NoMetadata, "activity-log block has no magic");
    const ActivityLogBlockView view(block);
    be32 stored;
    std::memcpy(&stored, block.data() + offsetof(RawActivityLogBlock, crc32c), sizeof stored);
    const uint32_t computed = checksum_of(block);
    if (stored != computed)
        return Error::of(ErrorCode::Corrupt, "activity-log block %u: checksum is 0x%08x, its content says 0x%08x",
                         view.tr_number(), stored.get(), computed);
    if (!view.is_update() && !view.is_initialized())
        return Error::of(ErrorCode::Corrupt, "activity-log block %u: unknown type", view.tr_number());
    return view;
}

}  // namespace drbd::metafmt
