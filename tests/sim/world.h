// SPDX-License-Identifier: GPL-2.0-or-later
// The whole simulation of one seed: two nodes, the network, the guest, the
// administrator, what goes wrong, and the checkers.
// In: a seed and options.  Out: nothing, or the first complaint; a hash of all
// that happened.
// A run has three parts: life with faults until the guest has made its
// requests; mending, until all is well; rest, in which images and pools are
// compared.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "admin.h"
#include "checkers/as_if_crashed.h"
#include "checkers/bounds.h"
#include "checkers/guest_errors.h"
#include "checkers/legal_states.h"
#include "checkers/resync_direction.h"
#include "checkers/roles.h"
#include "checkers/split_brain_policy.h"
#include "checkers/superblock_steps.h"
#include "decisions.h"
#include "event_queue.h"
#include "faults.h"
#include "guest.h"
#include "link.h"
#include "node.h"
#include "trace.h"
#include "tuner.h"
#include "wire_watch.h"

namespace drbd::sim {

class World {
  public:
    World(uint64_t seed, const Options& options, bool print);

    void run();
    // The next event, and the checkers; false if there is none or one complains.
    bool step();
    // Faults end, both nodes come together, and at rest they must be equal.
    void mend();

    const std::string& complaint() const { return complaint_; }
    void complain(const std::string& what);
    // Of a volume at rest that is UpToDate on both: the images are equal, and no block is marked.  Empty if so.
    std::string check_copies(unsigned volume) const;
    bool is_over() const { return over_ || !complaint_.empty(); }

    const Options& options() const { return options_; }
    void set_secret(int host, const std::string& secret) { options_.secret[host] = secret; }  // from its next start on
    // Disks are well from now on.
    void end_disk_faults();
    // Somebody else than `faults` and `admin` does harm: bits may be left.
    void expect_bits() { had_disk_faults_ = true; }
    // The administrator sees that both nodes are Connected and UpToDate.
    void on_well();
    EventQueue& queue() { return queue_; }
    Trace& trace() { return trace_; }
    Decisions& decisions() { return decisions_; }
    Network& net() { return net_; }
    Node& node(int host) { return *nodes_[host]; }
    const Node& node(int host) const { return *nodes_[host]; }
    Guest& guest() { return guest_; }
    Admin& admin() { return admin_; }
    Tuner& tuner() { return tuner_; }

    // From the nodes.
    void on_process_started(Node& node);
    void on_disconnect(Node& node, bool force);  // the command
    void on_configured(Node& node, const Settings& wanted, bool stand_alone, bool taken, const char* text);
    void on_process_died(int host, bool lost_cache);
    void on_disk_error(int host);
    void on_request_end(Node& node, GuestRequest& request);
    // True if it is a write of the peer's guest, and not of a resync.
    bool on_peer_write(Node& node, const DrbdPeerIo& io, std::span<const uint64_t> values);
    void on_metadata_written(Node& node, unsigned volume);
    void on_state_change(Node& node, const DrbdNotice& change);
    void on_peer_lost(Node& node, const char* text);
    void on_hung_write_landed(int host, unsigned volume);
    WireWatch& wire() { return wire_; }
    ResyncDirection& direction() { return direction_; }
    // P_UUIDS of this host.
    void on_generations(int host, unsigned volume, const TappedGenerations& told);

    uint64_t crash_checks() const { return crash_checks_; }

  private:
    void note_target(Node& node, unsigned volume);
    void judge_target_of_policy(Node& node, unsigned volume);
    bool run_until(Time limit, bool (World::*done)());
    void check_as_if_crashed();
    void check_disks(unsigned volume, View a, View b);
    void ask_nodes();
    void check_primaries();
    void check_bounds();
    void check_states();
    void check_rest();
    bool requests_are_made();
    bool becomes_well();
    bool is_well();
    bool is_unwell();
    bool has_bits() const;
    bool has_ended();
    bool is_acknowledged();
    Time request_bound() const;

    Options options_;
    EventQueue queue_;
    Trace trace_;
    Decisions decisions_;
    Rng random_;
    Network net_;
    std::unique_ptr<Node> nodes_[2];
    Guest guest_;
    Admin admin_;
    Faults faults_;
    Tuner tuner_;
    WireWatch wire_;
    ResyncDirection direction_;
    std::vector<std::optional<SplitBrainCase>> targets_[2];  // that are about to be
    std::vector<SuperblockSteps> steps_[2];
    std::vector<AsIfCrashed> as_if_crashed_;  // of each volume
    std::vector<Bounds> bounds_;
    GuestErrors guest_errors_;
    Roles roles_;
    NodeStatus statuses_[2];   // at the last look, of what ran
    std::vector<EqualSigns> signs_;
    uint64_t next_check_ = 0, next_crash_check_ = 0;
    uint64_t crash_checks_ = 0;
    uint64_t dense_until_ = 0;  // looks are close together for so many events
    bool superblock_changed_ = false;
    bool has_old_peer_ = false;
    bool over_ = false, had_disk_faults_ = false, has_disk_errors_ = false;
    bool has_bad_disks_ = false;  // as before; or they are full, or hang
    std::string complaint_;
    std::string complaint_for_the_end_;  // unless somebody sees what came of it
};

}  // namespace drbd::sim
