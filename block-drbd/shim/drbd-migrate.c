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
 *
 * Inactivation can fail after we have left, because a parent keeps its write
 * permission; nobody tells us then.  So the outermost main loop looks, when it
 * is over, whether the node became inactive, and attaches the disk again if it
 * did not.  Requests that come before that wait.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

int GRAPH_RDLOCK drbd_inactivate(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;
    bool primary;

    GLOBAL_STATE_CODE();
    /* A create-md that is pending writes to the children without an attach. */
    drbd_disk_settle(s->obj);
    if (!drbd_disk_needed(s)) {
        return 0;
    }
    primary = drbd_is_primary(s->obj);
    trace_drbd_inactivate(bs, primary);
    /* The permissions must survive the detach: see drbd_disk_changed(). */
    s->was_primary = primary;
    qatomic_set(&s->inactive, true);
    if (!drbd_disk_leave(s, true)) {
        qatomic_set(&s->inactive, false);
        drbd_disk_changed(s);
        drbd_wake_inactive(s);
        return -EIO;
    }
    qemu_bh_schedule(s->reactivate_bh);
    return 0;
}

static bool coroutine_fn GRAPH_RDLOCK drbd_co_activate(BDRVDrbdState *s,
                                                       Error **errp)
{
    DrbdObject *obj = s->obj;
    DrbdWait wait = { 0 };
    DrbdDiskConfig config;
    uint64_t operation;

    trace_drbd_activate(s->bs, s->was_primary);
    if (!drbd_disk_config(s, &config, errp)) {
        return false;
    }

    drbd_lock(obj);
    operation = drbd_on_activate(obj->core, s->volume, &config, s->was_primary,
                                 wait.error);
    if (operation) {
        drbd_unlock_and_co_wait(obj, &wait, operation);
    } else {
        drbd_unlock(obj);
    }
    if (!wait.success) {
        error_setg(errp, "%s", wait.error);
        return false;
    }
    qatomic_set(&s->inactive, false);
    return true;
}

/* Runs in a coroutine of the node's AioContext; the main thread polls. */
void coroutine_fn GRAPH_RDLOCK
drbd_co_invalidate_cache(BlockDriverState *bs, Error **errp)
{
    BDRVDrbdState *s = bs->opaque;

    if (qatomic_read(&s->inactive)) {
        drbd_co_activate(s, errp);
        drbd_wake_inactive(s);
    }
}

static void coroutine_fn drbd_reactivate_entry(void *opaque)
{
    BDRVDrbdState *s = opaque;
    Error *local_err = NULL;

    WITH_GRAPH_RDLOCK_GUARD() {
        if (!drbd_co_activate(s, &local_err)) {
            drbd_warn(s->obj, s, "Node '%s' could not be made inactive, and "
                      "could not attach its disk again: %s", s->node_name,
                      error_get_pretty(local_err));
            error_free(local_err);
            /* An ordinary node without a disk: drbd-attach mends it. */
            qatomic_set(&s->inactive, false);
            qemu_bh_schedule(s->reactivate_bh);
        }
    }
    drbd_wake_inactive(s);
    bdrv_dec_in_flight(s->bs);
}

void drbd_reactivate_bh(void *opaque)
{
    BDRVDrbdState *s = opaque;

    GLOBAL_STATE_CODE();
    if (s->bs->open_flags & BDRV_O_INACTIVE) {
        return;
    }
    if (!qatomic_read(&s->inactive)) {
        drbd_disk_changed(s);
        return;
    }
    bdrv_inc_in_flight(s->bs);
    qemu_coroutine_enter(qemu_coroutine_create(drbd_reactivate_entry, s));
}

/* A request on a node that has left but did not become inactive. */
int coroutine_fn drbd_co_wait_active(BDRVDrbdState *s)
{
    if (s->bs->open_flags & BDRV_O_INACTIVE) {
        return -EIO;
    }
    WITH_QEMU_LOCK_GUARD(&s->activate_lock) {
        /* Who drains the node must not wait for what waits for the main loop. */
        if (qatomic_read(&s->inactive) && !qatomic_read(&s->drained)) {
            qemu_co_queue_wait(&s->activate_queue, &s->activate_lock);
        }
    }
    return qatomic_read(&s->inactive) ? -EIO : 0;
}

void drbd_wake_inactive(BDRVDrbdState *s)
{
    QEMU_LOCK_GUARD(&s->activate_lock);
    qemu_co_enter_all(&s->activate_queue, &s->activate_lock);
}
