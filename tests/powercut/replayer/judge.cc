// SPDX-License-Identifier: GPL-2.0-or-later
// The verdict on a crash state.  Contract and names of the promises: judge.h.

#include "judge.h"

namespace powercut {

namespace {

constexpr uint64_t kSectorsPerBlock = 8;
constexpr uint64_t kJustCreated = 4;  // the generation that create-md writes

std::string hex(uint64_t value) {
    char text[24];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
    return text;
}

uint64_t generation(uint64_t uuid) { return uuid & ~uint64_t{1}; }  // bit 0 tells the role

const char* disk_state(uint32_t flags) {
    if (!(flags & kConsistent))
        return "Inconsistent";
    return flags & kWasUpToDate ? "UpToDate" : "Outdated";
}

}  // namespace

Judge::Judge(const Geometry& geometry, const SequenceLog& log, const Content& base, TrimRule trim,
             std::vector<uint32_t> touched)
    : geometry_(geometry), log_(log), base_(base), promise_(log, base, trim),
      touched_(std::move(touched)) {
    if (geometry.has_metadata)
        base_view_ = view_metadata(geometry, base.metadata);
    const uint64_t blocks = (geometry.data_sectors + kSectorsPerBlock - 1) / kSectorsPerBlock;
    carried_need_.resize(blocks);
    carried_allowed_.resize(blocks);
}

void Judge::on_event(uint64_t number) {
    promise_.on_event(number);
    const Event& event = log_.events[number];
    if (event.kind == Kind::Mark)
        on_mark(log_.marks[event.request]);
}

void Judge::on_mark(const std::string& mark) {
    const std::string disk = "expect disk=", clean = "expect clean=";
    if (mark.starts_with(disk))
        expected_disk_ = mark.substr(disk.size());
    else if (mark.starts_with(clean))
        expected_clean_ = mark.substr(clean.size());
    else if (mark == "attach without clean detach")
        allow_hot_extents();
    else if (mark.starts_with("expect metadata="))
        expected_metadata_ = mark.substr(16);
    else if (mark == "generation forced")
        generation_forced_ = true;
    else if (mark == "expect bitmap=maybe-full")
        carried_allowed_.assign(carried_allowed_.size(), true);
    else if (mark == "expect bitmap=full")
        carried_need_.assign(carried_need_.size(), true);
}

// The attach that follows marks whole extents; which ones were hot is not
// looked at again, each one that was written may have been.
void Judge::allow_hot_extents() {
    for (uint64_t i = 0; i < carried_allowed_.size(); i++)
        if (promise_.was_submitted(i))
            for (uint64_t j = i / kBlocksPerExtent * kBlocksPerExtent, n = 0;
                 n < kBlocksPerExtent && j < carried_allowed_.size(); j++, n++)
                carried_allowed_[j] = true;
}

void Judge::carry(const std::vector<bool>& needed, const std::vector<bool>& allowed) {
    carried_need_ = needed;
    carried_allowed_ = allowed;
}

Verdict Judge::before_attach(const Content& state) {
    Verdict verdict;
    check_durable(state, verdict);
    if (!geometry_.has_metadata)
        return verdict;
    state_view_ = view_metadata(geometry_, state.metadata);
    if (!state_view_.error.empty()) {
        if (expected_metadata_ != "any")
            verdict.add("superblock: " + state_view_.error);
        return verdict;
    }
    if (expected_metadata_ == "new" && !made_anew(state_view_))
        verdict.add("expected: create-md had finished, and the metadata are the old ones");
    if (!state_view_.al_usable && (state_view_.flags & kPrimaryIndicator))
        verdict.add("marked: the activity log is needed and has no valid transaction");
    const std::vector<bool> marked = state_view_.marked();
    allowed_ = carried_allowed_;
    const bool all = (state_view_.flags | base_view_.flags) & kFullSync;
    for (uint64_t i = 0; i < allowed_.size(); i++)
        if (all || promise_.was_submitted(i) || (i < base_view_.bits.size() && base_view_.bits[i]))
            allowed_[i] = true;
    // A hot extent may be marked whole, now or by an attach that is to come.
    for (uint32_t extent : state_view_.al_extents)
        for (uint64_t i = extent * kBlocksPerExtent; i < (extent + 1) * kBlocksPerExtent; i++)
            if (i < allowed_.size())
                allowed_[i] = true;
    if (made_anew(state_view_))
        needed_ = carried_need_;
    check_marked(marked, "in the crash state", verdict);
    if (!made_anew(state_view_))
        check_generation(state_view_, verdict);
    check_expected(state_view_, verdict);
    return verdict;
}

void Judge::check_durable(const Content& state, Verdict& verdict) {
    needed_ = carried_need_;
    guest_data_visible_ = false;
    unsigned bad = 0;
    for (uint32_t sector : touched_) {
        const uint32_t owner = state.sectors[sector];
        if (!promise_.allowed(sector, owner) && bad++ < 3)
            verdict.add("durable: " + promise_.explain(sector, owner));
        if (owner != base_.sectors[sector]) {
            needed_[sector / kSectorsPerBlock] = true;
            guest_data_visible_ = true;
        }
    }
    if (bad > 3)
        verdict.add("durable: " + std::to_string(bad) + " sectors in all");
}

bool Judge::made_anew(const MetadataView& view) const {
    return base_view_.current != kJustCreated &&
           (generation(view.current) == kJustCreated || generation(view.bitmap_uuid) == kJustCreated);
}

void Judge::check_marked(const std::vector<bool>& marked, const char* when, Verdict& verdict) const {
    uint64_t missing = 0, excess = 0, first_missing = 0, first_excess = 0;
    for (uint64_t i = 0; i < needed_.size(); i++) {
        if (needed_[i] && !marked[i] && missing++ == 0)
            first_missing = i;
        if (marked[i] && !allowed_[i] && excess++ == 0)
            first_excess = i;
    }
    auto block = [](uint64_t i) {
        return "block " + std::to_string(i) + " (extent " + std::to_string(i / kBlocksPerExtent) + ")";
    };
    if (missing)
        verdict.add(std::string("marked: ") + when + " " + std::to_string(missing) +
                    " blocks differ from the peer's and are not marked, the first is " +
                    block(first_missing));
    if (excess)
        verdict.add(std::string("bound: ") + when + " " + std::to_string(excess) +
                    " blocks are marked that were neither written nor hot, the first is " +
                    block(first_excess));
}

void Judge::check_generation(const MetadataView& view, Verdict& verdict) const {
    if (!guest_data_visible_ || base_view_.bitmap_uuid != 0)
        return;
    if (generation(view.current) == generation(base_view_.current))
        verdict.add("generation: data of the guest are on the disk under the peer's generation " +
                    hex(view.current));
    else if (!generation_forced_ && generation(view.bitmap_uuid) != generation(base_view_.current))
        verdict.add("generation: the bitmap UUID is " + hex(view.bitmap_uuid) +
                    ", not the generation of the peer's data " + hex(base_view_.current));
}

void Judge::check_expected(const MetadataView& view, Verdict& verdict) const {
    if (expected_disk_ != "any" && expected_disk_ != disk_state(view.flags))
        verdict.add("expected: the disk was " + expected_disk_ + " when a command finished, it is " +
                    disk_state(view.flags));
    if (expected_clean_ == "yes" && (view.magic != kMagicClean || !(view.flags & kAlClean)))
        verdict.add("expected: the detach finished, but the metadata are not clean");
}

Verdict Judge::after_attach(const std::vector<unsigned char>& metadata) {
    Verdict verdict;
    const MetadataView view = view_metadata(geometry_, metadata);
    if (!view.error.empty()) {
        verdict.add("attach: " + view.error);
        return verdict;
    }
    const std::vector<bool> marked = view.marked();
    check_marked(marked, "after attach and detach", verdict);
    const std::vector<bool> expected = state_view_.marked();
    for (uint64_t i = 0; i < marked.size(); i++)
        if (expected[i] && !marked[i]) {
            verdict.add("attach: block " + std::to_string(i) +
                        " was marked by bitmap or log and is not any more");
            break;
        }
    if (generation(view.current) != generation(state_view_.current) ||
        generation(view.bitmap_uuid) != generation(state_view_.bitmap_uuid) ||
        view.history[0] != state_view_.history[0] || view.history[1] != state_view_.history[1])
        verdict.add("attach: the generation changed from " + hex(state_view_.current) + ":" +
                    hex(state_view_.bitmap_uuid) + " to " + hex(view.current) + ":" + hex(view.bitmap_uuid));
    if (disk_state(view.flags) != std::string(disk_state(state_view_.flags)))
        verdict.add(std::string("attach: the disk state changed from ") + disk_state(state_view_.flags) +
                    " to " + disk_state(view.flags));
    const uint32_t crashed = kPrimaryIndicator | kCrashedPrimary;
    if ((state_view_.flags & crashed) && !(view.flags & crashed))
        verdict.add("attach: that this node was a crashed Primary is forgotten");
    if (view.magic != kMagicClean || !(view.flags & kAlClean))
        verdict.add("attach: a Secondary detached in order and the metadata are not clean");
    return verdict;
}

}  // namespace powercut
