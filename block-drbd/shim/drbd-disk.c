/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk of a node: attach, detach, create-md, leave.
 *
 * In: what a user asks for (open, reopen, QMP, close), in the main thread.
 * Out: permissions taken before the core is told and given up when it says
 * that the disk is gone, whoever wanted that; the node's size; an operation.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qobject/qdict.h"
#include "drbd-int.h"
#include "trace.h"

bool drbd_disk_needed(BDRVDrbdState *s)
{
    QEMU_LOCK_GUARD(&s->obj->lock);
    return drbd_volume_needs_disk(s->obj->core, s->volume);
}

bool drbd_is_primary(DrbdObject *obj)
{
    DrbdResourceStatus status;

    QEMU_LOCK_GUARD(&obj->lock);
    drbd_resource_status(obj->core, &status);
    return status.role == DRBD_ROLE_PRIMARY;
}

/* The first node below that would swallow flushes, or NULL. */
static BlockDriverState *GRAPH_RDLOCK drbd_find_no_flush(BlockDriverState *bs)
{
    BdrvChild *c;

    if (bs->open_flags & BDRV_O_NO_FLUSH) {
        return bs;
    }
    QLIST_FOREACH(c, &bs->children, next) {
        /* A backing file is only read. */
        BlockDriverState *found =
            c->role & BDRV_CHILD_COW ? NULL : drbd_find_no_flush(c->bs);
        if (found) {
            return found;
        }
    }
    return NULL;
}

/* The node that reaches the device itself, below formats and filters. */
static BlockDriverState *GRAPH_RDLOCK drbd_lowest(BlockDriverState *bs)
{
    BdrvChild *c;

    while ((c = bdrv_primary_child(bs))) {
        bs = c->bs;
    }
    return bs;
}

/* One device may have been opened twice, by two nodes. */
static bool GRAPH_RDLOCK drbd_same_device(BlockDriverState *a,
                                          BlockDriverState *b)
{
    g_autofree char *a_path = NULL;
    g_autofree char *b_path = NULL;

    a = drbd_lowest(a);
    b = drbd_lowest(b);
    if (a == b) {
        return true;
    }
    bdrv_refresh_filename(a);
    bdrv_refresh_filename(b);
    if (!a->exact_filename[0] || !b->exact_filename[0]) {
        return false;
    }
    a_path = realpath(a->exact_filename, NULL);
    b_path = realpath(b->exact_filename, NULL);
    return a_path && b_path ? !strcmp(a_path, b_path)
                            : !strcmp(a->exact_filename, b->exact_filename);
}

/*
 * A child can be reopened with cache.no-flush=on under our feet; that drains
 * us, so it is looked for after each drain, and after each operation, which may
 * have been in the way or have attached the disk.  From then on every flush would
 * be a lie to the guest: the disk is given up instead.
 */
void drbd_no_flush_bh(void *opaque)
{
    BDRVDrbdState *s = opaque;
    BlockDriverState *found;

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (!s->opened || s->closing || !drbd_disk_needed(s)) {
        return;
    }
    found = drbd_find_no_flush(s->bs);
    /* If an operation is in its way, it comes back here when that has ended. */
    if (found && drbd_disk_detach(s, true, NULL)) {
        drbd_warn(s->obj, s, "Node '%s' was given cache.no-flush=on: node '%s' "
                  "gives its disk up, because it could not keep what a flush "
                  "promises. Reopen '%s' without it, then use drbd-attach",
                  found->node_name, s->node_name, found->node_name);
    }
}

typedef struct DrbdSlotSearch {
    BDRVDrbdState *s;
    BDRVDrbdState *other;
} DrbdSlotSearch;

static void GRAPH_RDLOCK drbd_find_slot(DrbdObject *obj, void *opaque)
{
    DrbdSlotSearch *search = opaque;

    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BDRVDrbdState *o = obj->nodes[i];

        if (o && o != search->s && o->metadata &&
            o->placement == DRBD_PLACEMENT_INDEXED &&
            o->metadata_index == search->s->metadata_index &&
            drbd_same_device(o->metadata->bs, search->s->metadata->bs)) {
            search->other = o;
        }
    }
}

/* Whether the children can be a replicated disk at all. */
bool GRAPH_RDLOCK drbd_disk_check(BDRVDrbdState *s, Error **errp)
{
    BlockDriverState *found = drbd_find_no_flush(s->bs);
    DrbdSlotSearch search = { .s = s };

    if (found) {
        error_setg(errp, "Node '%s' has cache.no-flush=on: replication needs "
                   "working flushes; open it without", found->node_name);
        return false;
    }
    if (s->placement == DRBD_PLACEMENT_INDEXED) {
        drbd_object_foreach(drbd_find_slot, &search);
    }
    if (search.other) {
        error_setg(errp, "metadata-index %" PRIu32 " of node '%s' is used by "
                   "node '%s'; choose another slot", s->metadata_index,
                   s->metadata->bs->node_name, search.other->node_name);
        return false;
    }
    return true;
}

static bool drbd_disk_writable(BDRVDrbdState *s, Error **errp)
{
    if (s->bs->open_flags & BDRV_O_INACTIVE) {
        error_setg(errp, "Node '%s' is inactive (a migration comes in or went "
                   "out): activating it attaches the disk", s->node_name);
        return false;
    }
    if (!(s->bs->open_flags & BDRV_O_RDWR)) {
        error_setg(errp, "Node '%s' is read-only, but the metadata of an "
                   "attached disk must be written: open it with "
                   "read-only=off, or with attach=off", s->node_name);
        return false;
    }
    return true;
}

bool coroutine_mixed_fn GRAPH_RDLOCK
drbd_disk_config(BDRVDrbdState *s, DrbdDiskConfig *config, Error **errp)
{
    BdrvChild *metadata = s->metadata ?: s->bs->file;
    int64_t image = bdrv_getlength(s->bs->file->bs);
    int64_t meta = bdrv_getlength(metadata->bs);

    if (image < 0 || meta < 0) {
        error_setg_errno(errp, -MIN(image, meta), "Cannot get the size of node "
                         "'%s'", (image < 0 ? s->bs->file : metadata)
                         ->bs->node_name);
        return false;
    }
    *config = (DrbdDiskConfig) {
        .image_bytes = image,
        .metadata_bytes = meta,
        .placement = s->placement,
        .metadata_index = s->metadata_index,
        .al_extents = s->options.al_extents,
        .on_io_error = s->options.on_io_error,
    };
    return true;
}

/* A reopen that keeps the old options must not undo what was done since. */
static void drbd_options_follow(BDRVDrbdState *s, bool attach)
{
    s->options.attach = attach;
    qdict_put_bool(s->bs->options, DRBD_OPT_ATTACH, attach);
    qdict_put_bool(s->bs->explicit_options, DRBD_OPT_ATTACH, attach);
}

uint64_t GRAPH_RDLOCK drbd_disk_attach(BDRVDrbdState *s, DrbdWait *wait,
                                       Error **errp)
{
    DrbdObject *obj = s->obj;
    char error[DRBD_ERROR_SIZE];
    DrbdDiskConfig config;
    uint64_t operation;
    bool had = s->want_disk;

    GLOBAL_STATE_CODE();
    if (!drbd_disk_writable(s, errp) || !drbd_disk_check(s, errp) ||
        !drbd_disk_config(s, &config, errp)) {
        return 0;
    }
    s->want_disk = true;
    if (!drbd_perm_take(s, errp)) {
        s->want_disk = had;
        drbd_perm_drop(s);
        return 0;
    }

    drbd_lock(obj);
    operation = drbd_on_attach(obj->core, s->volume, &config, error);
    trace_drbd_attach(s->bs, s->volume, operation, config.image_bytes,
                      config.metadata_bytes);
    if (operation && wait) {
        drbd_unlock_and_wait(obj, wait, operation);
    } else {
        drbd_unlock(obj);
    }
    if (!operation) {
        error_setg(errp, "%s", error);
        s->want_disk = had && drbd_disk_needed(s);
        drbd_perm_drop(s);
        return 0;
    }
    return operation;
}

uint64_t drbd_disk_detach(BDRVDrbdState *s, bool force, Error **errp)
{
    char error[DRBD_ERROR_SIZE];
    uint64_t operation;

    GLOBAL_STATE_CODE();
    drbd_lock(s->obj);
    operation = drbd_on_detach(s->obj->core, s->volume, force, error);
    drbd_unlock(s->obj);
    trace_drbd_detach(s->bs, s->volume, operation, force);
    if (!operation) {
        error_setg(errp, "%s", error);
    }
    return operation;
}

uint64_t GRAPH_RDLOCK drbd_disk_create_md(BDRVDrbdState *s,
                                          const DrbdCreateMd *options,
                                          Error **errp)
{
    char error[DRBD_ERROR_SIZE];
    DrbdDiskConfig config;
    uint64_t operation;

    GLOBAL_STATE_CODE();
    if (s->md_operation) {
        error_setg(errp, "Node '%s' has a drbd-create-md pending (operation %"
                   PRIu64 "); wait for its end", s->node_name,
                   s->md_operation);
        return 0;
    }
    if (!drbd_disk_writable(s, errp) || !drbd_disk_check(s, errp) ||
        !drbd_disk_config(s, &config, errp)) {
        return 0;
    }
    s->md_operation = UINT64_MAX; /* any but 0: the number is not known yet */
    if (!drbd_perm_take(s, errp)) {
        s->md_operation = 0;
        drbd_perm_drop(s);
        return 0;
    }

    drbd_lock(s->obj);
    operation = drbd_on_create_md(s->obj->core, s->volume, &config, options,
                                  error);
    drbd_unlock(s->obj);
    s->md_operation = operation;
    if (!operation) {
        error_setg(errp, "%s", error);
        drbd_perm_drop(s);
    }
    return operation;
}

/* The core said something about the disk: permissions and size follow. */
void drbd_disk_changed(BDRVDrbdState *s)
{
    bool needed;

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    needed = drbd_disk_needed(s);
    drbd_size_changed(s);
    if (s->closing || qatomic_read(&s->inactive)) {
        return; /* activation wants the permissions and the options as they are */
    }
    if (s->want_disk && !needed) {
        s->want_disk = false;
        drbd_perm_drop(s);
    }
    if (needed != s->options.attach) {
        drbd_options_follow(s, needed);
    }
}

static unsigned drbd_operations_pending(DrbdObject *obj)
{
    DrbdResourceStatus status;

    QEMU_LOCK_GUARD(&obj->lock);
    drbd_resource_status(obj->core, &status);
    return status.operations_pending;
}

/* Waits for pending operations, for which a drain must not hold jobs back.  Polls. */
void drbd_disk_settle(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    drbd_drain_suspend(obj);
    AIO_WAIT_WHILE_UNLOCKED(NULL, drbd_operations_pending(obj) > 0);
    drbd_drain_resume(obj);
}

static bool drbd_leave_once(BDRVDrbdState *s, bool inactivate, DrbdWait *wait)
{
    uint64_t operation;

    drbd_lock(s->obj);
    operation = drbd_on_leave(s->obj->core, s->volume, inactivate,
                              wait->error);
    if (!operation) {
        drbd_unlock(s->obj);
        return false;
    }
    drbd_unlock_and_wait(s->obj, wait, operation);
    return wait->success;
}

/*
 * Orderly end of the disk.  Polls.  Called with nobody writing; operations that
 * are pending end first, for which a drain must not hold their jobs back.
 * False if the metadata could not be left clean; the disk is gone all the same
 * unless @inactivate.
 */
bool drbd_disk_leave(BDRVDrbdState *s, bool inactivate)
{
    DrbdObject *obj = s->obj;
    DrbdWait wait = { 0 };
    uint64_t operation;
    bool ok = true;

    GLOBAL_STATE_CODE();
    drbd_disk_settle(obj);
    drbd_drain_suspend(obj);
    /* Without a disk there may still be writes that the peer has to confirm. */
    if (drbd_disk_needed(s) || !inactivate) {
        ok = drbd_leave_once(s, inactivate, &wait);
        trace_drbd_leave(s->bs, s->volume, inactivate, ok);
        if (!ok) {
            drbd_warn(obj, s, "Node '%s' could not leave its disk in an "
                      "orderly way: %s", s->node_name, wait.error);
        }
        if (!ok && !inactivate && drbd_disk_needed(s)) {
            drbd_lock(obj);
            operation = drbd_on_detach(obj->core, s->volume, true, wait.error);
            if (operation) {
                drbd_unlock_and_wait(obj, &wait, operation);
            } else {
                drbd_unlock(obj);
            }
        }
    }
    drbd_drain_resume(obj);
    return ok;
}
