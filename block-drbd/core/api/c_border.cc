// SPDX-License-Identifier: GPL-2.0-or-later
// The C border: drbd-core.h in terms of Resource and Volume.  No decision is
// made here; a call that may have let something end is followed by a pump().
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/api/resource.h"
#include "metafmt/activity_log_geometry.h"

using namespace drbd;

namespace {

uint64_t number_or_text(const Result<uint64_t>& result, char error[DRBD_ERROR_SIZE]) {
    if (result)
        return result.value();
    std::snprintf(error, DRBD_ERROR_SIZE, "%s", result.error().text);
    return 0;
}

bool ok_or_text(const Result<void>& result, char error[DRBD_ERROR_SIZE]) {
    if (!result)
        std::snprintf(error, DRBD_ERROR_SIZE, "%s", result.error().text);
    return result.ok();
}

Volume& open_volume(DrbdResource* resource, unsigned number) {
    Volume* volume = resource->volume(number);
    DRBD_ASSERT(volume);
    return *volume;
}

// Whoever changes something lets everything go on that it made possible.
template <typename T>
T settled(DrbdResource* resource, T result) {
    resource->settle();
    return result;
}

const Volume& open_volume(const DrbdResource* resource, unsigned number) {
    const Volume* volume = resource->volume(number);
    DRBD_ASSERT(volume);
    return *volume;
}

Result<void> check(const DrbdDiskConfig& disk) {
    static_assert(DRBD_AL_EXTENTS_MIN == metafmt::kActivityLogSlotsMin && DRBD_AL_EXTENTS_MAX == metafmt::kActivityLogSlotsMax);
    if (disk.al_extents != 0 && (disk.al_extents < metafmt::kActivityLogSlotsMin ||
                                 disk.al_extents > metafmt::kActivityLogSlotsMax))
        return Error::of(ErrorCode::Invalid, "al-extents %u: must be %u to %u", disk.al_extents,
                         metafmt::kActivityLogSlotsMin, metafmt::kActivityLogSlotsMax);
    return {};
}

}  // namespace

DrbdResource* drbd_resource_new(const DrbdResourceConfig* config, char error[DRBD_ERROR_SIZE]) {
    const unsigned requests = config->max_requests != 0 ? config->max_requests : kRequestsDefault;
    if (config->nr_volumes < 1 || config->nr_volumes > DRBD_MAX_VOLUMES) {
        std::snprintf(error, DRBD_ERROR_SIZE, "volumes=%u: a resource has 1 to %d volumes", config->nr_volumes,
                      static_cast<int>(DRBD_MAX_VOLUMES));
        return nullptr;
    }
    if (requests > kRequestsMax) {
        std::snprintf(error, DRBD_ERROR_SIZE, "%u requests: at most %u", requests, kRequestsMax);
        return nullptr;
    }
    DrbdResource* resource = new (std::nothrow) DrbdResource(*config);
    if (!resource || !resource->allocate(requests)) {
        delete resource;
        std::snprintf(error, DRBD_ERROR_SIZE, "not enough memory for %u requests", requests);
        return nullptr;
    }
    return resource;
}

void drbd_resource_free(DrbdResource* resource) {
    for (unsigned i = 0; i < resource->nr_volumes(); i++)
        DRBD_ASSERT(!resource->volume(i));
    DRBD_ASSERT(resource->requests().in_use() == 0);
    delete resource;
}

uint32_t drbd_resource_pending(const DrbdResource* resource, uint32_t queues) {
    return resource->pending(queues);
}

bool drbd_volume_open(DrbdResource* resource, unsigned volume, char error[DRBD_ERROR_SIZE]) {
    return ok_or_text(resource->open_volume(volume), error);
}

void drbd_volume_close(DrbdResource* resource, unsigned volume) {
    resource->close_volume(volume);
}

uint64_t drbd_volume_bytes(const DrbdResource* resource, unsigned volume) {
    return open_volume(resource, volume).bytes();
}

bool drbd_volume_is_up_to_date(const DrbdResource* resource, unsigned volume) {
    return open_volume(resource, volume).state().disk == DiskState::UpToDate;
}

bool drbd_volume_needs_disk(const DrbdResource* resource, unsigned volume) {
    return open_volume(resource, volume).needs_disk();
}

uint64_t drbd_on_attach(DrbdResource* resource, unsigned volume, const DrbdDiskConfig* disk,
                        char error[DRBD_ERROR_SIZE]) {
    if (!ok_or_text(check(*disk), error))
        return 0;
    return settled(resource, number_or_text(open_volume(resource, volume).attach(*disk), error));
}

uint64_t drbd_on_activate(DrbdResource* resource, unsigned volume, const DrbdDiskConfig* disk, bool primary,
                          char error[DRBD_ERROR_SIZE]) {
    if (!ok_or_text(check(*disk), error))
        return 0;
    if (!ok_or_text(resource->check_activation(volume, primary), error))
        return 0;
    return settled(resource, number_or_text(open_volume(resource, volume).activate(*disk, primary), error));
}

uint64_t drbd_on_detach(DrbdResource* resource, unsigned volume, bool force, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).detach(force), error));
}

uint64_t drbd_on_leave(DrbdResource* resource, unsigned volume, bool inactivate, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).leave(inactivate), error));
}

uint64_t drbd_on_set_role(DrbdResource* resource, bool primary, bool force, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(resource->set_role(primary ? Role::Primary : Role::Secondary, force), error));
}

uint64_t drbd_on_create_md(DrbdResource* resource, unsigned volume, const DrbdDiskConfig* disk,
                           const DrbdCreateMd* options, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).create_md(*disk, *options), error));
}

uint64_t drbd_on_invalidate(DrbdResource* resource, unsigned volume, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).invalidate(), error));
}

uint64_t drbd_on_outdate(DrbdResource* resource, unsigned volume, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).outdate(), error));
}

uint64_t drbd_on_invalidate_remote(DrbdResource* resource, unsigned volume, char error[DRBD_ERROR_SIZE]) {
    return settled(resource, number_or_text(open_volume(resource, volume).invalidate_remote(), error));
}

uint64_t drbd_on_new_current_uuid(DrbdResource* resource, unsigned volume, bool clear_bitmap, bool force,
                                  char error[DRBD_ERROR_SIZE]) {
    return settled(resource,
                   number_or_text(open_volume(resource, volume).new_current_uuid(clear_bitmap, force), error));
}

void drbd_on_disk_options(DrbdResource* resource, unsigned volume, DrbdOnIoError on_io_error) {
    open_volume(resource, volume).set_on_io_error(on_io_error);
}

void drbd_on_drain_begin(DrbdResource* resource, unsigned volume) {
    open_volume(resource, volume).drain_begin();
    resource->on_drain_begin();
}

void drbd_on_drain_end(DrbdResource* resource, unsigned volume) {
    open_volume(resource, volume).drain_end();
}

namespace {

// The path of every guest request: no more is looked at than can have changed.
// Settling may end the wait that the caller is about to be told of.  It does not
// wait yet, so it cannot be woken (a coroutine cannot wake itself): it goes on.
DrbdStep settled_step(DrbdRequest& request, DrbdStep step) {
    Volume& volume = *request.volume;
    DrbdResource& resource = volume.resource();
    resource.settle_after_request(volume);
    return step == DRBD_STEP_WAIT && resource.requests().take_back_wake(request) ? request.step : step;
}

// An operation may have waited for it.
DrbdStep after_request(DrbdRequest& request, DrbdStep step) {
    request.volume->pump();
    return settled_step(request, step);
}

}  // namespace

DrbdStep drbd_on_guest_request(DrbdResource* resource, unsigned volume, DrbdRequestKind kind, uint64_t offset,
                               uint64_t bytes, unsigned flags, void* owner, DrbdWaiter* waiter,
                               DrbdRequest** request) {
    Volume& v = open_volume(resource, volume);
    for (;;) {
        const DrbdStep step = v.io().begin(kind, offset, bytes, flags, owner, *waiter, request);
        if (step != DRBD_STEP_RETRY) {
            (*request)->volume = &v;
            return settled_step(**request, step);
        }
        resource->settle_after_request(v);
        if (!resource->requests().take_back_wake(*waiter))
            return step;
    }
}

DrbdStep drbd_request_step(DrbdRequest* request) {
    return request->step;
}

uint32_t drbd_request_digest_piece(const DrbdRequest* request) { return GuestIo::digest_piece(*request); }

DrbdStep drbd_on_copied(DrbdRequest* request, const void* payload, const uint8_t* digest) {
    return after_request(*request, request->io->copied(*request, payload, digest));
}

DrbdStep drbd_on_local_done(DrbdRequest* request, int result) {
    return after_request(*request, request->io->local_done(*request, result));
}

const void* drbd_request_answer(const DrbdRequest* request, uint64_t* offset, size_t* bytes) {
    DRBD_ASSERT(request->step == DRBD_STEP_DELIVER);
    *offset = request->answer_offset;
    *bytes = request->answer_bytes;
    return GuestIo::answer(*request);
}

DrbdStep drbd_on_delivered(DrbdRequest* request) {
    return after_request(*request, request->io->delivered(*request));
}

int drbd_request_end(DrbdRequest* request) {
    Volume& volume = *request->volume;
    const int result = request->io->end(*request);
    volume.pump();  // an operation may wait for the last of them
    return result;
}

void* drbd_next_wake(DrbdResource* resource) {
    return resource->requests().next_wake();
}

const DrbdJob* drbd_next_job(DrbdResource* resource, unsigned volume) {
    const DrbdJob* job = open_volume(resource, volume).next_job();
    if (!job)
        resource->settle();  // looking for one may have ended an operation
    return job;
}

void drbd_on_job_done(DrbdResource* resource, unsigned volume, int result) {
    open_volume(resource, volume).job_done(result);
    resource->settle();
}

bool drbd_next_notice(DrbdResource* resource, DrbdNotice* notice) {
    return resource->notices().take(*notice);
}

void drbd_resource_status(const DrbdResource* resource, DrbdResourceStatus* status) {
    *status = {};
    status->role = resource->role() == Role::Primary ? DRBD_ROLE_PRIMARY : DRBD_ROLE_SECONDARY;
    status->connection = name_of(resource->connection_state());
    status->nr_volumes = resource->nr_volumes();
    status->operations_pending = (resource->role_operation() != 0) + (resource->disconnect_operation() != 0);
    for (unsigned i = 0; i < resource->nr_volumes(); i++) {
        const Volume* volume = resource->volume(i);
        if (!volume)
            continue;
        status->nr_open++;
        status->nr_attached += volume->is_attached();
        status->operations_pending += volume->operation().pending() && volume->operation().kind != OperationKind::SetRole;
    }
    status->requests_in_use = resource->requests().in_use();
    status->requests_max = resource->requests().size();
    status->requests_waited_for_pool = resource->requests().waited();
    status->promotable_reason = resource->why_not_promotable();
}

void drbd_volume_status(const DrbdResource* resource, unsigned volume, DrbdVolumeStatus* status) {
    *status = {};
    if (const Volume* v = resource->volume(volume))
        v->fill_status(*status);
}

bool drbd_past_operation(const DrbdResource* resource, unsigned index, DrbdNotice* notice) {
    return resource->notices().past_operation(index, *notice);
}

bool drbd_pending_operation(const DrbdResource* resource, unsigned index, uint64_t* operation, const char** command,
                            int* volume) {
    unsigned seen = 0;
    if (resource->role_operation() != 0 && seen++ == index) {
        *operation = resource->role_operation();
        *command = name_of(OperationKind::SetRole);
        *volume = -1;
        return true;
    }
    if (resource->disconnect_operation() != 0 && seen++ == index) {
        *operation = resource->disconnect_operation();
        *command = "disconnect";
        *volume = -1;
        return true;
    }
    for (unsigned i = 0; i < resource->nr_volumes(); i++) {
        const Volume* v = resource->volume(i);
        if (!v || !v->operation().pending() || v->operation().kind == OperationKind::SetRole)
            continue;
        if (seen++ == index) {
            *operation = v->operation().number;
            *command = name_of(v->operation().kind);
            *volume = static_cast<int>(i);
            return true;
        }
    }
    return false;
}
