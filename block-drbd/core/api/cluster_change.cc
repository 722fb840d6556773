// SPDX-License-Identifier: GPL-2.0-or-later
// Changes that both nodes must agree to (spec 5.6, 5.7): asking the peer and
// waiting for its answer, answering it, and the graceful end of the connection.
// One question of ours at a time.  What the peer is told to be done is on the
// disk before it is told.
#include <cstdio>

#include "core/api/resource.h"
#include "core/wire/decode.h"

using namespace drbd;
using wire::Frame;
using wire::Packet;

bool DrbdResource::ask_peer(unsigned volume, const wire::StateChange& change) {
    return ask(Question::Operation, volume, change);
}

bool DrbdResource::ask(Question question, unsigned volume, const wire::StateChange& change) {
    Link& link = connection_.link();
    if (asked_.question != Question::None || !link.is_up())
        return false;
    asked_ = {.question = question, .volume = volume, .since_ms = link.now_ms()};
    if (question == Question::End)
        connection_.expect_answer_to_end();
    const bool whole = question == Question::End && link.agreement().version >= 100;
    link.send_data(wire::encode_state_change_request(
        link.room(), whole ? link.to_connection() : link.to(volume),
        whole ? Packet::ConnectionStateChangeRequest : Packet::StateChangeRequest, change));
    return true;
}

Result<void> DrbdResource::on_answer(const Frame& frame) {
    auto code = wire::decode_state_change_reply(frame);
    if (!code)
        return code.error();
    const bool whole = frame.packet() == Packet::ConnectionStateChangeReply;
    const auto asked = asked_;
    const bool ended_by_volume = asked.question == Question::End && connection_.link().agreement().version < 100;
    if (asked.question == Question::None || (!ended_by_volume && whole != (asked.question == Question::End)))
        return Error::of(ErrorCode::Protocol, "%s: nothing was asked", name_of(frame.packet()));
    asked_ = {};
    const StateCode answered = static_cast<StateCode>(code.value() < -128 || code.value() > 127 ? 0 : code.value());
    switch (asked.question) {
    case Question::Operation:
        if (Volume* volume = this->volume(asked.volume))
            volume->peer_answered(answered, text_of(answered));
        break;
    case Question::Role:
        role_answered(answered);
        break;
    case Question::End:
        connection_.answer_to_end_came();
        end_answered(answered);
        break;
    case Question::None:
        break;
    }
    if (change_.phase == RolePhase::AskPeer)
        ask_next_volume();
    return {};
}

// ---- what the peer asks ----

Result<void> DrbdResource::on_question(const Frame& frame) {
    auto asked = wire::decode_state_change_request(frame);
    if (!asked)
        return asked.error();
    const bool whole = frame.packet() == Packet::ConnectionStateChangeRequest;
    const Packet reply = whole ? Packet::ConnectionStateChangeReply : Packet::StateChangeReply;
    if (to_answer_.waits) {  // a kernel asks for each volume by itself (spec 5.6)
        answer(reply, frame.volume, StateCode::InTransientState);
        return {};
    }
    to_answer_.packet = reply;
    to_answer_.volume = frame.volume;
    to_answer_.ends = false;
    // Both ask at once: one of them must give way, and both know which (trap 37).
    if (asked_.question != Question::None && connection_.link().resolve_conflicts()) {
        answer(reply, frame.volume, StateCode::ConcurrentChange);
        return {};
    }
    if (asked.value().connection == ConnectionState::Disconnecting) {
        take_end_request(asked.value());
        return {};
    }
    Volume* volume = whole ? nullptr : this->volume(frame.volume);
    if (asked.value().role == Role::Primary && (becomes_primary() || (!volume && role_ == Role::Primary))) {
        answer(reply, frame.volume, StateCode::TwoPrimaries);
        return {};
    }
    if (!volume) {
        // Nobody here has a say in a volume that is not here; there is nothing to give either.
        const bool leaves_all = asked.value().role || asked.value().disk == DiskState::Failed;
        answer(reply, frame.volume, leaves_all && !whole ? StateCode::Success : StateCode::NotSupported);
        return {};
    }
    if (volume->state().connection < ConnectionState::Connected) {
        answer(reply, frame.volume, StateCode::InTransientState);
        return {};
    }
    const StateVerdict verdict = volume->on_peer_asks(asked.value());
    if (!verdict.ok())
        answer(reply, frame.volume, verdict.code);
    else
        to_answer_.waits = true;  // until it is recorded
    return {};
}

// The peer leaves.  An outdating that is not possible does not keep it (5.7).
void DrbdResource::take_end_request(const wire::StateChange& asked) {
    if (asked.peer_disk == DiskState::Outdated && role_ == Role::Primary) {
        answer(to_answer_.packet, to_answer_.volume, StateCode::PrimaryNop);
        return;
    }
    if (volume_served_by_peer() >= 0) {
        answer(to_answer_.packet, to_answer_.volume, StateCode::NoUpToDateDisk);
        return;
    }
    // Both leave at once: the peer may have agreed to what was asked for here before it asked, and its answer is not read any more.
    const bool own_terms = ending_.is_asked && ending_.terms.outdates_itself;
    const EndTerms terms = {.peer_outdates_itself = asked.disk == DiskState::Outdated,
                            .outdates_itself = asked.peer_disk == DiskState::Outdated || own_terms};
    for (auto& volume : volumes_)
        if (volume)
            volume->tear_down(terms, "the peer disconnects");
    to_answer_.waits = to_answer_.ends = true;
}

void DrbdResource::answer(Packet packet, unsigned volume, StateCode code) {
    Link& link = connection_.link();
    const bool whole = packet == Packet::ConnectionStateChangeReply;
    link.send_meta(wire::encode_state_change_reply(link.room(), whole ? link.to_connection() : link.to(volume), packet,
                                                   static_cast<int>(code)));
}

void DrbdResource::answer_when_recorded() {
    if (!to_answer_.waits)
        return;
    for (const auto& volume : volumes_)
        if (volume && !volume->is_recorded())
            return;
    to_answer_.waits = false;
    answer(to_answer_.packet, to_answer_.volume, StateCode::Success);
    if (to_answer_.ends)
        connection_.expect_end();
}

// ---- the graceful end ----

// A volume whose guest here lives on the peer's disk alone, or -1.
int DrbdResource::volume_served_by_peer() const {
    for (unsigned i = 0; i < nr_volumes_; i++) {
        const Volume* v = volumes_[i].get();
        if (v && v->is_connected() && v->state().role == Role::Primary && v->state().disk < DiskState::UpToDate &&
            v->state().peer_disk == DiskState::UpToDate)
            return static_cast<int>(i);
    }
    return -1;
}

Result<uint64_t> DrbdResource::disconnect(bool force) {
    if (ending_.number != 0 && !force)
        return Error::of(ErrorCode::InUse, "operation %llu (disconnect) is pending: wait for its end, or force it",
                         static_cast<unsigned long long>(ending_.number));
    if (const int served = volume_served_by_peer(); served >= 0 && !force)
        return Error::of(ErrorCode::Refused,
                         "disconnect is refused: this node is Primary and only the peer has UpToDate data of volume %d; "
                         "attach a disk and let it be resynced, or make the node Secondary, or force it",
                         served);
    const uint64_t number = new_operation_number();
    if (ending_.number != 0)
        notices_.operation(-1, ending_.number, "disconnect", true, "");
    ending_ = {};
    ending_.number = number;
    if (force || !connection_.link().is_up())
        end_connection(false);
    else
        ask_for_end();
    return number;
}

// First with an outdating of the copy that stays behind: it must not be taken
// for the newest.  A peer that refuses that is left all the same.
void DrbdResource::ask_for_end() {
    ending_.is_asked = false;
    ending_.terms = {};
    if (to_answer_.waits && to_answer_.ends)
        return;  // the peer leaves, too, and is owed a word first; settle() comes back
    wire::StateChange asked;
    asked.connection = ConnectionState::Disconnecting;
    if (ending_.attempt == 0) {
        for (const auto& volume : volumes_) {
            if (!volume || !volume->is_connected())
                continue;
            const State& s = volume->state();
            const bool both = s.disk == DiskState::UpToDate && volume->peer_disk_at_end() == DiskState::UpToDate;
            ending_.terms.peer_outdates_itself |= both && s.role == Role::Primary;
            ending_.terms.outdates_itself |= both && s.peer == Role::Primary && s.role != Role::Primary;
        }
        if (ending_.terms.peer_outdates_itself)
            asked.peer_disk = DiskState::Outdated;
        if (ending_.terms.outdates_itself)
            asked.disk = DiskState::Outdated;
    }
    ending_.is_asked = ask(Question::End, 0, asked);  // else something else is being asked, and settle() comes back
}

void DrbdResource::end_answered(StateCode code) {
    if (ending_.number == 0)
        return;
    if (code == StateCode::NoUpToDateDisk) {
        const uint64_t number = ending_.number;
        ending_ = {};
        notices_.operation(-1, number, "disconnect", false,
                           "the peer is Primary and lives on this node's data alone; end its role first, or force it");
        return;
    }
    if (static_cast<int>(code) < 1 && ending_.attempt == 0) {
        ending_.attempt = 1;
        ask_for_end();
        return;
    }
    end_connection(static_cast<int>(code) >= 1);
}

void DrbdResource::end_connection(bool told) {
    const auto ending = ending_;
    ending_ = {};
    if (told)
        for (auto& volume : volumes_)
            if (volume)
                volume->prepare_end(ending.terms);
    connection_.stand_alone("disconnected by the administrator");
    notices_.operation(-1, ending.number, "disconnect", true, "");
}
