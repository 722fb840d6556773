// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/connection.h"

#include <algorithm>
#include <cstdio>

#include "core/connection/net_config.h"
#include "core/wire/encode.h"

namespace drbd {

namespace {

// A caller that comes later than this to a deadline was not running.
constexpr uint64_t kLateMs = 100;

}  // namespace

Connection::Connection(ConnectionListener& listener, PacketListener& packets, Random& random, const char* resource_name)
    : listener_(listener), link_(packets), sockets_(pool_, packets), establish_(sockets_, random) {
    std::snprintf(resource_name_, sizeof resource_name_, "%s", resource_name);
}

// ---- the administrator ----

Result<void> Connection::configure(const DrbdNetConfig& given) {
    auto completed = complete(given);
    if (!completed)
        return completed.error();
    DrbdNetConfig& config = completed.value();
    if (volumes_ > 1) {
        if (config.protocol_version_max < 100)
            return Error::of(ErrorCode::Invalid, "protocol-version-max %u: %u volumes need protocol 100 at least",
                             config.protocol_version_max, volumes_);
        config.protocol_version_min = std::max(config.protocol_version_min, 100u);
    }
    if (step_ != Step::StandAlone) {
        if (const char* name = first_fixed_difference(config_, config))
            return Error::of(ErrorCode::Refused, "%s cannot change while the resource looks for its peer or is "
                             "connected; disconnect first", name);
    }
    const bool tell = step_ == Step::Up && link_.is_up() && link_.agreement().version >= 100 &&
                      !same_policies(config_, config);
    config_ = config;
    configured_ = true;
    pings_.configure(config_);
    watch_data_.configure(config_.ko_count);
    if (step_ == Step::StandAlone)
        link_.set_protocol(static_cast<wire::ReplicationProtocol>(config_.protocol));
    if (tell)
        link_.send_data(wire::encode_protocol(link_.room(), link_.to_connection(), wire::Packet::ProtocolUpdate,
                                              parameters_of(config_, false)));
    return {};
}

void Connection::connect(bool discard_my_data) {
    DRBD_ASSERT(configured_ && step_ == Step::StandAlone);
    discard_my_data_ = discard_my_data;
    loss_ = {};
    reason_[0] = dial_error_[0] = listen_error_[0] = 0;
    step_ = Step::Waiting;
    retry_ms_ = 0;
    link_.set_protocol(static_cast<wire::ReplicationProtocol>(config_.protocol));
    sockets_.set_listening(true);
    listener_.on_phase(ConnectionState::Unconnected, reason_);
}

void Connection::stand_alone(const char* reason) {
    if (step_ == Step::StandAlone)
        return;
    loss_.pending = loss_.stand_alone = true;
    loss_.how = ConnectionState::Disconnecting;
    std::snprintf(loss_.why, sizeof loss_.why, "%s", reason);
    link_.drop(ConnectionState::Disconnecting, "%s", reason);
}

void Connection::expect_end() {
    if (step_ == Step::Up)
        end_expected_ms_ = now_ms() + step_timeout_ms();
}

ConnectionState Connection::phase() const {
    switch (step_) {
    case Step::StandAlone: return ConnectionState::StandAlone;
    case Step::Waiting: return ConnectionState::Unconnected;
    case Step::Establishing:
    case Step::Handshaking: return ConnectionState::WFConnection;
    case Step::Up: break;
    }
    return ConnectionState::WFReportParams;
}

// ---- the way up ----

void Connection::advance() {
    if (step_ == Step::Waiting && now_ms() >= retry_ms_ && sockets_.all_ended() && listener_.may_reconnect())
        begin_to_establish();
    if (step_ == Step::Handshaking && handshake_.is_refused() && !is_lost())
        fail(handshake_.refusal());
    if (step_ == Step::Establishing && establish_.found(now_ms()))
        begin_handshake();
}

void Connection::begin_to_establish() {
    step_ = Step::Establishing;
    establish_.begin({config_.connect_int * 1000ull, step_timeout_ms(), config_.socket_check_timeout * 100ull}, now_ms());
    listener_.on_phase(ConnectionState::WFConnection, reason_);
}

void Connection::begin_handshake() {
    data_ = establish_.data();
    meta_ = establish_.meta();
    establish_.end();
    step_ = Step::Handshaking;
    step_ends_ms_ = now_ms() + step_timeout_ms();
    if (auto begun = handshake_.begin(sockets_[data_], config_); !begun)
        fail(begun.error());
}

// Steps 4 to 7 of the handshake (spec 4.1).
void Connection::go_up() {
    const wire::Agreement agreement = handshake_.agreement();
    step_ = Step::Up;
    has_parameters_ = ping_due_ = false;
    peer_ = {};
    end_expected_ms_ = data_end_ms_ = UINT64_MAX;
    answer_to_end_expected_ = false;
    step_ends_ms_ = now_ms() + timeout_ms();
    sockets_[meta_].reader.agree(agreement);
    pings_.begin(config_, now_ms());
    watch_data_.begin(config_.ko_count);
    watch_meta_.begin(1);
    link_.set_integrity_digest_size(config_.data_integrity_alg[0] ? config_.integrity_digest_size : 0);
    link_.go_up(sockets_[data_].outbox, sockets_[meta_].outbox, agreement, establish_.accepted_meta());
    link_.send_data(wire::encode_protocol(link_.room(), link_.to_connection(), wire::Packet::Protocol,
                                          parameters_of(config_, discard_my_data_)));
    listener_.on_connection_up();
    if (!is_lost()) {
        reason_[0] = 0;
        listener_.on_phase(ConnectionState::WFReportParams, reason_);
    }
}

// ---- time ----

void Connection::on_clock(uint64_t now_ms) { link_.set_now(std::max(now_ms, link_.now_ms())); }

void Connection::on_time(uint64_t now_ms) {
    const uint64_t deadline = next_deadline_ms();
    const bool was_late = deadline != UINT64_MAX && now_ms > deadline && now_ms - deadline > kLateMs;
    on_clock(now_ms);
    establish_.on_time(link_.now_ms());
    if (is_lost())
        return;
    if (step_ == Step::Handshaking && link_.now_ms() >= step_ends_ms_)
        fail(ConnectionState::NetworkFailure, "the peer sent no %s for %llu ms, four times ping-timeout; let that be about the "
             "same on both nodes", handshake_.awaited(), static_cast<unsigned long long>(step_timeout_ms()));
    else if (step_ == Step::Up)
        check_keepalive(was_late);
}

void Connection::check_keepalive(bool was_late) {
    if (now_ms() >= end_expected_ms_) {
        link_.drop(ConnectionState::TearDown, "the peer has disconnected");
        return;
    }
    if (now_ms() >= data_end_ms_) {
        link_.drop(ConnectionState::BrokenPipe, "the peer closed the data stream and did not answer to the disconnect");
        return;
    }
    if (!has_parameters_ && now_ms() >= step_ends_ms_) {
        link_.drop(ConnectionState::Timeout, "the peer sent no P_PROTOCOL for %llu ms",
                   static_cast<unsigned long long>(timeout_ms()));
        return;
    }
    switch (watch_data_.check(now_ms(), timeout_ms(), was_late)) {
    case Pings::Due::Nothing: break;
    case Pings::Due::Ping: ping_due_ = true; break;
    case Pings::Due::Lost:
        link_.drop(ConnectionState::Timeout, "the peer took nothing from data for ko-count %u x timeout %u ms",
                   config_.ko_count, config_.timeout * 100);
        break;
    }
    if (watch_meta_.check(now_ms(), timeout_ms(), was_late) == Pings::Due::Lost)
        link_.drop(ConnectionState::Timeout, "the peer took nothing from meta for timeout %u ms", config_.timeout * 100);
    switch (pings_.check(now_ms(), was_late)) {
    case Pings::Due::Nothing: break;
    case Pings::Due::Ping: ping_due_ = true; break;
    case Pings::Due::Lost:
        link_.drop(ConnectionState::NetworkFailure, "the peer did not answer a ping in ping-timeout %u ms",
                   config_.ping_timeout * 100);
        break;
    }
}

uint64_t Connection::next_deadline_ms() const {
    uint64_t deadline = establish_.next_deadline_ms();
    switch (step_) {
    case Step::StandAlone:
    case Step::Establishing: break;
    case Step::Waiting:
        if (sockets_.all_ended() && listener_.may_reconnect())
            deadline = std::min(deadline, retry_ms_);
        break;
    case Step::Handshaking: deadline = std::min(deadline, step_ends_ms_); break;
    case Step::Up:
        deadline = std::min({deadline, end_expected_ms_, data_end_ms_, pings_.next_deadline_ms(),
                             watch_data_.next_deadline_ms(timeout_ms()), watch_meta_.next_deadline_ms(timeout_ms()),
                             has_parameters_ ? UINT64_MAX : step_ends_ms_});
        break;
    }
    return deadline;
}

// ---- sockets ----

bool Connection::next_action(DrbdNetAction& action) {
    return sockets_.next_action(action, config_.connect_int * 1000);
}

void Connection::on_listen_failed(const char* text) {
    if (!sockets_.is_listening())
        return;
    fail(ConnectionState::Disconnecting, "resource %s cannot listen for its peer: %s; free the address or configure "
         "another, then connect", resource_name_, text);
}

void Connection::on_listen_delayed(const char* text) { std::snprintf(listen_error_, sizeof listen_error_, "%s", text); }

void Connection::on_dialled(unsigned number, const char* error) {
    if (sockets_[number].use != SocketUse::Dialling)
        return;
    std::snprintf(dial_error_, sizeof dial_error_, "%s", error ? error : "");
    establish_.on_dialled(number, error == nullptr, now_ms());
}

int Connection::on_accepted() {
    if (step_ == Step::StandAlone || step_ == Step::Waiting || is_lost())
        return -1;
    // Strangers that say nothing must not keep the peer out.
    constexpr unsigned kFreshMax = 3;
    if (sockets_.count(SocketUse::Fresh) >= kFreshMax)
        sockets_.close(static_cast<unsigned>(sockets_.oldest_fresh()));
    return sockets_.take(SocketUse::Fresh, now_ms());
}

void Connection::on_eof(unsigned number, const char* error) {
    const Socket& socket = sockets_[number];
    if (socket.use == SocketUse::Free || socket.use == SocketUse::Closing || is_lost())
        return;
    if (step_ == Step::Establishing || !socket.is_stream()) {
        establish_.on_eof(number, now_ms());
        return;
    }
    const char* stream = socket.use == SocketUse::Data ? "data" : "meta";
    if (answer_to_end_expected_ && socket.use == SocketUse::Data) {
        data_end_ms_ = std::min(data_end_ms_, now_ms() + config_.ping_timeout * 100);
        return;
    }
    if (end_expected_ms_ != UINT64_MAX)
        fail(ConnectionState::TearDown, "the peer has disconnected");
    else if (error)
        fail(ConnectionState::NetworkFailure, "%s stream: %s", stream, error);
    else if (step_ == Step::Handshaking)
        fail(ConnectionState::BrokenPipe, "the peer closed the %s stream in the handshake; if that repeats, look there "
             "for the reason", stream);
    else
        fail(socket.use == SocketUse::Data ? ConnectionState::BrokenPipe : ConnectionState::NetworkFailure,
             "the peer closed the %s stream", stream);
}

uint32_t Connection::pending_sockets() const {
    uint32_t pending = 0;
    for (unsigned number = 0; number < DRBD_MAX_SOCKETS; number++)
        if (sockets_[number].is_stream() && sockets_[number].outbox.has_work())
            pending |= 1u << number;
    return pending;
}

bool Connection::next_send(unsigned number, DrbdSend& send) {
    Socket& socket = sockets_[number];
    return socket.is_stream() && socket.outbox.hand_out(send);
}

void Connection::on_sent(unsigned number, size_t bytes) {
    const SocketUse use = sockets_[number].use;
    sockets_.on_sent(number, bytes);
    if (bytes == 0 || (use != SocketUse::Data && use != SocketUse::Meta))
        return;
    sent_bytes_[use == SocketUse::Meta] += bytes;
    if (step_ == Step::Up)
        (use == SocketUse::Data ? watch_data_ : watch_meta_).on_progress(now_ms());
}

// ---- after every event ----

void Connection::pump() {
    if (is_lost())
        lose();
    advance();
    if (step_ == Step::Up && !is_lost()) {
        resume_stalled();
        send_pings();
        update_watches();
    }
    // A listener may have given up what has just come up.
    if (is_lost())
        lose();
}

void Connection::send_pings() {
    const bool wanted = link_.take_ping_request();
    if (!wanted && !ping_due_)
        return;
    ping_due_ = false;
    link_.send_meta(wire::encode_empty(link_.room(), link_.to_connection(), wire::Packet::Ping));
    pings_.on_sent(wanted, now_ms());
}

void Connection::update_watches() {
    watch_data_.update(!sockets_[data_].outbox.empty(), now_ms());
    watch_meta_.update(!sockets_[meta_].outbox.empty(), now_ms());
}

void Connection::fill_status(DrbdConnectionStatus& status) const {
    status.configured = configured_;
    status.state = name_of(phase());
    std::snprintf(status.reason, sizeof status.reason, "%s", reason_);
    if (step_ == Step::Establishing && listen_error_[0] != '\0')
        std::snprintf(status.reason, sizeof status.reason, "the peer cannot come yet: %.200s", listen_error_);
    else if (step_ == Step::Establishing && dial_error_[0] != '\0')
        std::snprintf(status.reason, sizeof status.reason, "%.100s%sthe peer is not reached: %.100s", reason_,
                      reason_[0] != '\0' ? "; since then " : "", dial_error_);
    const bool found = step_ == Step::Handshaking || step_ == Step::Up;
    status.has_data = found || establish_.has_data();
    status.has_meta = found || establish_.has_meta();
    status.resolve_conflicts = step_ == Step::Up && link_.resolve_conflicts();
    status.agreed_version = step_ == Step::Up ? link_.agreement().version : 0;
    status.agreed_features = step_ == Step::Up ? link_.agreement().features.bits : 0;
    status.times_connected = link_.times_up();
    status.times_lost = times_lost_;
    status.data_sent_bytes = sent_bytes_[0];
    status.meta_sent_bytes = sent_bytes_[1];
    status.data_received_bytes = received_bytes_[0];
    status.meta_received_bytes = received_bytes_[1];
    status.pings_sent = pings_.sent();
    status.pings_answered = pings_.answered();
    status.last_ping_ms = pings_.last_ms();
    status.send_queue = step_ == Step::Up ? sockets_[data_].outbox.packets() + sockets_[meta_].outbox.packets() : 0;
}

}  // namespace drbd
