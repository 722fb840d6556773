// SPDX-License-Identifier: GPL-2.0-or-later
// The C border, the part of the network: drbd-core.h in terms of Resource and
// Connection.  No decision is made here; settle() ends every event.
#include <cstdio>

#include "core/api/resource.h"

using namespace drbd;

bool drbd_on_net_config(DrbdResource* resource, const DrbdNetConfig* config, char error[DRBD_ERROR_SIZE]) {
    const auto result = resource->configure(*config);
    if (!result)
        std::snprintf(error, DRBD_ERROR_SIZE, "%s", result.error().text);
    resource->settle();
    return result.ok();
}

uint64_t drbd_on_connect(DrbdResource* resource, bool discard_my_data, char error[DRBD_ERROR_SIZE]) {
    const auto result = resource->connect(discard_my_data);
    if (!result)
        std::snprintf(error, DRBD_ERROR_SIZE, "%s", result.error().text);
    resource->settle();
    return result ? result.value() : 0;
}

uint64_t drbd_on_disconnect(DrbdResource* resource, bool force, char error[DRBD_ERROR_SIZE]) {
    const auto result = resource->disconnect(force);
    if (!result)
        std::snprintf(error, DRBD_ERROR_SIZE, "%s", result.error().text);
    resource->settle();
    return result ? result.value() : 0;
}

void drbd_on_clock(DrbdResource* resource, uint64_t now_ms) { resource->connection().on_clock(now_ms); }

void drbd_on_time(DrbdResource* resource, uint64_t now_ms) {
    resource->on_time(now_ms);
    resource->settle();
}

uint64_t drbd_next_deadline_ms(DrbdResource* resource) { return resource->next_deadline_ms(); }

bool drbd_next_net_action(DrbdResource* resource, DrbdNetAction* action) {
    return resource->connection().next_action(*action);
}

void drbd_on_listen_delayed(DrbdResource* resource, const char* text) {
    resource->connection().on_listen_delayed(text ? text : "");
}

void drbd_on_listen_failed(DrbdResource* resource, const char* text) {
    resource->connection().on_listen_failed(text);
    resource->settle();
}

void drbd_on_dialled(DrbdResource* resource, unsigned socket, const char* error) {
    resource->connection().on_dialled(socket, error);
    resource->settle();
}

int drbd_on_accepted(DrbdResource* resource) {
    const int socket = resource->connection().on_accepted();
    resource->settle();
    return socket;
}

void drbd_on_closed(DrbdResource* resource, unsigned socket) {
    resource->connection().on_closed(socket);
    resource->settle();
}

DrbdReceive drbd_on_bytes(DrbdResource* resource, unsigned socket, const void* bytes, size_t length, size_t* taken,
                          DrbdBulk* bulk) {
    const DrbdReceive outcome = resource->connection().on_bytes(
        socket, {static_cast<const uint8_t*>(bytes), length}, *taken, *bulk);
    resource->settle();
    return outcome;
}

void drbd_on_bulk(DrbdResource* resource, unsigned socket, void* buffer, bool digest_ok) {
    resource->connection().on_bulk(socket, buffer, digest_ok);
    resource->settle();
}

void drbd_on_eof(DrbdResource* resource, unsigned socket, const char* error) {
    resource->connection().on_eof(socket, error);
    resource->settle();
}

bool drbd_may_receive(const DrbdResource* resource, unsigned socket) {
    return resource->connection().may_receive(socket);
}

uint32_t drbd_pending_sockets(const DrbdResource* resource) { return resource->connection().pending_sockets(); }

bool drbd_next_send(DrbdResource* resource, unsigned socket, DrbdSend* send) {
    return resource->connection().next_send(socket, *send);
}

void drbd_on_sent(DrbdResource* resource, unsigned socket, size_t bytes) {
    resource->connection().on_sent(socket, bytes);
    resource->settle();
}

bool drbd_next_peer_io(DrbdResource* resource, DrbdPeerIo* io) { return resource->next_peer_io(*io); }

void drbd_on_peer_io_done(DrbdResource* resource, uint32_t id, int result, void* buffer, const uint8_t* digest) {
    resource->peer_requests().done(id, result, buffer, digest);
    resource->settle();
}

bool drbd_next_release(DrbdResource* resource, void** buffer, size_t* bytes) {
    return resource->peer_requests().next_release(*buffer, *bytes);
}

void drbd_connection_status(const DrbdResource* resource, DrbdConnectionStatus* status) {
    *status = {};
    resource->fill_status(*status);
}
