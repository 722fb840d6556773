/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blockdev-reopen: options of the disk, detach and attach again.
 *
 * attach=off on a node with a disk detaches it, attach=on (the default) on a
 * node without one attaches it; both go on after the reopen has returned, as
 * operations.  The role never changes here.  What cannot be done is refused
 * before anything has changed; options that are not ours to change are checked
 * by the block layer, which wants them as they were.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qobject/qdict.h"
#include "drbd-int.h"
#include "trace.h"

static bool drbd_volume_is_busy(BDRVDrbdState *s)
{
    DrbdVolumeStatus status;

    QEMU_LOCK_GUARD(&s->obj->lock);
    drbd_volume_status(s->obj->core, s->volume, &status);
    return status.busy;
}

static bool GRAPH_RDLOCK drbd_reopen_file_changes(BDRVReopenState *state)
{
    const char *file = qdict_get_try_str(state->options, "file");

    return file && strcmp(file, state->bs->file->bs->node_name);
}

/* What may change while the disk is attached and stays so. */
static bool GRAPH_RDLOCK
drbd_reopen_check_attached(BDRVReopenState *state, const DrbdNodeOptions *new,
                           Error **errp)
{
    BDRVDrbdState *s = state->bs->opaque;

    if (new->al_extents != s->options.al_extents) {
        error_setg(errp, "Option 'al-extents' of node '%s' can change only "
                   "while the disk is detached: reopen it with attach=off "
                   "first", s->node_name);
        return false;
    }
    return true;
}

/*
 * Jobs of metadata go to whatever `file` is when they are done: it stays as
 * long as there is a disk, and as long as an operation may write to it.
 */
static bool GRAPH_RDLOCK drbd_reopen_check_file(BDRVReopenState *state,
                                                Error **errp)
{
    BDRVDrbdState *s = state->bs->opaque;

    if (!drbd_reopen_file_changes(state) ||
        (!drbd_disk_needed(s) && !s->md_operation && !drbd_volume_is_busy(s))) {
        return true;
    }
    error_setg(errp, "Option 'file' of node '%s' can change only while the "
               "disk is detached and no operation is pending: reopen it with "
               "attach=off first, and wait for the end of that", s->node_name);
    return false;
}

static bool GRAPH_RDLOCK
drbd_reopen_check(BDRVReopenState *state, const DrbdNodeOptions *new,
                  Error **errp)
{
    BDRVDrbdState *s = state->bs->opaque;
    bool disk = drbd_disk_needed(s);

    if (state->flags & BDRV_O_NO_FLUSH) {
        error_setg(errp, "Node '%s' cannot have cache.no-flush=on: replication "
                   "needs working flushes", s->node_name);
        return false;
    }
    if (new->attach && !(state->flags & BDRV_O_RDWR)) {
        error_setg(errp, "Node '%s' cannot be read-only with a disk: the "
                   "metadata must be written; reopen it with attach=off",
                   s->node_name);
        return false;
    }
    if (!drbd_reopen_check_file(state, errp)) {
        return false;
    }
    if (new->attach && disk) {
        return drbd_reopen_check_attached(state, new, errp);
    }
    if (new->attach != disk && drbd_volume_is_busy(s)) {
        error_setg(errp, "Node '%s' has an operation pending; wait for its end "
                   "(see query-drbd)", s->node_name);
        return false;
    }
    if (!new->attach && disk && drbd_is_primary(s->obj)) {
        error_setg(errp, "Node '%s' keeps its disk while the resource is "
                   "Primary, as a reopen cannot ask the peer whether that has "
                   "a good copy: use drbd-detach, or make the resource "
                   "Secondary first", s->node_name);
        return false;
    }
    return disk || !new->attach || drbd_disk_check(s, errp);
}

int drbd_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                        Error **errp)
{
    BDRVDrbdState *s = state->bs->opaque;
    DrbdNodeOptions *new = g_new0(DrbdNodeOptions, 1);

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (!drbd_parse_disk_options(state->options, new, errp) ||
        !drbd_reopen_check(state, new, errp)) {
        g_free(new);
        return -EINVAL;
    }
    state->opaque = new;
    s->reopen = new; /* drbd_child_perm() looks at it */
    return 0;
}

void drbd_reopen_abort(BDRVReopenState *state)
{
    BDRVDrbdState *s = state->bs->opaque;

    s->reopen = NULL;
    g_free(state->opaque);
    state->opaque = NULL;
}

void drbd_reopen_commit(BDRVReopenState *state)
{
    BDRVDrbdState *s = state->bs->opaque;
    bool disk = drbd_disk_needed(s);

    GLOBAL_STATE_CODE();
    s->options = *s->reopen;
    /* The permissions have been taken; keep them until the attach. */
    s->want_disk = disk || (s->options.attach &&
                            !(state->flags & BDRV_O_INACTIVE));
    if (state->flags & BDRV_O_INACTIVE) {
        /* Activation attaches, or does not. */
        qatomic_set(&s->inactive, s->options.attach);
        s->want_disk = s->options.attach;
    }
    if (disk) {
        drbd_lock(s->obj);
        drbd_on_disk_options(s->obj->core, s->volume, s->options.on_io_error);
        drbd_unlock(s->obj);
    }
    s->reopen = NULL;
    g_free(state->opaque);
    state->opaque = NULL;
}

/* Now the children are what they will be. */
void drbd_reopen_commit_post(BDRVReopenState *state)
{
    BDRVDrbdState *s = state->bs->opaque;
    bool disk = drbd_disk_needed(s);
    Error *local_err = NULL;

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    if (state->flags & BDRV_O_INACTIVE) {
        return;
    }
    trace_drbd_reopen(s->bs, disk, s->options.attach);
    if (s->options.attach && !disk) {
        if (!drbd_disk_attach(s, NULL, &local_err)) {
            drbd_warn(s->obj, s, "Node '%s' could not attach its disk again: "
                      "%s", s->node_name, error_get_pretty(local_err));
            drbd_disk_changed(s);
        }
    } else if (!s->options.attach && disk) {
        if (!drbd_disk_detach(s, false, &local_err)) {
            drbd_warn(s->obj, s, "Node '%s' could not detach its disk: %s",
                      s->node_name, error_get_pretty(local_err));
            drbd_disk_changed(s);
        }
    }
    error_free(local_err);
}
