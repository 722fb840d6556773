// SPDX-License-Identifier: GPL-2.0-or-later
// The connection as those see it who send packets on it: what was agreed, the
// way into the two streams, the sequence numbers, the time, and the one way to
// give it up.  connection.h makes a link and ends it; requests, peer requests
// and resync use it.
// Invariants: what is sent while the link is down goes nowhere, and its owner is
// told so at once; drop() takes effect before the current event of the core
// ends (Connection::pump), and nothing is sent after it.
#pragma once

#include <cstdint>

#include "core/connection/outbox.h"
#include "core/state/state.h"
#include "core/wire/values.h"

namespace drbd {

class Link {
  public:
    explicit Link(PacketListener& listener) : listener_(listener) {}
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    // ---- for those who send ----

    // Streams exist, versions are agreed, and nobody has given it up.
    bool is_up() const { return up_ && !dropped_; }
    const wire::Agreement& agreement() const { return agreement_; }
    wire::To to(unsigned volume) const { return {agreement_, static_cast<uint16_t>(volume)}; }
    wire::To to_connection() const { return {agreement_, 0}; }
    wire::ReplicationProtocol protocol() const { return protocol_; }
    bool resolve_conflicts() const { return resolve_conflicts_; }  // RC-flag (spec 1.3)
    uint64_t now_ms() const { return now_ms_; }
    bool has_integrity() const { return integrity_digest_size_ != 0; }
    uint32_t integrity_digest_size() const { return integrity_digest_size_; }  // on what we send
    uint64_t times_up() const { return times_up_; }  // which connection this is

    // Where to encode a packet; valid until it is sent.
    wire::Room room() { return room_; }
    void send_data(wire::Encoded header, const Payload& payload = {}, const Owner& owner = {});
    void send_meta(wire::Encoded header, const Payload& payload = {}, const Owner& owner = {});

    // Per volume, shared by writes on data and acknowledgements on meta (spec 6.7).
    uint32_t next_sequence(unsigned volume) { return ++sequence_[volume]; }

    // Sends a P_PING; ConnectionListener::on_ping_answered() follows if the
    // link lives.  Several at once share one.
    void request_ping() { ping_requested_ = true; }

    // The peer breaks the protocol, is too slow, or cannot be talked to any
    // more.  `how`: Timeout..TearDown is tried again, Disconnecting is not.
    // The first reason stands.
    [[gnu::format(printf, 3, 4)]] void drop(ConnectionState how, const char* format, ...);
    // As the error's code says: Protocol drops and tries again, Incompatible stands alone.
    void drop(const Error& error);

    // ---- for Connection ----

    void go_up(Outbox& data, Outbox& meta, const wire::Agreement& agreement, bool resolve_conflicts);
    void go_down();
    void set_protocol(wire::ReplicationProtocol protocol) { protocol_ = protocol; }
    void set_integrity_digest_size(uint32_t size) { integrity_digest_size_ = size; }
    void set_now(uint64_t now_ms) { now_ms_ = now_ms; }
    bool is_dropped() const { return dropped_; }
    bool needs_attention() const { return dropped_ || ping_requested_; }
    ConnectionState dropped_how() const { return dropped_how_; }
    const char* dropped_why() const { return dropped_why_; }
    bool take_ping_request() {
        const bool requested = ping_requested_;
        ping_requested_ = false;
        return requested;
    }

  private:
    void send(Outbox* outbox, wire::Encoded header, const Payload& payload, const Owner& owner);

    PacketListener& listener_;
    Outbox* data_ = nullptr;
    Outbox* meta_ = nullptr;
    wire::Agreement agreement_;
    wire::ReplicationProtocol protocol_ = wire::ReplicationProtocol::C;
    bool up_ = false;
    bool resolve_conflicts_ = false;
    bool ping_requested_ = false;
    uint32_t integrity_digest_size_ = 0;
    uint64_t now_ms_ = 0;
    uint64_t times_up_ = 0;
    uint32_t sequence_[DRBD_MAX_VOLUMES] = {};
    bool dropped_ = false;
    ConnectionState dropped_how_ = ConnectionState::NetworkFailure;
    char dropped_why_[DRBD_ERROR_SIZE] = "";
    uint8_t room_[wire::kPacketSizeMax];
};

}  // namespace drbd
