/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drbd block driver: one volume of a replicated resource as a filter node.
 *
 * In: -blockdev driver=drbd,resource=ID,file=NODE,...  Out: a node that writes
 * to its image under DRBD's rules.  Opening has four steps that are apart in
 * the core: the volume exists, its disk is attached, the role is taken; close
 * undoes them in an orderly way.  Any step that fails fails the open, with the
 * core's reason.
 *
 * This file has the driver's table, open and close; the header drbd-int.h says
 * where the rest is.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qobject/qdict.h"
#include "drbd-int.h"
#include "trace.h"

/* Undoes what drbd_open() did after the children.  Polls. */
static void drbd_node_end(BDRVDrbdState *s)
{
    if (s->obj) {
        s->closing = true;
        drbd_connect_end(s->obj);
        drbd_disk_leave(s, false);
        /* I/O of other volumes counts on a drained node: none after this. */
        drbd_drain_end_all(s);
        AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&s->peer_runs) > 0);
        drbd_worker_stop(s);
    }
    drbd_yank_remove(s);  /* until here it is the way out of a wait for the peer */
    if (s->obj) {
        drbd_object_remove_node(s->obj, s);
    }
    qemu_bh_delete(s->writer_bh);
    qemu_bh_delete(s->reactivate_bh);
    qemu_bh_delete(s->no_flush_bh);
    s->writer_bh = s->reactivate_bh = s->no_flush_bh = NULL;
    qemu_mutex_destroy(&s->activate_lock);
    g_free(s->node_name);
    s->node_name = NULL;
}

/*
 * The bottom halves run from the outermost main loop alone, which is what
 * the iohandler context is for: nobody polls it from within a command.
 */
static void drbd_node_begin(BDRVDrbdState *s)
{
    AioContext *ctx = iohandler_get_aio_context();

    s->node_name = g_strdup(s->bs->node_name);
    s->writer_bh = aio_bh_new(ctx, drbd_writer_bh, s);
    s->reactivate_bh = aio_bh_new(ctx, drbd_reactivate_bh, s);
    s->no_flush_bh = aio_bh_new(ctx, drbd_no_flush_bh, s);
    qemu_mutex_init(&s->activate_lock);
    qemu_co_queue_init(&s->activate_queue);
}

static bool drbd_open_children(BDRVDrbdState *s, QDict *options, Error **errp)
{
    ERRP_GUARD();
    BlockDriverState *bs = s->bs;

    if (bdrv_open_file_child(NULL, options, "file", bs, errp) < 0) {
        return false;
    }
    s->metadata = bdrv_open_child(NULL, options, "metadata", bs, &child_of_bds,
                                  BDRV_CHILD_METADATA, true, errp);
    if (*errp) {
        return false;
    }
    if (s->metadata && s->placement == DRBD_PLACEMENT_INTERNAL) {
        s->placement = DRBD_PLACEMENT_FLEXIBLE;
    } else if (!s->metadata && s->placement == DRBD_PLACEMENT_INDEXED) {
        error_setg(errp, "Option 'metadata-index' needs option 'metadata', "
                   "the device that has the slot");
        return false;
    }
    return true;
}

static void drbd_set_flags(BlockDriverState *bs)
{
    /*
     * Claimed whatever the children can: the layer below turns FUA into a
     * flush of the image, the layer above would turn it into a flush of ours.
     * NO_FALLBACK is not claimed, because we cannot tell beforehand.
     */
    bs->supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED;
    bs->supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                               BDRV_REQ_WRITE_UNCHANGED;
}

/* Promotes when this was the last volume that was missing. */
static bool drbd_open_promote(BDRVDrbdState *s, Error **errp)
{
    DrbdObject *obj = s->obj;
    DrbdResourceStatus status;
    DrbdWait wait = { 0 };
    uint64_t operation;

    if (!drbd_object_wants_primary(obj)) {
        return true;
    }

    drbd_lock(obj);
    drbd_resource_status(obj->core, &status);
    if (status.role == DRBD_ROLE_PRIMARY ||
        status.nr_attached < status.nr_volumes) {
        drbd_unlock(obj);
        return true;
    }
    drbd_unlock(obj);
    if (!drbd_connect_wait(obj, errp)) {
        return false;
    }

    drbd_lock(obj);
    operation = drbd_on_set_role(obj->core, true, false, wait.error);
    if (operation) {
        drbd_unlock_and_wait(obj, &wait, operation);
    } else {
        drbd_unlock(obj);
    }
    if (!wait.success) {
        error_setg(errp, "Resource '%s' cannot become Primary: %s", obj->id,
                   wait.error);
    }
    return wait.success;
}

static bool drbd_open_disk(BDRVDrbdState *s, int flags, Error **errp)
{
    DrbdWait wait = { 0 };

    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (!drbd_disk_check(s, errp)) {
        return false;
    }
    if (!s->options.attach) {
        return true;
    }
    if (flags & BDRV_O_INACTIVE) {
        /* Activation does the rest: see drbd-migrate.c. */
        s->was_primary = s->primary;
        s->want_disk = true;
        s->inactive = true;
        return true;
    }
    if (!drbd_disk_attach(s, &wait, errp)) {
        return false;
    }
    if (!wait.success) {
        error_setg(errp, "%s", wait.error);
        return false;
    }
    drbd_connect_when_ready(s->obj);
    return drbd_open_promote(s, errp);
}

static int drbd_open(BlockDriverState *bs, QDict *options, int flags,
                     Error **errp)
{
    BDRVDrbdState *s = bs->opaque;
    g_autofree char *resource = NULL;
    DrbdObject *obj;

    GLOBAL_STATE_CODE();
    s->bs = bs;
    if (!drbd_parse_fixed_options(s, options, &resource, errp) ||
        !drbd_parse_disk_options(options, &s->options, errp)) {
        return -EINVAL;
    }
    obj = drbd_object_by_id(resource, errp);
    if (!obj) {
        return -ENOENT;
    }
    if (!drbd_open_children(s, options, errp)) {
        return -EINVAL;
    }
    drbd_set_flags(bs);

    drbd_node_begin(s);
    if (!drbd_object_add_node(obj, s, errp)) {
        drbd_node_end(s);
        return -EEXIST;
    }
    drbd_worker_start(s);
    if (!drbd_yank_add(s, errp)) {
        drbd_node_end(s);
        return -EEXIST;
    }
    trace_drbd_open(bs, resource, s->volume, s->options.attach, s->primary,
                    flags);

    if (!drbd_open_disk(s, flags, errp)) {
        drbd_node_end(s);
        return -EIO;
    }
    return 0;
}

static void drbd_close(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;

    GLOBAL_STATE_CODE();
    trace_drbd_close(bs, s->volume);
    drbd_node_end(s);
}

static BlockDriver bdrv_drbd = {
    .format_name = "drbd",
    .instance_size = sizeof(BDRVDrbdState),

    .bdrv_open                  = drbd_open,
    .bdrv_close                 = drbd_close,

    .bdrv_co_preadv_part        = drbd_co_preadv_part,
    .bdrv_co_pwritev_part       = drbd_co_pwritev_part,
    .bdrv_co_pwrite_zeroes      = drbd_co_pwrite_zeroes,
    .bdrv_co_pdiscard           = drbd_co_pdiscard,
    .bdrv_co_flush              = drbd_co_flush,
    .bdrv_co_block_status       = drbd_co_block_status,

    .bdrv_refresh_limits        = drbd_refresh_limits,
    .bdrv_co_getlength          = drbd_co_getlength,
    .bdrv_co_truncate           = drbd_co_truncate,

    .bdrv_child_perm            = drbd_child_perm,
    .bdrv_set_perm              = drbd_set_perm,

    .bdrv_drain_begin           = drbd_drain_begin,
    .bdrv_drain_end             = drbd_drain_end,

    .bdrv_reopen_prepare        = drbd_reopen_prepare,
    .bdrv_reopen_commit         = drbd_reopen_commit,
    .bdrv_reopen_commit_post    = drbd_reopen_commit_post,
    .bdrv_reopen_abort          = drbd_reopen_abort,

    .bdrv_inactivate            = drbd_inactivate,
    .bdrv_co_invalidate_cache   = drbd_co_invalidate_cache,

    .bdrv_snapshot_goto         = drbd_snapshot_goto,
    .bdrv_snapshot_create       = drbd_snapshot_create,
    .bdrv_snapshot_delete       = drbd_snapshot_delete,
    .bdrv_snapshot_list         = drbd_snapshot_list,
    .bdrv_snapshot_load_tmp     = drbd_snapshot_load_tmp,
    .bdrv_co_save_vmstate       = drbd_co_vmstate,
    .bdrv_co_load_vmstate       = drbd_co_vmstate,
    .bdrv_has_zero_init         = drbd_has_zero_init,
    .bdrv_recurse_can_replace   = drbd_recurse_can_replace,
    .bdrv_probe_geometry        = drbd_probe_geometry,

    .mutable_opts               = drbd_mutable_opts,
    .strong_runtime_opts        = drbd_strong_opts,
    .is_filter                  = true,
};

static void bdrv_drbd_init(void)
{
    bdrv_register(&bdrv_drbd);
}

block_init(bdrv_drbd_init);
