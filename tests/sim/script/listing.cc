// SPDX-License-Identifier: GPL-2.0-or-later
// The trace of listing.h.
#include "script/listing.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "checkers/metadata_view.h"
#include "played_digest.h"
#include "script/packet_text.h"
#include "world.h"

namespace drbd::sim {

namespace {

bool is(const char* text, const char* other) {
    return std::strcmp(text, other) == 0;
}

std::string error_text(uint64_t error) {
    switch (error) {
    case 0: return "ok";
    case EIO: return "EIO";
    case EROFS: return "EROFS";
    case ENOSPC: return "ENOSPC";
    default: return "error " + std::to_string(error);
    }
}

const char* request_name(uint64_t kind) {
    switch (static_cast<DrbdRequestKind>(kind)) {
    case DRBD_REQUEST_READ: return "read";
    case DRBD_REQUEST_WRITE: return "write";
    case DRBD_REQUEST_ZEROES: return "zeroes";
    case DRBD_REQUEST_DISCARD: return "discard";
    case DRBD_REQUEST_FLUSH: return "flush";
    }
    return "?";
}

std::string write_name(uint64_t id) {
    return id == 0 ? "" : " w" + std::to_string(id);
}

std::string resync_text(const uint64_t n[3]) {
    static const char* const phases[] = {"begins", "goes on", "is over", "is interrupted"};
    return std::string(phases[n[0]]) + (n[1] ? " as source, left " : " as target, left ") + std::to_string(n[2] >> 10) + " KiB";
}

// Of the handshake: what is the same each time.
bool is_routine(wire::Packet packet) {
    using enum wire::Packet;
    return packet == InitialData || packet == InitialMeta || packet == ConnectionFeatures || packet == Protocol ||
           packet == SyncParam || packet == SyncParam89 || packet == Sizes;
}

}  // namespace

Listing::Listing(World& world, const Show& show)
    : world_(world),
      show_(show),
      tap_(world.options().integrity ? kPlayedDigestSize : 0,
           [this](int host, wire::Stream stream, const wire::Frame& frame) { on_packet(host, stream, frame); }) {
    world.trace().set_listener(this);
    world.net().add_tap([this](int host, End end, std::span<const uint8_t> bytes, const WireBytes&) { tap_.on_sent(host, end, bytes); });
}

void Listing::begin_time() {
    begin_ = world_.queue().now();
}

void Listing::say(int who, const std::string& what, const std::string& text) {
    if (muted_ || traces_.empty())
        return;
    heard_++;
    char head[64];
    std::snprintf(head, sizeof head, "%5.1f %c %-11s ", static_cast<double>(world_.queue().now() - begin_) / kSecond,
                  who < 0 ? '-' : 'A' + who, what.c_str());
    std::string line = head + names_.in_text(text);
    line.erase(line.find_last_not_of(' ') + 1);
    traces_.back().push_back(line);
}

void Listing::on_packet(int host, wire::Stream stream, const wire::Frame& frame) {
    const wire::Packet packet = frame.packet();
    const bool ping = packet == wire::Packet::Ping || packet == wire::Packet::PingAck;
    const std::string text = packet_text(frame, names_);
    if ((ping && !show_.pings) || (is_routine(packet) && !show_.handshake))
        return;
    say(host, stream == wire::Stream::Data ? "data" : "meta", text);
}

// Which part of the metadata is written at this offset.
std::string Listing::metadata(int host, uint64_t offset, uint64_t flags) const {
    const MetadataView view = read_superblock(world_.node(host).disk(0), View::Current);
    const Sector at = whole_sectors(Bytes(offset));
    std::string text = !view.valid ? "first" : at == view.layout.superblock ? "superblock"
                       : at.value >= view.layout.activity_log.value && at.value < view.layout.activity_log.value + view.layout.al.size().value
                           ? "activity log" : "bitmap";
    if (flags & 4)
        text += ", image flushed before";
    if (flags & 3)
        text += flags & 2 ? ", flushed" : ", fua";
    return text;
}

void Listing::on_line(int who, const char* what, const uint64_t n[3]) {
    if (is(what, "write") || is(what, "zeroes") || is(what, "read"))
        say(who, what, (n[0] ? "w" + std::to_string(n[0]) + " " : "") + range_text(n[1], n[2]));
    else if (is(what, "flush"))
        say(who, what, "");
    else if (is(what, "complete"))
        say(who, what, request_name(n[2]) + write_name(n[0]) + " " + error_text(n[1]));
    else if (is(what, "job-write") && show_.metadata)
        say(who, "metadata", n[0] == 0 ? "image flushed" : metadata(who, n[1], n[2]));
    else if (std::strncmp(what, "peer-", 5) == 0 && !is(what, "peer-io-done") && show_.disk)
        say(who, what, is(what, "peer-flush") ? "" : range_text(n[1], n[2]));
    else if (is(what, "resync") && n[0] != DRBD_RESYNC_PROGRESS)
        say(who, what, resync_text(n));
    else if (is(what, "io-error"))
        say(who, what, std::string(request_name(n[0])) + " " + range_text(n[1], n[2]));
    else if (is(what, "KILL") || is(what, "POWER-LOSS") || is(what, "start") || is(what, "freeze") || is(what, "thaw") ||
             is(what, "job-failed") || is(what, "partition") || is(what, "heal"))
        say(who, what, "");
}

void Listing::on_text(int who, const char* what, const char* text) {
    // A command that begins is the step itself.
    if (is(what, "command") && !std::strstr(text, " refused: "))
        return;
    if (is(what, "dialled") || is(what, "COMPLAINT"))
        return;
    const char* reason = std::strstr(text, "  ");
    if (who < 0 || !reason || !std::strstr(text, " -> ")) {
        say(who, what, text);
        return;
    }
    // Several fields change at once, for the same reason.
    const bool again = last_reason_[who] == reason && last_change_[who] == world_.queue().events();
    last_reason_[who] = reason;
    last_change_[who] = world_.queue().events();
    say(who, what, again ? std::string(text, reason) : text);
}

}  // namespace drbd::sim
