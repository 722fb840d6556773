/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connect, disconnect, and waiting for the peer.
 *
 * In: nodes that were opened or are about to close, yank, in the main thread
 * (yank in any).  Out: operations of the core.  A resource connects by itself
 * when all of its volumes have a node with a disk; the first orderly close of a
 * node ends that, so that the peer knows it for an end and not for a crash.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qemu/yank.h"
#include "drbd-int.h"
#include "trace.h"

/* States in which the peer may still come, by their DRBD names. */
static const char *const drbd_coming_states[] = {
    "Unconnected", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError",
    "TearDown", "WFConnection", "WFReportParams",
};

static void drbd_object_status(DrbdObject *obj, DrbdResourceStatus *status)
{
    QEMU_LOCK_GUARD(&obj->lock);
    drbd_resource_status(obj->core, status);
}

static bool drbd_peer_may_come(DrbdObject *obj)
{
    DrbdResourceStatus status;

    drbd_object_status(obj, &status);
    for (size_t i = 0; i < ARRAY_SIZE(drbd_coming_states); i++) {
        if (!strcmp(status.connection, drbd_coming_states[i])) {
            return true;
        }
    }
    return false;
}

bool drbd_stands_alone(DrbdObject *obj)
{
    DrbdResourceStatus status;

    drbd_object_status(obj, &status);
    return !strcmp(status.connection, "StandAlone");
}

void drbd_connect_when_ready(DrbdObject *obj)
{
    DrbdResourceStatus status;
    char error[DRBD_ERROR_SIZE];
    uint64_t operation = 0;
    bool ready;

    GLOBAL_STATE_CODE();
    if (!qatomic_read(&obj->net.auto_connect)) {
        return;
    }
    drbd_lock(obj);
    drbd_resource_status(obj->core, &status);
    ready = obj->net.configured && status.nr_attached == status.nr_volumes;
    if (ready) {
        qatomic_set(&obj->net.auto_connect, false);
        /* A volume that was opened anew joins the connection of the others. */
        ready = !strcmp(status.connection, "StandAlone");
    }
    if (ready) {
        DrbdConnectionStatus before;

        drbd_connection_status(obj->core, &before);
        obj->net.times_before = before.times_connected;
        operation = drbd_on_connect(obj->core, false, error);
        obj->net.connects_itself = operation != 0;
    }
    drbd_unlock(obj);
    if (ready && !operation) {
        drbd_warn(obj, NULL, "Resource '%s' does not connect to its peer: %s",
                  obj->id, error);
    }
}

static void drbd_wait_timeout(void *opaque)
{
    *(bool *)opaque = true;
}

/*
 * Since the resource began to connect by itself the peer was met, and refused
 * or was refused, by either node: it lives, and may be Primary.
 */
static bool drbd_was_refused(DrbdObject *obj, Error **errp)
{
    DrbdConnectionStatus status;

    bool met;

    WITH_QEMU_LOCK_GUARD(&obj->lock) {
        drbd_connection_status(obj->core, &status);
        met = status.times_connected != obj->net.times_before;
        if (!obj->net.connects_itself) {
            return false;
        }
    }
    if (!status.reason[0] ||
        (strcmp(status.state, "StandAlone") &&
         (!met || !drbd_peer_may_come(obj)))) {
        return false;
    }
    error_setg(errp, "Resource '%s' does not become Primary, as it waits for "
               "its peer (wfc-timeout) and they do not come together: %s; mend "
               "that, or open the node without role=primary and use "
               "drbd-set-role", obj->id, status.reason);
    return true;
}

/* At most wfc-timeout, until the peer is there or will not come.  Polls. */
bool drbd_connect_wait(DrbdObject *obj, Error **errp)
{
    uint64_t timeout_ms = obj->net.options.wfc_timeout * 1000ull;
    bool over = false;
    QEMUTimer timer;

    GLOBAL_STATE_CODE();
    if (!timeout_ms) {
        return true;
    }
    if (!drbd_peer_may_come(obj)) {
        return !drbd_was_refused(obj, errp);
    }
    trace_drbd_connect_wait(obj->id, timeout_ms);
    aio_timer_init(qemu_get_aio_context(), &timer, QEMU_CLOCK_REALTIME,
                   SCALE_MS, drbd_wait_timeout, &over);
    timer_mod(&timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + timeout_ms);
    /* A change of the state comes with a notice, which runs in this loop. */
    AIO_WAIT_WHILE_UNLOCKED(NULL, !over && drbd_peer_may_come(obj));
    timer_del(&timer);
    return !drbd_was_refused(obj, errp);
}

/* -------------------------------------------------------------- the end */

/* Begins an operation that ends a connection, and waits.  Polls. */
static bool drbd_end_step(DrbdObject *obj, bool demote, bool force,
                          DrbdWait *wait)
{
    uint64_t operation;

    *wait = (DrbdWait) { 0 };
    drbd_lock(obj);
    operation = demote
        ? drbd_on_set_role(obj->core, false, false, wait->error)
        : drbd_on_disconnect(obj->core, force, wait->error);
    if (!operation) {
        drbd_unlock(obj);
        return false;
    }
    drbd_unlock_and_wait(obj, wait, operation);
    return wait->success;
}

/* A node above that writes to a volume of the resource. */
static bool drbd_has_writer(DrbdObject *obj)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BdrvChild *c;

        if (!obj->nodes[i]) {
            continue;
        }
        QLIST_FOREACH(c, &obj->nodes[i]->bs->parents, next_parent) {
            if (c->perm & BLK_PERM_WRITE) {
                return true;
            }
        }
    }
    return false;
}

static void drbd_disconnect_and_wait(DrbdObject *obj)
{
    DrbdWait wait;

    if (drbd_is_primary(obj) && !drbd_end_step(obj, true, false, &wait)) {
        drbd_warn(obj, NULL, "Resource '%s' leaves its peer as Primary: %s",
                  obj->id, wait.error);
    }
    if (!drbd_stands_alone(obj) &&
        !drbd_end_step(obj, false, false, &wait) &&
        !drbd_stands_alone(obj) &&
        !drbd_end_step(obj, false, true, &wait)) {
        drbd_warn(obj, NULL, "Resource '%s' could not disconnect: %s", obj->id,
                  wait.error);
    }
}

/*
 * A node is about to close.  If a guest still writes to another volume the
 * connection stays: the core tells the peer that this volume has lost its disk.
 * Polls; the core's timeouts bound each step.
 */
void drbd_connect_end(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    qatomic_set(&obj->net.auto_connect, false);
    if (!obj->net.running || drbd_stands_alone(obj) || drbd_has_writer(obj)) {
        return;
    }
    trace_drbd_connect_end(obj->id);
    drbd_disk_settle(obj);
    drbd_drain_suspend(obj);
    drbd_disconnect_and_wait(obj);
    drbd_drain_resume(obj);
}

/* ------------------------------------------------------------------ yank */

static void drbd_yank(void *opaque)
{
    BDRVDrbdState *s = opaque;

    trace_drbd_yank(s->obj->id);
    drbd_net_shutdown(s->obj);
}

bool drbd_yank_add(BDRVDrbdState *s, Error **errp)
{
    if (!yank_register_instance(BLOCKDEV_YANK_INSTANCE(s->node_name), errp)) {
        return false;
    }
    yank_register_function(BLOCKDEV_YANK_INSTANCE(s->node_name), drbd_yank, s);
    s->yankable = true;
    return true;
}

void drbd_yank_remove(BDRVDrbdState *s)
{
    if (s->yankable) {
        yank_unregister_function(BLOCKDEV_YANK_INSTANCE(s->node_name),
                                 drbd_yank, s);
        yank_unregister_instance(BLOCKDEV_YANK_INSTANCE(s->node_name));
        s->yankable = false;
    }
}
