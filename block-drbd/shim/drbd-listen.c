/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening and accepting.
 *
 * In: the core's wish to listen, in the resource's AioContext; connections of
 * strangers, one of which may be the peer.  Out: drbd_on_accepted(), which
 * decides who is let in, or drbd_on_listen_failed().
 *
 * Two things pass by themselves and are tried again: the process that this one
 * has taken the guest from holds the address until it ends; and descriptors may
 * have run out, when a listener that stays readable would keep the thread busy.
 */
#include "qemu/osdep.h"
#include "qemu/sockets.h"
#include "drbd-int.h"
#include "trace.h"

enum {
    DRBD_BACKLOG = 5,
    DRBD_LISTEN_AGAIN_MS = 200,
    DRBD_ACCEPT_AGAIN_MS = 1000,
};

static void drbd_listener_readable(void *opaque);

static void drbd_listener_watch(DrbdObject *obj, bool watch)
{
    aio_set_fd_handler(obj->ctx, obj->net.listener,
                       watch ? drbd_listener_readable : NULL, NULL, NULL, NULL,
                       obj);
}

/* Takes one connection; false if there is none. */
static bool drbd_accept_one(DrbdObject *obj)
{
    int fd = qemu_accept(obj->net.listener, NULL, NULL);
    int number;

    if (fd < 0) {
        int error = errno;

        if (error == EINTR || error == ECONNABORTED) {
            return true;
        }
        if (error != EAGAIN && error != EWOULDBLOCK) {
            trace_drbd_accept_failed(obj->id, error);
            drbd_listener_watch(obj, false);
            timer_mod(&obj->net.listen_timer,
                      drbd_net_now() + DRBD_ACCEPT_AGAIN_MS);
        }
        return false;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);

    drbd_net_relock(obj);
    number = drbd_on_accepted(obj->core);
    drbd_net_unlock(obj);
    trace_drbd_accepted(obj->id, number);
    if (number < 0) {
        close(fd);
        return true;
    }
    drbd_socket_start(&obj->net.sockets[number], fd, DRBD_SOCKET_OPEN);
    drbd_socket_watch(&obj->net.sockets[number]);
    return true;
}

static void drbd_listener_readable(void *opaque)
{
    DrbdObject *obj = opaque;

    drbd_net_enter(obj);
    drbd_net_unlock(obj);
    for (unsigned i = 0; i < DRBD_BACKLOG && drbd_accept_one(obj); i++) {
        /* A flood of strangers must not keep the others waiting. */
    }
    drbd_net_relock(obj);
    drbd_net_leave(obj);
}

static int drbd_listen_begin(DrbdObject *obj, const char **failed)
{
    int fd = drbd_bound_socket(&obj->net.local, false, failed);

    if (fd < 0) {
        return fd;
    }
    if (listen(fd, DRBD_BACKLOG) < 0) {
        int ret = -errno;

        *failed = "listen";
        close(fd);
        return ret;
    }
    qatomic_set(&obj->net.listener, fd);
    drbd_count_descriptor(obj, 1);
    drbd_listener_watch(obj, true);
    return 0;
}

void drbd_net_listen(DrbdObject *obj)
{
    DrbdNet *net = &obj->net;
    char text[DRBD_ERROR_SIZE];
    const char *failed = "";
    int ret = 0;

    assert(net->listener < 0);
    drbd_net_unlock(obj);
    /* If not, drbd_net_looked_up() comes back here, or to a failure. */
    net->listen_wanted = !drbd_address_known(obj, &net->local, text);
    if (!net->listen_wanted) {
        ret = drbd_listen_begin(obj, &failed);
    }
    drbd_net_relock(obj);
    trace_drbd_listen(obj->id, net->local.host, net->local.port, ret);
    if (ret < 0) {
        snprintf(text, sizeof(text), "%s on local address %s:%s: %s; is it one "
                 "of this host, and not in use?", failed, net->local.host,
                 net->local.port, strerror(-ret));
    }
    if (ret == -EADDRINUSE && net->taken_over) {
        net->listen_wanted = true;
        timer_mod(&net->listen_timer, drbd_net_now() + DRBD_LISTEN_AGAIN_MS);
        drbd_on_listen_delayed(obj->core, text);
    } else if (ret < 0) {
        drbd_on_listen_failed(obj->core, text);
    } else if (!net->listen_wanted) {
        net->taken_over = false;
        drbd_on_listen_delayed(obj->core, NULL);
    }
}

void drbd_listen_timer(void *opaque)
{
    DrbdObject *obj = opaque;

    if (obj->net.listener >= 0) {
        drbd_listener_watch(obj, true);
        return;
    }
    drbd_net_enter(obj);
    if (obj->net.listen_wanted && obj->net.listener < 0) {
        drbd_net_listen(obj);
    }
    drbd_net_leave(obj);
}

void drbd_net_unlisten(DrbdObject *obj)
{
    int fd = obj->net.listener;

    timer_del(&obj->net.listen_timer);
    obj->net.listen_wanted = obj->net.taken_over = false;
    if (fd < 0) {
        return;
    }
    drbd_net_unlock(obj);
    drbd_listener_watch(obj, false);
    close(fd);
    qatomic_set(&obj->net.listener, -1);
    drbd_count_descriptor(obj, -1);
    drbd_net_relock(obj);
}
