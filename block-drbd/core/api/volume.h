// SPDX-License-Identifier: GPL-2.0-or-later
// One volume: its state, its disk, the guest's requests on it, the operation
// that is pending, and the queue of its metadata jobs.
//
// In: what drbd-core.h says about one volume.  Out: jobs, notices, wake-ups.
// volume.cc is the queue of jobs and the loss of a disk; operations.cc is what
// administrators ask for; change_state.cc alone assigns the state.
// Invariants: one job is out at a time, one activity runs at a time, one
// operation is pending at a time; a disk is attached exactly while its state
// is Attaching, Failed or Inconsistent and better.
#pragma once

#include <cstdint>
#include <optional>

#include "core/api/notices.h"
#include "core/metadata/attach.h"
#include "core/metadata/create.h"
#include "core/metadata/settle.h"
#include "core/metadata/transaction.h"
#include "core/request/guest_io.h"
#include "core/state/rules.h"

namespace drbd {

enum class OperationKind : uint8_t {
    None, Attach, Activate, Detach, Leave, Inactivate, CreateMd, Invalidate, Outdate, SetRole,
};
const char* name_of(OperationKind kind);

// How far an operation is.
enum class OperationPhase : uint8_t {
    WaitRequests,  // until what the guest has in flight has ended
    Queued,        // its activity is next
    Running,       // its activity hands out jobs
};

struct Operation {
    OperationKind kind = OperationKind::None;
    OperationPhase phase = OperationPhase::Queued;
    uint64_t number = 0;
    State target;             // the state to be in when it has succeeded
    bool forced = false;      // no metadata is written
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
    // The number of a change of role that is under way, or 0.
    virtual uint64_t role_operation() const = 0;
    // The volume's part of a change of role has ended.
    virtual void on_role_recorded(unsigned volume, const Result<void>& result) = 0;
    // A disk was activated in this role.
    virtual void on_activated(Role role) = 0;
    // A volume was left in an orderly way (drbd_on_leave).
    virtual void on_left() = 0;

  protected:
    ~VolumeOwner() = default;
};

class Volume final : private GuestIoListener {
  public:
    Volume(VolumeOwner& owner, unsigned number)
        : owner_(owner), number_(number), io_(owner.pool(), disk_, *this) {
        refresh_access();
    }
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;

    // Operations (operations.cc).  The number, or why it is refused.
    Result<uint64_t> attach(const DrbdDiskConfig& config);
    Result<uint64_t> activate(const DrbdDiskConfig& config, bool primary);
    Result<uint64_t> detach(bool force);
    Result<uint64_t> leave(bool inactivate);
    Result<uint64_t> create_md(const DrbdDiskConfig& config, const DrbdCreateMd& options);
    Result<uint64_t> invalidate();
    Result<uint64_t> outdate();
    void set_on_io_error(DrbdOnIoError policy) { disk_.config.on_io_error = policy; }

    // A change of role, driven by the resource.  may_change_role() only looks;
    // record_role() writes it down and answers with on_role_recorded();
    // take_role() makes it the state.
    StateVerdict may_change_role(Role role, bool force) const;
    void record_role(uint64_t operation, Role role, bool force);
    void take_role(uint64_t operation, Role role, const char* reason);
    void withdraw_role(uint64_t operation);

    // Jobs.
    bool has_job() const;
    const DrbdJob* next_job();
    void job_done(int result);
    void drain_begin() { drained_++; }
    void drain_end();

    // Requests.  pump() follows every event that may have let something end.
    GuestIo& io() { return io_; }
    void pump();

    const State& state() const { return state_; }
    const Operation& operation() const { return operation_; }
    bool is_attached() const { return state_.disk >= DiskState::Inconsistent; }
    bool is_at_rest() const {
        return state_.disk == DiskState::Diskless && !operation_.pending() && io_.in_flight() == 0;
    }
    bool needs_disk() const { return state_.disk != DiskState::Diskless; }
    uint64_t bytes() const { return to_bytes(size_).value; }
    void fill_status(DrbdVolumeStatus& status) const;

  private:
    void on_disk_error(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, int error) override;
    void on_generation_wanted() override;

    // change_state.cc
    StateVerdict change_state(ChangeKind kind, const State& wanted, const char* reason, uint64_t operation);
    void refresh_access();

    // operations.cc
    Result<void> check_free() const;
    uint64_t begin_operation(OperationKind kind, OperationPhase phase, const State& target);
    void end_operation(const Result<void>& result);
    void start_attach(const DrbdDiskConfig& config);
    void start_settling();
    void activity_ended();
    void generation_is_stable();
    void transaction_is_stable();
    void transaction_lacked_space();
    void operation_succeeded();
    void operation_failed(const Error& error);

    // volume.cc
    bool may_hand_out() const;
    Activity* choose_activity();
    void advance();
    void lose_disk(const char* reason);
    void disk_is_gone(const char* reason);

    VolumeOwner& owner_;
    const unsigned number_;
    State state_;
    StatePolicy policy_;
    char disk_reason_[DRBD_ERROR_SIZE] = "not attached yet";
    Sector size_;              // outlives the disk
    uint64_t exposed_uuid_ = 0;  // data generation that the guest has seen last, outlives the disk

    Disk disk_;
    GuestIo io_;
    Operation operation_;
    bool leaving_ = false;     // no new request reaches the disk
    bool demoting_ = false;    // no new write does
    std::optional<DiskState> disk_with_role_;  // what the recorded role makes of the disk

    AttachActivity attach_{disk_};
    TransactionActivity transaction_{disk_};
    SettleActivity settle_{disk_};
    SettleActivity generation_write_{disk_};
    CreateActivity create_{disk_};
    bool generation_due_ = false;  // a new one is in memory, not on the disk
    bool primary_recorded_ = false;  // the superblock on the disk has PRIMARY_IND
    bool told_of_no_space_ = false;  // once until a transaction succeeds
    Activity* current_ = nullptr;
    DrbdJob job_{};
    bool job_ready_ = false;   // job_ waits to be handed out
    bool job_out_ = false;
    unsigned drained_ = 0;
    uint64_t jobs_ = 0;
};

}  // namespace drbd
