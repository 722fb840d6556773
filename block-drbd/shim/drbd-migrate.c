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
 *
 * A Primary is handed over with its disk, and only with one that is UpToDate:
 * what the guest has on the peer's disk alone nobody would know of elsewhere.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

/* The first node of a Primary whose disk the guest cannot be started on. */
static BDRVDrbdState *drbd_without_good_disk(DrbdObject *obj)
{
    DrbdResourceStatus resource;
    DrbdVolumeStatus volume;

    QEMU_LOCK_GUARD(&obj->lock);
    drbd_resource_status(obj->core, &resource);
    if (resource.role != DRBD_ROLE_PRIMARY) {
        return NULL;
    }
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BDRVDrbdState *s = obj->nodes[i];

        if (s && !qatomic_read(&s->inactive)) {
            drbd_volume_status(obj->core, i, &volume);
            if (strcmp(volume.disk, "UpToDate")) {
                return s;
            }
        }
    }
    return NULL;
}

int GRAPH_RDLOCK drbd_inactivate(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;
    BDRVDrbdState *bad;
    bool primary;

    GLOBAL_STATE_CODE();
    /* A create-md that is pending writes to the children without an attach. */
    drbd_disk_settle(s->obj);
    bad = drbd_without_good_disk(s->obj);
    if (bad) {
        drbd_warn(s->obj, s, "Node '%s' is not made inactive: the resource is "
                  "Primary, and the disk of node '%s' is not UpToDate; whoever "
                  "activates it elsewhere would start the guest on that disk. "
                  "Attach it, and let it be resynced first", s->node_name,
                  bad->node_name);
        return -EIO;
    }
    if (!drbd_disk_needed(s)) {
        return 0;
    }
    primary = drbd_is_primary(s->obj);
    trace_drbd_inactivate(bs, primary);
    /* The permissions must survive the detach: see drbd_disk_changed(). */
    qatomic_set(&s->was_primary, primary);
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

/*
 * The role is the resource's: with it from one of the inactive nodes the others
 * follow, in whatever order they are activated.  With the lock held.
 */
static bool drbd_was_primary(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BDRVDrbdState *s = obj->nodes[i];

        if (s && qatomic_read(&s->inactive) && qatomic_read(&s->was_primary)) {
            return true;
        }
    }
    return false;
}

static bool coroutine_fn GRAPH_RDLOCK drbd_co_activate(BDRVDrbdState *s,
                                                       Error **errp)
{
    DrbdObject *obj = s->obj;
    DrbdWait wait = { 0 };
    DrbdDiskConfig config;
    uint64_t operation;
    bool primary;

    if (!drbd_disk_config(s, &config, errp)) {
        return false;
    }

    drbd_lock(obj);
    primary = drbd_was_primary(obj);
    /* The attach is what connects. */
    obj->net.taken_over = qatomic_read(&obj->net.listener) < 0;
    trace_drbd_activate(s->bs, primary);
    operation = drbd_on_activate(obj->core, s->volume, &config, primary,
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
    qatomic_set(&s->reactivating, false);
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
    qatomic_set(&s->reactivating, true);
    qemu_coroutine_enter(qemu_coroutine_create(drbd_reactivate_entry, s));
}

/* A request on a node that has left but did not become inactive. */
int coroutine_fn drbd_co_wait_active(BDRVDrbdState *s)
{
    if (s->bs->open_flags & BDRV_O_INACTIVE) {
        return -EIO;
    }
    WITH_QEMU_LOCK_GUARD(&s->activate_lock) {
        /*
         * Who drains the node must not wait for what waits for the main loop.
         * What is under way there is counted as in flight.
         */
        if (qatomic_read(&s->inactive) && (!qatomic_read(&s->drained) ||
                                           qatomic_read(&s->reactivating))) {
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
