// SPDX-License-Identifier: GPL-2.0-or-later
// The one road on which a peer is lost (spec 1.7): whatever went wrong, whoever
// found it, the same steps in the same order, from pump() alone.
//   1. the link goes down: nothing is sent any more
//   2. the loss is told, or, if the connection was not up, the phase alone
//   3. what was queued is thrown away, its owners are told
//   4. every socket is closed
//   5. StandAlone; or Unconnected, and a new attempt after a second at least,
//      when everything of this connection has ended
#include <cstdarg>
#include <cstdio>

#include "core/connection/connection.h"

namespace drbd {

namespace {

constexpr uint64_t kRetryMs = 1000;

}  // namespace

void Connection::fail(const Error& error) {
    fail(error.code == ErrorCode::Incompatible ? ConnectionState::Disconnecting
         : error.code == ErrorCode::Protocol   ? ConnectionState::ProtocolError
                                               : ConnectionState::NetworkFailure,
         "%s", error.text);
}

void Connection::fail(ConnectionState how, const char* format, ...) {
    if (step_ == Step::StandAlone || is_lost())
        return;
    loss_.pending = true;
    loss_.how = how;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(loss_.why, sizeof loss_.why, format, arguments);
    va_end(arguments);
    link_.drop(how, "%s", loss_.why);
}

void Connection::lose() {
    // The administrator's word goes first, then whoever was first.
    ConnectionState how = loss_.how;
    if (!loss_.stand_alone && link_.is_dropped()) {
        how = link_.dropped_how();
        std::snprintf(reason_, sizeof reason_, "%s", link_.dropped_why());
    } else {
        std::snprintf(reason_, sizeof reason_, "%s", loss_.why);
    }
    loss_ = {};
    tear_down(how);
}

void Connection::tear_down(ConnectionState how) {
    const bool was_up = step_ == Step::Up;
    if (establish_.is_running())
        establish_.end();
    bool stand_alone = how == ConnectionState::Disconnecting;
    step_ = Step::Waiting;
    retry_ms_ = now_ms() + kRetryMs;
    end_expected_ms_ = data_end_ms_ = UINT64_MAX;
    answer_to_end_expected_ = false;
    has_parameters_ = false;
    if (was_up) {
        link_.go_down();
        times_lost_++;
    }
    if (was_up)
        listener_.on_connection_lost(how, reason_);
    else
        listener_.on_phase(how, reason_);
    // The hub had asked the peer for an orderly end: then the loss is that end.
    if (loss_.stand_alone && !stand_alone) {
        stand_alone = true;
        std::snprintf(reason_, sizeof reason_, "%s", loss_.why);
        listener_.on_phase(ConnectionState::Disconnecting, reason_);  // no way leads from a loss to StandAlone
    }
    if (stand_alone)
        sockets_.set_listening(false);
    for (const SocketUse use : {SocketUse::Data, SocketUse::Meta, SocketUse::Fresh, SocketUse::Dialling})
        sockets_.close_all(use);
    step_ = stand_alone ? Step::StandAlone : Step::Waiting;
    loss_ = {};
    listener_.on_phase(phase(), reason_);
}

}  // namespace drbd
