// SPDX-License-Identifier: GPL-2.0-or-later
// The network of link.h: what passes between two ends.
#include "link.h"

#include <algorithm>
#include <utility>

#include "core/base/assert.h"

namespace drbd::sim {

Network::Half* Network::find(End end) const {
    if (end == kNoEnd || end / 2 >= connections_.size() || !connections_[end / 2])
        return nullptr;
    return &connections_[end / 2]->half[end % 2];
}

std::vector<uint8_t> Network::take_buffer() {
    if (buffers_.empty())
        return {};
    std::vector<uint8_t> buffer = std::move(buffers_.back());
    buffers_.pop_back();
    return buffer;
}

void Network::dial(int host, uint64_t cookie, Time timeout) {
    queue_.after(transit(), [this, host, cookie, deadline = queue_.now() + timeout] { syn_arrives(host, cookie, deadline); });
}

void Network::syn_arrives(int from, uint64_t cookie, Time deadline) {
    Host& target = hosts_[1 - from];
    if (partitioned_ || !target.powered) {
        queue_.at(deadline, [this, from, cookie] { hosts_[from].user->on_dial_done(cookie, kNoEnd, "no answer"); });
        return;
    }
    if (!target.listening) {
        queue_.after(transit(), [this, from, cookie] { hosts_[from].user->on_dial_done(cookie, kNoEnd, "connection refused"); });
        return;
    }
    const End end = static_cast<End>(connections_.size() * 2);
    connections_.push_back(std::make_unique<Tcp>());
    connections_.back()->half[0].host = from;
    connections_.back()->half[1].host = 1 - from;
    connections_.back()->half[1].incoming = true;
    trace_.line(from, "tcp", end);
    queue_.after(transit(), [this, from, cookie, end] { hosts_[from].user->on_dial_done(cookie, end, nullptr); });
    queue_.after(random_.below(200), [this, from, end] {
        Half* half = find(end + 1);
        if (!half || half->closed || half->vanished)
            return;
        half->incoming = false;
        hosts_[1 - from].user->on_incoming(end + 1);
    });
}

uint64_t Network::room(End end) {
    Half* own = find(end);
    Half* to = find(other(end));
    if (!own || own->reset)
        return times_.window;  // send() goes nowhere; the reader learns of it
    const uint64_t used = to->bytes_under_way + to->bytes_arrived;
    if (used < times_.window)
        return times_.window - used;
    own->wants_room = true;
    return 0;
}

void Network::send(End end, std::span<const uint8_t> bytes) {
    const Half* own = find(end);
    if (!own || bytes.empty())
        return;
    WireBytes copy(take_buffer(), bytes, is_payload_memory(bytes.data()));
    for (const Tap& tap : taps_)
        tap(own->host, end, bytes, copy);
    if (corrupts_[own->host] && copy.size() >= 4096) {
        corrupts_[own->host] = false;
        copy.flip_bit(copy.size() - 100);
    }
    queue_segment(other(end), std::move(copy), Segment::Data);
}

void Network::queue_segment(End to, WireBytes bytes, Segment::Kind kind) {
    Half& half = *find(to);
    half.last_arrival = std::max(queue_.now() + transit(), half.last_arrival);
    half.bytes_under_way += bytes.size();
    half.under_way.push_back({half.last_arrival, std::move(bytes), kind});
    queue_.at(half.last_arrival, [this, to] { arrive(to); });
}

void Network::arrive(End end) {
    Half* half = find(end);
    if (!half || partitioned_)
        return;
    if (queue_.now() < half->stalled_until)
        return;  // stall() has asked to be called again
    bool news = false;
    while (!half->under_way.empty() && half->under_way.front().arrival <= queue_.now()) {
        Segment segment = std::move(half->under_way.front());
        half->under_way.pop_front();
        half->bytes_under_way -= segment.bytes.size();
        if (half->deaf) {
            if (segment.kind == Segment::Data)
                is_unheard(end);
            continue;
        }
        news = true;
        arrive_one(end, *half, std::move(segment));
    }
    if (news && !half->closed && !half->vanished && !half->incoming)
        hosts_[half->host].user->on_readable(end);
    forget_if_over(end);
}

void Network::is_unheard(End end) {
    Half& half = *find(end);
    if (std::exchange(half.unheard, true))
        return;
    const Time user_timeout = hosts_[find(other(end))->host].user_timeout;
    queue_.after(user_timeout != 0 ? user_timeout : 15 * 60 * kSecond, [this, end] {
        Half* sender = find(other(end));
        if (!sender || sender->closed || sender->vanished || sender->fin || sender->reset)
            return;
        sender->reset = true;
        sender->arrived.clear();
        sender->bytes_arrived = sender->first_consumed = 0;
        if (!sender->incoming)
            hosts_[sender->host].user->on_readable(other(end));
    });
}

void Network::arrive_one(End end, Half& half, Segment segment) {
    if (half.vanished || half.closed) {
        // Nobody is here: a host that is up says so.
        Half& sender = *find(other(end));
        if (segment.kind == Segment::Data && hosts_[half.host].powered && !sender.closed && !sender.vanished && !sender.reset)
            queue_segment(other(end), {}, Segment::Rst);
        return;
    }
    if (half.fin || half.reset)
        return;
    if (segment.kind == Segment::Data) {
        half.bytes_arrived += segment.bytes.size();
        half.arrived.push_back(std::move(segment));
        return;
    }
    (segment.kind == Segment::Fin ? half.fin : half.reset) = true;
    if (half.reset) {
        half.arrived.clear();
        half.bytes_arrived = half.first_consumed = 0;
    }
}

size_t Network::readable(End end) const {
    const Half* half = find(end);
    return !half || half->arrived.empty() ? 0 : half->arrived.front().bytes.size() - half->first_consumed;
}

std::span<const uint8_t> Network::look(End end) {
    const Half* half = find(end);
    if (!half || half->arrived.empty())
        return {};
    return half->arrived.front().bytes.bytes(half->first_consumed, looked_at_);
}

bool Network::copy(End end, size_t bytes, uint8_t* to) const {
    const Half& half = *find(end);
    return half.arrived.front().bytes.copy(half.first_consumed, bytes, to);
}

void Network::consume(End end, size_t bytes) {
    Half* half = find(end);
    if (!half || bytes == 0)
        return;
    half->first_consumed += bytes;
    half->bytes_arrived -= bytes;
    DRBD_ASSERT(half->first_consumed <= half->arrived.front().bytes.size());
    if (half->first_consumed == half->arrived.front().bytes.size()) {
        if (buffers_.size() < 64)
            buffers_.push_back(half->arrived.front().bytes.take_memory());
        half->arrived.pop_front();
        half->first_consumed = 0;
    }
    Half* sender = find(other(end));
    if (sender->wants_room) {
        sender->wants_room = false;
        queue_.after(transit(), [this, end] {
            Half* waiting = find(other(end));
            if (waiting && !waiting->closed && !waiting->vanished)
                hosts_[waiting->host].user->on_writable(other(end));
        });
    }
}

bool Network::at_end(End end) const {
    const Half* half = find(end);
    return !half || ((half->fin || half->reset) && half->arrived.empty());
}

bool Network::is_reset(End end) const {
    const Half* half = find(end);
    return !half || half->reset;
}

void Network::close(End end) {
    Half* half = find(end);
    if (!half || half->closed || half->vanished)
        return;
    half->closed = true;
    const bool unread = half->bytes_arrived > 0;
    half->arrived.clear();
    half->bytes_arrived = half->first_consumed = 0;
    queue_segment(other(end), {}, unread ? Segment::Rst : Segment::Fin);
}

void Network::forget_if_over(End end) {
    auto over = [](const Half& h) { return (h.closed || h.vanished) && h.under_way.empty(); };
    auto& tcp = connections_[end / 2];
    if (tcp && over(tcp->half[0]) && over(tcp->half[1]))
        tcp.reset();
}

}  // namespace drbd::sim
