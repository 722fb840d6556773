// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of superblock_steps.h.
#include "checkers/superblock_steps.h"

#include <algorithm>
#include <cstdio>

namespace drbd::sim {

namespace {

using metafmt::Uuids;

constexpr uint64_t kJustCreated = 4;
constexpr uint64_t kSyncUuidOffset = 0x0001'0000'0000'0000;
constexpr unsigned kStepsMax = 3;

bool same(uint64_t a, uint64_t b) { return (a | 1) == (b | 1); }

bool same(const Uuids& a, const Uuids& b) {
    return same(a.current, b.current) && same(a.bitmap, b.bitmap) && same(a.history[0], b.history[0]) && same(a.history[1], b.history[1]);
}

bool is_among(const Uuids& u, uint64_t uuid) {
    return same(uuid, u.current) || same(uuid, u.bitmap) || same(uuid, u.history[0]) || same(uuid, u.history[1]);
}

Uuids pushed(Uuids u, uint64_t bitmap) {
    if (u.bitmap != 0) {
        u.history[1] = u.history[0];
        u.history[0] = u.bitmap;
    }
    u.bitmap = bitmap;
    return u;
}

// Steps that may be repeated before a write.  What is new is taken from where it
// must have gone.  `own`: this node has made an identifier since the last write,
// and so will not be a target before the next.
bool reaches(const Uuids& from, const Uuids& to, bool inconsistent, bool own, bool old_peer, unsigned steps) {
    if (same(from, to))
        return true;
    // Always the last one before a write.
    Uuids target = from;
    target.current = to.current;
    target.bitmap = 0;
    if (inconsistent && !own && same(target, to))
        return true;
    if (!inconsistent && same(to.bitmap, 0) && same(to.history[0], from.current) && !same(to.current, from.current))
        return true;  // what the source counted from only the source knows
    if (steps == 0)
        return false;
    for (uint64_t fresh : {to.current, to.bitmap, to.history[0]}) {
        if (is_among(from, fresh))
            continue;
        // "Just created" was nobody's generation.
        Uuids generation = from;
        generation.bitmap = from.current;
        if (!same(from.bitmap, kJustCreated))
            generation = pushed(from, from.current);
        generation.current = fresh;
        // An Inconsistent disk gets one by the administrator's word alone.
        if (inconsistent ? same(generation, to) : reaches(generation, to, inconsistent, true, old_peer, steps - 1))
            return true;
        if (reaches(pushed(from, fresh), to, inconsistent, true, old_peer, steps - 1))
            return true;
    }
    if (reaches(pushed(from, 0), to, inconsistent, own, old_peer, steps - 1))
        return true;
    // The first sync was skipped.
    Uuids skipped = from;
    skipped.bitmap = 0;
    if (same(from.bitmap, kJustCreated) && reaches(skipped, to, inconsistent, own, old_peer, steps - 1))
        return true;
    // A resync that the target did not hear of.  Only its identifier is forgotten,
    // which is made of the generation that the bitmap counted from.
    if (!old_peer && !same((from.history[0] & ~1ull) + kSyncUuidOffset, from.bitmap))
        return false;
    Uuids undone = from;
    undone.bitmap = from.history[0];
    undone.history[0] = from.history[1];
    return reaches(undone, to, inconsistent, own, old_peer, steps - 1);
}

std::string text_of(const MetadataView& m) {
    char text[120];
    const Uuids& u = m.superblock.uuids;
    std::snprintf(text, sizeof text, "%llX:%llX:%llX:%llX flags %x", static_cast<unsigned long long>(u.current),
                  static_cast<unsigned long long>(u.bitmap), static_cast<unsigned long long>(u.history[0]),
                  static_cast<unsigned long long>(u.history[1]), m.superblock.flags.bits);
    return text;
}

bool has_full_sync(const MetadataView& m) { return m.superblock.flags.has(metafmt::MdFlag::FullSync); }

bool marks_everything(const Disk& disk, View view, const MetadataView& metadata) {
    const MarkedBlocks marked(disk, view, metadata);
    const uint64_t blocks = metadata.superblock.la_size.value / 8;
    for (uint64_t b = 0; b < blocks && b < disk.shape().image_bytes / kBlockSize; b++)
        if (!marked.has(b))
            return false;
    return true;
}

}  // namespace

std::string SuperblockSteps::on_written(const Disk& disk, const Circumstances& circumstances) {
    const MetadataView before = last_;
    const MetadataView now = read_superblock(disk, View::Current);
    last_ = now;
    changed_ = now.valid && (!before.valid || now.superblock.flags.bits != before.superblock.flags.bits ||
                             !(now.superblock.uuids == before.superblock.uuids));
    if (!before.valid || !now.valid || same(now.superblock.uuids.current, kJustCreated) ||
        same(before.superblock.uuids.current, kJustCreated))
        return "";  // made anew, or the first generation: its data is what somebody says
    const std::string step = text_of(before) + " -> " + text_of(now);
    const bool same_generation = same(before.superblock.uuids.current, now.superblock.uuids.current);
    const bool has_errors = circumstances.has_errors;
    if (!(has_errors && now.is_inconsistent()) &&
        !reaches(before.superblock.uuids, now.superblock.uuids, now.is_inconsistent(), false, circumstances.has_old_peer, kStepsMax))
        return "superblock_steps: no rule leads from these identifiers to those: " + step;
    if (has_errors)
        return "";
    const bool was_outdated = before.disk_state() == DiskState::Outdated;
    const bool is_primary = now.superblock.flags.has(metafmt::MdFlag::PrimaryInd);
    if (was_outdated && !circumstances.is_forced && now.disk_state() == DiskState::UpToDate && is_primary &&
        same(now.superblock.uuids.bitmap, before.superblock.uuids.current))
        return "superblock_steps: an outdated disk begins a generation as a Primary's, and nobody has forced that: " + step;
    // An outdated copy of a Primary is called Inconsistent as it stands (decision 0020).
    if (!before.is_inconsistent() && !(was_outdated && is_primary) && !circumstances.has_refused && now.is_inconsistent() && same_generation &&
        !marks_everything(disk, View::Current, now))
        return "superblock_steps: Inconsistent, with the old generation and blocks that are not marked: " + step;
    if (has_full_sync(before) && !has_full_sync(now) && !marks_everything(disk, View::Stable, now))
        return "superblock_steps: the full-sync flag is gone, and not every bit is stable: " + step;
    return "";
}

}  // namespace drbd::sim
