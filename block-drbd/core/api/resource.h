// SPDX-License-Identifier: GPL-2.0-or-later
// A resource: its volumes, the pool of requests, the notices, and the one role
// that all volumes have (design D2, D12).  A change of role asks every volume,
// has it recorded on every disk, and only then takes it; if one disk fails,
// the others take their record back: all volumes or none.
#pragma once

#include <memory>

#include "core/api/volume.h"
#include "core/base/random.h"

struct DrbdResource final : private drbd::VolumeOwner {
  public:
    DrbdResource(const DrbdResourceConfig& config);
    DrbdResource(const DrbdResource&) = delete;
    DrbdResource& operator=(const DrbdResource&) = delete;

    bool allocate(unsigned max_requests) { return pool_.allocate(max_requests); }

    unsigned nr_volumes() const { return nr_volumes_; }
    drbd::Volume* volume(unsigned number) { return number < nr_volumes_ ? volumes_[number].get() : nullptr; }
    const drbd::Volume* volume(unsigned number) const {
        return number < nr_volumes_ ? volumes_[number].get() : nullptr;
    }
    drbd::Result<void> open_volume(unsigned number);
    void close_volume(unsigned number);

    drbd::Result<uint64_t> set_role(drbd::Role role, bool force);
    // Why a promotion would be refused now; null if it would not.
    const char* why_not_promotable() const;


    drbd::RequestPool& requests() { return pool_; }
    const drbd::RequestPool& requests() const { return pool_; }
    drbd::Notices& notices() override { return notices_; }
    const drbd::Notices& notices() const { return notices_; }
    drbd::Role role() const override { return role_; }
    uint64_t role_operation() const override { return change_.number; }
    uint32_t pending() const;

  private:
    uint64_t new_operation_number() override { return ++last_operation_; }
    drbd::Random& random() override { return random_; }
    drbd::RequestPool& pool() override { return pool_; }
    void on_role_recorded(unsigned volume, const drbd::Result<void>& result) override;
    void on_activated(drbd::Role role) override;
    void on_left() override;

    void take_role(drbd::Role role, const char* reason, uint64_t operation);
    void end_change();
    drbd::Result<void> check_role(unsigned volume, drbd::Role role, bool force) const;

    char name_[64];
    unsigned nr_volumes_;
    drbd::Random random_;
    drbd::RequestPool pool_;
    drbd::Notices notices_;
    std::unique_ptr<drbd::Volume> volumes_[DRBD_MAX_VOLUMES];
    drbd::Role role_ = drbd::Role::Secondary;
    uint64_t last_operation_ = 0;
    mutable char why_not_promotable_[DRBD_ERROR_SIZE] = "";

    // The change of role that is under way.
    struct RoleChange {
        uint64_t number = 0;  // 0: none
        drbd::Role role = drbd::Role::Secondary;
        unsigned waiting = 0;      // volumes that have not answered
        bool withdrawing = false;  // a volume failed; the others take it back
        char error[DRBD_ERROR_SIZE] = "";
    } change_;
};
