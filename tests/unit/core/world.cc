// SPDX-License-Identifier: GPL-2.0-or-later
#include "world.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/api/resource.h"
#include "metafmt/bitmap_layout.h"
#include "metafmt/superblock.h"

namespace drbd::test {

// ---------------------------------------------------------------- disks --

SectorBytes CachedDisk::read(uint64_t sector) const {
    for (auto write = volatile_.rbegin(); write != volatile_.rend(); ++write)
        if (sector >= (*write)->sector && sector - (*write)->sector < (*write)->data.size())
            return (*write)->data[sector - (*write)->sector];
    const auto found = stable_.find(sector);
    return found == stable_.end() ? SectorBytes{} : found->second;
}

void CachedDisk::read(uint64_t offset, void* buffer, uint64_t length) const {
    for (uint64_t at = 0; at < length; at += 512) {
        const SectorBytes bytes = read((offset + at) / 512);
        std::memcpy(static_cast<char*>(buffer) + at, bytes.data(), 512);
    }
}

CachedDisk::Handle CachedDisk::submit(uint64_t offset, const void* buffer, uint64_t length) {
    auto write = std::make_shared<Write>();
    write->sector = offset / 512;
    write->data.resize(length / 512);
    std::memcpy(write->data.data(), buffer, length);
    volatile_.push_back(write);
    return write;
}

void CachedDisk::complete(const Handle& write, bool fua) {
    write->done = true;
    if (fua)
        make_stable(write);
}

std::vector<CachedDisk::Handle> CachedDisk::flush_begin() const {
    std::vector<Handle> covered;
    for (const Handle& write : volatile_)
        if (write->done)
            covered.push_back(write);
    return covered;
}

void CachedDisk::flush_end(const std::vector<Handle>& covered) {
    for (const Handle& write : covered)
        make_stable(write);
}

void CachedDisk::make_stable(const Handle& write) {
    const auto at = std::find(volatile_.begin(), volatile_.end(), write);
    if (at == volatile_.end())
        return;
    for (size_t i = 0; i < write->data.size(); i++)
        stable_[write->sector + i] = write->data[i];
    // What older writes left in the cache for these sectors is overwritten.
    for (auto older = volatile_.begin(); older != at; ++older)
        for (size_t i = 0; i < (*older)->data.size(); i++) {
            const uint64_t sector = (*older)->sector + i;
            if (sector >= write->sector && sector < write->sector + write->data.size())
                (*older)->data[i] = write->data[sector - write->sector];
        }
    volatile_.erase(at);
}

void CachedDisk::lose_power(std::mt19937_64& random) {
    // All, none, or each sector by itself.
    const unsigned how = static_cast<unsigned>(random() % 4);
    for (const Handle& write : volatile_)
        for (size_t i = 0; i < write->data.size(); i++)
            if (how == 0 || (how != 1 && random() % 2 == 0))
                stable_[write->sector + i] = write->data[i];
    volatile_.clear();
}

// ---------------------------------------------------------------- world --

struct World::GuestRequest {
    DrbdRequestKind kind;
    uint64_t offset, bytes;
    unsigned flags;
    std::vector<uint64_t> tags;       // one a sector
    DrbdRequest* core = nullptr;
    DrbdWaiter waiter{};
    bool at_image = false;
    bool must_retry = false;
    bool done = false;
    CachedDisk::Handle write;
    std::vector<CachedDisk::Handle> flushing;
    size_t promised = 0;  // FLUSH: how many sectors had been acknowledged when it began
};

// A metadata job, done part by part.
struct World::JobRun {
    const DrbdJob* job;
    enum Phase { FlushImage, Parts, FlushTarget } phase = FlushImage;
    std::vector<CachedDisk::Handle> flushing;
    std::vector<unsigned> parts;
    std::vector<std::pair<CachedDisk::Handle, bool>> writes;
    bool started = false;
};

namespace {

SectorBytes sector_of(uint64_t tag) {
    SectorBytes bytes{};
    std::memcpy(bytes.data(), &tag, sizeof tag);
    return bytes;
}

uint64_t tag_of(const SectorBytes& bytes) {
    uint64_t tag;
    std::memcpy(&tag, bytes.data(), sizeof tag);
    return tag;
}

uint64_t masked(uint64_t uuid) { return uuid & ~1ull; }

}  // namespace

World::World(uint64_t seed, const WorldOptions& options)
    : random_(seed), options_(options), image_(options.image_bytes) {
    if (!options_.internal)
        metadata_ = std::make_unique<CachedDisk>(1ull << 20);
    start_core();
    create_metadata();
    attach();
    make_peer_equal();
}

World::~World() {
    // The core refuses to be freed with anything under way.
    settle();
    if (!complaint_.empty()) {
        delete core_;
    } else {
        char error[DRBD_ERROR_SIZE];
        wait_for(operation(drbd_on_leave(core_, 0, false, error), "leave"));
        drbd_volume_close(core_, 0);
        drbd_resource_free(core_);
    }
}

void World::complain(const std::string& what) {
    if (complaint_.empty())
        complaint_ = what;
}

void World::start_core() {
    char error[DRBD_ERROR_SIZE];
    const DrbdResourceConfig config = {.name = "r0", .nr_volumes = 1, .max_requests = options_.max_requests,
                                       .random_seed = {random_(), random_()}};
    core_ = drbd_resource_new(&config, error);
    drbd_volume_open(core_, 0, error);
    attached_ = primary_ = false;
    ended_.clear();  // numbers begin anew
    errors_.clear();
    drained_ = 0;
}

DrbdDiskConfig disk_config(const WorldOptions& o, uint64_t metadata_bytes) {
    return {.image_bytes = o.image_bytes, .metadata_bytes = metadata_bytes,
            .placement = o.internal ? DRBD_PLACEMENT_INTERNAL : DRBD_PLACEMENT_FLEXIBLE,
            .metadata_index = 0, .al_extents = o.al_extents, .on_io_error = DRBD_ON_IO_ERROR_DETACH};
}

void World::create_metadata() {
    char error[DRBD_ERROR_SIZE] = "";
    const DrbdDiskConfig disk = disk_config(options_, metadata().bytes());
    const DrbdCreateMd create = {.force = true, .al_stripes = options_.al_stripes, .al_stripe_size_kb = 32,
                                 .peer_max_bio_size = 0};
    wait_for(operation(drbd_on_create_md(core_, 0, &disk, &create, error), error));
}

void World::attach() {
    char error[DRBD_ERROR_SIZE] = "";
    const DrbdDiskConfig disk = disk_config(options_, metadata().bytes());
    wait_for(operation(drbd_on_attach(core_, 0, &disk, error), error));
    attached_ = true;
}

// Leaves clean metadata, then does what a finished resync does to it: empty
// bitmap, no bitmap generation; the peer has what the image has.
void World::make_peer_equal() {
    settle();
    char error[DRBD_ERROR_SIZE] = "";
    wait_for(operation(drbd_on_leave(core_, 0, false, error), error));
    const metafmt::Layout l = layout();
    metafmt::Superblock sb = superblock_on_disk();
    if (!sb.is_clean())
        complain("an orderly end left metadata that is not clean");
    sb.uuids.current = masked(random_() | 16);
    sb.uuids.bitmap = 0;
    sb.flags.clear(metafmt::MdFlag::CrashedPrimary);
    std::array<uint8_t, kBlockSize> block{};
    metafmt::encode_superblock(sb, metafmt::Block(block));
    auto write = [&](Sector at, const std::vector<uint8_t>& data) {
        metadata().complete(metadata().submit(to_bytes(at).value, data.data(), data.size()), true);
    };
    write(l.superblock, {block.begin(), block.end()});
    write(l.bitmap, std::vector<uint8_t>(bitmap_on_disk().size(), 0));
    metadata().flush_end(metadata().flush_begin());
    image_.flush_end(image_.flush_begin());

    peer_.clear();
    for (auto& [sector, history] : history_) {
        const uint64_t now = tag_of(image_.read(sector));
        peer_[sector] = now;
        history = {{now}, 0};
    }
    forget_promises();
    extents_written_.clear();
    all_marked_ = write_completed_ = false;
    base_uuid_ = sb.uuids.current;
    // Half of the time the guest goes on at once, as after a migration: then the
    // first write has to make the new generation.
    primary_ = chance(0.5);
    const DrbdDiskConfig disk = disk_config(options_, metadata().bytes());
    if (sb.flags.has(metafmt::MdFlag::WasUpToDate) && primary_) {
        wait_for(operation(drbd_on_activate(core_, 0, &disk, true, error), error));
    } else {
        attach();
        primary_ = false;
    }
}

// -------------------------------------------------------------- events --

void World::run(unsigned events) {
    for (unsigned i = 0; i < events && complaint_.empty(); i++)
        event();
}

void World::event() {
    run_queues();
    if (chance(options_.admin))
        administer();
    if (chance(options_.drain)) {
        if (drained_ > 0) {
            drbd_on_drain_end(core_, 0);
            drained_--;
        } else {
            drbd_on_drain_begin(core_, 0);
            drained_++;
        }
    }
    switch (pick(3)) {
    case 0:
        if (primary_ && requests_.size() < options_.depth)
            begin_request();
        break;
    case 1:
        progress_request();
        break;
    case 2:
        progress_job();
        break;
    }
}

void World::begin_request() {
    auto request = std::make_unique<GuestRequest>();
    request->flags = 0;
    if (chance(options_.flush)) {
        request->kind = DRBD_REQUEST_FLUSH;
        request->offset = request->bytes = 0;
        request->promised = acknowledged_.size();
    } else {
        const uint64_t size = drbd_volume_bytes(core_, 0) / 512;
        // A few hot places, so that writes meet; the rest anywhere.
        const uint64_t start = chance(0.3) ? 8192 * (1 + pick(4)) - pick(16) : pick(size);
        uint64_t length = 1 + pick(chance(0.2) ? 64 : 8);
        request->kind = DRBD_REQUEST_WRITE;
        if (chance(options_.zeroes)) {
            request->kind = chance(0.5) ? DRBD_REQUEST_ZEROES : DRBD_REQUEST_DISCARD;
            if (chance(0.01))
                length = 8192 * 2;  // several extents
        }
        length = std::min(length, size - start);
        request->offset = start * 512;
        request->bytes = length * 512;
        if (chance(options_.fua))
            request->flags = DRBD_REQUEST_FUA;
        const uint64_t tag = request->kind == DRBD_REQUEST_WRITE ? next_tag_++ : 0;
        request->tags.assign(length, tag);
        for (uint64_t e = request->offset / kExtentSize; e <= (request->offset + request->bytes - 1) / kExtentSize; e++)
            extents_written_.insert(static_cast<uint32_t>(e));
    }
    GuestRequest& r = *request;
    requests_.push_back(std::move(request));
    step(r, drbd_on_guest_request(core_, 0, r.kind, r.offset, r.bytes, r.flags, &r, &r.waiter, &r.core));
}

void World::step(GuestRequest& r, DrbdStep step) {
    switch (step) {
    case DRBD_STEP_WAIT:
        return;
    case DRBD_STEP_RETRY:
        r.must_retry = true;
        return;
    case DRBD_STEP_SUBMIT:
        submit(r);
        return;
    case DRBD_STEP_COMPLETE:
        finished(r);
        return;
    case DRBD_STEP_COPY:
    case DRBD_STEP_DELIVER:
        complain("a step of two nodes, and there is no peer");
        return;
    }
}

void World::submit(GuestRequest& r) {
    r.at_image = true;
    if (r.kind == DRBD_REQUEST_FLUSH) {
        r.flushing = image_.flush_begin();
        return;
    }
    std::vector<SectorBytes> data;
    for (uint64_t tag : r.tags)
        data.push_back(sector_of(tag));
    r.write = image_.submit(r.offset, data.data(), r.bytes);
    for (uint64_t i = 0; i < r.tags.size(); i++) {
        SectorHistory& history = history_[r.offset / 512 + i];
        if (history.tags.empty())
            history.tags.push_back(0);
        history.tags.push_back(r.tags[i]);
    }
}

void World::progress_request() {
    std::vector<GuestRequest*> at_image;
    for (auto& r : requests_)
        if (r->at_image)
            at_image.push_back(r.get());
    if (at_image.empty())
        return;
    GuestRequest& r = *at_image[pick(at_image.size())];
    r.at_image = false;
    if (r.kind == DRBD_REQUEST_FLUSH)
        image_.flush_end(r.flushing);
    else
        image_.complete(r.write, r.flags & DRBD_REQUEST_FUA);
    step(r, drbd_on_local_done(r.core, 0));
}

void World::finished(GuestRequest& r) {
    const int result = drbd_request_end(r.core);
    r.done = true;
    if (result == 0 && r.kind == DRBD_REQUEST_FLUSH) {
        // Whether it went to the image itself or another one covered it.
        for (; promised_ < r.promised; promised_++) {
            const auto [sector, index] = acknowledged_[promised_];
            history_[sector].durable = std::max(history_[sector].durable, index);
        }
    } else if (result == 0) {
        writes_completed_++;
        write_completed_ = true;
        for (uint64_t i = 0; i < r.tags.size(); i++) {
            SectorHistory& history = history_[r.offset / 512 + i];
            const size_t index = history.tags.size() - 1;
            acknowledged_.emplace_back(r.offset / 512 + i, index);
            if (r.flags & DRBD_REQUEST_FUA)
                history.durable = index;
        }
        // Design D14, judged where it counts: at the completion.
        if (masked(stable_superblock().uuids.current) == masked(base_uuid_))
            complain("a write completed before its data generation was written");
    } else if (result != -EROFS && result != -EIO) {
        complain("unexpected error of a request");
    }
}

bool World::progress_job() {
    if (!job_) {
        const DrbdJob* job = drbd_next_job(core_, 0);
        if (!job)
            return false;
        job_ = std::make_unique<JobRun>();
        job_->job = job;
        for (unsigned i = 0; i < job->nr_parts; i++)
            job_->parts.push_back(i);
    }
    JobRun& run = *job_;
    const DrbdJob& job = *run.job;
    CachedDisk& target = job.target == DRBD_TARGET_IMAGE ? image_ : metadata();
    if (run.phase == JobRun::FlushImage) {
        if (job.flush_image_first && !run.started) {
            run.started = true;
            run.flushing = image_.flush_begin();
            return true;
        }
        if (run.started)
            image_.flush_end(run.flushing);
        run.started = false;
        run.phase = JobRun::Parts;
        return true;
    }
    if (run.phase == JobRun::Parts && (!run.parts.empty() || !run.writes.empty())) {
        if (!run.parts.empty() && (run.writes.empty() || chance(0.5))) {
            const size_t n = pick(run.parts.size());
            const DrbdJobPart& part = job.parts[run.parts[n]];
            run.parts.erase(run.parts.begin() + static_cast<long>(n));
            if (job.kind == DRBD_JOB_READ)
                target.read(part.offset, part.buffer, part.bytes);
            else
                run.writes.push_back({target.submit(part.offset, part.buffer, part.bytes), job.fua});
        } else {
            const size_t n = pick(run.writes.size());
            target.complete(run.writes[n].first, run.writes[n].second);
            run.writes.erase(run.writes.begin() + static_cast<long>(n));
        }
        return true;
    }
    if (run.phase == JobRun::Parts) {
        run.phase = JobRun::FlushTarget;
        if (job.flush_after) {
            run.flushing = target.flush_begin();
            run.started = true;
            return true;
        }
    }
    if (run.started)
        target.flush_end(run.flushing);
    job_.reset();
    drbd_on_job_done(core_, 0, 0);
    return true;
}

void World::run_queues() {
    DrbdNotice notice;
    while (drbd_next_notice(core_, &notice))
        if (notice.kind == DRBD_NOTICE_OPERATION) {
            ended_[notice.operation] = notice.success;
            errors_[notice.operation] = notice.text;
        }
    while (void* owner = drbd_next_wake(core_)) {
        GuestRequest& r = *static_cast<GuestRequest*>(owner);
        if (r.must_retry) {
            r.must_retry = false;
            step(r, drbd_on_guest_request(core_, 0, r.kind, r.offset, r.bytes, r.flags, &r, &r.waiter, &r.core));
        } else {
            step(r, drbd_request_step(r.core));
        }
    }
    std::erase_if(requests_, [](const auto& r) { return r->done; });
}

void World::administer() {
    char error[DRBD_ERROR_SIZE] = "";
    const DrbdDiskConfig disk = disk_config(options_, metadata().bytes());
    while (drained_ > 0) {  // an administrator's command waits for its end here
        drbd_on_drain_end(core_, 0);
        drained_--;
    }
    switch (pick(7)) {
    case 0:
        if (!attached_)
            break;
        wait_for(operation(drbd_on_set_role(core_, !primary_, true, error), error));
        primary_ = !primary_;
        break;
    case 1:
        if (!primary_ || !attached_)
            break;
        // As a migration that comes back: the role returns without a generation.
        settle();
        wait_for(operation(drbd_on_leave(core_, 0, true, error), error));
        wait_for(operation(drbd_on_activate(core_, 0, &disk, true, error), error));
        break;
    case 2:
        if (primary_ || !attached_)
            break;
        wait_for(operation(drbd_on_detach(core_, 0, false, error), error));
        attach();
        break;
    case 3:
        if (attached_)
            make_peer_equal();
        break;
    case 4:
        if (primary_ || !attached_ || chance(0.5))
            break;
        all_marked_ = true;
        wait_for(operation(drbd_on_invalidate(core_, 0, error), error));
        break;
    case 5:
        if (primary_ || !attached_)
            break;
        if (const uint64_t number = drbd_on_outdate(core_, 0, error))
            wait_for(number);
        break;
    case 6:
        if (!primary_)
            break;
        // Orderly end of the node, and again from the start.
        settle();
        wait_for(operation(drbd_on_leave(core_, 0, false, error), error));
        if (!superblock_on_disk().is_clean())
            complain("an orderly end left metadata that is not clean");
        attach();
        primary_ = false;
        break;
    }
}

uint64_t World::operation(uint64_t number, const char* error) {
    if (number == 0)
        complain(std::string("refused: ") + error);
    return number;
}

void World::wait_for(uint64_t number) {
    if (number == 0)
        return;
    for (unsigned i = 0; i < 1000000; i++) {
        run_queues();
        if (ended_.count(number)) {
            if (!ended_[number])
                complain("operation failed: " + errors_[number]);
            return;
        }
        progress_request();
        progress_job();
    }
    complain("an operation does not end");
}

void World::settle() {
    if (!core_ || !complaint_.empty())
        return;
    while (drained_ > 0) {
        drbd_on_drain_end(core_, 0);
        drained_--;
    }
    for (unsigned i = 0; i < 1000000; i++) {
        run_queues();
        const bool worked = progress_job();
        progress_request();
        if (requests_.empty() && !job_ && !worked && drbd_resource_pending(core_, DRBD_PENDING_ALL) == 0)
            return;
    }
    std::string what = "a request does not end:";
    for (const auto& r : requests_)
        what += " kind " + std::to_string(r->kind) + (r->at_image ? " at the image" : "") + " stage " +
                (r->core ? std::to_string(static_cast<int>(r->core->stage)) : "none");
    complain(what + ", pending " + std::to_string(drbd_resource_pending(core_, DRBD_PENDING_ALL)));
}

// --------------------------------------------------------------- judging --

void World::lose_power_and_judge() {
    if (!complaint_.empty())
        return;
    power_losses_++;
    image_.lose_power(random_);
    if (metadata_)
        metadata_->lose_power(random_);
    // The process is gone, and with it all that it knew; nothing ended in an
    // orderly way.
    delete core_;
    core_ = nullptr;
    requests_.clear();
    job_.reset();

    for (auto& [sector, history] : history_) {
        const uint64_t found = tag_of(image_.read(sector));
        bool allowed = false;
        for (size_t i = history.durable; i < history.tags.size(); i++)
            allowed |= history.tags[i] == found;
        if (!allowed)
            complain("sector " + std::to_string(sector) + " lost what was flushed");
        history = {{found}, 0};
    }
    forget_promises();
    start_core();
    attach();
    judge();
    if (complaint_.empty() && chance(0.7)) {
        char error[DRBD_ERROR_SIZE] = "";
        wait_for(operation(drbd_on_set_role(core_, true, true, error), error));
        primary_ = true;
    }
}

void World::judge() {
    const std::vector<uint8_t> bitmap = bitmap_on_disk();
    auto is_set = [&](uint64_t block) { return (bitmap[block / 8] >> (block % 8)) & 1; };
    for (const auto& [sector, history] : history_) {
        const auto at_peer = peer_.find(sector);
        const uint64_t peer_value = at_peer == peer_.end() ? 0 : at_peer->second;
        if (history.tags[0] != peer_value && !is_set(sector / 8))
            complain("sector " + std::to_string(sector) + " differs from the peer's and is not marked");
    }
    if (!all_marked_) {
        for (uint64_t block = 0; block < drbd_volume_bytes(core_, 0) / kBlockSize; block++)
            if (is_set(block) && !extents_written_.count(static_cast<uint32_t>(block / kBlocksPerExtent)))
                complain("block " + std::to_string(block) + " is marked, but nothing was written near it");
    }
    if (write_completed_ && masked(stable_superblock().uuids.current) == masked(base_uuid_))
        complain("the data generation that completed writes belong to is lost");
}

metafmt::Layout World::layout() const {
    const auto placement = options_.internal ? metafmt::Placement::internal() : metafmt::Placement::flexible_external();
    auto made = metafmt::layout_for_creation(placement, Sector(metadata().bytes() / 512),
                                             {.stripes = options_.al_stripes, .stripe_size_4k = 8});
    return made.value();
}

metafmt::Superblock World::superblock_on_disk() const {
    std::array<uint8_t, kBlockSize> block{};
    metadata().read(to_bytes(layout().superblock).value, block.data(), block.size());
    auto decoded = metafmt::decode_superblock(metafmt::ConstBlock(block));
    return decoded ? decoded.value() : metafmt::Superblock{};
}

metafmt::Superblock World::stable_superblock() const {
    std::array<uint8_t, kBlockSize> block{};
    const uint64_t first = layout().superblock.value;
    for (uint64_t i = 0; i < kSectorsPerBlock; i++) {
        const auto found = metadata().stable().find(first + i);
        if (found != metadata().stable().end())
            std::memcpy(block.data() + i * 512, found->second.data(), 512);
    }
    auto decoded = metafmt::decode_superblock(metafmt::ConstBlock(block));
    return decoded ? decoded.value() : metafmt::Superblock{};
}

std::vector<uint8_t> World::bitmap_on_disk() const {
    const uint64_t bytes = round_up(divide_up(options_.image_bytes, kBlockSize * 8), kBlockSize);
    std::vector<uint8_t> bitmap(bytes);
    metadata().read(to_bytes(layout().bitmap).value, bitmap.data(), bytes);
    return bitmap;
}

}  // namespace drbd::test
