// SPDX-License-Identifier: GPL-2.0-or-later
// The verdict on one crash state, before and after the driver attached to it.
//
// Promises, each with a name that stands in front of its complaint:
//   durable     no change that the guest was promised is lost, nothing foreign
//   superblock  the superblock is readable in every state
//   marked      every block that differs from the peer's (the base's) is marked
//   bound       nothing else is marked but what was written or is hot
//   generation  data that the peer lacks stand under a generation of their own
//   expected    disk state and cleanness that a finished command promised
//   attach      the attach marked what the log said, and lost nothing
//
// Marks `expect disk=UpToDate|Outdated|Inconsistent|any` and `expect
// clean=yes|any` in the log set the expectations from there on; `expect
// bitmap=maybe-full` allows and `expect bitmap=full` demands every block to be
// marked; `attach without clean detach` lets extents that were hot before be
// marked whole; `expect metadata=any` allows that there are none (create-md
// runs), `expect metadata=new` demands those of create-md or what followed
// them: a peer of theirs syncs in full, so nothing has to be marked;
// `generation forced` says that a forced promotion may replace
// the bitmap UUID, as the kernel's does, which cuts the tie to the peer.
#pragma once

#include <string>
#include <vector>

#include "guest_promise.h"
#include "image_state.h"
#include "metadata_view.h"

namespace powercut {

struct Verdict {
    std::vector<std::string> errors;
    void add(const std::string& error) {
        if (errors.size() < 8)
            errors.push_back(error);
    }
};

class Judge {
  public:
    Judge(const Geometry& geometry, const SequenceLog& log, const Content& base, TrimRule trim,
          std::vector<uint32_t> touched);

    void on_event(uint64_t number);
    // Blocks that must be and may be marked besides; from an earlier crash.
    void carry(const std::vector<bool>& needed, const std::vector<bool>& allowed);
    Verdict before_attach(const Content& state);
    Verdict after_attach(const std::vector<unsigned char>& metadata);

    const std::vector<bool>& needed() const { return needed_; }
    const std::vector<bool>& allowed() const { return allowed_; }
    // False where create-md was cut off: there is nothing to attach to.
    bool attachable() const { return state_view_.error.empty(); }
    const std::string& expected_disk() const { return expected_disk_; }

  private:
    void check_durable(const Content& state, Verdict& verdict);
    void check_marked(const std::vector<bool>& marked, const char* when, Verdict& verdict) const;
    void check_generation(const MetadataView& view, Verdict& verdict) const;
    void check_expected(const MetadataView& view, Verdict& verdict) const;
    void on_mark(const std::string& mark);
    bool made_anew(const MetadataView& view) const;
    void allow_hot_extents();

    Geometry geometry_;
    const SequenceLog& log_;
    const Content& base_;
    GuestPromise promise_;
    std::vector<uint32_t> touched_;
    MetadataView base_view_;
    MetadataView state_view_;
    std::vector<bool> carried_need_, carried_allowed_, needed_, allowed_;
    bool guest_data_visible_ = false;
    bool generation_forced_ = false;
    std::string expected_metadata_ = "yes";
    std::string expected_disk_ = "any", expected_clean_ = "any";
};

}  // namespace powercut
