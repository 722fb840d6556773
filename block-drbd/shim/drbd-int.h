/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drbd block driver: what its files share.
 *
 * A DrbdObject is one resource (QOM type drbd-resource): the core's handle and
 * the one lock under which the core is called.  A BDRVDrbdState is one volume
 * (block node).  A node holds a reference to its object; the object points to
 * its nodes.
 *
 * The lock is held for the core's decision alone.  Nothing that allocates,
 * copies payload, sleeps, enters a coroutine or calls the system is done under
 * it: drbd_unlock() collects what the core queued, lets the lock go, and only
 * then wakes whoever has something to do.
 *
 * Field comments name what protects the field: "BQL" is the main thread,
 * "lock" is DrbdObject.lock, "const" does not change after the node is open.
 */
#ifndef BLOCK_DRBD_INT_H
#define BLOCK_DRBD_INT_H

#include "block/block_int.h"
#include "block/block-io.h"
#include "block/aio-wait.h"
#include "qemu/lockable.h"
#include "qemu/units.h"
#include "qom/object.h"
#include "drbd-core.h"
#include "drbd-compat.h"
#include "drbd-net.h"

#define TYPE_DRBD_RESOURCE "drbd-resource"
OBJECT_DECLARE_SIMPLE_TYPE(DrbdObject, DRBD_RESOURCE)

#define DRBD_MAX_TRANSFER (1 * MiB)
#define DRBD_MAX_ZEROES (128 * MiB)

typedef struct BDRVDrbdState BDRVDrbdState;

/* ------------------------------------------------- payload (drbd-payload.c) */

enum { DRBD_PAYLOAD_CLASSES = 5 };

/* Aligned buffers for copies of guest payload; @lock protects all of it. */
typedef struct DrbdPayloadPool {
    QemuMutex lock;
    CoQueue waiters;
    void *free[DRBD_PAYLOAD_CLASSES]; /* lists through their first word */
    size_t bytes;                     /* of all buffers, free or not */
} DrbdPayloadPool;

void drbd_payload_init(DrbdPayloadPool *pool);
void drbd_payload_destroy(DrbdPayloadPool *pool);
void *coroutine_fn drbd_payload_get(DrbdPayloadPool *pool, size_t bytes);
/* The same, but NULL where it would wait. */
void *drbd_payload_try(DrbdPayloadPool *pool, size_t bytes);
void coroutine_fn drbd_payload_put(DrbdPayloadPool *pool, void *buffer,
                                   size_t bytes);
/* These never wait; take returns NULL if there is no memory. */
void *drbd_payload_take(DrbdPayloadPool *pool, size_t bytes);
void drbd_payload_give(DrbdPayloadPool *pool, void *buffer, size_t bytes);

/* ------------------------------------------------ resource (drbd-object.c) */

/* Somebody who waits for the end of an operation; lives on his stack. */
typedef struct DrbdWait {
    uint64_t operation;
    bool done;              /* atomic; set under lock */
    bool success;
    Coroutine *co;          /* to wake; NULL: the main loop is polled */
    char error[DRBD_ERROR_SIZE];
    QLIST_ENTRY(DrbdWait) next;
} DrbdWait;

/* A flush that waits for a drained node to rest; lives on its stack. */
typedef struct DrbdRest {
    Coroutine *co;
    QSLIST_ENTRY(DrbdRest) next;
} DrbdRest;

typedef QSLIST_HEAD(, DrbdRest) DrbdRestList;

struct DrbdObject {
    Object parent_obj;

    /* properties; const after complete() */
    char *id;
    uint32_t nr_volumes;
    char *iothread_id;

    Object *iothread;       /* const; NULL: the main loop is used */
    bool own_iothread;      /* const */
    AioContext *ctx;        /* const with the first node; metadata jobs and the
                               network run here */
    QEMUBH *notice_bh;      /* const with the first user; in the main loop */
    DrbdPayloadPool payload;        /* of guests */
    DrbdPayloadPool peer_payload;   /* of the peer */
    DrbdNet net;

    QemuMutex lock;
    DrbdResource *core;     /* lock */
    QLIST_HEAD(, DrbdWait) waits;            /* lock */
    BDRVDrbdState *nodes[DRBD_MAX_VOLUMES];  /* written: BQL, list lock and lock */
    unsigned nr_nodes;      /* BQL */
    unsigned drain_suspended; /* BQL; see drbd-drain.c */
    DrbdRestList rests;     /* lock; see drbd-drain.c */

    QLIST_ENTRY(DrbdObject) list; /* list lock */
};

DrbdObject *drbd_object_by_id(const char *id, Error **errp);
bool drbd_object_add_node(DrbdObject *obj, BDRVDrbdState *s, Error **errp);
void drbd_object_remove_node(DrbdObject *obj, BDRVDrbdState *s);
/* Some open node was given role=primary; an administrator's word ends that. */
bool drbd_object_wants_primary(DrbdObject *obj);
void drbd_object_forget_primary(DrbdObject *obj);

/* Visits all resources with the list lock held; any thread. */
typedef void DrbdObjectFunc(DrbdObject *obj, void *opaque);
void drbd_object_foreach(DrbdObjectFunc *func, void *opaque);

/* ------------------------------------------------------- queues (drbd-kick.c) */

void drbd_lock(DrbdObject *obj);
void drbd_unlock(DrbdObject *obj);
/* As drbd_unlock(), by who has just looked at what the network has to do. */
void drbd_unlock_after_network(DrbdObject *obj);
void drbd_notice_bh(void *opaque);

/*
 * Called with the lock held and the operation that the core just returned;
 * lets the lock go.  The result is in @wait.  drbd_wait() polls the main loop,
 * drbd_co_wait() yields.
 */
void drbd_unlock_and_wait(DrbdObject *obj, DrbdWait *wait, uint64_t operation);
void coroutine_fn drbd_unlock_and_co_wait(DrbdObject *obj, DrbdWait *wait,
                                          uint64_t operation);

/* One notice: its event, and what follows in the graph (drbd-events.c). */
void drbd_notice_emit(DrbdObject *obj, const DrbdNotice *notice);
void drbd_notice_apply(DrbdObject *obj, const DrbdNotice *notice);

/* Events of a node, or of the resource if @s is NULL. */
void drbd_warn(DrbdObject *obj, BDRVDrbdState *s, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* ----------------------------------------------------------- node (drbd.c) */

/* What a user may choose for the disk; reopen can change these. */
typedef struct DrbdNodeOptions {
    bool attach;
    uint32_t al_extents;    /* 0: the core's default */
    DrbdOnIoError on_io_error;
} DrbdNodeOptions;

/* The metadata worker of a node; see drbd-jobs.c. */
typedef struct DrbdWorker {
    Coroutine *co;          /* const; not to be used when it has ended */
    bool running;           /* atomic; false when it has ended */
    bool sleeping;          /* lock */
    bool stop;              /* lock */
} DrbdWorker;

struct BDRVDrbdState {
    BlockDriverState *bs;   /* const */
    DrbdObject *obj;        /* const; a reference */
    char *node_name;        /* const; read under the list lock by query-drbd */
    uint32_t volume;        /* const */
    BdrvChild *metadata;    /* const; NULL: internal */
    DrbdPlacement placement;     /* const */
    uint32_t metadata_index;     /* const */
    bool primary;           /* BQL; role=primary was given, and no role since */

    DrbdNodeOptions options;       /* BQL */
    DrbdNodeOptions *reopen;       /* BQL; what a reopen in progress will give */

    bool opened;            /* BQL; the core knows the volume */
    bool closing;           /* BQL */
    bool yankable;          /* BQL */
    bool want_disk;         /* BQL; the children must be ours: see drbd-perm.c */
    uint64_t md_operation;  /* BQL; create-md that needs the children, or 0 */
    bool had_writer;        /* BQL; a parent had the write permission */
    QEMUBH *writer_bh;      /* const; see drbd-perm.c */
    bool drained;           /* BQL; by the block layer */
    bool drain_told;        /* BQL, written with the lock too; the core knows */

    bool inactive;          /* atomic; left for a migration: activation attaches */
    bool was_primary;       /* atomic; written: BQL; role for that */
    bool reactivating;      /* atomic; it is attached again: see drbd-migrate.c */
    QEMUBH *reactivate_bh;  /* const; see drbd-migrate.c */
    QEMUBH *no_flush_bh;    /* BQL; looks for cache.no-flush below after a drain */
    QemuMutex activate_lock;
    CoQueue activate_queue; /* activate_lock; requests that wait for it */

    DrbdWorker worker;
    unsigned peer_runs;     /* atomic; I/O for the peer; see drbd-peer-io.c */
    unsigned own_runs;      /* lock; the same, and a metadata job; see drbd-drain.c */
};

/* ---------------------------------------------------- options (drbd-options.c) */

#define DRBD_OPT_ATTACH "attach"
#define DRBD_OPT_ON_IO_ERROR "on-io-error"
#define DRBD_OPT_AL_EXTENTS "al-extents"

extern const char *const drbd_mutable_opts[];
extern const char *const drbd_strong_opts[];
bool drbd_parse_fixed_options(BDRVDrbdState *s, QDict *options,
                              char **resource, Error **errp);
bool drbd_parse_disk_options(QDict *options, DrbdNodeOptions *result,
                             Error **errp);

/* ------------------------------------------------------ disk (drbd-disk.c) */

/* Attach, detach and create-md as the user asks for them; main thread. */
uint64_t GRAPH_RDLOCK drbd_disk_attach(BDRVDrbdState *s, DrbdWait *wait,
                                       Error **errp);
uint64_t drbd_disk_detach(BDRVDrbdState *s, bool force, Error **errp);
uint64_t GRAPH_RDLOCK drbd_disk_create_md(BDRVDrbdState *s,
                                          const DrbdCreateMd *options,
                                          Error **errp);
bool GRAPH_RDLOCK drbd_disk_check(BDRVDrbdState *s, Error **errp);
bool coroutine_mixed_fn GRAPH_RDLOCK
drbd_disk_config(BDRVDrbdState *s, DrbdDiskConfig *config, Error **errp);
bool drbd_disk_leave(BDRVDrbdState *s, bool inactivate);
bool drbd_disk_needed(BDRVDrbdState *s);
bool drbd_is_primary(DrbdObject *obj);

/* What follows when the core said something about the disk; main thread. */
void drbd_disk_changed(BDRVDrbdState *s);
void drbd_no_flush_bh(void *opaque);
void drbd_disk_settle(DrbdObject *obj);

/* ------------------------------------------------------ permissions (drbd-perm.c) */

void GRAPH_RDLOCK
drbd_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
                BlockReopenQueue *reopen_queue,
                uint64_t perm, uint64_t shared,
                uint64_t *nperm, uint64_t *nshared);
void GRAPH_RDLOCK drbd_set_perm(BlockDriverState *bs, uint64_t perm,
                                uint64_t shared);
bool GRAPH_RDLOCK drbd_perm_take(BDRVDrbdState *s, Error **errp);
void GRAPH_RDLOCK drbd_perm_drop(BDRVDrbdState *s);

/* ------------------------------------------------------------ guest I/O */

int coroutine_fn GRAPH_RDLOCK
drbd_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
drbd_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     QEMUIOVector *qiov, size_t qiov_offset,
                     BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
drbd_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                      BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
drbd_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int coroutine_fn GRAPH_RDLOCK drbd_co_flush(BlockDriverState *bs);

int coroutine_fn GRAPH_RDLOCK
drbd_co_block_status(BlockDriverState *bs, DrbdBlockStatusMode mode,
                     int64_t offset, int64_t bytes, int64_t *pnum,
                     int64_t *map, BlockDriverState **file);

/* ------------------------------------------------------ limits (drbd-limits.c) */

void GRAPH_RDLOCK drbd_refresh_limits(BlockDriverState *bs, Error **errp);
int64_t coroutine_fn GRAPH_RDLOCK drbd_co_getlength(BlockDriverState *bs);
int coroutine_fn GRAPH_RDLOCK
drbd_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                 PreallocMode prealloc, BdrvRequestFlags flags, Error **errp);
void GRAPH_RDLOCK drbd_size_changed(BDRVDrbdState *s);

/* ------------------------------------------------- the rest of the callbacks */

/* Runs @func with the graph lock; see drbd-graph.c. */
typedef int coroutine_fn DrbdGraphFunc(void *opaque);
int coroutine_fn drbd_with_graph_lock(DrbdGraphFunc *func, void *opaque);

void coroutine_fn drbd_worker_entry(void *opaque);
void drbd_worker_start(BDRVDrbdState *s);
void drbd_worker_stop(BDRVDrbdState *s);

void drbd_drain_begin(BlockDriverState *bs);
void drbd_drain_end(BlockDriverState *bs);
void drbd_drain_end_all(BDRVDrbdState *s);
/*
 * With the lock held, which is let go meanwhile: until nothing of a drained node
 * is at the image.
 */
void coroutine_fn drbd_co_rest(DrbdObject *obj);
/*
 * The end of what s->own_runs has counted, with the lock held; whoever is in
 * @rests is woken without it.
 */
void drbd_run_ends(BDRVDrbdState *s, DrbdRestList *rests);
void drbd_rests_wake(DrbdRestList *rests);
void drbd_drain_suspend(DrbdObject *obj);
void drbd_drain_resume(DrbdObject *obj);

void drbd_writer_bh(void *opaque);
void drbd_reactivate_bh(void *opaque);
int coroutine_fn drbd_co_wait_active(BDRVDrbdState *s);
void drbd_wake_inactive(BDRVDrbdState *s);

int GRAPH_RDLOCK drbd_inactivate(BlockDriverState *bs);
void coroutine_fn GRAPH_RDLOCK drbd_co_invalidate_cache(BlockDriverState *bs,
                                                        Error **errp);

int drbd_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                        Error **errp);
void drbd_reopen_commit(BDRVReopenState *state);
void drbd_reopen_commit_post(BDRVReopenState *state);
void drbd_reopen_abort(BDRVReopenState *state);

/* What would pass by the replication (drbd-refuse.c). */
int drbd_snapshot_goto(BlockDriverState *bs, const char *snapshot_id);
int drbd_snapshot_create(BlockDriverState *bs, QEMUSnapshotInfo *sn_info);
int drbd_snapshot_delete(BlockDriverState *bs, const char *snapshot_id,
                         const char *name, Error **errp);
int drbd_snapshot_list(BlockDriverState *bs, QEMUSnapshotInfo **psn_info);
int drbd_snapshot_load_tmp(BlockDriverState *bs, const char *snapshot_id,
                           const char *name, Error **errp);
int coroutine_fn drbd_co_vmstate(BlockDriverState *bs, QEMUIOVector *qiov,
                                 int64_t pos);
int drbd_has_zero_init(BlockDriverState *bs);
bool drbd_recurse_can_replace(BlockDriverState *bs,
                              BlockDriverState *to_replace);
int drbd_probe_geometry(BlockDriverState *bs, HDGeometry *geo);

#endif
