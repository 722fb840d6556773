// SPDX-License-Identifier: GPL-2.0-or-later
// What goes wrong with the network of link.h.
#include <algorithm>

#include "link.h"

namespace drbd::sim {

void Network::process_killed(int host) {
    hosts_[host].listening = false;
    for (End end = 0; end < connections_.size() * 2; end++)
        if (Half* half = find(end); half && half->host == host)
            close(end);
}

void Network::power_lost(int host) {
    hosts_[host].listening = false;
    hosts_[host].powered = false;
    for (End end = 0; end < connections_.size() * 2; end++) {
        Half* half = find(end);
        if (!half || half->host != host || half->closed || half->vanished)
            continue;
        half->vanished = true;
        half->arrived.clear();
        half->bytes_arrived = half->first_consumed = 0;
        // What it had sent is on the wire, or never got there.
        Half& to = *find(other(end));
        const size_t keep = random_.below(to.under_way.size() + 1);
        while (to.under_way.size() > keep) {
            to.bytes_under_way -= to.under_way.back().bytes.size();
            to.under_way.pop_back();
        }
        forget_if_over(end);
    }
}

void Network::set_partition(bool on) {
    partitioned_ = on;
    if (on)
        return;
    for (End end = 0; end < connections_.size() * 2; end++)
        if (Half* half = find(end); half && !half->under_way.empty())
            queue_.after(transit(), [this, end] { arrive(end); });
}

void Network::stall(End end, Time until) {
    Half* half = find(end);
    if (!half)
        return;
    half->stalled_until = std::max(half->stalled_until, until);
    queue_.at(until, [this, end] { arrive(end); });
}

void Network::cut(End end, bool reset, bool both_ways) {
    Half* half = find(end);
    if (!half || half->closed)
        return;
    // Any byte may be the last one that arrives.
    auto& way = half->under_way;
    const size_t keep = random_.below(way.size() + 1);
    while (way.size() > keep) {
        half->bytes_under_way -= way.back().bytes.size();
        way.pop_back();
    }
    if (!way.empty() && way.back().bytes.size() != 0) {
        WireBytes& last = way.back().bytes;
        const size_t cut_off = random_.below(last.size());
        last.shorten(cut_off);
        half->bytes_under_way -= cut_off;
    }
    queue_segment(end, {}, reset ? Segment::Rst : Segment::Fin);
    silence(end);
    if (both_ways)
        cut(other(end), reset, false);
}

void Network::silence(End end) {
    Half* half = find(end);
    if (!half)
        return;
    // What is under way still comes, what is sent from now on does not.
    queue_.at(std::max(half->last_arrival, queue_.now()), [this, end] {
        if (Half* silent = find(end))
            silent->deaf = true;
    });
}

bool Network::has_silent_stream() const {
    for (End end = 0; end < connections_.size() * 2; end++)
        if (const Half* half = find(end); half && half->deaf && !half->closed && !half->vanished && !half->fin && !half->reset)
            return true;
    return false;
}

std::vector<End> Network::live_ends() const {
    std::vector<End> ends;
    for (End end = 0; end < connections_.size() * 2; end++)
        if (const Half* half = find(end); half && !half->closed && !half->vanished && !half->fin && !half->reset)
            ends.push_back(end);
    return ends;
}

}  // namespace drbd::sim
