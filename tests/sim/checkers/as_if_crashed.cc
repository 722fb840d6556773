// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of as_if_crashed.h.
#include "checkers/as_if_crashed.h"

#include <algorithm>
#include <cstring>

namespace drbd::sim {

namespace {

HandshakeNode handshake_node(const MetadataView& metadata) {
    return {.uuids = metadata.superblock.uuids, .bits_set = 0, .crashed_primary = metadata.crashed_primary(),
            .discard_my_data = false, .role = Role::Secondary, .disk = metadata.disk_state()};
}

// Blocks lie within chunks.
const uint64_t* values_of(const Disk& disk, View view, uint64_t block) {
    static const uint64_t zeroes[8] = {};
    const auto& all = view == View::Current ? disk.image().all_current() : disk.image().all_stable();
    const uint64_t* values = all.at(block * 8);
    return values ? values : zeroes;
}

bool differs(const Disk* const disks[2], const View views[2], uint64_t block) {
    const uint64_t sectors = std::min<uint64_t>(disks[0]->image().sectors() - block * 8, 8);
    return std::memcmp(values_of(*disks[0], views[0], block), values_of(*disks[1], views[1], block), sectors * 8) != 0;
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
    read_superblock(disk, view);
    const auto& metadata = disk.known_superblock(view).content;
    if (seen.metadata != metadata || (seen.marked && !seen.marked->is_true()))
        seen.marked.reset();
    seen.metadata = metadata;
    return seen;
}

void AsIfCrashed::decide(Pair& pair) const {
    pair.wrong.clear();
    pair.asks_blocks = pair.is_split = false;
    const MetadataView* const metadata[2] = {pair.metadata[0].get(), pair.metadata[1].get()};
    if (!metadata[0]->valid || !metadata[1]->valid)
        return;  // nobody can attach it
    HandshakeInput input;
    input.self = handshake_node(*metadata[0]);
    input.peer = handshake_node(*metadata[1]);
    input.resolve_conflicts = true;
    HandshakeInput turned;
    turned.self = input.peer;
    turned.peer = input.self;
    const HandshakeDecision a = decide_sync(input);
    const HandshakeDecision b = decide_sync(turned);
    // Unrelated: apart for so long that no history reaches back.
    const SyncVerdict verdict = a.rule->verdict;
    pair.is_split = verdict == SyncVerdict::SplitBrain || verdict == SyncVerdict::SplitBrainUnsolvable || verdict == SyncVerdict::Unrelated;
    pair.wrong = check_plain_cases(metadata, a.refused() || b.refused(), a.direction);
    if (!pair.wrong.empty() || a.refused() || b.refused())
        return;
    if (a.direction != mirrored(b.direction) || a.amount != b.amount) {
        pair.wrong = std::string("as_if_crashed: verdicts are not mirrored: ") + a.reason + "; " + b.reason;
        return;
    }
    if (a.amount == SyncAmount::Full && a.direction != Direction::None)
        return;
    if (metadata[0]->is_inconsistent() && metadata[1]->is_inconsistent())
        return;  // nobody claims to have the data
    pair.asks_blocks = true;
    pair.verdict = a;
}

void AsIfCrashed::list_changes(Pair& pair, const History& history, const Disk* const disks[2], const View views[2]) const {
    pair.is_listed.resize(disks[0]->image().sectors() / 8 + 1);
    auto add = [&](uint64_t block) {
        if (pair.is_listed[block] || !history.is_touched(block))
            return;
        pair.is_listed[block] = true;
        pair.blocks.push_back(static_cast<uint32_t>(block));
    };
    bool complete = true;
    for (int i = 0; i < 2; i++)
        complete &= disks[i]->image_changes(views[i]).read(pair.read[i], add);
    // One that is touched now may have changed before.
    for (uint64_t i = complete ? pair.touched : 0; i < history.touched().size(); i++)
        add(history.touched()[i]);
    pair.touched = history.touched().size();
}

bool AsIfCrashed::is_covered(const Pair& pair, Seen* const seen[2], const Disk* const disks[2], const View views[2], uint64_t block) const {
    if (pair.verdict.direction == Direction::None)
        return false;
    for (int i = 0; i < 2; i++)
        if (!seen[i]->marked)
            seen[i]->marked.emplace(*disks[i], views[i], *seen[i]->metadata);
    return seen[0]->marked->has(block) || seen[1]->marked->has(block);
}

std::string AsIfCrashed::check(const History& history, const Disk* const disks[2], const View views[2]) {
    Seen* const seen[2] = {&look(*disks[0], 0, views[0]), &look(*disks[1], 1, views[1])};
    Pair& pair = pairs_[views[0] == View::Stable][views[1] == View::Stable];
    if (pair.metadata[0] != seen[0]->metadata || pair.metadata[1] != seen[1]->metadata) {
        pair.metadata[0] = seen[0]->metadata;
        pair.metadata[1] = seen[1]->metadata;
        decide(pair);
    }
    if (!pair.wrong.empty() || !pair.asks_blocks)
        return pair.wrong;
    list_changes(pair, history, disks, views);
    bool covered = true;
    for (size_t i = 0; i < pair.blocks.size();) {
        const uint32_t block = pair.blocks[i];
        if (differs(disks, views, block)) {
            covered &= is_covered(pair, seen, disks, views, block);
            i++;
        } else {
            pair.is_listed[block] = false;
            pair.blocks[i] = pair.blocks.back();
            pair.blocks.pop_back();
        }
    }
    if (covered)
        return "";
    const MetadataView* const metadata[2] = {seen[0]->metadata.get(), seen[1]->metadata.get()};
    for (const uint64_t block : history.touched())
        if (differs(disks, views, block) && !is_covered(pair, seen, disks, views, block))
            return "as_if_crashed: " + (pair.verdict.direction == Direction::None ? "no resync (" + std::string(pair.verdict.reason) + "), but "
                                                                                  : std::string(pair.verdict.reason) + ", but no bit is set: ") +
                   describe(disks, views, block, metadata);
    return "";
}

}  // namespace drbd::sim
