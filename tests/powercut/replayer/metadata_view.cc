// SPDX-License-Identifier: GPL-2.0-or-later
// Reading metadata.  Contract: metadata_view.h.

#include "metadata_view.h"

#include <array>
#include <cstring>
#include <map>

namespace powercut {

namespace {

constexpr uint32_t kAlMagic = 0x69cb65a2, kFree = 0xffffffff;
constexpr unsigned kContextSlots = 919, kUpdateSlots = 64;

template <typename T>
T big_endian(const unsigned char* bytes) {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); i++)
        value = static_cast<T>(value << 8 | bytes[i]);
    return value;
}

std::array<uint32_t, 256> make_crc_table() {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
        table[i] = value;
    }
    return table;
}

bool valid_block(const unsigned char* block) {
    static const std::array<uint32_t, 256> table = make_crc_table();
    if (big_endian<uint32_t>(block) != kAlMagic)
        return false;
    uint32_t crc = 0;
    for (size_t i = 0; i < kBlockSize; i++)
        crc = crc >> 8 ^ table[(crc ^ (i >= 8 && i < 12 ? 0 : block[i])) & 0xff];
    return crc == big_endian<uint32_t>(block + 8);
}

void apply_transaction(const unsigned char* block, std::map<uint32_t, uint32_t>& slots) {
    const unsigned updates = big_endian<uint16_t>(block + 14);
    const unsigned context = big_endian<uint16_t>(block + 16);
    const unsigned start = big_endian<uint16_t>(block + 18);
    for (unsigned i = 0; i < kContextSlots; i++) {
        const uint32_t extent = big_endian<uint32_t>(block + 420 + 4 * i);
        if (extent != kFree || start + i < context)
            slots[start + i] = extent;
    }
    for (unsigned i = 0; i < std::min(updates, kUpdateSlots); i++) {
        const uint16_t slot = big_endian<uint16_t>(block + 36 + 2 * i);
        if (slot != 0xffff)
            slots[slot] = big_endian<uint32_t>(block + 164 + 4 * i);
    }
}

// Newest and oldest by signed difference; blocks that are torn are skipped.
void replay(const unsigned char* ring, unsigned stripes, unsigned stripe_blocks, MetadataView& view) {
    const unsigned count = stripes * stripe_blocks;
    std::vector<const unsigned char*> updates;
    unsigned valid = 0;
    for (unsigned p = 0; p < count; p++) {
        const unsigned char* block = ring + kBlockSize * (p % stripes * stripe_blocks + p / stripes);
        if (!valid_block(block))
            continue;
        valid++;
        if (big_endian<uint16_t>(block + 12) == 0)
            updates.push_back(block);
    }
    view.al_usable = !updates.empty() || valid + 1 >= count;
    if (updates.empty())
        return;
    auto number = [](const unsigned char* block) { return big_endian<uint32_t>(block + 4); };
    const uint32_t pivot = number(updates[0]);
    std::map<int32_t, const unsigned char*> in_order;
    for (const unsigned char* block : updates)
        in_order[static_cast<int32_t>(number(block) - pivot)] = block;
    std::map<uint32_t, uint32_t> slots;
    for (const auto& [age, block] : in_order)
        apply_transaction(block, slots);
    for (const auto& [slot, extent] : slots)
        if (extent != kFree)
            view.al_extents.insert(extent);
}

}  // namespace

MetadataView view_metadata(const Geometry& geometry, const std::vector<unsigned char>& bytes) {
    MetadataView view;
    const size_t position = geometry.internal ? bytes.size() - kBlockSize : 0;
    const unsigned char* block = &bytes[position];
    view.magic = big_endian<uint32_t>(block + 60);
    if (view.magic != kMagicClean && view.magic != kMagicUnclean) {
        view.error = "no superblock: its magic is wrong";
        return view;
    }
    view.la_size_sectors = big_endian<uint64_t>(block);
    view.current = big_endian<uint64_t>(block + 8);
    view.bitmap_uuid = big_endian<uint64_t>(block + 16);
    view.history[0] = big_endian<uint64_t>(block + 24);
    view.history[1] = big_endian<uint64_t>(block + 32);
    view.flags = big_endian<uint32_t>(block + 56);
    const auto al = static_cast<int32_t>(big_endian<uint32_t>(block + 68));
    const auto bm = static_cast<int32_t>(big_endian<uint32_t>(block + 76));
    const unsigned stripes = std::max(1u, big_endian<uint32_t>(block + 88));
    const unsigned stripe_blocks = big_endian<uint32_t>(block + 92) ? big_endian<uint32_t>(block + 92) : 8;
    const auto al_begin = static_cast<int64_t>(position) + int64_t{al} * 512;
    const auto bm_begin = static_cast<int64_t>(position) + int64_t{bm} * 512;
    const uint64_t blocks = (geometry.data_sectors + 7) / 8;
    const auto size = static_cast<int64_t>(bytes.size());
    if (al_begin < 0 || al_begin + int64_t{stripes} * stripe_blocks * 4096 > size || bm_begin < 0 ||
        bm_begin + static_cast<int64_t>((blocks + 7) / 8) > size) {
        view.error = "the superblock's offsets leave the metadata area";
        return view;
    }
    view.bits.resize(blocks);
    for (uint64_t i = 0; i < blocks; i++)
        view.bits[i] = bytes[static_cast<size_t>(bm_begin) + i / 8] >> (i % 8) & 1;
    replay(&bytes[static_cast<size_t>(al_begin)], stripes, stripe_blocks, view);
    return view;
}

std::vector<bool> MetadataView::marked() const {
    std::vector<bool> result = bits;
    if (flags & kFullSync)
        result.assign(bits.size(), true);
    if (flags & kPrimaryIndicator)
        for (uint32_t extent : al_extents)
            for (uint64_t i = extent * kBlocksPerExtent; i < (extent + 1) * kBlocksPerExtent; i++)
                if (i < result.size())
                    result[i] = true;
    return result;
}

}  // namespace powercut
