// SPDX-License-Identifier: GPL-2.0-or-later
// apply-al: marks in the bitmap what the activity log says may differ from the
// peer, then declares the metadata clean.  Each step is stable before the next
// begins, so it can be cut anywhere and run again.
#include "metafmt/tool/apply_al.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <vector>

#include "metafmt/activity_log_replay.h"
#include "metafmt/bitmap_layout.h"
#include "metafmt/tool/commands.h"
#include "metafmt/tool/readable.h"

namespace drbd::metafmt::tool {
namespace {

std::vector<uint32_t> hot_extents(const ActivityLogReplay& replay) {
    std::vector<uint32_t> hot;
    replay.for_each_hot_extent([&](uint32_t extent) { hot.push_back(extent); });
    std::sort(hot.begin(), hot.end());
    hot.erase(std::unique(hot.begin(), hot.end()), hot.end());
    return hot;
}

// Returns how many bits became set.  The extents come sorted, so that each
// 4 KiB of bitmap is read and written once.
uint64_t mark(MetadataFile& md, const std::vector<uint32_t>& hot, const Console& console) {
    constexpr uint64_t kExtentsPerBlock = kBlockSize / kBitmapBytesPerExtent;
    // Whole extents, as drbdmeta does: who reads a bitmap clears what lies past
    // the end, and two tools that leave the same bytes can be compared.
    const uint64_t bits = extents(md.superblock.la_size) * kBlocksPerExtent;
    std::vector<uint8_t> block(kBlockSize);
    uint64_t newly_set = 0;
    for (size_t i = 0; i < hot.size();) {
        if (hot[i] * kBlocksPerExtent >= bits) {
            console.remark("Activity log names extent " + std::to_string(hot[i]) +
                           ", which is beyond the device; skipped.");
            i++;
            continue;
        }
        const uint64_t index = hot[i] / kExtentsPerBlock;
        const Bytes first(index * kBlockSize);
        const Bytes at = to_bytes(md.layout.bitmap) + first;
        uint64_t in_block = 0;
        md.device.read(at, block);
        for (; i < hot.size() && hot[i] / kExtentsPerBlock == index; i++)
            in_block += set_extent(block, first, hot[i], bits);
        if (in_block > 0)
            md.device.write(at, block);
        newly_set += in_block;
    }
    md.device.sync();
    return newly_set;
}

}  // namespace

void apply_activity_log(MetadataFile& md, const Console& console) {
    std::vector<uint8_t> ring(md.layout.al.blocks() * kBlockSize);
    md.device.read(to_bytes(md.layout.activity_log), ring);
    auto replay = std::make_unique<ActivityLogReplay>();
    replay->read(ring, md.superblock);
    if (auto usable = replay->check_usable(md.superblock); !usable)
        throw ToolError(kExitNoMetadata, usable.error().text);

    if (md.superblock.is_clean() && replay->state() == RingState::Initialized) {
        console.remark("Nothing to do.");
        return;
    }
    if (md.superblock.needs_replay()) {
        const std::vector<uint32_t> hot = hot_extents(*replay);
        const uint64_t bits = mark(md, hot, console);
        if (!hot.empty())
            console.remark("Marked additional " + readable_size(bits * (kBlockSize / 1024)) +
                           " as out-of-sync based on AL.");
    }
    if (replay->state() != RingState::Initialized)
        initialize_activity_log(md.device, md.layout);
    md.superblock.magic = SuperblockMagic::Clean;
    md.superblock.flags.set(MdFlag::AlClean);
    write_superblock(md.device, md.layout, md.superblock);
}

ExitStatus apply_al(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    MetadataFile md = open_metadata(device, arguments.placement);
    apply_activity_log(md, arguments.console);
    return kExitOk;
}

}  // namespace drbd::metafmt::tool
