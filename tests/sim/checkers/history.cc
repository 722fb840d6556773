// SPDX-License-Identifier: GPL-2.0-or-later
// The history of history.h.
#include "checkers/history.h"

#include <algorithm>

namespace drbd::sim {

namespace {

constexpr uint64_t kStill = UINT64_MAX;  // Entry::back_until

uint64_t value_in(const Written& write, uint64_t sector) {
    return write.zeroes ? 0 : write.write_id << 12 | (sector - write.sector);
}

}  // namespace

History::List& History::list(uint64_t sector) {
    uint32_t index = lists_.get(sector);
    if (index == 0) {
        const uint64_t block = sector / 8;
        if (!is_touched_[block])
            touched_.push_back(block);
        is_touched_[block] = true;
        // A new disk holds zeroes.
        all_.push_back({Entry{.value = 0, .write_id = 0, .issued = 0, .ended = 1}});
        sector_of_.push_back(sector);
        index = static_cast<uint32_t>(all_.size());
        lists_.set(sector, index);
    }
    return all_[index - 1];
}

void History::prune(List& entries) {
    const uint64_t oldest = reads_.empty() ? clock_ + 1 : *reads_.begin();
    if (entries.size() < 2)
        return;
    std::erase_if(entries, [&](const Entry& e) {
        const bool over = e.superseded_stable != 0 && std::max(e.superseded, e.back_until) < oldest;
        if (over && e.value != 0)
            forgotten_[e.value] = {.issued = e.issued, .superseded = e.superseded, .superseded_stable = e.superseded_stable};
        return over;
    });
}

void History::begin_write(const Written& write) {
    in_flight_.push_back(write);
    for (uint64_t s = write.sector; s < write.sector + write.sectors; s++)
        list(s).push_back({.value = value_in(write, s), .write_id = write.write_id, .issued = write.issued, .ended = 0});
}

void History::end_write(Written& write, bool success) {
    write.ended = tick();
    bool was_lost = false;
    std::erase_if(in_flight_, [&](const Written& w) {
        const bool is_it = w.write_id == write.write_id;
        was_lost |= is_it && w.issued < only_copy_lost_;
        return is_it;
    });
    for (uint64_t s = write.sector; s < write.sector + write.sectors; s++)
        for (Entry& e : list(s)) {
            if (e.write_id == write.write_id)
                e.ended = write.ended, e.acknowledged = success;
            else if (success && e.ended != 0 && e.ended < write.issued && e.superseded == 0)
                e.superseded = write.ended, e.successor_issued = write.issued, e.back_until = was_lost ? kStill : 0;
            else if (success && e.ended < write.issued && e.back_until == kStill)
                e.back_until = write.ended;
        }
}

void History::only_copy_lost() {
    only_copy_lost_ = tick();
    for (List& entries : all_)
        for (Entry& e : entries)
            if (e.superseded != 0 && e.superseded_stable == 0)
                e.back_until = kStill;
}

void History::flushed(const Written& write) {
    const uint64_t now = tick();
    for (uint64_t s = write.sector; s < write.sector + write.sectors; s++) {
        List& entries = list(s);
        for (Entry& e : entries)
            if (e.write_id != write.write_id && e.ended != 0 && e.ended < write.issued && e.superseded_stable == 0)
                e.superseded_stable = now;
        prune(entries);
    }
}

void History::guest_died() {
    const uint64_t now = tick();
    for (const Written& write : in_flight_)
        for (uint64_t s = write.sector; s < write.sector + write.sectors; s++)
            for (Entry& e : list(s))
                if (e.write_id == write.write_id)
                    e.ended = now;
    in_flight_.clear();
    reads_.clear();
}

bool History::readable(uint64_t sector, uint64_t value, uint64_t issued) const {
    const uint32_t index = lists_.get(sector);
    if (index == 0)
        return value == 0;
    return std::ranges::any_of(all_[index - 1], [&](const Entry& e) {
        return e.value == value && (e.superseded == 0 || std::max(e.superseded, e.back_until) > issued);
    });
}

bool History::at_least(const Written& write, uint64_t sector, uint64_t value) const {
    return std::ranges::any_of(all_[lists_.get(sector) - 1], [&](const Entry& e) {
        return e.value == value && (e.write_id == write.write_id || e.ended == 0 || e.ended > write.issued);
    });
}

bool History::survived(uint64_t sector, uint64_t value) const {
    // What one host lost unflushed the other may have lost by a resync from it.
    const uint64_t lost = std::max(power_lost_[0], power_lost_[1]);
    const uint32_t index = lists_.get(sector);
    if (index == 0)
        return value == 0;
    return std::ranges::any_of(all_[index - 1], [&](const Entry& e) {
        return e.value == value && (e.superseded == 0 || (e.superseded_stable == 0 && e.successor_issued < lost));
    });
}

History::Place History::place_of(uint64_t sector, uint64_t value) const {
    const uint32_t index = lists_.get(sector);
    if (index == 0)
        return {};
    Place place;
    bool found = false;
    for (const Entry& e : all_[index - 1]) {
        if (e.value != value)
            continue;
        // Zeroes look alike: the newest are meant.
        found = true;
        place = {.issued = value != 0 ? e.issued : 0, .superseded = e.superseded, .superseded_stable = e.superseded_stable,
                 .successor_issued = e.successor_issued};
        // One that was under way when the next guest began may have landed after that.
        if (e.superseded < e.ended)
            place.superseded = place.superseded_stable = 0;
        if (place.superseded == 0)
            return place;
    }
    if (found)
        return place;
    const auto old = forgotten_.find(value);
    return old == forgotten_.end() ? Place{} : old->second;
}

bool History::completed(uint64_t sector, uint64_t value) const {
    const uint32_t index = lists_.get(sector);
    return index != 0 && std::ranges::any_of(all_[index - 1], [&](const Entry& e) {
        return e.value == value && e.write_id != 0 && e.acknowledged && e.superseded == 0;
    });
}

void History::begin_stint(const Disk& disk) {
    const uint64_t now = tick();
    stint_began_ = now;
    base_is_stable_ = false;
    auto add = [&](List& entries, uint64_t value) {
        for (const Entry& e : entries)
            if (e.value == value)
                return;
        entries.push_back({.value = value, .write_id = 0, .issued = 0, .ended = 1});
    };
    for (size_t i = 0; i < all_.size(); i++) {
        const uint64_t sector = sector_of_[i];
        List& entries = all_[i];
        const uint64_t current = disk.value(View::Current, sector);
        add(entries, current);
        add(entries, disk.value(View::Stable, sector));
        // A disk that lost its power since the write that is found may still lack it.
        const auto found = std::find_if(entries.rbegin(), entries.rend(), [&](const Entry& e) { return e.value == current; });
        found->superseded = found->superseded_stable = 0;
        for (Entry& e : entries)
            if (&e != &*found && e.superseded == 0)
                e.superseded = now, e.successor_issued = found->write_id != 0 ? found->issued : now;
    }
    disk.image().for_each_volatile([&](uint64_t sector, uint64_t value) {
        List& entries = list(sector);
        const size_t before = entries.size();
        add(entries, value);
        if (entries.size() != before)
            entries.back().superseded = entries.back().successor_issued = now;
    });
}

void History::base_flushed() {
    if (base_is_stable_)
        return;
    base_is_stable_ = true;
    const uint64_t now = tick();
    for (List& entries : all_) {
        for (Entry& e : entries)
            if (e.superseded != 0 && e.superseded <= stint_began_ && e.superseded_stable == 0)
                e.superseded_stable = now;
        prune(entries);
    }
}

std::string History::describe(uint64_t sector) const {
    const uint32_t index = lists_.get(sector);
    if (index == 0)
        return "never written";
    std::string text;
    for (const Entry& e : all_[index - 1])
        text += " [write " + std::to_string(e.write_id) + (e.value == 0 ? " zero" : "") + " " + std::to_string(e.issued) + "-" +
                std::to_string(e.ended) + " superseded " + std::to_string(e.superseded) + " stable " +
                std::to_string(e.superseded_stable) + "]";
    return text;
}

}  // namespace drbd::sim
