// SPDX-License-Identifier: GPL-2.0-or-later
// Counts what one hot guest write costs in the core: run under callgrind by
// tests/bench/instructions.py.
//
// In: the number of writes.  It makes a resource with one volume on a small
// disk in memory that answers every metadata job at once, attaches, promotes,
// warms the activity log, and does the writes: begin, local done, end, and the
// look at the queues that the shim does.  Out: "writes N".  What one write costs
// is the difference of two runs with different numbers of writes; callgrind
// counts inside the drbd_...() functions alone, so this program is not in it.
//
// Two workloads: `one` at a time, and `depth` with 32 in flight, so that the
// overlap tree is not empty.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "drbd-core.h"

namespace {

constexpr uint64_t kMib = 1ull << 20;
constexpr uint64_t kImageBytes = 1024 * kMib;
constexpr uint64_t kMetadataBytes = kMib;
constexpr uint64_t kBlock = 4096;
constexpr unsigned kDepth = 32;
constexpr uint64_t kHotExtents = 128;

void die(const char* what, const char* why) {
    std::fprintf(stderr, "core_write: %s: %s\n", what, why);
    std::exit(1);
}

struct Disk {
    std::vector<uint8_t> metadata = std::vector<uint8_t>(kMetadataBytes);
};

// Every job that there is, at once.
void do_jobs(DrbdResource* resource, Disk& disk) {
    while (const DrbdJob* job = drbd_next_job(resource, 0)) {
        for (unsigned i = 0; i < job->nr_parts; i++) {
            const DrbdJobPart& part = job->parts[i];
            if (job->target == DRBD_TARGET_IMAGE) {
                std::memset(part.buffer, 0, part.bytes);
                continue;
            }
            uint8_t* place = disk.metadata.data() + part.offset;
            if (job->kind == DRBD_JOB_READ)
                std::memcpy(part.buffer, place, part.bytes);
            else
                std::memcpy(place, part.buffer, part.bytes);
        }
        drbd_on_job_done(resource, 0, 0);
    }
}

void finish(DrbdResource* resource, Disk& disk, uint64_t operation, const char* what, const char* refused) {
    if (!operation)
        die(what, refused);
    do_jobs(resource, disk);
    DrbdNotice notice;
    bool ended = false;
    while (drbd_next_notice(resource, &notice)) {
        if (notice.kind != DRBD_NOTICE_OPERATION || notice.operation != operation)
            continue;
        if (!notice.success)
            die(what, notice.text);
        ended = true;
    }
    if (!ended)
        die(what, "has not ended");
}

struct Write {
    DrbdRequest* request = nullptr;
    DrbdWaiter waiter{};
};

void begin(DrbdResource* resource, Disk& disk, Write& write, uint64_t offset) {
    DrbdStep step = drbd_on_guest_request(resource, 0, DRBD_REQUEST_WRITE, offset, kBlock, 0, &write, &write.waiter,
                                          &write.request);
    if (drbd_resource_pending(resource, DRBD_PENDING_ALL)) {
        do_jobs(resource, disk);
        while (drbd_next_wake(resource)) {
        }
    }
    if (step == DRBD_STEP_WAIT)
        step = drbd_request_step(write.request);
    if (step != DRBD_STEP_SUBMIT)
        die("write", "is not to be submitted");
}

void end(DrbdResource* resource, Disk& disk, Write& write) {
    DrbdStep step = drbd_on_local_done(write.request, 0);
    if (drbd_resource_pending(resource, DRBD_PENDING_ALL)) {
        do_jobs(resource, disk);
        while (drbd_next_wake(resource)) {
        }
    }
    if (step == DRBD_STEP_WAIT)
        step = drbd_request_step(write.request);
    if (step != DRBD_STEP_COMPLETE || drbd_request_end(write.request) != 0)
        die("write", "did not complete");
}

// Offsets that look random, all in hot extents, none twice among neighbours.
uint64_t offset_of(uint64_t number) {
    return number * 2654435761u % (kHotExtents * 4 * kMib / kBlock) * kBlock;
}

void one_at_a_time(DrbdResource* resource, Disk& disk, uint64_t writes) {
    Write write;
    for (uint64_t i = 0; i < writes; i++) {
        begin(resource, disk, write, offset_of(i));
        end(resource, disk, write);
    }
}

void at_depth(DrbdResource* resource, Disk& disk, uint64_t writes) {
    Write window[kDepth];
    for (uint64_t i = 0; i < writes + kDepth; i++) {
        Write& write = window[i % kDepth];
        if (i >= kDepth)
            end(resource, disk, write);
        if (i < writes)
            begin(resource, disk, write, offset_of(i));
    }
}

}  // namespace

int main(int argc, char** argv) {
    const bool depth = argc > 1 && !std::strcmp(argv[1], "depth");
    const uint64_t writes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100000;
    char error[DRBD_ERROR_SIZE] = "";
    Disk disk;

    DrbdResourceConfig config{};
    config.name = "r0";
    config.nr_volumes = 1;
    config.random_seed[0] = 1;
    DrbdResource* resource = drbd_resource_new(&config, error);
    if (!resource || !drbd_volume_open(resource, 0, error))
        die("open", error);

    DrbdDiskConfig image{};
    image.image_bytes = kImageBytes;
    image.metadata_bytes = kMetadataBytes;
    image.placement = DRBD_PLACEMENT_FLEXIBLE;
    DrbdCreateMd options{};
    finish(resource, disk, drbd_on_create_md(resource, 0, &image, &options, error), "create-md", error);
    finish(resource, disk, drbd_on_attach(resource, 0, &image, error), "attach", error);
    finish(resource, disk, drbd_on_set_role(resource, true, true, error), "set-role", error);

    Write warm;
    for (uint64_t extent = 0; extent < kHotExtents; extent++) {
        begin(resource, disk, warm, extent * 4 * kMib);
        end(resource, disk, warm);
    }
    // Once round, so that no page of the bitmap is new either.
    one_at_a_time(resource, disk, 20000);

    (depth ? at_depth : one_at_a_time)(resource, disk, writes);
    std::printf("writes %llu\n", static_cast<unsigned long long>(writes));
    return 0;
}
