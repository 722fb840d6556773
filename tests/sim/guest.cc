// SPDX-License-Identifier: GPL-2.0-or-later
// The guest of guest.h.
#include "guest.h"

#include <algorithm>
#include <cstdio>

#include "checkers/completed_writes.h"
#include "checkers/metadata_view.h"
#include "checkers/reads.h"
#include "world.h"

namespace drbd::sim {

Guest::Guest(World& world, Rng random) : world_(world), random_(random), promised_by_(world.options().protocol) {
    const Options& o = world_.options();
    for (unsigned v = 0; v < o.volumes; v++)
        histories_.emplace_back(o.image_bytes / 512);
    unflushed_.resize(o.volumes);
    generation_.resize(o.volumes);
    for (unsigned i = 0; i < o.hot_spots; i++)
        hot_.push_back(random_.next());
}

namespace {

constexpr uint64_t kExtentSectors = 8192;  // of the activity log

std::string hex_of(uint64_t uuid) {
    char text[20];
    std::snprintf(text, sizeof text, "%016llX", static_cast<unsigned long long>(uuid));
    return text;
}

}  // namespace

// ---------------------------------------------------------------- stints --

// An Inconsistent Primary reads what it lacks from its peer.
const Disk* Guest::good_data(int host, unsigned volume) const {
    const DrbdVolumeStatus status = world_.node(host).status(volume);
    if (std::string(status.disk) == "UpToDate")
        return &world_.node(host).disk(volume);
    return std::string(status.peer_disk) == "UpToDate" ? &world_.node(1 - host).disk(volume) : nullptr;
}

void Guest::begin(int host, bool licence) {
    // Where there is nothing to read a guest does not boot; it is tried again.  Nor does it while what the guest before
    // wrote is on its way to the peer's disk, on which this one would live: nobody can tell yet what it will find.
    licence &= !owes_check_[host];
    licence |= world_.direction().is_forced(host);  // also where the forced one was left before a guest saw it
    const bool on_its_way = world_.node(host).connection_status().unacknowledged != 0;
    for (unsigned v = 0; v < histories_.size(); v++)
        if (const Disk* good = good_data(host, v); !good || (on_its_way && good != &world_.node(host).disk(v))) {
            owes_check_[host] = !licence;
            return;
        }
    owes_check_[host] = false;
    world_.trace().line(host, "guest", licence);
    for (unsigned v = 0; v < histories_.size(); v++) {
        const Disk& source = *good_data(host, v);
        const int holder = &source == &world_.node(host).disk(v) ? host : 1 - host;
        if (!licence)
            if (const std::string wrong = check_stint(holder, v, source); !wrong.empty()) {
                world_.complain(std::string("completed_writes: ") + "AB"[host] + " becomes Primary " + wrong);
                return;
            }
        world_.direction().on_guest_begins(holder, v, histories_[v], source, world_.node(1 - holder).disk(v), promises_both_copies());
        histories_[v].begin_stint(source);
        unflushed_[v].clear();
    }
    lost_promises_ = false;
    promised_by_ = world_.node(host).settings().protocol;
    host_ = host;
    running_ = true;
    world_.wire().on_guest_begins();
    stint_++;
    in_flight_ = 0;
    for (unsigned v = 0; v < histories_.size(); v++) {
        remember_generation(v);
        // Where another guest's data was given up, what this one finds is no promise before it has written.
        if (licence)
            generation_[v] = 0;
    }
    for (unsigned i = 0; i < world_.options().depth; i++)
        issue_later();
}

// A promises the own copy alone; B also what the peer's process had received.
bool Guest::other_has_all() const {
    return promises_both_copies() || (promised_by_ == DRBD_PROTOCOL_B && world_.node(1 - host_).incarnation() == peer_process_);
}

// What the last guest was promised is here, unless its disk's generation had
// left the past of the disk that the next one begins with, which is `holder`'s.
std::string Guest::check_stint(int holder, unsigned volume, const Disk& source) {
    if (generation_[volume] == 0 || lost_promises_ || (holder != host_ && !other_has_all()))
        return "";
    const MetadataView metadata = read_superblock(source, View::Stable);
    if (!metadata.valid || !metadata.knows(generation_[volume]))
        return "";
    const History& history = histories_[volume];
    for (uint64_t block : history.touched())
        for (uint64_t s = block * 8; s < block * 8 + 8 && s < source.image().sectors(); s++) {
            const uint64_t value = source.value(View::Current, s);
            if (!history.survived(s, value))
                return "without what was completed; sector " + std::to_string(s) + " has write " + std::to_string(value >> 12) + ", and it knows " + hex_of(generation_[volume]) +
                       ", in which they completed; history" + history.describe(s);
        }
    return "";
}

void Guest::on_protocol(int host, DrbdProtocol protocol) {
    if (host != host_)
        return;
    promised_by_ = std::min(promised_by_, protocol);
    for (auto& [write_id, write] : writes_)
        if (!write.sent)
            write.protocol = std::min(write.protocol, protocol);
}

// What counts is what was agreed then, whatever is configured later.
void Guest::on_write_sent(uint64_t write_id, DrbdProtocol protocol) {
    const auto found = writes_.find(write_id);
    if (found == writes_.end())
        return;
    Written& write = found->second;
    write.protocol = write.sent ? std::min(write.protocol, protocol) : protocol;
    write.sent = true;
}

void Guest::on_both_have_all() {
    if (!running_ || lost_promises_)
        return;
    promised_by_ = world_.node(host_).settings().protocol;
    peer_process_ = world_.wire().process(1 - host_);
}

// That of the copy that the guest lives on; without one nothing completes in it.
void Guest::remember_generation(unsigned volume) {
    if (!has_no_disk(volume))
        remember_generation(volume, host_);
    else if (std::string(world_.node(host_).status(volume).peer_disk) == "UpToDate")
        remember_generation(volume, 1 - host_);
}

void Guest::remember_generation(unsigned volume, int on) {
    const MetadataView& metadata = read_superblock(world_.node(on).disk(volume), View::Stable);
    if (metadata.valid)
        generation_[volume] = metadata.superblock.uuids.current;
    peer_process_ = world_.wire().process(1 - host_);  // the one that has it in memory, if it lives
}

void Guest::on_process_died(int host, bool lost_cache) {
    for (History& history : histories_)
        if (lost_cache)
            history.power_lost(host);
    if (host_ != host) {
        // Who lives on the peer's disk alone has lost what only that had.
        for (unsigned v = 0; running_ && lost_cache && v < histories_.size(); v++)
            if (std::string(world_.node(host_).status(v).disk) != "UpToDate")
                histories_[v].only_copy_lost();
        return;
    }
    for (unsigned v = 0; v < histories_.size(); v++) {
        histories_[v].guest_died();
        unflushed_[v].clear();
    }
    writes_.clear();
    running_ = false;
    in_flight_ = 0;
    stint_++;
}

void Guest::on_overruled() {
    on_process_died(host_, false);
    generation_.assign(generation_.size(), 0);
    host_ = -1;
}

// The other host has died, which nobody here knows yet: this disk was the only copy of what
// was not flushed there.
void Guest::on_own_disk_lost(int host, unsigned volume) {
    const Node& other = world_.node(1 - host);
    if (running_ && host_ == host && (!other.is_running() || other.incarnation() != peer_process_))
        histories_[volume].only_copy_lost();
}

// A and B let a write complete, and a flush, before the peer has written it: if the
// guest lives on the peer's disk since, and that fails or is out of reach, it is gone.
void Guest::on_copy_lost(int host, unsigned volume) {
    if (running_ && host_ != host && !promises_both_copies() &&
        std::string(world_.node(host_).status(volume).disk) != "UpToDate")
        lost_promises_ = true;
}

// The same of a write that it refuses, and goes on: the guest reads what was there before.
void Guest::on_copy_refuses(int host, unsigned volume) {
    const bool before = std::exchange(lost_promises_, false);
    on_copy_lost(host, volume);
    if (lost_promises_)
        histories_[volume].only_copy_lost();
    lost_promises_ |= before;
}

// -------------------------------------------------------------- requests --

void Guest::issue_later() {
    const Options& o = world_.options();
    world_.decisions().next(Source::Think, random_);
    const bool pauses = o.pause != 0 && random_.below(kRequestsPerPause) == 0;
    world_.queue().after(random_.exponential(pauses ? o.pause : o.think), [this, stint = stint_] {
        if (stint == stint_)
            issue();
    });
}

void Guest::choose(GuestRequest& r) {
    const Options& o = world_.options();
    r.volume = static_cast<unsigned>(random_.below(o.volumes));
    const double kind = static_cast<double>(random_.below(1000000)) / 1e6;
    const bool commit = o.commit_every != 0 && ++uncommitted_ > o.commit_every;
    if (commit || kind < o.flushes) {
        uncommitted_ = 0;
        r.kind = DRBD_REQUEST_FLUSH;
        return;
    }
    const uint64_t size = drbd_volume_bytes(world_.node(host_).core(), r.volume) / 512;
    r.kind = DRBD_REQUEST_WRITE;
    uint64_t most = random_.chance(o.large) ? 512 : 16;
    if (kind < o.flushes + o.reads)
        r.kind = DRBD_REQUEST_READ;
    else if (kind < o.flushes + o.reads + o.zeroes + o.discards)
        r.kind = kind < o.flushes + o.reads + o.zeroes ? DRBD_REQUEST_ZEROES : DRBD_REQUEST_DISCARD;
    if (r.kind != DRBD_REQUEST_READ && r.kind != DRBD_REQUEST_WRITE && random_.chance(0.1))
        most = 4096;
    r.sectors = std::min(1 + random_.below(most), size);
    // Mostly whole blocks.
    const uint64_t align = random_.chance(o.whole_blocks) ? 8 : 1;
    r.sectors = std::max(r.sectors / align * align, align);
    const uint64_t spot = hot_[random_.below(hot_.size())] % size;
    uint64_t start = random_.chance(o.near_spots) ? spot + random_.below(o.spot_sectors) : random_.below(size);
    if (o.at_borders)
        start = (start / kExtentSectors + 1) * kExtentSectors - 8 + start % 8;
    r.sector = std::min(start / align * align, (size - std::min(r.sectors, size)) / align * align);
    if (r.kind != DRBD_REQUEST_READ && random_.chance(o.fua))
        r.flags |= DRBD_REQUEST_FUA;
    if (r.kind == DRBD_REQUEST_ZEROES && random_.chance(0.5))
        r.flags |= DRBD_REQUEST_MAY_UNMAP;
}

void Guest::issue() {
    if (!running_ || !world_.node(host_).is_running() || in_flight_ >= world_.options().depth)
        return;
    // A drained volume gets nothing new.
    const Node& node = world_.node(host_);
    bool all_drained = true;
    for (unsigned v = 0; v < histories_.size(); v++)
        all_drained &= node.is_drained(v);
    if (node.is_frozen() || all_drained || drbd_volume_bytes(world_.node(host_).core(), 0) == 0) {
        world_.queue().after(10 * kMillisecond, [this, stint = stint_] {
            if (stint == stint_)
                issue();
        });
        return;
    }
    if (!endless_ && started_ >= world_.decisions().requests(world_.options().requests))
        return;
    // A life that is repeated is not made earlier than it was.
    if (const Time then = world_.decisions().next_request(); then > world_.queue().now()) {
        world_.queue().at(then, [this, stint = stint_] {
            if (stint == stint_)
                issue();
        });
        return;
    }
    const bool happens = world_.decisions().next(Source::Request, random_);
    auto request = std::make_unique<GuestRequest>();
    choose(*request);
    if (happens && node.is_drained(request->volume)) {
        issue_later();  // by another one, to another volume perhaps
        return;
    }
    if (happens) {
        issue(std::move(request));
        return;
    }
    started_++;
    issue_later();
}

void Guest::issue(std::unique_ptr<GuestRequest> request) {
    started_++;
    in_flight_++;
    History& history = histories_[request->volume];
    request->issued = history.tick();
    request->protocol = world_.node(host_).settings().protocol;
    if (request->kind == DRBD_REQUEST_READ) {
        history.begin_read(request->issued);
    } else if (request->kind != DRBD_REQUEST_FLUSH) {
        request->write_id = next_write_id_++;
        const Written write{request->write_id, request->sector, request->sectors, request->kind != DRBD_REQUEST_WRITE,
                            request->issued, 0, request->protocol};
        writes_[write.write_id] = write;
        history.begin_write(write);
        world_.wire().on_write_issued(write.write_id);
    }
    world_.node(host_).begin_request(std::move(request));
}

void Guest::flush_all() {
    if (host_ < 0)
        return;
    for (unsigned v = 0; v < histories_.size(); v++) {
        auto request = std::make_unique<GuestRequest>();
        request->volume = v;
        request->kind = DRBD_REQUEST_FLUSH;
        issue(std::move(request));
    }
}

void Guest::on_end(GuestRequest& r) {
    // Of one that is over: its host was frozen when the other was promoted.
    if (in_flight_ == 0 || (r.write_id != 0 && !writes_.contains(r.write_id)))
        return;
    in_flight_--;
    History& history = histories_[r.volume];
    if (r.result != 0)
        failed_++;
    if (r.kind == DRBD_REQUEST_READ) {
        if (r.result == 0 && !lost_promises_)
            if (const std::string wrong = check_read(history, r); !wrong.empty())
                world_.complain(wrong);
        history.end_read(r.issued);
    } else if (r.kind == DRBD_REQUEST_FLUSH) {
        if (r.result == 0 && !lost_promises_)
            flush_ended(r.volume, r);
        else  // what completed before is reported as lost, once
            std::erase_if(unflushed_[r.volume], [&](const Written& w) { return w.ended < r.issued; });
    } else {
        Written write = writes_.extract(r.write_id).mapped();
        history.end_write(write, r.result == 0);
        world_.wire().on_write_completed(write.write_id);
        if (r.result == 0 && !lost_promises_)
            write_ended(r.volume, write, r);
    }
    if (r.result != 0)
        world_.queue().after(50 * kMillisecond, [this, stint = stint_] {
            if (stint == stint_)
                issue();
        });
    else
        issue_later();
}

bool Guest::has_no_disk(unsigned volume) const {
    if (drbd_volume_is_up_to_date(world_.node(host_).core(), volume))
        return false;
    const std::string disk = world_.node(host_).status(volume).disk;
    return disk == "Diskless" || disk == "Failed" || disk == "Attaching" || disk == "Negotiating";
}

void Guest::write_ended(unsigned volume, Written& write, const GuestRequest& r) {
    writes_completed_++;
    const Disk* disks[2] = {&world_.node(0).disk(volume), &world_.node(1).disk(volume)};
    promised_by_ = std::min(promised_by_, write.protocol);
    // Without a disk of its own the Primary lives on the peer's, which makes the
    // generation then; it is not waited for.
    if (has_no_disk(volume)) {
        if (r.flags & DRBD_REQUEST_FUA)
            if (const std::string wrong = check_completed(histories_[volume], write, disks, DRBD_PROTOCOL_A, View::Stable); !wrong.empty()) {
                world_.complain(wrong);
                return;
            }
        unflushed_[volume].push_back(write);
        // The guest lives on the peer's disk, unless the peer has not even this. An old one that both have says nothing.
        bool peer_has_it = true, own_has_it = true;
        for (uint64_t s = write.sector; s < write.sector + write.sectors; s++) {
            peer_has_it &= histories_[volume].at_least(write, s, disks[1 - host_]->value(View::Current, s));
            own_has_it &= histories_[volume].at_least(write, s, disks[host_]->value(View::Current, s));
        }
        if (!own_has_it || !peer_has_it)
            remember_generation(volume, peer_has_it ? 1 - host_ : host_);
        return;
    }
    std::string wrong = check_completed(histories_[volume], write, disks, write.protocol, View::Current);
    if (wrong.empty() && (r.flags & DRBD_REQUEST_FUA))
        wrong = check_completed(histories_[volume], write, disks, write.protocol, View::Stable);
    if (!wrong.empty()) {
        world_.complain(wrong);
        return;
    }
    remember_generation(volume);
    if (r.flags & DRBD_REQUEST_FUA)
        histories_[volume].flushed(write);
    else
        unflushed_[volume].push_back(write);
}

void Guest::flush_ended(unsigned volume, const GuestRequest& r) {
    const Disk* disks[2] = {&world_.node(0).disk(volume), &world_.node(1).disk(volume)};
    std::vector<Written>& waiting = unflushed_[volume];
    size_t covered = 0;
    for (; covered < waiting.size() && waiting[covered].ended < r.issued; covered++) {
        // Without a disk it is on the peer's, which the own one, as it was, may know.
        const DrbdProtocol protocol = has_no_disk(volume) ? DRBD_PROTOCOL_A : r.protocol;
        const std::string wrong = check_completed(histories_[volume], waiting[covered], disks, protocol, View::Stable);
        if (!wrong.empty()) {
            world_.complain(wrong);
            return;
        }
        histories_[volume].flushed(waiting[covered]);
    }
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<long>(covered));
    histories_[volume].base_flushed();
    remember_generation(volume);  // the peer may have been lost since the last write: what a flush promises is of this one
}

}  // namespace drbd::sim
