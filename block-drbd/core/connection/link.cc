// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/link.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace drbd {

void Link::send(Outbox* outbox, wire::Encoded header, const Payload& payload, const Owner& owner) {
    if (is_up()) {
        if (outbox->push(header, payload, owner))
            return;
        drop(ConnectionState::NetworkFailure, "the peer does not read: more than %u packets wait to be sent",
             kControlPacketsMax);
    }
    if (owner.kind != PacketOwner::None)
        listener_.on_packet_left(owner, false);
}

void Link::send_data(wire::Encoded header, const Payload& payload, const Owner& owner) {
    send(data_, header, payload, owner);
}

void Link::send_meta(wire::Encoded header, const Payload& payload, const Owner& owner) {
    send(meta_, header, payload, owner);
}

void Link::drop(ConnectionState how, const char* format, ...) {
    if (!up_ || dropped_)
        return;
    dropped_ = true;
    dropped_how_ = how;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(dropped_why_, sizeof dropped_why_, format, arguments);
    va_end(arguments);
}

void Link::drop(const Error& error) {
    drop(error.code == ErrorCode::Incompatible ? ConnectionState::Disconnecting : ConnectionState::ProtocolError, "%s",
         error.text);
}

void Link::go_up(Outbox& data, Outbox& meta, const wire::Agreement& agreement, bool resolve_conflicts) {
    DRBD_ASSERT(!up_ && agreement.version != 0);
    data_ = &data;
    meta_ = &meta;
    agreement_ = agreement;
    resolve_conflicts_ = resolve_conflicts;
    up_ = true;
    dropped_ = ping_requested_ = false;
    times_up_++;
    std::memset(sequence_, 0, sizeof sequence_);
}

void Link::go_down() {
    DRBD_ASSERT(up_);
    up_ = dropped_ = false;
    data_ = meta_ = nullptr;
    agreement_ = {};
}

}  // namespace drbd
