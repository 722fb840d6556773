// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/api/resource.h"

#include <cstdio>
#include <new>

using namespace drbd;

DrbdResource::DrbdResource(const DrbdResourceConfig& config)
    : nr_volumes_(config.nr_volumes), random_(config.random_seed[0], config.random_seed[1]) {
    std::snprintf(name_, sizeof name_, "%s", config.name);
}

Result<void> DrbdResource::open_volume(unsigned number) {
    if (number >= nr_volumes_)
        return Error::of(ErrorCode::Invalid, "volume %u: resource '%s' has volumes 0 to %u (option 'volumes')", number,
                         name_, nr_volumes_ - 1);
    if (volumes_[number])
        return Error::of(ErrorCode::InUse, "volume %u of resource '%s' is open already, by another node", number, name_);
    volumes_[number].reset(new (std::nothrow) Volume(*this, number));
    if (!volumes_[number])
        return Error::of(ErrorCode::Exhausted, "not enough memory for volume %u", number);
    if (role_ == Role::Primary)
        volumes_[number]->take_role(0, role_, "the resource is Primary");
    return {};
}

void DrbdResource::close_volume(unsigned number) {
    DRBD_ASSERT(volume(number) && volumes_[number]->is_at_rest());
    volumes_[number].reset();
    on_left();
}

uint32_t DrbdResource::pending() const {
    uint32_t pending = 0;
    if (pool_.has_wake())
        pending |= DRBD_PENDING_WAKE;
    if (!notices_.empty())
        pending |= DRBD_PENDING_NOTICE;
    for (unsigned i = 0; i < nr_volumes_; i++)
        if (volumes_[i] && volumes_[i]->has_job())
            pending |= 1u << (DRBD_PENDING_JOB_SHIFT + i);
    return pending;
}

Result<uint64_t> DrbdResource::set_role(Role role, bool force) {
    if (change_.number != 0)
        return Error::of(ErrorCode::InUse, "operation %llu (set-role) is pending: wait for its end",
                         static_cast<unsigned long long>(change_.number));
    if (role == role_) {
        const uint64_t number = new_operation_number();
        notices_.operation(-1, number, "set-role", true, "");
        return number;
    }
    for (unsigned i = 0; i < nr_volumes_; i++) {
        const Volume* v = volumes_[i].get();
        if (!v && role == Role::Secondary)
            continue;
        if (v && v->operation().pending())
            return Error::of(ErrorCode::InUse, "operation %llu (%s) is pending on volume %u: wait for its end",
                             static_cast<unsigned long long>(v->operation().number), name_of(v->operation().kind), i);
        if (auto allowed = check_role(i, role, force); !allowed)
            return allowed.error();
    }

    change_ = {.number = new_operation_number(), .role = role, .waiting = 1};
    const uint64_t number = change_.number;
    for (unsigned i = 0; i < nr_volumes_; i++) {
        if (volumes_[i] && volumes_[i]->is_attached()) {
            change_.waiting++;
            volumes_[i]->record_role(number, role, force);
        }
    }
    end_change();  // gives back the count of this loop
    return number;
}

void DrbdResource::on_role_recorded(unsigned volume, const Result<void>& result) {
    if (!result.ok() && !change_.withdrawing && change_.error[0] == '\0')
        std::snprintf(change_.error, sizeof change_.error, "volume %u: %.200s", volume, result.error().text);
    end_change();
}

// One of those that the change waits for has answered.
void DrbdResource::end_change() {
    DRBD_ASSERT(change_.waiting > 0);
    if (--change_.waiting > 0)
        return;
    // A demotion stands even where a disk was lost over it; a promotion of
    // some volumes does not.
    if (change_.error[0] != '\0' && change_.role == Role::Primary && !change_.withdrawing) {
        change_.withdrawing = true;
        change_.waiting = 1;
        for (unsigned i = 0; i < nr_volumes_; i++)
            if (volumes_[i] && volumes_[i]->is_attached() && !volumes_[i]->operation().pending()) {
                change_.waiting++;
                volumes_[i]->withdraw_role(change_.number);
            }
        end_change();
        return;
    }
    const RoleChange change = change_;
    change_ = {};
    if (!change.withdrawing)
        take_role(change.role, "set by the administrator", change.number);
    notices_.operation(-1, change.number, "set-role", !change.withdrawing, change.withdrawing ? change.error : "");
}

void DrbdResource::take_role(Role role, const char* reason, uint64_t operation) {
    if (role == role_)
        return;
    notices_.state(-1, operation, "role", name_of(role_), name_of(role), reason);
    role_ = role;
    for (auto& volume : volumes_)
        if (volume)
            volume->take_role(operation, role, reason);
}

void DrbdResource::on_activated(Role role) {
    take_role(role, "activated in the role of before", 0);
}

// The last disk was left in an orderly way: nobody can write any more.
void DrbdResource::on_left() {
    for (const auto& volume : volumes_)
        if (volume && (volume->is_attached() || volume->operation().pending()))
            return;
    take_role(Role::Secondary, "the last volume was closed", 0);
}

Result<void> DrbdResource::check_role(unsigned number, Role role, bool force) const {
    const Volume* v = volumes_[number].get();
    if (!v)
        return Error::of(ErrorCode::Refused, "volume %u of resource '%s' is not open: a role concerns all volumes", number,
                         name_);
    const StateVerdict verdict = v->may_change_role(role, force);
    if (verdict.ok())
        return {};
    return Error::of(ErrorCode::Refused, "volume %u cannot become %s: %s (disk %s)%s", number, name_of(role),
                     verdict.reason, name_of(v->state().disk),
                     verdict.code == StateCode::NoUpToDateDisk && !force && v->is_attached()
                         ? "; 'force' declares this node's data good"
                         : "");
}

const char* DrbdResource::why_not_promotable() const {
    for (unsigned i = 0; i < nr_volumes_; i++) {
        if (auto allowed = check_role(i, Role::Primary, false); !allowed) {
            std::snprintf(why_not_promotable_, sizeof why_not_promotable_, "%s", allowed.error().text);
            return why_not_promotable_;
        }
    }
    return nullptr;
}
