// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h: the disks, for metadata jobs, for the peer, for the guest.
#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "metafmt/superblock.h"
#include "node.h"
#include "played_digest.h"
#include "world.h"

namespace drbd::sim {

uint64_t value_of_write(const GuestRequest& request, uint64_t index) {
    return request.kind == DRBD_REQUEST_WRITE ? request.write_id << 12 | index : 0;
}

namespace {

constexpr double kNeedsSpace = 0.6;  // of the writes to a full disk

}  // namespace

bool Node::fails(DiskFault kind) {
    const Options& o = world_.options();
    const double chance[] = {o.read_error, o.write_error, o.flush_error, o.metadata_error,
                             kind == DiskFault::Space && is_full() ? kNeedsSpace : 0};
    const unsigned k = static_cast<unsigned>(kind);
    const bool failed = std::exchange(fails_next_[k], false) ||
                        (chance[k] > 0 && world_.decisions().disk_error(random_.chance(chance[k]), host_, k));
    if (failed)
        world_.on_disk_error(host_);
    return failed;
}

// The file system below the image is full for a while; it has room for what overwrites.
bool Node::is_full() {
    const Options& o = world_.options();
    const Time now = world_.queue().now();
    if (o.full_disk > 0 && full_until_ <= now && random_.chance(o.full_disk))
        full_until_ = now + random_.exponential(500 * kMillisecond);
    return o.full_disk > 0 && full_until_ > now;
}

int Node::write_result(DiskFault kind) {
    if (fails(kind))
        return -EIO;
    return fails(DiskFault::Space) ? -ENOSPC : 0;
}

// -------------------------------------------------------- metadata jobs --

// What a superblock that is written says, for people.
static void trace_superblock(World& world, int host, const DrbdJob& job) {
    for (unsigned i = 0; i < job.nr_parts && job.kind == DRBD_JOB_WRITE; i++) {
        if (job.parts[i].bytes != kBlockSize)
            continue;
        const auto decoded = metafmt::decode_superblock(metafmt::ConstBlock(static_cast<const uint8_t*>(job.parts[i].buffer), kBlockSize));
        if (!decoded.ok())
            continue;
        const metafmt::Superblock& s = decoded.value();
        char text[160];
        std::snprintf(text, sizeof text, "current %016" PRIX64 " bitmap %016" PRIX64 " history %016" PRIX64 " %016" PRIX64 " flags %03x",
                      s.uuids.current, s.uuids.bitmap, s.uuids.history[0], s.uuids.history[1], s.flags.bits);
        world.trace().note(host, "superblock", text);
    }
}

void Node::take_job(unsigned volume) {
    const DrbdJob* job = drbd_next_job(core_, volume);
    if (!job)
        return;
    jobs_[volume] = {.job = job, .parts_left = job->nr_parts, .result = 0};
    if (world_.trace().prints())
        world_.trace().line(host_, job->kind == DRBD_JOB_READ ? "job-read" : "job-write", job->nr_parts,
                            job->nr_parts ? job->parts[0].offset : 0, job->fua | job->flush_after << 1 | job->flush_image_first << 2);
    if (world_.trace().prints())
        trace_superblock(world_, host_, *job);
    if (!job->flush_image_first) {
        job_parts(volume);
        return;
    }
    disk_io({.volume = volume, .kind = DiskIo::Kind::Job}, [this, volume, position = disks_[volume].flush_position()] {
        if (fails(DiskFault::Flush)) {
            job_done(volume, -EIO);
            return;
        }
        disks_[volume].end_flush(position, false);
        job_parts(volume);
    });
}

void Node::job_parts(unsigned volume) {
    Job& run = jobs_[volume];
    if (run.parts_left == 0) {
        job_flush(volume);
        return;
    }
    const DrbdJob& job = *run.job;
    for (unsigned i = 0; i < job.nr_parts; i++) {
        const DrbdJobPart& part = job.parts[i];
        uint32_t write = kNoWrite;
        if (job.kind == DRBD_JOB_WRITE)
            write = disks_[volume].write_bytes(job.target == DRBD_TARGET_METADATA, part.offset, part.buffer, part.bytes, job.fua);
        const int result = job.kind == DRBD_JOB_WRITE ? write_result(DiskFault::Metadata) : fails(DiskFault::Metadata) ? -EIO : 0;
        disk_io({.volume = volume, .kind = DiskIo::Kind::Job, .write = write},
                [this, volume, i, write, result] { job_part_done(volume, i, write, result); });
    }
}

void Node::job_part_done(unsigned volume, unsigned i, uint32_t write, int result) {
    Job& run = jobs_[volume];
    const DrbdJobPart& part = run.job->parts[i];
    if (run.job->kind == DRBD_JOB_WRITE)
        disks_[volume].end_write(write, result == 0, random_);
    else if (result == 0)
        disks_[volume].read_bytes(View::Current, run.job->target == DRBD_TARGET_METADATA, part.offset, part.buffer, part.bytes);
    if (result != 0)
        run.result = result;
    if (--run.parts_left > 0)
        return;
    if (run.result != 0)
        job_done(volume, run.result);
    else
        job_flush(volume);
}

void Node::job_flush(unsigned volume) {
    const DrbdJob& job = *jobs_[volume].job;
    if (!job.flush_after) {
        job_done(volume, 0);
        return;
    }
    disk_io({.volume = volume, .kind = DiskIo::Kind::Job}, [this, volume, position = disks_[volume].flush_position()] {
        const bool ok = !fails(DiskFault::Flush);
        if (ok)
            disks_[volume].end_flush(position, jobs_[volume].job->target == DRBD_TARGET_METADATA);
        job_done(volume, ok ? 0 : -EIO);
    });
}

void Node::job_done(unsigned volume, int result) {
    jobs_[volume] = {};
    if (result != 0)
        world_.trace().line(host_, "job-failed", volume);
    world_.on_metadata_written(*this, volume);
    drbd_on_job_done(core_now(), volume, result);
    kick();
}

// -------------------------------------------------------- for the peer --

void Node::peer_io(const DrbdPeerIo& io) {
    Disk& disk = disks_[io.volume];
    uint32_t write = kNoWrite;
    bool of_guest = false;
    world_.trace().line(host_, io.kind == DRBD_PEER_WRITE ? "peer-write" : io.kind == DRBD_PEER_READ ? "peer-read" :
                        io.kind == DRBD_PEER_ZEROES ? "peer-zeroes" : io.kind == DRBD_PEER_FLUSH ? "peer-flush" : "peer-status",
                        io.id, io.offset / 512, io.bytes / 512);
    // Only a guest request that the drain waits for may wait for it.
    if (is_drained(io.volume) && std::ranges::none_of(requests_, [&](const auto& r) { return is_drained(r.second->volume); })) {
        world_.complain("drain: I/O for the peer begins on a drained volume, and no request of a drained one is in flight");
        return;
    }
    if (io.kind == DRBD_PEER_WRITE) {
        values_.resize(io.bytes / 512);
        for (uint32_t at = 0; at < io.bytes / 512; at++)
            values_[at] = value_of(static_cast<const uint8_t*>(io.buffer) + at * 512);
        of_guest = world_.on_peer_write(*this, io, values_);
    } else if (io.kind == DRBD_PEER_ZEROES) {
        values_.assign(io.bytes / 512, 0);
        of_guest = world_.on_peer_write(*this, io, values_);
    }
    if (io.kind == DRBD_PEER_WRITE || io.kind == DRBD_PEER_ZEROES) {
        if ((io.offset + io.bytes) / 512 > disk.image().sectors()) {
            world_.complain("I/O for the peer past the end of the image");
            return;
        }
        write = disk.write_values(io.offset / 512, values_, io.fua);
    }
    peer_io_in_flight_++;
    const bool of_resync = !of_guest && (io.kind == DRBD_PEER_WRITE || io.kind == DRBD_PEER_ZEROES);
    received_writes_[io.volume] += of_guest;
    resync_writes_[io.volume] += of_resync;
    disk_io({.volume = io.volume, .kind = DiskIo::Kind::Peer, .sector = io.offset / 512, .sectors = io.bytes / 512, .write = write},
            [this, io, write, of_guest, of_resync, position = disk.flush_position()] {
                received_writes_[io.volume] -= of_guest;
                resync_writes_[io.volume] -= of_resync;
                peer_io_done(io, write, position);
            });
}

void Node::peer_io_done(const DrbdPeerIo& io, uint32_t write, Disk::FlushPosition position) {
    Disk& disk = disks_[io.volume];
    peer_io_in_flight_--;
    int result = 0;
    void* buffer = nullptr;
    switch (io.kind) {
    case DRBD_PEER_READ:
        if (fails(DiskFault::Read)) {
            result = -EIO;
            break;
        }
        buffer = new_buffer(io.bytes);
        for (uint32_t at = 0; at < io.bytes / 512; at++)
            stamp(static_cast<uint8_t*>(buffer) + at * 512, disk.value(View::Current, io.offset / 512 + at));
        break;
    case DRBD_PEER_WRITE:
    case DRBD_PEER_ZEROES:
        result = write_result(DiskFault::Write);
        disk.end_write(write, result == 0, random_);
        break;
    case DRBD_PEER_FLUSH:
        result = fails(DiskFault::Flush) ? -EIO : 0;
        if (result == 0)
            disk.end_flush(position, false);
        break;
    case DRBD_PEER_STATUS:
        result = 1;
        for (uint64_t s = io.offset / 512; s < (io.offset + io.bytes) / 512 && result == 1; s++)
            result = disk.value(View::Current, s) == 0;
        if (random_.chance(0.1))
            result = 0;  // not known
        break;
    }
    world_.trace().line(host_, "peer-io-done", io.id, static_cast<uint64_t>(result));
    if (result < 0 && (io.kind == DRBD_PEER_WRITE || io.kind == DRBD_PEER_ZEROES)) {
        world_.wire().on_peer_write_failed(host_, io.volume, io.offset / 512, io.bytes / 512);
        world_.guest().on_copy_refuses(host_, io.volume);
    }
    uint8_t digest[DRBD_DIGEST_SIZE];
    if (io.wants_digest && buffer)
        played_digest("", buffer, io.bytes, digest);
    drbd_on_peer_io_done(core_now(), io.id, result, buffer, io.wants_digest && buffer ? digest : nullptr);
    kick();
}

// ------------------------------------------------------- for the guest --

void Node::begin_request(std::unique_ptr<GuestRequest> owned) {
    GuestRequest& r = *owned;
    r.began = world_.queue().now();
    request_order_.push_back(&r);
    requests_.emplace(&r, std::move(owned));
    world_.trace().line(host_, r.kind == DRBD_REQUEST_READ ? "read" : r.kind == DRBD_REQUEST_WRITE ? "write" :
                        r.kind == DRBD_REQUEST_FLUSH ? "flush" : "zeroes", r.write_id, r.sector, r.sectors);
    step(r, drbd_on_guest_request(core_now(), r.volume, r.kind, r.sector * 512, r.sectors * 512, r.flags, &r, &r.waiter, &r.core));
    kick();
}

void Node::wake(void* owner) {
    GuestRequest* r = static_cast<GuestRequest*>(owner);
    if (!requests_.count(r)) {
        world_.complain("somebody is woken who does not wait");
        return;
    }
    // The coroutine runs now, or when its thread has time.
    auto go_on = [this, r] {
        if (r->retries) {
            r->retries = false;
            step(*r, drbd_on_guest_request(core_now(), r->volume, r->kind, r->sector * 512, r->sectors * 512, r->flags, r, &r->waiter, &r->core));
        } else {
            step(*r, drbd_request_step(r->core));
        }
        kick();
    };
    if (random_.chance(0.3))
        later(random_.below(100), go_on);
    else
        go_on();
}

void Node::step(GuestRequest& r, DrbdStep what) {
    r.step = what;
    switch (what) {
    case DRBD_STEP_WAIT:
        // A coroutine cannot wake itself.
        if (drbd_request_step(r.core) != DRBD_STEP_WAIT)
            world_.complain("queues: a request is told to wait by the very call that lets it go on");
        return;
    case DRBD_STEP_RETRY: r.retries = true; return;
    case DRBD_STEP_COPY: copy(r); return;
    case DRBD_STEP_SUBMIT: submit(r); return;
    case DRBD_STEP_DELIVER: deliver(r); return;
    case DRBD_STEP_COMPLETE: complete(r); return;
    }
}

void Node::copy(GuestRequest& r) {
    later(1, [this, &r] {
        r.payload.take(r.sectors * 512);
        for (uint64_t i = 0; i < r.sectors; i++)
            stamp(r.payload.data() + i * 512, value_of_write(r, i));
        const size_t piece = drbd_request_digest_piece(r.core);
        for (size_t at = 0; piece != 0 && at < r.payload.size(); at += piece) {
            uint8_t digest[DRBD_DIGEST_SIZE];
            played_digest("", r.payload.data() + at, std::min(piece, r.payload.size() - at), digest);
            r.digests.insert(r.digests.end(), digest, digest + kPlayedDigestSize);
        }
        step(r, drbd_on_copied(r.core, r.payload.data(), piece != 0 ? r.digests.data() : nullptr));
        kick();
    });
}

void Node::submit(GuestRequest& r) {
    Disk& disk = disks_[r.volume];
    uint32_t write = kNoWrite;
    if (r.kind == DRBD_REQUEST_READ) {
        r.read.resize(r.sectors);
    } else if (r.kind != DRBD_REQUEST_FLUSH) {
        values_.resize(r.sectors);
        for (uint64_t i = 0; i < r.sectors; i++)
            values_[i] = value_of_write(r, i);
        write = disk.write_values(r.sector, values_, r.flags & DRBD_REQUEST_FUA);
    }
    const DiskIo::Kind kind = r.kind == DRBD_REQUEST_READ ? DiskIo::Kind::GuestRead :
                              r.kind == DRBD_REQUEST_FLUSH ? DiskIo::Kind::GuestFlush : DiskIo::Kind::GuestWrite;
    disk_io({.volume = r.volume, .kind = kind, .request = &r, .sector = r.sector, .sectors = r.sectors, .write = write},
            [this, &r, write, position = disk.flush_position()] { submitted(r, write, position); });
}

void Node::submitted(GuestRequest& r, uint32_t write, Disk::FlushPosition position) {
    Disk& disk = disks_[r.volume];
    int result = 0;
    if (r.kind == DRBD_REQUEST_READ) {
        result = fails(DiskFault::Read) ? -EIO : 0;
        for (uint64_t i = 0; i < r.sectors; i++)
            r.read[i] = result == 0 ? disk.value(View::Current, r.sector + i) : kTornValue;
    } else if (r.kind == DRBD_REQUEST_FLUSH) {
        result = fails(DiskFault::Flush) ? -EIO : 0;
        if (result == 0)
            disk.end_flush(position, false);
    } else {
        result = write_result(DiskFault::Write);
        disk.end_write(write, result == 0, random_);
    }
    if (result != 0)
        world_.trace().line(host_, "io-error", r.kind, r.sector, r.sectors);
    step(r, drbd_on_local_done(r.core, result));
    kick();
}

void Node::deliver(GuestRequest& r) {
    uint64_t offset;
    size_t bytes;
    const auto* answer = static_cast<const uint8_t*>(drbd_request_answer(r.core, &offset, &bytes));
    r.read.resize(r.sectors);
    for (uint64_t i = 0; i < bytes / 512; i++)
        r.read[offset / 512 + i] = value_of(answer + i * 512);
    step(r, drbd_on_delivered(r.core));
}

void Node::complete(GuestRequest& r) {
    r.result = drbd_request_end(r.core);
    r.core = nullptr;
    // Nobody may read the copy any more.
    for (size_t at = 0; at < r.payload.size(); at += 512)
        stamp(r.payload.data() + at, 0xeeeeeeeeeeeeeeee);
    const auto owned = requests_.extract(&r);
    request_order_.erase(std::find(request_order_.begin(), request_order_.end(), &r));
    world_.trace().line(host_, "complete", r.write_id, static_cast<uint64_t>(-r.result), r.kind);
    world_.on_request_end(*this, r);
}

// ------------------------------------------------------------- at rest --

std::string Node::complaint_at_rest() {
    if (!core_)
        return "";
    const DrbdResourceStatus resource = resource_status();
    const DrbdConnectionStatus connection = connection_status();
    auto left = [](const char* what, uint64_t n) { return std::string(what) + ": " + std::to_string(n) + " left"; };
    if (resource.requests_in_use != 0)
        return left("guest requests", resource.requests_in_use);
    if (connection.peer_requests != 0 || connection.peer_request_bytes != 0)
        return left("requests of the peer", connection.peer_requests) + ", bytes " + std::to_string(connection.peer_request_bytes);
    if (connection.unacknowledged != 0)
        return left("unacknowledged requests", connection.unacknowledged);
    if (connection.epochs > 1)
        return left("epochs", connection.epochs);
    if (connection.send_queue != 0)
        return left("packets to send", connection.send_queue);
    if (!buffers_.empty())
        return left("buffers", buffers_.size());
    for (unsigned v = 0; v < jobs_.size(); v++) {
        const DrbdVolumeStatus s = status(v);
        if (s.in_flight != 0 || s.writes_in_flight != 0)
            return left("requests in flight", s.in_flight);
        if (s.al_referenced != 0 || s.al_waiting != 0)
            return left("referenced extents of the activity log", s.al_referenced);
    }
    return "";
}

}  // namespace drbd::sim
