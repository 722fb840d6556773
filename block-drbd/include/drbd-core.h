/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The border of the core: every input and every output.
 *
 * The core decides and does nothing else: no I/O, no thread, no clock, no
 * memory from outside after attach.  Somebody (the QEMU shim, a simulator, a
 * unit test) tells it what happened with the drbd_on_...() functions, does the
 * steps they return, and empties the queues named by drbd_resource_pending().
 *
 * Locking.  The core has no lock.  Every function here must be called with the
 * caller's one lock of that resource held, and every pointer that it returns
 * is borrowed: valid until the next call that the function's comment names.
 * Nothing calls back, nothing blocks, so the lock is held for the decision
 * alone.
 *
 * Order.  A guest request is driven by its own coroutine: each call returns
 * the next step of that request.  Everything else (metadata jobs, wake-ups,
 * notices) waits in ordered queues of the resource, whoever caused it.  After
 * any call the caller looks at drbd_resource_pending() and kicks the queues
 * that are not empty.
 *
 * Life of a volume: open (it exists, Diskless), create-md if it has no
 * metadata, attach (metadata read, activity log replayed), role, detach,
 * close.  They are separate steps: a node of QEMU may be open and own nothing.
 *
 * Errors.  Functions that can refuse take `char error[DRBD_ERROR_SIZE]`; the
 * text says what is wrong, where and what to do next.  Values that come from a
 * disk or a user never trip an assertion; a wrong sequence of calls does.
 */
#ifndef DRBD_CORE_H
#define DRBD_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DRBD_ERROR_SIZE = 256,   /* bytes of an error text, with its NUL */
    DRBD_MAX_VOLUMES = 16,   /* volumes of one resource */
    DRBD_JOB_MAX_PARTS = 64, /* pieces of one metadata job */
};

typedef struct DrbdResource DrbdResource; /* one resource: its volumes and queues */
typedef struct DrbdRequest DrbdRequest;   /* one guest request; owned by the core */

/* ------------------------------------------------------------ resource -- */

typedef struct DrbdResourceConfig {
    const char *name;     /* for texts; copied */
    unsigned nr_volumes;  /* 1..DRBD_MAX_VOLUMES; the role concerns all of them */
    unsigned max_requests; /* pool of guest requests, all volumes; 0 = default */
    uint64_t random_seed[2]; /* from a good source: data generations are drawn from it */
} DrbdResourceConfig;

/* NULL and a text if the configuration makes no sense. */
DrbdResource *drbd_resource_new(const DrbdResourceConfig *config, char error[DRBD_ERROR_SIZE]);

/* All volumes must be closed. */
void drbd_resource_free(DrbdResource *resource);

/* Bits of drbd_resource_pending(). */
enum {
    DRBD_PENDING_WAKE = 1 << 0,   /* drbd_next_wake() has somebody */
    DRBD_PENDING_NOTICE = 1 << 1, /* drbd_next_notice() has one */
    DRBD_PENDING_JOB_SHIFT = 16,  /* bit 16 + n: volume n has a job to hand out */
};

/* Which queues have something to take now. */
uint32_t drbd_resource_pending(const DrbdResource *resource);

/* -------------------------------------------------------------- volume -- */

typedef enum DrbdPlacement {
    DRBD_PLACEMENT_INTERNAL, /* at the end of the image */
    DRBD_PLACEMENT_FLEXIBLE, /* a metadata device of its own */
    DRBD_PLACEMENT_INDEXED,  /* a slot of 128 MiB of a shared metadata device */
} DrbdPlacement;

typedef enum DrbdOnIoError {
    DRBD_ON_IO_ERROR_DETACH,  /* give the disk up */
    DRBD_ON_IO_ERROR_PASS_ON, /* tell the guest, mark the range, keep the disk */
} DrbdOnIoError;

typedef struct DrbdDiskConfig {
    uint64_t image_bytes;    /* size of the image now */
    uint64_t metadata_bytes; /* size of the metadata device; of the image if internal */
    DrbdPlacement placement;
    unsigned metadata_index; /* slot, if indexed */
    unsigned al_extents;     /* hot extents of 4 MiB; 0 = default (1237) */
    DrbdOnIoError on_io_error;
} DrbdDiskConfig;

/* Step one: the volume exists and is Diskless.  False and a text if the number
 * is out of range or taken. */
bool drbd_volume_open(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* The volume must be Diskless with no operation pending and no request in flight. */
void drbd_volume_close(DrbdResource *resource, unsigned volume);

/* Size that the guest sees, in bytes: the agreed size while attached, the last
 * one known otherwise, 0 before the first attach. */
uint64_t drbd_volume_bytes(const DrbdResource *resource, unsigned volume);

/* The image may answer for the volume (block status, allocation): UpToDate. */
bool drbd_volume_is_up_to_date(const DrbdResource *resource, unsigned volume);

/* From attach began until the disk is gone: the children must be writable. */
bool drbd_volume_needs_disk(const DrbdResource *resource, unsigned volume);

/* ---------------------------------------------------------- operations -- */

/*
 * An operation takes as long as the disk does.  The functions return its
 * number (> 0) and the result comes as a DRBD_NOTICE_OPERATION, perhaps already
 * queued when the function returns; or 0 and a text when it is refused at once,
 * and then nothing has changed.
 */

/* Read the metadata, replay the activity log, become Secondary with a disk. */
uint64_t drbd_on_attach(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                        char error[DRBD_ERROR_SIZE]);

/* Give the disk up in an orderly way: requests in flight end first.  A
 * Secondary leaves clean metadata.  A Primary without a peer is refused unless
 * `force`, which leaves it as a crash would. */
uint64_t drbd_on_detach(DrbdResource *resource, unsigned volume, bool force,
                        char error[DRBD_ERROR_SIZE]);

/* Orderly end of a node (blockdev-del, quit, inactivation): nobody writes any
 * more.  Flush, leave the Primary role on this volume's disk, detach clean.
 * `inactivate` remembers the role for drbd_on_activate(). */
uint64_t drbd_on_leave(DrbdResource *resource, unsigned volume, bool inactivate,
                       char error[DRBD_ERROR_SIZE]);

/* Attach again after an inactivation, in the role of then.  A data generation
 * that this Primary needs is made by the first guest write, not here. */
uint64_t drbd_on_activate(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                          bool primary, char error[DRBD_ERROR_SIZE]);

/* Role of the resource: all volumes or none. */
uint64_t drbd_on_set_role(DrbdResource *resource, bool primary, bool force,
                          char error[DRBD_ERROR_SIZE]);

/* Write fresh metadata.  The volume must be Diskless.  Refused if something is
 * in the way (a file system, metadata), unless `force`. */
typedef struct DrbdCreateMd {
    bool force;
    uint32_t al_stripes;        /* 0 = 1 */
    uint32_t al_stripe_size_kb; /* 0 = 32 */
    uint32_t peer_max_bio_size; /* bytes, 0 = not known */
} DrbdCreateMd;
uint64_t drbd_on_create_md(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                           const DrbdCreateMd *options, char error[DRBD_ERROR_SIZE]);

/* Own data is declared worthless: Inconsistent, every bit set.  Secondary only. */
uint64_t drbd_on_invalidate(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* Own data is declared old: Outdated.  Secondary only. */
uint64_t drbd_on_outdate(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* on-io-error may change while attached. */
void drbd_on_disk_options(DrbdResource *resource, unsigned volume, DrbdOnIoError on_io_error);

/* -------------------------------------------------------------- drain -- */

/*
 * Between begin and end (they nest) no metadata job is handed out while no
 * guest request of the volume is in flight, so that the node comes to rest.
 * Jobs of an operation begun by drbd_on_leave() or drbd_on_activate() are
 * handed out all the same: their caller waits for them inside a drained section.
 */
void drbd_on_drain_begin(DrbdResource *resource, unsigned volume);
void drbd_on_drain_end(DrbdResource *resource, unsigned volume);

/* ------------------------------------------------------ guest requests -- */

typedef enum DrbdRequestKind {
    DRBD_REQUEST_READ,
    DRBD_REQUEST_WRITE,
    DRBD_REQUEST_ZEROES,  /* write zeroes; MAY_UNMAP allowed */
    DRBD_REQUEST_DISCARD, /* as zeroes that may unmap, but a failure is no disk failure */
    DRBD_REQUEST_FLUSH,   /* offset and bytes 0 */
} DrbdRequestKind;

enum {
    DRBD_REQUEST_FUA = 1 << 0,
    DRBD_REQUEST_MAY_UNMAP = 1 << 1,
};

typedef enum DrbdStep {
    DRBD_STEP_WAIT,     /* yield; when woken call drbd_request_step() */
    DRBD_STEP_RETRY,    /* yield; when woken call drbd_on_guest_request() again: no request free */
    DRBD_STEP_SUBMIT,   /* do the request on the image, then drbd_on_local_done() */
    DRBD_STEP_COMPLETE, /* drbd_request_end() gives the result */
} DrbdStep;

/* Where a caller stands that got DRBD_STEP_RETRY; lives on its stack. */
typedef struct DrbdWaiter {
    void *owner;
    struct DrbdWaiter *next;
} DrbdWaiter;

/*
 * A guest wants something.  `owner` (never NULL) is what drbd_next_wake()
 * returns when the request may go on: exactly one wake-up follows each
 * DRBD_STEP_WAIT or DRBD_STEP_RETRY, and none anything else.
 *
 * `offset` and `bytes` are multiples of 512 and lie inside the volume.  On a
 * Secondary, without a disk, or in a state that forbids it the step is COMPLETE
 * with a negative errno at once (EROFS for changes, EIO for reads on a
 * Secondary).  *request is set unless the step is RETRY.
 *
 * Order of what is done for a write: the activity log covers it (a transaction
 * may have to reach the disk: WAIT), then SUBMIT, then it may have to WAIT
 * again until its completion is allowed (a new data generation is stable).
 */
DrbdStep drbd_on_guest_request(DrbdResource *resource, unsigned volume, DrbdRequestKind kind,
                               uint64_t offset, uint64_t bytes, unsigned flags, void *owner,
                               DrbdWaiter *waiter, DrbdRequest **request);

/* The next step of a request that has been woken. */
DrbdStep drbd_request_step(DrbdRequest *request);

/* Valid with DRBD_STEP_SUBMIT: the payload must be copied before it is written,
 * because more than the image reads it. */
bool drbd_request_wants_copy(const DrbdRequest *request);

/* The image has done it: `result` is 0 or a negative errno. */
DrbdStep drbd_on_local_done(DrbdRequest *request, int result);

/* After DRBD_STEP_COMPLETE, once: 0 or a negative errno for the guest.  The
 * request is gone for the caller. */
int drbd_request_end(DrbdRequest *request);

/* Somebody who may go on (the `owner` of a request), or NULL. */
void *drbd_next_wake(DrbdResource *resource);

/* ------------------------------------------------------- metadata jobs -- */

typedef enum DrbdJobKind {
    DRBD_JOB_READ,
    DRBD_JOB_WRITE,
} DrbdJobKind;

typedef enum DrbdJobTarget {
    DRBD_TARGET_METADATA, /* the metadata device; the image if internal */
    DRBD_TARGET_IMAGE,    /* the image */
} DrbdJobTarget;

typedef struct DrbdJobPart {
    uint64_t offset; /* bytes from the start of the target, multiple of 512 */
    void *buffer;    /* 512-byte aligned or better */
    uint32_t bytes;  /* multiple of 512, at most 1 MiB */
} DrbdJobPart;

/*
 * The only way metadata is read or written.  One job of a volume at a time; it
 * is done in this order: flush the image if `flush_image_first`; all parts, in
 * any order or at once (each with FUA if `fua`); flush the target if
 * `flush_after`.  The first error ends it and is its result.  A job may have no
 * part.
 */
typedef struct DrbdJob {
    DrbdJobKind kind;
    DrbdJobTarget target;
    bool flush_image_first;
    bool fua;
    bool flush_after;
    bool flush_foreign; /* the flushes must reach the disk even if this process wrote nothing:
                           somebody before it may have */
    unsigned nr_parts;
    DrbdJobPart parts[DRBD_JOB_MAX_PARTS];
} DrbdJob;

/* The job to do now, or NULL.  It and its buffers stay valid, and no other is
 * handed out for the volume, until drbd_on_job_done(). */
const DrbdJob *drbd_next_job(DrbdResource *resource, unsigned volume);

/* `result` is 0 or a negative errno. */
void drbd_on_job_done(DrbdResource *resource, unsigned volume, int result);

/* ------------------------------------------------------------- notices -- */

typedef enum DrbdNoticeKind {
    DRBD_NOTICE_STATE,     /* one field of the state changed */
    DRBD_NOTICE_OPERATION, /* an operation ended */
    DRBD_NOTICE_WARNING,   /* an administrator should know */
} DrbdNoticeKind;

typedef struct DrbdNotice {
    DrbdNoticeKind kind;
    int volume;             /* -1: the resource */
    uint64_t operation;     /* OPERATION: its number; else the operation that caused it, or 0 */
    const char *field;      /* STATE: role, disk, peer-disk, connection */
    const char *old_value;  /* STATE: by its DRBD name: Primary, UpToDate ... */
    const char *new_value;
    bool success;           /* OPERATION */
    const char *command;    /* OPERATION: attach, detach, set-role ... */
    char text[DRBD_ERROR_SIZE]; /* reason of a change, error of an operation, warning */
} DrbdNotice;

/* Copies the oldest notice out and removes it; false if there is none. */
bool drbd_next_notice(DrbdResource *resource, DrbdNotice *notice);

/* -------------------------------------------------------------- status -- */

typedef enum DrbdRole { DRBD_ROLE_SECONDARY, DRBD_ROLE_PRIMARY } DrbdRole;

typedef struct DrbdResourceStatus {
    DrbdRole role;
    const char *connection;  /* connection state by its DRBD name */
    unsigned nr_volumes;     /* as configured */
    unsigned nr_open, nr_attached;
    unsigned requests_in_use, requests_max;
    unsigned operations_pending;
    uint64_t requests_waited_for_pool;
    const char *promotable_reason; /* NULL if a promotion would be accepted now, else why not */
} DrbdResourceStatus;
void drbd_resource_status(const DrbdResource *resource, DrbdResourceStatus *status);

typedef struct DrbdVolumeStatus {
    bool open;
    const char *disk;       /* disk state by its DRBD name: Diskless, Inconsistent, UpToDate ... */
    const char *peer_disk;
    char disk_reason[DRBD_ERROR_SIZE]; /* why the disk is in that state */
    uint64_t bytes;         /* what the guest sees */
    uint64_t image_bytes, metadata_bytes;
    uint64_t current_uuid, bitmap_uuid, history_uuid[2];
    uint32_t metadata_flags; /* as the superblock has them (docs/METADATA.md) */
    uint64_t out_of_sync_bytes;
    bool busy;              /* an operation is pending on this volume */
    /* activity log */
    unsigned al_extents, al_used, al_referenced, al_waiting;
    uint64_t al_transactions, al_updates;
    uint64_t bitmap_pages_written, superblock_writes, metadata_jobs;
    /* guest I/O */
    uint64_t reads, read_bytes, writes, written_bytes, zeroes, zeroed_bytes, flushes;
    uint64_t flushes_saved, overlaps_waited, read_errors, write_errors;
    unsigned in_flight, writes_in_flight;
    unsigned drained;       /* depth of drain */
    uint64_t memory_bytes;  /* held for this volume: bitmap, activity log, buffers */
} DrbdVolumeStatus;
void drbd_volume_status(const DrbdResource *resource, unsigned volume, DrbdVolumeStatus *status);

/* Operations that ended lately, newest first; false when `index` is past the end. */
bool drbd_past_operation(const DrbdResource *resource, unsigned index, DrbdNotice *notice);

/* The pending operation of the resource, if any (one at a time per volume, set-role per resource). */
bool drbd_pending_operation(const DrbdResource *resource, unsigned index, uint64_t *operation,
                            const char **command, int *volume);

#ifdef __cplusplus
}
#endif

#endif
