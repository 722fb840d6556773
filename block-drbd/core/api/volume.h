// SPDX-License-Identifier: GPL-2.0-or-later
// One volume: its state, its disk, the guest's requests on it, what it knows of
// the peer's disk, its resync, the operation that is pending, and the queue of
// its metadata jobs.
//
// In: what drbd-core.h says about one volume, the packets that speak of it.
// Out: jobs, packets, notices, wake-ups.
// volume.cc is the queue of jobs and the loss of a disk; operations.cc is what
// administrators ask for; handshake.cc is what the nodes tell each other;
// transition.cc is what must be on the disk before the state may change;
// change_state.cc alone assigns the state, after_change.cc is what follows.
// Invariants: one job is out at a time, one activity runs at a time, one
// operation is pending at a time; a disk is attached exactly while its state
// is Attaching, Failed, Negotiating or better.
#pragma once

#include <cstdint>
#include <optional>

#include "core/api/notices.h"
#include "core/metadata/attach.h"
#include "core/metadata/create.h"
#include "core/metadata/settle.h"
#include "core/metadata/transaction.h"
#include "core/generation/sync_handshake.h"
#include "core/peer/peer_io.h"
#include "core/request/guest_io.h"
#include "core/resync/resync.h"
#include "core/state/rules.h"

namespace drbd {

enum class OperationKind : uint8_t {
    None, Attach, Activate, Detach, Leave, Inactivate, CreateMd, Invalidate, InvalidateRemote, Outdate, SetRole,
    NewCurrentUuid,
};
const char* name_of(OperationKind kind);

// How far an operation is.
enum class OperationPhase : uint8_t {
    AskPeer,       // until the peer has agreed (spec 5.6)
    WaitRequests,  // until what the guest has in flight has ended
    Queued,        // its activity is next
    Running,       // its activity hands out jobs
};

struct Operation {
    OperationKind kind = OperationKind::None;
    OperationPhase phase = OperationPhase::Queued;
    uint64_t number = 0;
    Role role = Role::Secondary;  // SetRole, Activate: the one to take
    bool forced = false;      // SetRole: the data is declared good; Detach: no metadata is written
    bool at_once = false;     // Detach: the disk is Failed by this command, not by an error
    bool peer_agreed = false; // the peer was asked (AskPeer) and has said yes
    bool pending() const { return kind != OperationKind::None; }
};

// What a volume needs of its resource, and tells it.
class VolumeOwner {
  public:
    virtual uint64_t new_operation_number() = 0;
    virtual Random& random() = 0;
    virtual Notices& notices() = 0;
    virtual RequestPool& pool() = 0;
    virtual Role role() const = 0;
    virtual Connection& connection() = 0;
    virtual DrbdResource& resource() = 0;
    virtual uint64_t now_ms() const = 0;
    virtual TransferLog& transfer_log() = 0;
    virtual PeerRequests& peer_requests() = 0;
    virtual PeerIo& peer_io() = 0;
    // Asks the peer to agree to a change (spec 5.6); the answer comes by
    // Volume::peer_answered().  False: another change is being asked for.
    virtual bool ask_peer(unsigned volume, const wire::StateChange& change) = 0;
    // The handshake of a volume has ended, well or not.
    virtual void on_handshake_over(unsigned volume) = 0;
    // The nodes disagree for good: StandAlone.
    virtual void stand_alone(const char* reason) = 0;
    // The number of a change of role that is under way, or 0.
    virtual uint64_t role_operation() const = 0;
    // The volume's part of a change of role has ended.
    virtual void on_role_recorded(unsigned volume, const Result<void>& result) = 0;
    // Whether a volume may be activated in this role: a Primary takes the other
    // volumes with it, which must be able to follow, and nobody asks the peer,
    // which may have taken the role.
    virtual Result<void> check_activation(unsigned volume, bool primary) const = 0;
    // Of any volume that is drained: QEMU waits for it, and it may wait for what
    // another volume has to do first.
    virtual bool drained_guest_waits() const = 0;
    // A disk was activated in this role.
    virtual void on_activated(Role role) = 0;
    // A volume was left in an orderly way (drbd_on_leave).
    virtual void on_left() = 0;

  protected:
    ~VolumeOwner() = default;
};

// What the state may not say before the disk does (transition.cc).
enum class Transition : uint8_t {
    None,
    BecomeSource,  // the sync identifier, all bits
    BecomeTarget,  // the sync identifier and Inconsistent, in one superblock (design D15)
    FinishTarget,  // the image, the bitmap, the identifiers of the source
    InvalidateSelf,  // Inconsistent, and every bit
};

// How a graceful end leaves the copies (spec 5.7).
struct EndTerms {
    bool peer_outdates_itself = false;
    bool outdates_itself = false;
};

// What the peer has told of its disk on this connection.
struct PeerDisk {
    bool has_sizes = false, has_generations = false;
    bool is_absent = false;  // it has no such volume, as far as is known
    wire::Sizes sizes;
    wire::GenerationReport generations;
};

class Volume final : private GuestIoListener, private PeerVolume, private ResyncListener {
  public:
    Volume(VolumeOwner& owner, unsigned number, ConnectionState phase);
    ~Volume();
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;

    // Operations (operations.cc).  The number, or why it is refused.
    Result<uint64_t> attach(const DrbdDiskConfig& config);
    Result<uint64_t> activate(const DrbdDiskConfig& config, bool primary);
    Result<uint64_t> detach(bool force);
    Result<uint64_t> leave(bool inactivate);
    Result<uint64_t> create_md(const DrbdDiskConfig& config, const DrbdCreateMd& options);
    Result<uint64_t> invalidate();
    Result<uint64_t> invalidate_remote();
    Result<uint64_t> new_current_uuid(bool clear_bitmap, bool force);
    Result<uint64_t> outdate();
    void set_on_io_error(DrbdOnIoError policy) { disk_.config.on_io_error = policy; }

    // A change of role, driven by the resource.  may_change_role() only looks;
    // record_role() writes it down and answers with on_role_recorded();
    // take_role() makes it the state.
    StateVerdict may_change_role(Role role, bool force) const;
    // It has a disk that must say so, or writes at the peer that a demotion waits for.
    bool concerns_role(Role role) const {
        return is_attached() || (role == Role::Secondary && (io_.writes_in_flight() != 0 || io_.unconfirmed() != 0));
    }
    void record_role(uint64_t operation, Role role, bool force);
    void take_role(uint64_t operation, Role role, const char* reason);
    void withdraw_role(uint64_t operation);

    // The connection (handshake.cc).  The phases of the connection that are
    // before a handshake are the state of every volume.
    void set_phase(ConnectionState phase, const char* reason);
    void link_up();
    void resync_link_lost();
    bool is_being_called_good() const {
        return transition_ == Transition::FinishTarget || next_transition_ == Transition::FinishTarget;
    }
    void link_lost(ConnectionState how, const char* reason);
    void prepare_end(const EndTerms& terms);
    DiskState peer_disk_at_end() const;
    void tear_down(const EndTerms& terms, const char* reason);
    Result<void> on_sizes(const wire::Frame& frame);
    Result<void> on_uuids(const wire::Frame& frame);
    Result<void> on_state(const wire::Frame& frame);
    Result<void> on_sync_uuid(const wire::Frame& frame);
    Result<void> on_out_of_sync(const wire::Frame& frame);
    Result<void> on_sync_parameters(const wire::Frame& frame);
    // A write of the peer may not reach the image yet.
    bool holds_peer_writes() const { return transition_ == Transition::BecomeTarget; }
    bool in_handshake() const { return policy_.handshake_under_way; }
    // Anything of the peer's volume since the link is up.
    bool has_heard() const { return peer_.has_sizes || peer_.has_generations; }
    bool peer_lacks_volume() const { return peer_.is_absent; }
    // It has no such volume: as one without a disk, until it opens it and says so.
    Result<void> go_on_without_peers_volume();
    bool is_connected() const { return state_.connection >= ConnectionState::Connected; }
    bool has_transition() const { return transition_ != Transition::None || next_transition_ != Transition::None; }

    // Changes that concern both nodes (two_nodes.cc).
    StateVerdict on_peer_asks(const wire::StateChange& asked);
    void peer_answered(StateCode code, const char* text);
    void asked_in_vain();
    // Everything that an answer to the peer promises is on the disk.
    bool is_recorded() const { return !superblock_due_ && !superblock_out_ && transition_ == Transition::None; }
    void send_state();
    void send_uuids();
    void ping_answered();

    Resync& resync() { return resync_; }
    // Not while the last word is written on a disk that is left, nor after it.
    bool wants_confirmation() const {
        const bool last_word = (operation_.kind == OperationKind::Leave || operation_.kind == OperationKind::Inactivate) &&
                               operation_.phase != OperationPhase::WaitRequests;
        return resync_.wants_confirmation() && is_attached() && !last_word;
    }
    void on_time(uint64_t now_ms);
    uint64_t next_deadline_ms() const;
    // The end of an event: goes on with whatever it has made possible.
    void settle_down();
    // A source: whether its target may be done.  So many blocks more may be acknowledged, and nobody hears it.
    void note_progress(uint64_t unheard_blocks = 0);
    bool is_drained() const { return drained_ > 0; }

    // Jobs.
    bool has_job() const;
    const DrbdJob* next_job();
    void job_done(int result);
    void drain_begin() { drained_++; }
    void drain_end();

    // Requests.  pump() follows every event that may have let something end.
    GuestIo& io() { return io_; }
    const GuestIo& io() const { return io_; }
    DrbdResource& resource() const { return owner_.resource(); }
    // Something of the network may have to go on; else a request's event is over.
    bool is_quiet() const { return !resync_.is_running() && !operation_.pending(); }
    void pump();

    const State& state() const { return state_; }
    const Operation& operation() const { return operation_; }
    bool activates_as_primary() const { return operation_.kind == OperationKind::Activate && operation_.role == Role::Primary; }
    Sector capacity() const override { return size_; }
    const SettleActivity& settle() const { return settle_; }
    bool is_attached() const { return state_.disk >= DiskState::Negotiating; }
    bool is_at_rest() const {
        return state_.disk == DiskState::Diskless && !operation_.pending() && io_.outstanding() == 0;
    }
    bool needs_disk() const { return state_.disk != DiskState::Diskless; }
    uint64_t bytes() const { return to_bytes(size_).value; }
    void fill_status(DrbdVolumeStatus& status) const;

  private:
    void on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) override;
    void image_failed(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error);
    void on_generation_wanted() override;
    void on_peer_write_failed() override;

    // PeerVolume (peer_side.cc)
    bool peer_may_write() const override;
    bool takes_replicated_writes() const override;
    bool peer_may_read() const override;
    bool is_syncing() const override;
    bool peer_has_no_disk() const override;
    void set_out_of_sync(Sector start, Bytes length) override;
    void set_in_sync(Sector start, Bytes length) override;
    bool want_bits_stable(Sector start, Bytes length) override;
    void on_peer_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) override;
    void lack_what_peer_wrote();
    void count_received(uint64_t bytes) override;
    void count_peer_read() override { peer_reads_++; }

    // ResyncListener (transition.cc)
    void on_bitmaps_exchanged() override;
    void on_resync_answered(uint64_t failed_blocks) override;
    void on_resync_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) override;

    // change_state.cc, after_change.cc
    StateVerdict change_state(ChangeKind kind, const State& wanted, const char* reason, uint64_t operation);
    void refresh_access();  // who was held goes on if it may
    void update_access();
    void after_change(const State& before, const char* reason);
    void after_connection_change();
    void left_resync(const State& before, const char* reason);
    void tell_peer(const State& before);
    void new_generation_if_alone(const State& before);
    void make_generation();
    State recorded_state() const;
    void want_superblock();

    // A forced promotion is being recorded, or is and the role not taken yet.
    bool is_declaring_good() const {
        return declared_good_ || (operation_.kind == OperationKind::SetRole && operation_.forced);
    }

    // handshake.cc
    bool link_is_up() const { return owner_.connection().link().is_up(); }
    Link& link() { return owner_.connection().link(); }
    void send_state_of(const State& state);
    void send_sizes(bool ask_for_answer);
    Result<void> agree_on_size();
    Result<void> shrink_to(Sector size);
    DiskState real_peer_disk(const State& announced) const;
    HandshakeDecision decide(const State& announced, DiskState real);
    Result<void> apply_peer_state(const State& announced);
    void compare_held_state();
    bool is_ahead_of_peer() const;
    bool guest_has_not_seen(const Uuids& told) const;
    Error unseen_by_guest(const Uuids& told) const;
    void take_generation_for_consent(const Uuids& told);
    bool is_ahead_in_blocks(Role role = Role::Primary) const;
    void resync_failed_blocks();
    bool generation_is_unstable() const { return generation_new_ || generation_out_; }
    Result<void> refuse_handshake(const State& announced, DiskState& real, State& next);
    void doubt_target(State& wanted);
    void take_decision();
    DiskState uncompared_disk() const;
    bool resync_is_finished_by(const State& announced, DiskState real);

    // transition.cc
    void begin_transition(Transition transition);
    void start_next_transition();
    void forget_start();
    bool may_be_worse_than_recorded(const State& before) const;
    bool waits_to_invalidate() const;
    bool spare_this_copy();  // true: it is as good as before

    // change_state.cc: who has the newest data when this disk is given up
    void begin_handover();
    bool peer_went_on() const;
    // It has told of the generation of this disk.
    void target_may_not_know();
    bool peer_has_generation() const { return same_generation(peer_.generations.uuids.current, disk_.uuids.current); }
    void end_handover(int error, const char* warning);
    uint64_t handover_deadline_ms() const;
    uint64_t comparison_deadline_ms() const;
    uint64_t source_deadline_ms() const;
    uint64_t owed_deadline_ms() const;
    void fill_transition(SettlePlan& plan);
    void transition_is_done();
    void go_on_at_peer();
    void begin_at_peer();
    void expose_peers_data();
    void explain_resync(const char* reason);
    void start_as_source();
    void finish_as_source(bool target_is_good, uint64_t left_blocks);
    bool bits_are_to_clear() const;
    void finish_if_target_is_done();
    void finish_as_target();
    void try_to_become_target();
    void notify_resync(DrbdResyncPhase phase, const char* text);
    void notify_resync(DrbdResyncPhase phase, const ResyncProgress& progress, const char* text);

    // operations.cc
    Result<void> check_free() const;
    uint64_t begin_operation(OperationKind kind, OperationPhase phase);
    bool may_declare_equal() const;
    Result<uint64_t> ask_peer_for(uint64_t number, const wire::StateChange& change);
    bool is_last_data() const;
    void begin_to_leave();
    bool is_being_left() const;
    bool peer_serves() const;
    uint64_t give_up_at_once(uint64_t number);
    void attach_succeeded();
    void meet_anew();
    void new_current_uuid_is_stable();
    void end_operation(const Result<void>& result);
    void start_attach(const DrbdDiskConfig& config);
    void start_settling();
    State target_of(const Operation& operation) const;
    void operation_may_begin();
    void activity_ended();
    void superblock_is_stable();
    void transaction_is_stable();
    void transaction_lacked_space();
    void operation_succeeded();
    void operation_failed(const Error& error);

    // volume.cc
    bool may_hand_out() const;
    Activity* choose_activity();
    Activity* choose_keeping_up();
    bool is_in_the_way();
    bool peer_uses_disk() const;
    void forget_writes();
    void fill_link_status(DrbdVolumeStatus& status) const;
    void advance();
    void lose_disk(const char* reason);
    void give_up_disk();
    void disk_is_gone(const char* reason);

    VolumeOwner& owner_;
    const unsigned number_;
    State state_;
    StatePolicy policy_;
    char disk_reason_[DRBD_ERROR_SIZE] = "not attached yet";
    Sector size_;              // outlives the disk
    uint64_t exposed_uuid_ = 0;  // data generation that the guest has seen last, outlives the disk
    bool exposed_elsewhere_ = false;  // by the peer, while there was no disk here
    uint64_t handover_since_ms_ = 0;
    bool handover_due_ = false, handover_out_ = false;  // a superblock that says Inconsistent: wanted, being written
    bool peer_has_newer_ = false;     // as exposed_elsewhere_, and the peer's new generation has not been heard of
    bool lacks_received_ = false;     // the disk went with writes of the peer, which may count on them, or unrecorded
    DiskState intended_disk_ = DiskState::Inconsistent;  // Negotiating: what the metadata says
    uint64_t negotiating_since_ms_ = 0, sync_uuid_since_ms_ = 0;
    PeerDisk peer_;
    HandshakeDecision decision_;  // the last one; its reason is that of the resync that runs
    uint64_t bits_told_ = 0;      // by the last P_UUIDS

    Disk disk_;
    GuestIo io_;
    Resync resync_;
    Transition transition_ = Transition::None;  // at the disk, or queued for it
    Transition next_transition_ = Transition::None;
    bool transition_queued_ = false;   // its activity has not begun
    uint64_t transition_of_ = 0;       // Link::times_up() when it began
    bool peer_outdates_itself_ = false, outdates_itself_ = false;  // when this connection ends
    bool peer_may_lack_ = false;       // bits of that are to be set when a FinishTarget is done
    bool lacks_at_end_ = false;        // this disk has missed a write since a FinishTarget was asked for
    bool failed_at_end_ = false;       // and its image is no good copy: a write or a flush failed
    uint64_t sync_uuid_ = 0;           // source: by which the target of this resync is known until it is done
    bool target_may_be_done_ = false;  // source: the target may call its data good
    bool resync_lacks_space_ = false;  // target: told once
    bool nothing_was_left_ = false;    // because nothing was left to do at some time
    bool target_is_done_ = false;      // source: the target said so
    bool target_is_good_ = false;      // and that it has everything
    bool target_refused_ = false;      // source: a write of the guest failed there in this resync
    bool finishing_ = false;           // the resync that is being left is complete
    bool peer_granted_ = false;        // it may become Primary, and has not said that it is
    bool consider_resync_ = false;     // spec 4.5: the peer may have declared its data good
    bool announce_skip_ = false;       // the next P_UUIDS says: no first sync
    bool waits_for_ping_ = false;      // nothing is left to ask for; the peer must have our last words
    uint64_t failed_blocks_ = 0;
    uint64_t failed_here_ = 0;  // blocks of failed writes on the disk that is attached, at most so many
    std::optional<State> held_state_;  // of a peer whose disk is Negotiating, until the generation here is stable
    std::optional<uint64_t> early_sync_uuid_;  // came before the bitmaps were exchanged
    uint64_t last_progress_ms_ = 0;
    uint64_t received_writes_ = 0, received_bytes_ = 0, peer_reads_ = 0;
    Operation operation_;
    bool leaving_ = false;     // no new request reaches the disk
    bool demoting_ = false;    // no new write does
    bool declared_good_ = false;  // the recorded role makes the disk UpToDate

    AttachActivity attach_{disk_};
    TransactionActivity transaction_{disk_};
    uint64_t flushed_by_transaction_ = 0;  // completed writes that it makes stable first; 0: it does not flush
    SettleActivity settle_{disk_};
    SettleActivity superblock_write_{disk_};
    SettleActivity transition_write_{disk_};
    SettleActivity bits_write_{disk_};
    CreateActivity create_{disk_};
    bool superblock_due_ = false;  // memory is ahead of the disk
    bool superblock_out_ = false;  // being written
    bool generation_new_ = false;  // memory has a generation that the disk has not (design D14)
    bool generation_out_ = false;  // it is in the superblock that is being written
    bool bits_due_ = false;        // changed pages of the bitmap are to be written
    bool bits_wanted_ = false;     // and writes of the peer wait for that
    bool bits_out_ = false;        // they are being written
    bool primary_recorded_ = false;  // the superblock on the disk has PRIMARY_IND, or the one that is being written
    bool told_of_no_space_ = false;  // once until a transaction succeeds
    Activity* current_ = nullptr;
    DrbdJob job_{};
    bool job_ready_ = false;   // job_ waits to be handed out
    bool job_out_ = false;
    unsigned drained_ = 0;
    uint64_t jobs_ = 0;
};

}  // namespace drbd
