/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The round through the core's network queues.
 *
 * In: events in the resource's AioContext (a socket, a timer, the end of an
 * I/O), and kicks from other threads after a call of the core.  Out: every
 * queue of the core that concerns the network is emptied, by one thread.
 *
 * `kicked` says that somebody goes round already or is about to; it is looked
 * at and changed under the lock, so no kick is lost and none is for nothing:
 * requests that many guest threads queue meanwhile leave in one system call.
 * A round is bounded; what is left then waits for the next turn of the loop, so
 * that sockets are read while guests keep us busy.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

enum {
    DRBD_NET_ROUNDS = 16,
    DRBD_NET_PATIENCE = 8,  /* turns of the loop */
};

uint32_t drbd_net_pending(DrbdObject *obj, uint32_t pending)
{
    if (!obj->net.running) {
        return 0;
    }
    if ((pending & DRBD_PENDING_SEND) &&
        !(drbd_pending_sockets(obj->core) & ~obj->net.full)) {
        pending &= ~DRBD_PENDING_SEND;
    }
    return pending & DRBD_PENDING_NETWORK;
}

void drbd_net_unlock(DrbdObject *obj)
{
    qemu_mutex_unlock(&obj->lock);
}

void drbd_net_relock(DrbdObject *obj)
{
    qemu_mutex_lock(&obj->lock);
}

void drbd_net_actions(DrbdObject *obj)
{
    DrbdNetAction action;

    while (drbd_next_net_action(obj->core, &action)) {
        trace_drbd_net_action(obj->id, action.kind, action.socket,
                              action.timeout_ms);
        switch (action.kind) {
        case DRBD_NET_LISTEN:
            drbd_net_listen(obj);
            break;
        case DRBD_NET_UNLISTEN:
            drbd_net_unlisten(obj);
            break;
        case DRBD_NET_DIAL:
            drbd_net_dial(obj, action.socket, action.timeout_ms);
            break;
        case DRBD_NET_CLOSE:
            drbd_net_close(obj, action.socket);
            break;
        }
    }
}

static void drbd_net_release(DrbdObject *obj)
{
    void *buffer;
    size_t bytes;

    /* The pool's lock is held for two assignments. */
    while (drbd_next_release(obj->core, &buffer, &bytes)) {
        drbd_payload_give(&obj->peer_payload, buffer, bytes);
    }
}

static void drbd_net_arm(DrbdObject *obj)
{
    uint64_t deadline = drbd_next_deadline_ms(obj->core);

    if (deadline == UINT64_MAX) {
        timer_del(&obj->net.timer);
    } else {
        timer_mod(&obj->net.timer, MIN(deadline, INT64_MAX / SCALE_MS));
    }
}

/*
 * Wake-ups come first: a guest that goes on may queue what then leaves together
 * with the rest.  The image comes before the sockets: it is the slower one.
 */
static void drbd_net_round(DrbdObject *obj, uint32_t pending)
{
    if (pending & DRBD_PENDING_NET) {
        drbd_net_actions(obj);
    }
    if (pending & DRBD_PENDING_RELEASE) {
        drbd_net_release(obj);
    }
    if (pending & DRBD_PENDING_PEER_IO) {
        drbd_net_peer_io(obj);
    }
    if (pending & DRBD_PENDING_SEND) {
        drbd_net_send(obj);
    }
    if (pending & DRBD_PENDING_RECEIVE) {
        drbd_net_resume_reading(obj);
    }
}

void drbd_net_enter(DrbdObject *obj)
{
    obj->net.turns_waited = 0;
    drbd_lock(obj);
    obj->net.kicked = true;
    drbd_on_time(obj->core, drbd_net_now());
}

void drbd_net_leave(DrbdObject *obj)
{
    uint32_t pending;
    unsigned rounds = 0;

    for (;;) {
        /* The timer comes last: the rounds move its deadline. */
        pending = drbd_resource_pending(obj->core, DRBD_PENDING_WAKE |
                                        (DRBD_PENDING_NETWORK &
                                         ~DRBD_PENDING_TIMER));
        if (pending & DRBD_PENDING_WAKE) {
            drbd_unlock(obj);
            drbd_lock(obj);
            continue;
        }
        pending = drbd_net_pending(obj, pending);
        if (!pending || rounds++ == DRBD_NET_ROUNDS) {
            break;
        }
        drbd_net_round(obj, pending);
    }
    if (obj->net.running &&
        drbd_resource_pending(obj->core, DRBD_PENDING_TIMER)) {
        drbd_net_arm(obj);
    }
    if (pending) {
        qemu_bh_schedule(obj->net.bh);
    } else {
        /* While `kicked` held nobody but us has scheduled it. */
        obj->net.kicked = false;
    }
    drbd_unlock_after_network(obj);
}

/*
 * A kick.  An export hands its requests over one by one, one for each turn of
 * the loop, and the image its results; a system call for each of them would
 * cost more than all the rest.  While more keep coming they are waited for, a
 * few turns at most.  With one request at a time nothing is waited for.
 */
static void drbd_net_bh(void *opaque)
{
    DrbdObject *obj = opaque;
    DrbdNet *net = &obj->net;
    unsigned arrivals = qatomic_read(&net->arrivals);
    bool more = arrivals != net->arrivals_seen &&
                qatomic_read(&net->requests) > 1;

    net->arrivals_seen = arrivals;
    if (more && net->turns_waited < DRBD_NET_PATIENCE) {
        net->turns_waited++;
        qemu_bh_schedule(net->bh);
        return;
    }
    drbd_net_enter(obj);
    drbd_net_leave(obj);
}

/*
 * The core tells when its deadline has become an earlier one.  When it has come,
 * or a later one took its place, it is asked for the next.
 */
static void drbd_net_timer(void *opaque)
{
    DrbdObject *obj = opaque;

    drbd_net_enter(obj);
    drbd_net_arm(obj);
    drbd_net_leave(obj);
}

void drbd_net_init(DrbdObject *obj)
{
    DrbdNet *net = &obj->net;

    qemu_mutex_init(&net->fd_lock);
    net->listener = -1;
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        net->sockets[i].obj = obj;
        net->sockets[i].number = i;
        net->sockets[i].fd = -1;
    }
    drbd_net_options_init(obj);
}

void drbd_net_destroy(DrbdObject *obj)
{
    assert(!obj->net.running);
    drbd_net_options_destroy(obj);
    drbd_addresses_destroy(obj);
    qemu_mutex_destroy(&obj->net.fd_lock);
}

void drbd_net_start(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    if (obj->net.running) {
        return;
    }
    aio_timer_init(obj->ctx, &obj->net.timer, QEMU_CLOCK_REALTIME, SCALE_MS,
                   drbd_net_timer, obj);
    aio_timer_init(obj->ctx, &obj->net.listen_timer, QEMU_CLOCK_REALTIME,
                   SCALE_MS, drbd_listen_timer, obj);
    drbd_lock(obj);
    obj->net.bh = aio_bh_new(obj->ctx, drbd_net_bh, obj);
    obj->net.running = true;
    drbd_unlock(obj);
}

/* In ctx: what the core has left undone is done, and nothing follows. */
static void drbd_net_stop_bh(void *opaque)
{
    DrbdObject *obj = opaque;

    drbd_net_enter(obj);
    drbd_net_leave(obj);
    drbd_lock(obj);
    obj->net.running = false;
    obj->net.kicked = false;
    qemu_bh_delete(obj->net.bh);
    obj->net.bh = NULL;
    drbd_unlock(obj);
    timer_del(&obj->net.timer);
    timer_del(&obj->net.listen_timer);
    drbd_address_forget(&obj->net.local);
    drbd_address_forget(&obj->net.peer);
}

void drbd_net_stop(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    if (!obj->net.running) {
        return;
    }
    /* It stands alone; the last sockets are being closed. */
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&obj->net.busy) > 0);
    aio_wait_bh_oneshot(obj->ctx, drbd_net_stop_bh, obj);
}
