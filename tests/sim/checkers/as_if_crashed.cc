// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of as_if_crashed.h.
#include "checkers/as_if_crashed.h"

namespace drbd::sim {

namespace {

HandshakeNode handshake_node(const MetadataView& metadata) {
    return {.uuids = metadata.superblock.uuids, .bits_set = 0, .crashed_primary = metadata.crashed_primary(),
            .discard_my_data = false, .role = Role::Secondary, .disk = metadata.disk_state()};
}

bool differs(const Disk* const disks[2], const View views[2], uint64_t block) {
    const uint64_t end = disks[0]->image().sectors();
    for (uint64_t s = block * 8; s < block * 8 + 8 && s < end; s++)
        if (disks[0]->value(views[0], s) != disks[1]->value(views[1], s))
            return true;
    return false;
}

std::string describe(const Disk* const disks[2], const View views[2], uint64_t block, const MetadataView* const metadata[2]) {
    std::string text = "block " + std::to_string(block) + " differs (";
    const char* name[] = {"current", "stable"};
    for (int i = 0; i < 2; i++) {
        char line[300];
        const auto& u = metadata[i]->superblock.uuids;
        std::snprintf(line, sizeof line, "%c %s %llX:%llX:%llX:%llX flags %x", 'A' + i, name[views[i] == View::Stable],
                      static_cast<unsigned long long>(u.current), static_cast<unsigned long long>(u.bitmap),
                      static_cast<unsigned long long>(u.history[0]), static_cast<unsigned long long>(u.history[1]),
                      metadata[i]->superblock.flags.bits);
        text += line;
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < disks[0]->image().sectors(); s++)
            text.append(1, ' ').append(std::to_string(disks[i]->value(views[i], s) >> 12));
        text.append(i == 0 ? "; " : ")");
    }
    return text;
}

bool same(uint64_t a, uint64_t b) { return (a | 1) == (b | 1); }

// Where the identifiers leave no doubt, bit 0 aside, and both disks are good.
std::string check_plain_cases(const MetadataView* const metadata[2], bool refused, Direction direction) {
    if (metadata[0]->is_inconsistent() || metadata[1]->is_inconsistent())
        return "";
    const metafmt::Uuids& a = metadata[0]->superblock.uuids;
    const metafmt::Uuids& b = metadata[1]->superblock.uuids;
    if (same(a.current, b.current))
        return refused ? "as_if_crashed: both disks have the same generation, and the nodes refuse each other" : "";
    const bool a_counts = same(a.bitmap, b.current) && b.bitmap == 0, b_counts = same(b.bitmap, a.current) && a.bitmap == 0;
    if (a_counts != b_counts && (refused || direction != (a_counts ? Direction::Source : Direction::Target)))
        return std::string("as_if_crashed: ") + (a_counts ? "A" : "B") + " counts from the other's generation, and is not the source";
    return "";
}

}  // namespace

AsIfCrashed::Seen& AsIfCrashed::look(const Disk& disk, int host, View view) {
    Seen& seen = seen_[host][view == View::Stable];
    const uint64_t changes = disk.metadata_changes(view);
    if (seen.changes != changes) {
        seen.changes = changes;
        seen.metadata = read_superblock(disk, view);
        seen.marked.reset();
    }
    return seen;
}

std::string AsIfCrashed::check(const History& history, const Disk* const disks[2], const View views[2]) {
    Seen* const seen[2] = {&look(*disks[0], 0, views[0]), &look(*disks[1], 1, views[1])};
    const MetadataView* const metadata[2] = {&seen[0]->metadata, &seen[1]->metadata};
    if (!metadata[0]->valid || !metadata[1]->valid)
        return "";  // nobody can attach it
    HandshakeInput input;
    input.self = handshake_node(*metadata[0]);
    input.peer = handshake_node(*metadata[1]);
    input.resolve_conflicts = true;
    HandshakeInput turned;
    turned.self = input.peer;
    turned.peer = input.self;
    const HandshakeDecision a = decide_sync(input);
    const HandshakeDecision b = decide_sync(turned);
    if (const std::string wrong = check_plain_cases(metadata, a.refused() || b.refused(), a.direction); !wrong.empty())
        return wrong;
    if (a.refused() || b.refused())
        return "";
    if (a.direction != mirrored(b.direction) || a.amount != b.amount)
        return std::string("as_if_crashed: verdicts are not mirrored: ") + a.reason + "; " + b.reason;
    if (a.amount == SyncAmount::Full && a.direction != Direction::None)
        return "";
    if (metadata[0]->is_inconsistent() && metadata[1]->is_inconsistent())
        return "";  // nobody claims to have the data
    for (const uint64_t block : history.touched()) {
        if (!differs(disks, views, block))
            continue;
        if (a.direction == Direction::None)
            return "as_if_crashed: no resync (" + std::string(a.reason) + "), but " + describe(disks, views, block, metadata);
        for (int i = 0; i < 2; i++)
            if (!seen[i]->marked)
                seen[i]->marked.emplace(*disks[i], views[i], *metadata[i]);
        if (!seen[0]->marked->has(block) && !seen[1]->marked->has(block))
            return "as_if_crashed: " + std::string(a.reason) + ", but no bit is set: " + describe(disks, views, block, metadata);
    }
    return "";
}

}  // namespace drbd::sim
