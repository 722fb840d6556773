/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inactivation and activation: the node changes hands.
 *
 * At the end of a migration the source's nodes are inactivated, parents before
 * children: the filter leaves its disk while its children can still be written,
 * and remembers the role.  Activation (on the destination inside `cont`, on the
 * source after a failure) comes children first; the disk is attached again and
 * the role resumed.  No generation is made here: the first guest write does.
 *
 * A node that was opened inactive (-incoming) has done nothing yet; its first
 * activation does what opening would have done.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

int GRAPH_RDLOCK drbd_inactivate(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;
    bool primary = drbd_is_primary(s->obj);

    GLOBAL_STATE_CODE();
    if (!drbd_disk_needed(s)) {
        return 0;
    }
    trace_drbd_inactivate(bs, primary);
    /* The permissions must survive the detach: see drbd_disk_changed(). */
    qatomic_set(&s->inactive, true);
    s->was_primary = primary;
    if (!drbd_disk_leave(s, true)) {
        qatomic_set(&s->inactive, false);
        drbd_disk_changed(s);
        return -EIO;
    }
    return 0;
}

/* Runs in a coroutine of the node's AioContext; the main thread polls. */
void coroutine_fn GRAPH_RDLOCK
drbd_co_invalidate_cache(BlockDriverState *bs, Error **errp)
{
    BDRVDrbdState *s = bs->opaque;
    DrbdObject *obj = s->obj;
    char error[DRBD_ERROR_SIZE];
    DrbdWait wait = { 0 };
    DrbdDiskConfig config;
    uint64_t operation;

    if (!qatomic_read(&s->inactive)) {
        return;
    }
    trace_drbd_activate(bs, s->was_primary);
    if (!drbd_disk_config(s, &config, errp)) {
        return;
    }

    drbd_lock(obj);
    operation = drbd_on_activate(obj->core, s->volume, &config, s->was_primary,
                                 error);
    if (!operation) {
        drbd_unlock(obj);
        error_setg(errp, "%s", error);
        return;
    }
    drbd_unlock_and_co_wait(obj, &wait, operation);
    if (!wait.success) {
        error_setg(errp, "%s", wait.error);
        return;
    }
    qatomic_set(&s->inactive, false);
}
