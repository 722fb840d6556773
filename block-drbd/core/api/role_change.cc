// SPDX-License-Identifier: GPL-2.0-or-later
// The change of the role: all volumes or none (resource.h, spec 5.8).  A
// promotion first makes sure that a peer that seems connected is alive (a ping),
// gives it a moment if it is Primary still, then asks it for every volume, then
// has the role recorded on every disk, and only then takes it.  If the peer is lost over it, what is allowed without it
// counts.  If one disk fails, the others take their record back.
#include <cstdio>

#include "core/api/resource.h"

using namespace drbd;

Result<void> DrbdResource::check_activation(unsigned volume, bool primary) const {
    if (!primary || role_ == Role::Primary)
        return {};
    for (unsigned i = 0; i < nr_volumes_; i++) {
        const Volume* other = volumes_[i].get();
        if (other && other->state().peer == Role::Primary)
            return Error::of(ErrorCode::Refused,
                             "the peer has become Primary meanwhile: make it Secondary there, or stop the guest here and "
                             "make this node Secondary");
        if (!other || i == volume || !other->needs_disk() || other->activates_as_primary())
            continue;
        return Error::of(ErrorCode::Refused, "volume %u is attached as Secondary: it cannot follow into the Primary role", i);
    }
    return {};
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
        if (!v && role == Role::Primary)
            return check_role(i, role, force).error();
        if (v && v->operation().pending())
            return Error::of(ErrorCode::InUse, "operation %llu (%s) is pending on volume %u: wait for its end",
                             static_cast<unsigned long long>(v->operation().number), name_of(v->operation().kind), i);
    }
    const bool ask = role == Role::Primary && connection_.link().is_up();
    if (!ask)
        if (auto allowed = check_roles(role, force); !allowed)
            return allowed.error();

    change_ = {.number = new_operation_number(), .role = role, .force = force};
    const uint64_t number = change_.number;
    if (ask) {
        change_.phase = RolePhase::Handshake;
        go_on_with_role();
    } else {
        record_role();
    }
    return number;
}

Result<void> DrbdResource::check_roles(Role role, bool force) const {
    for (unsigned i = 0; i < nr_volumes_; i++) {
        if (!volumes_[i] && role == Role::Secondary)
            continue;
        if (auto allowed = check_role(i, role, force); !allowed)
            return allowed;
    }
    return {};
}

// The peer is there, or was: whatever comes from it leads here.
void DrbdResource::go_on_with_role() {
    switch (change_.phase) {
    case RolePhase::Handshake:
        if (volume_in_handshake() >= 0)
            return;
        change_.phase = RolePhase::Ping;
        connection_.link().request_ping();
        return;
    case RolePhase::Ping:  // it is alive
        if (auto allowed = check_roles(change_.role, change_.force); !allowed) {
            if (change_.peer_primary_since_ms == kNotTimed && peer_keeps_role_from_us()) {
                change_.peer_primary_since_ms = now_ms();
                change_.phase = RolePhase::PeerDemotion;
            } else {
                fail_role(allowed.error().text);
            }
            return;
        }
        change_.phase = RolePhase::AskPeer;
        change_.volume = 0;
        ask_next_volume();
        return;
    case RolePhase::PeerDemotion:
        if (peer_keeps_role_from_us() && now_ms() < role_deadline_ms())
            return;
        change_.phase = RolePhase::Handshake;  // once more, from the ping on
        go_on_with_role();
        return;
    case RolePhase::None:
    case RolePhase::AskPeer:
    case RolePhase::Record:
        return;
    }
}

// This node's own promotion is agreed on or, where a hand-over gives it the role, not asked for.
bool DrbdResource::becomes_primary() const {
    if (change_.number != 0 && change_.role == Role::Primary && change_.phase == RolePhase::Record)
        return true;
    for (const auto& volume : volumes_)
        if (volume && volume->activates_as_primary())
            return true;
    return false;
}

bool DrbdResource::peer_keeps_role_from_us() const {
    for (const auto& volume : volumes_)
        if (volume && volume->may_change_role(change_.role, change_.force).code == StateCode::TwoPrimaries)
            return true;
    return false;
}

// A demotion that is over on the peer may still be on its way here: the promotion that
// follows it waits for that as long as the kernel's does (spec 5.8).
uint64_t DrbdResource::role_deadline_ms() const {
    if (change_.phase != RolePhase::PeerDemotion)
        return kNotTimed;
    return change_.peer_primary_since_ms + (uint64_t{connection_.config().ping_timeout} + 1) * 100;
}

void DrbdResource::ask_next_volume() {
    if (asked_.question != Question::None)
        return;  // another question first; its end leads back here
    while (change_.volume < nr_volumes_ && (!volumes_[change_.volume] || volumes_[change_.volume]->peer_lacks_volume()))
        change_.volume++;
    if (change_.volume == nr_volumes_) {
        // Its disk may have come, or gone, before its last answer.
        if (auto allowed = check_roles(change_.role, change_.force); !allowed)
            give_up_role(allowed.error().text);
        else
            record_role();
        return;
    }
    wire::StateChange asked;
    asked.role = Role::Primary;
    ask(Question::Role, change_.volume, asked);
}

void DrbdResource::role_answered(StateCode code) {
    if (change_.phase != RolePhase::AskPeer)
        return;
    if (static_cast<int>(code) >= 1) {
        change_.volume++;
        ask_next_volume();
        return;
    }
    char text[DRBD_ERROR_SIZE];
    std::snprintf(text, sizeof text, "volume %u: the peer refuses: %s", change_.volume, text_of(code));
    give_up_role(text);
}

// The peer has agreed for some volumes already: it hears that nothing came of it.
void DrbdResource::give_up_role(const char* text) {
    for (unsigned i = 0; i < change_.volume; i++)
        if (volumes_[i])
            volumes_[i]->send_state();
    fail_role(text);
}

// A peer that is gone cannot refuse (spec 5.8; failover).
void DrbdResource::role_link_lost() {
    if (change_.phase == RolePhase::None || change_.phase == RolePhase::Record)
        return;
    change_.unreachable = true;
    if (auto allowed = check_roles(change_.role, change_.force); !allowed)
        fail_role(allowed.error().text);
    else
        record_role();
}

void DrbdResource::fail_role(const char* text) {
    const uint64_t number = change_.number;
    change_ = {};
    notices_.operation(-1, number, "set-role", false, text);
}

void DrbdResource::record_role() {
    change_.phase = RolePhase::Record;
    change_.waiting = 1;
    for (unsigned i = 0; i < nr_volumes_; i++) {
        if (volumes_[i] && volumes_[i]->concerns_role(change_.role) && !volumes_[i]->operation().pending()) {
            change_.waiting++;
            volumes_[i]->record_role(change_.number, change_.role, change_.force);
        }
    }
    end_role_record();  // gives back the count of this loop
}

void DrbdResource::on_role_recorded(unsigned volume, const Result<void>& result) {
    if (!result.ok() && !change_.withdrawing && change_.error[0] == '\0')
        std::snprintf(change_.error, sizeof change_.error, "volume %u: %.200s", volume, result.error().text);
    end_role_record();
}

// One of those that the change waits for has answered.
void DrbdResource::end_role_record() {
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
        end_role_record();
        return;
    }
    const RoleChange change = change_;
    change_ = {};
    if (change.withdrawing) {
        for (auto& volume : volumes_)
            if (volume)
                volume->send_state();
    } else {
        take_role(change.role, "set by the administrator", change.number);
        if (change.role == Role::Primary)
            connection_.clear_discard_my_data();
        if (change.role == Role::Primary && connection_.is_configured() && !connection_.link().is_up())
            notices_.warning(-1, "Primary without a peer%s: if the peer is Primary too, the data splits (fencing is off)",
                             change.unreachable ? ", which did not answer" : "");
    }
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

Result<void> DrbdResource::check_role(unsigned number, Role role, bool force) const {
    const Volume* v = volumes_[number].get();
    if (!v)
        return Error::of(ErrorCode::Refused, "volume %u of resource '%s' is not open: a role concerns all volumes", number,
                         name_);
    const StateVerdict verdict = v->may_change_role(role, force);
    if (verdict.ok())
        return {};
    const char* hint = "";
    if (verdict.code == StateCode::NoUpToDateDisk && !force && v->is_attached())
        hint = "; 'force' declares this node's data good";
    else if (verdict.code == StateCode::TwoPrimaries)
        hint = "; make the peer Secondary first";
    char peer[64] = "";
    if (v->is_connected())
        std::snprintf(peer, sizeof peer, ", peer %s, %s", name_of(v->state().peer), name_of(v->state().connection));
    return Error::of(ErrorCode::Refused, "volume %u cannot become %s: %s (disk %s%s)%s", number, name_of(role),
                     verdict.reason, name_of(v->state().disk), peer, hint);
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
