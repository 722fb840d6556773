// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: sockets.
#include <algorithm>
#include <cstring>

#include "node.h"
#include "played_digest.h"
#include "world.h"

namespace drbd::sim {

void Node::net_action(const DrbdNetAction& action) {
    switch (action.kind) {
    case DRBD_NET_LISTEN: world_.net().listen(host_, true); return;
    case DRBD_NET_UNLISTEN: world_.net().listen(host_, false); return;
    case DRBD_NET_DIAL: {
        Socket& socket = sockets_[action.socket];
        if (socket.used) {
            world_.complain("the core dials with a socket number that is taken");
            return;
        }
        socket = {};
        socket.used = socket.dialling = true;
        socket.generation = next_generation_++;
        world_.trace().line(host_, "dial", action.socket);
        world_.net().dial(host_, incarnation_ << 32 | socket.generation << 4 | action.socket, action.timeout_ms * kMillisecond);
        return;
    }
    case DRBD_NET_CLOSE: close_socket(action.socket); return;
    }
}

int Node::socket_of(End end) const {
    for (int s = 0; s < DRBD_MAX_SOCKETS; s++)
        if (sockets_[s].used && sockets_[s].end == end && end != kNoEnd)
            return s;
    return -1;
}

void Node::on_dial_done(uint64_t cookie, End end, const char* error) {
    const unsigned s = cookie & 15;
    if (cookie >> 32 != incarnation_ || sockets_[s].generation != (cookie & 0xffffffff) >> 4 || !sockets_[s].dialling) {
        if (end != kNoEnd)
            world_.net().close(end);
        return;
    }
    sockets_[s].end = end;
    call([this, s, error] {
        Socket& socket = sockets_[s];
        if (!socket.dialling)
            return;  // given up meanwhile
        socket.dialling = false;
        world_.trace().text(host_, "dialled", error ? error : "connected");
        tell_time();
        drbd_on_dialled(core_, s, error);
        kick();
        if (!error)
            read(s);
    });
}

void Node::on_incoming(End end) {
    if (!core_) {
        world_.net().close(end);
        return;
    }
    call([this, end] { incoming(end); });
}

void Node::incoming(End end) {
    tell_time();
    const int s = drbd_on_accepted(core_);
    world_.trace().line(host_, "accepted", static_cast<uint64_t>(s));
    if (s < 0) {
        world_.net().close(end);
    } else {
        Socket& socket = sockets_[s];
        if (socket.used)
            world_.complain("the core accepts into a socket number that is taken");
        socket = {};
        socket.used = true;
        socket.end = end;
        socket.generation = next_generation_++;
    }
    kick();
    if (s >= 0)
        read(static_cast<unsigned>(s));
}

// A close takes a moment, and a send that is under way ends before.
void Node::close_socket(unsigned s) {
    Socket& socket = sockets_[s];
    if (!socket.used || socket.closing) {
        world_.complain("the core closes a socket that is not open");
        return;
    }
    world_.trace().line(host_, "close", s);
    socket.closing = true;
    socket.dialling = false;
    if (socket.end != kNoEnd)
        world_.net().close(socket.end);
    later(1 + random_.below(random_.chance(0.1) ? 50 * kMillisecond : 100), [this, s, generation = socket.generation] {
        if (sockets_[s].generation == generation && !sockets_[s].sending)
            closed(s);
    });
}

void Node::closed(unsigned s) {
    Socket& socket = sockets_[s];
    if (socket.buffer)
        free_buffer(socket.buffer, socket.bulk.bytes);
    socket = {};
    tell_time();
    drbd_on_closed(core_, s);
    kick();
}

// ------------------------------------------------------------- sending --

void Node::send(unsigned s) {
    Socket& socket = sockets_[s];
    if (!socket.used || socket.closing || socket.dialling || socket.sending)
        return;
    const uint64_t room = world_.net().room(socket.end);
    if (room == 0 || !drbd_next_send(core_, s, &socket.send))
        return;
    socket.sending = true;
    const Options& o = world_.options();
    size_t bytes = std::min<size_t>(socket.send.bytes, room);
    if (random_.chance(o.short_sends))
        bytes = random_.below(bytes + 1);
    if (random_.chance(o.late_sends)) {
        later(random_.below(300), [this, s, generation = socket.generation, bytes] { sent(s, generation, bytes); });
        return;
    }
    sent(s, socket.generation, bytes);
}

void Node::sent(unsigned s, uint64_t generation, size_t bytes) {
    Socket& socket = sockets_[s];
    if (socket.generation != generation || !socket.sending)
        return;
    socket.sending = false;
    if (!socket.closing) {
        size_t left = bytes;
        for (unsigned i = 0; i < socket.send.nr_parts && left > 0; i++) {
            const size_t part = std::min(left, socket.send.parts[i].bytes);
            world_.net().send(socket.end, {static_cast<const uint8_t*>(socket.send.parts[i].data), part});
            left -= part;
        }
    }
    drbd_on_sent(core_, s, bytes);
    if (socket.closing)
        closed(s);
    else
        kick();
}

void Node::on_writable(End end) {
    call([this, end] {
        if (socket_of(end) >= 0)
            kick();
    });
}

// ----------------------------------------------------------- receiving --

void Node::on_readable(End end) {
    call([this, end] {
        const int s = socket_of(end);
        if (s >= 0)
            read(static_cast<unsigned>(s));
    });
}

void Node::read(unsigned s) {
    Socket& socket = sockets_[s];
    if (!core_ || !socket.used || socket.reading || socket.dialling || socket.end == kNoEnd)
        return;
    if (socket.stalled && !world_.net().is_reset(socket.end))
        return;
    socket.reading = true;
    const uint64_t generation = socket.generation;
    bool more = true;
    while (more && !socket.closing && !socket.stalled && socket.generation == generation && !socket.done) {
        tell_time();
        more = socket.in_bulk ? read_bulk(s) : read_bytes(s);
        if (!core_)
            return;
    }
    if (socket.generation != generation)
        return;
    socket.reading = false;
    // A reset is noticed by who does not read, too.
    const bool looks = !socket.stalled || world_.net().is_reset(socket.end);
    if (!socket.closing && looks && !socket.done && world_.net().at_end(socket.end)) {
        socket.done = true;
        tell_time();
        drbd_on_eof(core_, s, world_.net().is_reset(socket.end) ? "Connection reset by peer" : nullptr);
        kick();
    }
}

// True if something was taken.
bool Node::read_bytes(unsigned s) {
    Socket& socket = sockets_[s];
    std::span<const uint8_t> bytes = world_.net().look(socket.end);
    if (bytes.empty())
        return false;
    if (random_.chance(world_.options().small_reads))
        bytes = bytes.first(1 + random_.below(std::min<size_t>(bytes.size(), 40)));
    size_t taken = 0;
    DrbdBulk bulk{};
    const DrbdReceive what = drbd_on_bytes(core_, s, bytes.data(), bytes.size(), &taken, &bulk);
    if (taken > bytes.size() || (what == DRBD_RECEIVE_MORE && taken != bytes.size()))
        world_.complain("drbd_on_bytes took another number of bytes than there are");
    world_.net().consume(socket.end, taken);
    if (what == DRBD_RECEIVE_STALL) {
        socket.stalled = true;
    } else if (what == DRBD_RECEIVE_CLOSED) {
        socket.done = true;
    } else if (what == DRBD_RECEIVE_BULK) {
        socket.in_bulk = true;
        socket.bulk = bulk;
        socket.got = 0;
        socket.buffer = bulk.discard ? nullptr : new_buffer(bulk.bytes);
    }
    kick();
    return true;
}

bool Node::read_bulk(unsigned s) {
    Socket& socket = sockets_[s];
    const size_t readable = world_.net().readable(socket.end);
    if (readable == 0)
        return false;
    const size_t n = std::min<size_t>(readable, socket.bulk.bytes - socket.got);
    if (socket.buffer && !world_.net().copy(socket.end, n, static_cast<uint8_t*>(socket.buffer) + socket.got))
        buffers_.at(socket.buffer).plain = false;
    socket.got += n;
    world_.net().consume(socket.end, n);
    if (socket.got < socket.bulk.bytes)
        return true;
    void* buffer = std::exchange(socket.buffer, nullptr);
    socket.in_bulk = false;
    bool digest_ok = true;
    if (socket.bulk.has_digest) {
        uint8_t digest[DRBD_DIGEST_SIZE];
        played_digest("", buffer, socket.bulk.bytes, digest);
        digest_ok = std::memcmp(digest, socket.bulk.digest, kPlayedDigestSize) == 0;
        if (!digest_ok && !world_.net().has_corrupted())
            world_.complain("digests: a line that changes nothing brings " + std::to_string(socket.bulk.bytes) + " bytes to " + "AB"[host_] +
                            " with a digest that is not theirs");
    }
    drbd_on_bulk(core_, s, buffer, digest_ok);
    kick();
    return true;
}

}  // namespace drbd::sim
