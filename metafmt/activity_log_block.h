// SPDX-License-Identifier: GPL-2.0-or-later
// One transaction of the activity log: a 4 KiB block that says which slots now
// hold which extent (updates), and repeats a stretch of slots as they were
// *before* this transaction (context), so that the ring as a whole always
// knows every slot.  In: ActivityLogTransaction; out: 4096 bytes, and back
// with checks.  The encoder runs once per transaction on the write path: it
// allocates nothing.  docs/METADATA.md, "Activity log".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/endian.h"
#include "core/base/result.h"
#include "metafmt/activity_log_geometry.h"
#include "metafmt/block.h"

namespace drbd::metafmt {

constexpr uint32_t kActivityLogMagic = 0x69cb65a2;
constexpr uint32_t kActivityLogUpdatesPerBlock = 64;
constexpr uint16_t kSlotUnused = 0xffff;        // in the list of updates
constexpr uint32_t kExtentFree = 0xffffffff;    // a slot that holds nothing

enum class ActivityLogBlockType : uint16_t { Update = 0, Initialized = 0xffff };

struct ActivityLogUpdate {
    uint16_t slot = kSlotUnused;
    uint32_t extent = kExtentFree;
};

struct ActivityLogTransaction {
    uint32_t tr_number = 0;
    std::span<const ActivityLogUpdate> updates;  // at most 64
    uint16_t context_size = 0;                   // number of slots, al-extents
    uint16_t context_start_slot = 0;
    std::span<const uint32_t> context;           // from context_start_slot on, at most 919
};

struct RawActivityLogBlock {
    be32 magic;
    be32 tr_number;
    be32 crc32c;
    be16 type;
    be16 n_updates;
    be16 context_size;
    be16 context_start_slot;
    be32 reserved[4];
    be16 update_slot[kActivityLogUpdatesPerBlock];
    be32 update_extent[kActivityLogUpdatesPerBlock];
    be32 context[kActivityLogContextPerBlock];
};
static_assert(sizeof(RawActivityLogBlock) == kBlockSize);
static_assert(offsetof(RawActivityLogBlock, magic) == 0);
static_assert(offsetof(RawActivityLogBlock, tr_number) == 4);
static_assert(offsetof(RawActivityLogBlock, crc32c) == 8);
static_assert(offsetof(RawActivityLogBlock, type) == 12);
static_assert(offsetof(RawActivityLogBlock, n_updates) == 14);
static_assert(offsetof(RawActivityLogBlock, context_size) == 16);
static_assert(offsetof(RawActivityLogBlock, context_start_slot) == 18);
static_assert(offsetof(RawActivityLogBlock, reserved) == 20);
static_assert(offsetof(RawActivityLogBlock, update_slot) == 36);
static_assert(offsetof(RawActivityLogBlock, update_extent) == 164);
static_assert(offsetof(RawActivityLogBlock, context) == 420);

void encode_activity_log_transaction(const ActivityLogTransaction& transaction, Block block);

// What create-md and apply-al put into every block of the ring.
void encode_activity_log_initialized(Block block);

// The slots whose content `transaction_start` must carry, and where the next
// transaction goes on: context wraps at the number of slots.
constexpr uint32_t context_length(uint32_t start_slot, uint32_t nr_slots) {
    return nr_slots - start_slot < kActivityLogContextPerBlock ? nr_slots - start_slot : kActivityLogContextPerBlock;
}
constexpr uint32_t next_context_start(uint32_t start_slot, uint32_t nr_slots) {
    const uint32_t next = start_slot + kActivityLogContextPerBlock;
    return next >= nr_slots ? 0 : next;
}

// A view of a block whose magic and checksum are right.  Reading it checks
// nothing further: every field may hold any value.
class ActivityLogBlockView {
  public:
    explicit ActivityLogBlockView(ConstBlock block) : block_(block) {}

    bool is_update() const { return raw().type == static_cast<uint16_t>(ActivityLogBlockType::Update); }
    bool is_initialized() const { return raw().type == static_cast<uint16_t>(ActivityLogBlockType::Initialized); }
    uint32_t tr_number() const { return raw().tr_number; }
    uint16_t context_size() const { return raw().context_size; }
    uint16_t context_start_slot() const { return raw().context_start_slot; }
    uint32_t context(unsigned i) const { return raw().context[i]; }
    ActivityLogUpdate update(unsigned i) const { return {raw().update_slot[i], raw().update_extent[i]}; }

  private:
    // All members of the packed layout are byte arrays: any address is aligned.
    const RawActivityLogBlock& raw() const { return *reinterpret_cast<const RawActivityLogBlock*>(block_.data()); }

    ConstBlock block_;
};
static_assert(alignof(RawActivityLogBlock) == 1);

// NoMetadata: the magic is missing.  Corrupt: the checksum is wrong, as after
// a torn write, or the type is unknown.
Result<ActivityLogBlockView> decode_activity_log_block(ConstBlock block);

bool has_activity_log_magic(ConstBlock block);

}  // namespace drbd::metafmt
