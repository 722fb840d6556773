// SPDX-License-Identifier: GPL-2.0-or-later
// The node of node.h.
#include "node.h"

#include <bit>
#include <cstring>

#include "metafmt/activity_log_block.h"
#include "metafmt/layout.h"

namespace drbd::test {

namespace {

constexpr uint64_t kRingAt = 4096, kBitmapAt = kRingAt + 8 * 4096;

metafmt::Layout layout_of(const MemoryDisk& disk) {
    auto layout = metafmt::layout_for_creation(metafmt::Placement::flexible_external(), Sector(disk.bytes() / 512), {});
    EXPECT_TRUE(layout.ok());
    return layout.value();
}

}  // namespace

void MemoryDisk::read(uint64_t offset, void* buffer, uint64_t length) const {
    ASSERT_TRUE(offset % 512 == 0 && length % 512 == 0 && offset + length <= bytes_) << offset << " " << length;
    std::memset(buffer, 0, length);
    for (auto at = sectors_.lower_bound(offset); at != sectors_.end() && at->first < offset + length; ++at)
        std::memcpy(static_cast<uint8_t*>(buffer) + (at->first - offset), at->second.data(), 512);
}

void MemoryDisk::write(uint64_t offset, const void* buffer, uint64_t length) {
    ASSERT_TRUE(offset % 512 == 0 && length % 512 == 0 && offset + length <= bytes_) << offset << " " << length;
    const uint8_t* bytes = static_cast<const uint8_t*>(buffer);
    for (uint64_t done = 0; done < length; done += 512)
        sectors_[offset + done].assign(bytes + done, bytes + done + 512);
}

Node::Node(unsigned volumes, unsigned max_requests, uint64_t image_bytes)
    : volumes_(volumes), image_bytes_(volumes, image_bytes), out_(volumes) {
    const DrbdResourceConfig config{"r0", volumes, max_requests, {1, 2}};
    char error[DRBD_ERROR_SIZE];
    core_ = drbd_resource_new(&config, error);
    for (unsigned v = 0; v < volumes; v++) {
        disks_.emplace_back(kBitmapAt + 64 * 4096);
        EXPECT_TRUE(drbd_volume_open(core_, v, error)) << error;
    }
}

Node::~Node() {
    // The border asserts that everything has ended; after a failure it may not
    // have.  What is kept here is no leak.
    static auto& abandoned = *new std::vector<DrbdResource*>;
    if (testing::Test::HasFailure()) {
        abandoned.push_back(core_);
        return;
    }
    for (Guest& g : guests_)
        if (!g.result)
            finish(g);
    for (unsigned v = 0; v < volumes_; v++)
        if (disk(v) != "Diskless")
            must(leave(v));
    for (unsigned v = 0; v < volumes_; v++)
        drbd_volume_close(core_, v);
    drbd_resource_free(core_);
}

DrbdDiskConfig Node::config(unsigned volume) const {
    return {.image_bytes = image_bytes_[volume], .metadata_bytes = disks_[volume].bytes(), .placement = DRBD_PLACEMENT_FLEXIBLE,
            .metadata_index = 0, .al_extents = 67, .on_io_error = DRBD_ON_IO_ERROR_DETACH};
}

void Node::format(unsigned volume, uint32_t flags, uint64_t current, uint64_t bitmap) {
    MemoryDisk& disk = disks_[volume];
    const metafmt::Layout layout = layout_of(disk);
    metafmt::Superblock sb = metafmt::superblock_for_creation(layout);
    sb.flags.bits = flags;
    sb.magic = sb.flags.has(metafmt::MdFlag::AlClean) ? metafmt::SuperblockMagic::Clean : metafmt::SuperblockMagic::Unclean;
    sb.uuids.current = current;
    sb.uuids.bitmap = bitmap;
    uint8_t block[4096] = {};
    metafmt::encode_activity_log_initialized(metafmt::Block(block, 4096));
    for (unsigned i = 0; i < 8; i++)
        disk.write(kRingAt + i * 4096, block, 4096);
    std::memset(block, 0, sizeof block);
    for (uint64_t at = kBitmapAt; at < disk.bytes(); at += 4096)
        disk.write(at, block, 4096);
    metafmt::encode_superblock(sb, metafmt::Block(block, 4096));
    disk.write(0, block, 4096);
}

void Node::format_up_to_date(unsigned volume, uint64_t bitmap) {
    format(volume, 0x01 | 0x10 | 0x80, 0x1110, bitmap);
}

metafmt::Superblock Node::superblock(unsigned volume) const {
    uint8_t block[4096];
    disks_[volume].read(0, block, sizeof block);
    auto sb = metafmt::decode_superblock(metafmt::ConstBlock(block, 4096));
    EXPECT_TRUE(sb.ok());
    return sb.ok() ? sb.value() : metafmt::Superblock{};
}

bool Node::bit(unsigned volume, uint64_t block) const {
    uint8_t sector[512];
    disks_[volume].read(kBitmapAt + block / 4096 * 512, sector, sizeof sector);
    return sector[block % 4096 / 8] >> (block % 8) & 1;
}

uint64_t Node::bits(unsigned volume) const {
    std::vector<uint8_t> all(disks_[volume].bytes() - kBitmapAt);
    disks_[volume].read(kBitmapAt, all.data(), all.size());
    uint64_t count = 0;
    for (uint8_t byte : all)
        count += static_cast<unsigned>(std::popcount(byte));
    return count;
}

uint64_t Node::asked(uint64_t number, const char* error) {
    refusal_ = number ? "" : error;
    return number;
}

uint64_t Node::attach(unsigned volume) {
    char error[DRBD_ERROR_SIZE];
    const DrbdDiskConfig disk = config(volume);
    return asked(drbd_on_attach(core_, volume, &disk, error), error);
}

uint64_t Node::activate(unsigned volume, bool primary) {
    char error[DRBD_ERROR_SIZE];
    const DrbdDiskConfig disk = config(volume);
    return asked(drbd_on_activate(core_, volume, &disk, primary, error), error);
}

uint64_t Node::detach(unsigned volume, bool force) {
    char error[DRBD_ERROR_SIZE];
    return asked(drbd_on_detach(core_, volume, force, error), error);
}

uint64_t Node::leave(unsigned volume, bool inactivate) {
    char error[DRBD_ERROR_SIZE];
    return asked(drbd_on_leave(core_, volume, inactivate, error), error);
}

uint64_t Node::set_role(bool primary, bool force) {
    char error[DRBD_ERROR_SIZE];
    return asked(drbd_on_set_role(core_, primary, force, error), error);
}

uint64_t Node::invalidate(unsigned volume) {
    char error[DRBD_ERROR_SIZE];
    return asked(drbd_on_invalidate(core_, volume, error), error);
}

uint64_t Node::outdate(unsigned volume) {
    char error[DRBD_ERROR_SIZE];
    return asked(drbd_on_outdate(core_, volume, error), error);
}

uint64_t Node::create_md(unsigned volume, bool force) {
    char error[DRBD_ERROR_SIZE];
    const DrbdDiskConfig disk = config(volume);
    const DrbdCreateMd options{.force = force, .al_stripes = 0, .al_stripe_size_kb = 0, .peer_max_bio_size = 0};
    return asked(drbd_on_create_md(core_, volume, &disk, &options, error), error);
}

const std::vector<DrbdNotice>& Node::notices() {
    DrbdNotice notice;
    while (drbd_next_notice(core_, &notice))
        notices_.push_back(notice);
    return notices_;
}

Ended Node::ended(uint64_t operation) {
    Ended ended{};
    for (const DrbdNotice& n : notices()) {
        if (n.kind == DRBD_NOTICE_OPERATION && n.operation == operation)
            ended = {n.success, n.text, ended.times + 1};
    }
    return ended;
}

std::string Node::line_of(const DrbdJob& job) const {
    std::string line = job.flush_image_first ? "flush-image" : "";
    if (job.nr_parts > 0) {
        const DrbdJobPart& part = job.parts[0];
        line += line.empty() ? "" : " ";
        line += job.kind == DRBD_JOB_READ ? "read " : "write ";
        line += part.offset == 0 ? (part.bytes == 4096 ? "superblock" : "head") : part.offset < kBitmapAt ? "ring" : "bitmap";
    }
    return line + (job.fua ? " fua" : "") + (job.flush_after ? " flush" : "");
}

void Node::do_job(unsigned volume, const DrbdJob& job) {
    for (unsigned i = 0; i < job.nr_parts; i++) {
        const DrbdJobPart& part = job.parts[i];
        EXPECT_EQ(reinterpret_cast<uintptr_t>(part.buffer) % 512, 0u);
        if (job.kind == DRBD_JOB_READ)
            disks_[volume].read(part.offset, part.buffer, part.bytes);
        else
            disks_[volume].write(part.offset, part.buffer, part.bytes);
    }
}

bool Node::has_job(unsigned volume) const {
    return drbd_resource_pending(core_, DRBD_PENDING_ALL) >> (DRBD_PENDING_JOB_SHIFT + volume) & 1;
}

const DrbdJob* Node::take_job(unsigned volume) {
    const DrbdJob* job = drbd_next_job(core_, volume);
    if (job) {
        out_[volume] = job;
        jobs.push_back(line_of(*job));
    }
    return job;
}

void Node::end_job(unsigned volume, int result) {
    const DrbdJob* job = std::exchange(out_[volume], nullptr);
    ASSERT_NE(job, nullptr);
    if (result == 0)
        do_job(volume, *job);
    drbd_on_job_done(core_, volume, result);
}

bool Node::run_job(unsigned volume, int result) {
    if (!out_[volume] && !take_job(volume))
        return false;
    end_job(volume, result);
    return true;
}

void Node::run_jobs() {
    for (bool some = true; some;) {
        some = false;
        for (unsigned v = 0; v < volumes_; v++)
            some |= run_job(v);
    }
}

void Node::must(uint64_t operation) {
    ASSERT_NE(operation, 0u) << refusal_;
    run_jobs();
    const Ended end = ended(operation);
    EXPECT_EQ(end.times, 1u) << "operation " << operation;
    EXPECT_TRUE(end.success) << end.text;
}

void Node::become_primary() {
    for (unsigned v = 0; v < volumes_; v++) {
        format_up_to_date(v);
        must(attach(v));
    }
    must(set_role(true));
    jobs.clear();
}

void Node::stepped(Guest& guest, DrbdStep step) {
    guest.step = step;
    if (step == DRBD_STEP_WAIT || step == DRBD_STEP_RETRY)
        guest.waits++;
    if (step == DRBD_STEP_WAIT)
        EXPECT_EQ(drbd_request_step(guest.request), DRBD_STEP_WAIT) << "a coroutine cannot wake itself";
    if (step == DRBD_STEP_COMPLETE)
        guest.result = drbd_request_end(guest.request);
}

Guest& Node::begin(DrbdRequestKind kind, uint64_t offset, uint64_t bytes, unsigned flags, unsigned volume) {
    Guest& g = guests_.emplace_back();
    g.volume = volume;
    g.kind = kind;
    g.offset = offset;
    g.bytes = bytes;
    g.flags = flags;
    stepped(g, drbd_on_guest_request(core_, volume, kind, offset, bytes, flags, &g, &g.waiter, &g.request));
    return g;
}

void Node::copied(Guest& guest, const void* payload) {
    ASSERT_EQ(guest.step, DRBD_STEP_COPY);
    stepped(guest, drbd_on_copied(guest.request, payload, nullptr));
}

void Node::local_done(Guest& guest, int result) {
    ASSERT_EQ(guest.step, DRBD_STEP_SUBMIT);
    stepped(guest, drbd_on_local_done(guest.request, result));
}

std::vector<Guest*> Node::wake_all() {
    std::vector<Guest*> woken;
    while (void* owner = drbd_next_wake(core_)) {
        Guest& g = *static_cast<Guest*>(owner);
        woken.push_back(&g);
        g.wakes++;
        EXPECT_LE(g.wakes, g.waits) << "woken without having been told to wait";
        if (g.step == DRBD_STEP_RETRY)
            stepped(g, drbd_on_guest_request(core_, g.volume, g.kind, g.offset, g.bytes, g.flags, &g, &g.waiter, &g.request));
        else
            stepped(g, drbd_request_step(g.request));
    }
    return woken;
}

int Node::finish(Guest& guest, int result) {
    for (int i = 0; i < 100 && !guest.result; i++) {
        wake_all();
        if (guest.step == DRBD_STEP_SUBMIT)
            local_done(guest, result);
        else if (!guest.result)
            run_jobs();
    }
    EXPECT_TRUE(guest.result.has_value()) << "the request hangs";
    return guest.result.value_or(-1000);
}

DrbdVolumeStatus Node::status(unsigned volume) const {
    DrbdVolumeStatus status;
    drbd_volume_status(core_, volume, &status);
    return status;
}

bool Node::is_primary() const {
    DrbdResourceStatus status;
    drbd_resource_status(core_, &status);
    return status.role == DRBD_ROLE_PRIMARY;
}

void Node::expect_at_rest() {
    wake_all();
    uint64_t number;
    const char* command;
    int volume;
    EXPECT_FALSE(drbd_pending_operation(core_, 0, &number, &command, &volume)) << command;
    for (unsigned v = 0; v < volumes_; v++) {
        EXPECT_EQ(take_job(v), nullptr);
        EXPECT_FALSE(has_job(v));
        EXPECT_EQ(status(v).in_flight, 0u);
        EXPECT_EQ(status(v).writes_in_flight, 0u);
        EXPECT_FALSE(status(v).busy);
    }
    for (const Guest& g : guests_)
        EXPECT_TRUE(g.result.has_value()) << "a request hangs";
    DrbdResourceStatus status;
    drbd_resource_status(core_, &status);
    EXPECT_EQ(status.requests_in_use, 0u);
}

}  // namespace drbd::test
