// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: I/O of its disks, and that which never returns.
#include <algorithm>
#include <utility>

#include "node.h"
#include "world.h"

namespace drbd::sim {

namespace {

constexpr double kLoneHang = 0.7;                 // of those that hang: the others take the whole disk with them
constexpr double kReturnsLate = 0.2;              // of the lone ones
constexpr Time kLateMost = 200 * kSecond;
constexpr Time kLandingMean = 10 * kSecond;

constexpr uint64_t kLockMax = 2048;               // sectors of a range that a resync locks

bool overlap(const GuestRequest& r, uint64_t sector, uint64_t sectors, uint64_t slack) {
    return r.sector < sector + sectors + slack && sector < r.sector + r.sectors + slack;
}

}  // namespace

Time Node::io_time() {
    const Options& o = world_.options();
    const Time time = o.disk_latency / 2 + random_.below(o.disk_latency + 1);
    if (o.stuck_io != 0 && random_.chance(o.stuck_io))
        return kSecond + random_.below(4 * kSecond);
    return random_.chance(o.slow_io) ? time * 100 : time;
}

// `done` is called if it returns after all.
void Node::hang(const DiskIo& io, std::function<void()> done) {
    const uint64_t number = ++next_hung_;
    hung_.push_back({.number = number, .io = io, .since = world_.queue().now()});
    world_.trace().line(host_, "io-hangs", static_cast<uint64_t>(io.kind), io.sector, io.sectors);
    if (io.write != kNoWrite)
        lands_some_day(io.volume, disks_[io.volume].hang(io.write));
    if (!disk_hangs_[io.volume] && random_.chance(kReturnsLate))
        later(kSecond + random_.below(kLateMost), [this, number, done = std::move(done)] {
            std::erase_if(hung_, [&](const Hung& hung) { return hung.number == number; });
            world_.trace().line(host_, "io-returns", number);
            done();
        });
}

bool Node::hangs(unsigned volume) {
    if (disk_hangs_[volume])
        return true;
    const Options& o = world_.options();
    if (o.hung_io == 0 || !random_.chance(o.hung_io))
        return false;
    disk_hangs_[volume] = !random_.chance(kLoneHang);
    return true;
}

// Whether its process lives or not, as long as the image is not taken again.
void Node::lands_some_day(unsigned volume, uint64_t ticket) {
    world_.queue().after(random_.exponential(kLandingMean), [this, volume, ticket] {
        if (!disks_[volume].land_hung(ticket, random_))
            return;
        world_.trace().line(host_, "hung-lands", volume);
        world_.on_hung_write_landed(host_, volume);
        if (random_.chance(0.3))
            lands_some_day(volume, ticket);
    });
}

Time Node::hung_since() const {
    Time since = 0;
    for (const Hung& hung : hung_)
        since = since == 0 ? hung.since : std::min(since, hung.since);
    return since;
}

// ------------------------------------------------------ who waits for one --

// What must wait for an I/O that hangs: see bounds.h.
bool Node::must_wait(const GuestRequest& r, const std::vector<const GuestRequest*>& waiting) const {
    const bool changes = r.kind != DRBD_REQUEST_READ && r.kind != DRBD_REQUEST_FLUSH;
    const uint64_t slack = status(r.volume).resync_running ? kLockMax : 0;
    for (const Hung& hung : hung_) {
        if (hung.io.request == &r)
            return true;
        if (hung.io.volume != r.volume)
            continue;
        if (hung.io.kind == DiskIo::Kind::Job)
            return true;
        if (hung.io.kind == DiskIo::Kind::GuestFlush && r.kind == DRBD_REQUEST_FLUSH)
            return true;
        const bool holds_range = hung.io.kind == DiskIo::Kind::GuestWrite || hung.io.kind == DiskIo::Kind::Peer;
        if (changes && holds_range && overlap(r, hung.io.sector, hung.io.sectors, slack))
            return true;
    }
    for (const GuestRequest* earlier : waiting)
        if (changes && earlier->volume == r.volume && earlier->sectors != 0 && earlier->kind != DRBD_REQUEST_READ &&
            overlap(r, earlier->sector, earlier->sectors, slack))
            return true;
    return r.retries && resource_status().requests_in_use == resource_status().requests_max;
}

// Notes who waits for what hangs: the time of the others alone runs.
void Node::excuse_requests() {
    if (hung_.empty())
        return;
    std::vector<const GuestRequest*> waiting;
    for (GuestRequest* request : request_order_)
        if (must_wait(*request, waiting)) {
            waiting.push_back(request);
            request->excused = world_.queue().now();
        }
}

size_t Node::drained_requests_due() const {
    const Time now = world_.queue().now();
    return static_cast<size_t>(std::ranges::count_if(
        request_order_, [&](const GuestRequest* request) {
            return is_drained(request->volume) && (hung_.empty() || request->excused != now);
        }));
}

std::string Node::describe_requests() const {
    static constexpr const char* kKinds[] = {"read", "write", "zeroes", "discard", "flush"};
    std::string text;
    for (const GuestRequest* r : request_order_)
        text += std::string(text.empty() ? "" : ", ") + kKinds[r->kind] + " " + std::to_string(r->sector) + "+" + std::to_string(r->sectors) +
                " of " + std::to_string((world_.queue().now() - std::max(r->began, r->excused)) / kSecond) + " s" + (r->retries ? " (no room)" : "");
    return text;
}

Time Node::oldest_request() const {
    if (next_hung_ == 0)
        return request_order_.empty() ? world_.queue().now() : request_order_.front()->began;
    Time oldest = world_.queue().now();
    for (const GuestRequest* request : request_order_)
        oldest = std::min(oldest, std::max(request->began, request->excused));
    return oldest;
}

}  // namespace drbd::sim
