/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dialling the peer.
 *
 * In: the core's order, in the resource's AioContext.  Out: drbd_on_dialled()
 * with the reason if it failed.  Nothing here blocks: the socket does not, a
 * dial ends by its own timer, names of hosts are looked up elsewhere.
 */
#include "qemu/osdep.h"
#include "qemu/sockets.h"
#include "drbd-int.h"
#include "trace.h"

/* With the lock held.  @error: why it failed, or NULL. */
static void drbd_dial_ended(DrbdSocket *sock, const char *error)
{
    DrbdObject *obj = sock->obj;

    trace_drbd_dialled(obj->id, sock->number, error ?: "");
    if (sock->has_timer) {
        timer_del(&sock->timer);
        sock->has_timer = false;
    }
    if (error) {
        drbd_net_unlock(obj);
        drbd_socket_stop(sock);
        drbd_net_relock(obj);
    } else {
        sock->state = DRBD_SOCKET_OPEN;
        drbd_socket_watch(sock);
    }
    drbd_on_dialled(obj->core, sock->number, error);
}

static void drbd_dial_failed(DrbdSocket *sock, const char *what, int error)
{
    char text[DRBD_ERROR_SIZE];

    snprintf(text, sizeof(text), "%s %s:%s: %s", what, sock->obj->net.peer.host,
             sock->obj->net.peer.port, strerror(error));
    drbd_dial_ended(sock, text);
}

static void drbd_dial_timeout(void *opaque)
{
    DrbdSocket *sock = opaque;

    drbd_net_enter(sock->obj);
    if (sock->state == DRBD_SOCKET_DIALLING) {
        drbd_dial_failed(sock, "connecting to", ETIMEDOUT);
    }
    drbd_net_leave(sock->obj);
}

static void drbd_dial_writable(void *opaque)
{
    DrbdSocket *sock = opaque;
    int error = 0;
    socklen_t length = sizeof(error);

    if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) {
        error = errno;
    }
    drbd_net_enter(sock->obj);
    if (sock->state == DRBD_SOCKET_DIALLING) {
        if (error) {
            drbd_dial_failed(sock, "connecting to", error);
        } else {
            drbd_dial_ended(sock, NULL);
        }
    }
    drbd_net_leave(sock->obj);
}

/* Without the lock: 0, or a negative errno and what failed. */
static int drbd_dial_begin(DrbdSocket *sock, unsigned timeout_ms,
                           const char **failed)
{
    DrbdObject *obj = sock->obj;
    DrbdNet *net = &obj->net;
    int fd = drbd_bound_socket(&net->local, true, failed);

    if (fd < 0) {
        return fd;
    }
    drbd_socket_start(sock, fd, DRBD_SOCKET_DIALLING);
    *failed = "connecting to";
    if (connect(fd, (struct sockaddr *)&net->peer.addr, net->peer.length) < 0 &&
        errno != EINPROGRESS) {
        return -errno;
    }
    aio_set_fd_handler(obj->ctx, fd, NULL, drbd_dial_writable, NULL, NULL,
                       sock);
    aio_timer_init(obj->ctx, &sock->timer, QEMU_CLOCK_REALTIME, SCALE_MS,
                   drbd_dial_timeout, sock);
    timer_mod(&sock->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
              timeout_ms);
    sock->has_timer = true;
    return 0;
}

/* Without the lock: the addresses are known and fit, or @error says why not. */
static bool drbd_dial_addresses(DrbdObject *obj, char error[DRBD_ERROR_SIZE])
{
    DrbdNet *net = &obj->net;

    if (!drbd_address_known(obj, &net->local, error) ||
        !drbd_address_known(obj, &net->peer, error)) {
        return false;
    }
    if (net->local.addr.ss_family != net->peer.addr.ss_family) {
        snprintf(error, DRBD_ERROR_SIZE, "the local and the peer's address are "
                 "not both IPv4 or both IPv6: change one of them");
        return false;
    }
    return true;
}

void drbd_net_dial(DrbdObject *obj, unsigned socket, unsigned timeout_ms)
{
    DrbdSocket *sock = &obj->net.sockets[socket];
    char error[DRBD_ERROR_SIZE];
    const char *failed = "";
    bool possible;
    int ret = 0;

    assert(sock->state == DRBD_SOCKET_FREE);
    drbd_net_unlock(obj);
    possible = drbd_dial_addresses(obj, error);
    if (possible) {
        ret = drbd_dial_begin(sock, timeout_ms, &failed);
    }
    drbd_net_relock(obj);
    if (!possible) {
        drbd_dial_ended(sock, error);
    } else if (ret < 0) {
        drbd_dial_failed(sock, failed, -ret);
    }
}
