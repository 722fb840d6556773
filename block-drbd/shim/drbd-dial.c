/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of a resource: listening, accepting, dialling, closing.
 *
 * In: the core's actions and what the sockets say, in the resource's
 * AioContext.  Out: drbd_on_dialled(), drbd_on_accepted(), drbd_on_closed(),
 * drbd_on_listen_failed().  Nothing here blocks: every socket is non-blocking,
 * a dial ends by its own timer, names of hosts are looked up elsewhere.
 *
 * Descriptors change under fd_lock, because yank shuts them down from other
 * threads, and a number must not have become somebody else's by then.
 */
#include "qemu/osdep.h"
#include <netinet/tcp.h>
#include "block/aio-wait.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "drbd-int.h"
#include "trace.h"

enum {
    DRBD_INPUT_BUFFER = 256 * KiB,
    DRBD_BACKLOG = 5,
};

static void drbd_count_descriptor(DrbdObject *obj, int change)
{
    qatomic_add(&obj->net.busy, change);
    if (change < 0) {
        aio_wait_kick();
    }
}

/* A non-blocking socket of the family of @address, bound to it with @port. */
static int drbd_bound_socket(const DrbdAddress *address, bool any_port,
                             const char **failed)
{
    struct sockaddr_storage addr = address->addr;
    int fd = qemu_socket(addr.ss_family, SOCK_STREAM, 0);
    int one = 1;

    if (fd < 0) {
        *failed = "socket";
        return -errno;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);
    socket_set_fast_reuse(fd);
    if (addr.ss_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (any_port) {
        if (addr.ss_family == AF_INET6) {
            ((struct sockaddr_in6 *)&addr)->sin6_port = 0;
        } else {
            ((struct sockaddr_in *)&addr)->sin_port = 0;
        }
    }
    if (bind(fd, (struct sockaddr *)&addr, address->length) < 0) {
        int ret = -errno;

        *failed = "bind";
        close(fd);
        return ret;
    }
    return fd;
}

static void drbd_socket_start(DrbdSocket *sock, int fd, DrbdSocketState state)
{
    socket_set_nodelay(fd);
    WITH_QEMU_LOCK_GUARD(&sock->obj->net.fd_lock) {
        sock->fd = fd;
    }
    sock->state = state;
    sock->full = false;
    if (!sock->buffer) {
        sock->buffer = g_malloc(DRBD_INPUT_BUFFER);
    }
    drbd_count_descriptor(sock->obj, 1);
}

/* Closes the descriptor; the core is not told. */
static void drbd_socket_stop(DrbdSocket *sock)
{
    int fd = sock->fd;

    if (fd < 0) {
        return;
    }
    aio_set_fd_handler(sock->obj->ctx, fd, NULL, NULL, NULL, NULL, NULL);
    if (sock->has_timer) {
        timer_del(&sock->timer);
        sock->has_timer = false;
    }
    drbd_socket_forget_input(sock);
    WITH_QEMU_LOCK_GUARD(&sock->obj->net.fd_lock) {
        sock->fd = -1;
        close(fd);
    }
    sock->state = DRBD_SOCKET_FREE;
    drbd_count_descriptor(sock->obj, -1);
}

void drbd_net_shutdown(DrbdObject *obj)
{
    QEMU_LOCK_GUARD(&obj->net.fd_lock);
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        if (obj->net.sockets[i].fd >= 0) {
            shutdown(obj->net.sockets[i].fd, SHUT_RDWR);
        }
    }
}

/* ---------------------------------------------------------------- dialling */

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

/* --------------------------------------------------------------- accepting */

/* Takes one connection; false if there is none. */
static bool drbd_accept_one(DrbdObject *obj)
{
    int fd = qemu_accept(obj->net.listener, NULL, NULL);
    int number;

    if (fd < 0) {
        return errno == EINTR || errno == ECONNABORTED;
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
    obj->net.listener = fd;
    drbd_count_descriptor(obj, 1);
    aio_set_fd_handler(obj->ctx, fd, drbd_listener_readable, NULL, NULL, NULL,
                       obj);
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
        drbd_on_listen_failed(obj->core, text);
    }
}

void drbd_net_unlisten(DrbdObject *obj)
{
    int fd = obj->net.listener;

    obj->net.listen_wanted = false;
    if (fd < 0) {
        return;
    }
    drbd_net_unlock(obj);
    aio_set_fd_handler(obj->ctx, fd, NULL, NULL, NULL, NULL, NULL);
    close(fd);
    obj->net.listener = -1;
    drbd_count_descriptor(obj, -1);
    drbd_net_relock(obj);
}

/* ----------------------------------------------------------------- closing */

void drbd_net_close(DrbdObject *obj, unsigned socket)
{
    DrbdSocket *sock = &obj->net.sockets[socket];

    trace_drbd_closed(obj->id, socket);
    drbd_net_unlock(obj);
    drbd_socket_stop(sock);
    drbd_net_relock(obj);
    obj->net.full &= ~(1u << socket);
    drbd_on_closed(obj->core, socket);
}

void drbd_socket_watch(DrbdSocket *sock)
{
    bool open = sock->state == DRBD_SOCKET_OPEN;

    aio_set_fd_handler(sock->obj->ctx, sock->fd,
                       open && !sock->stalled ? drbd_socket_readable : NULL,
                       open && sock->full ? drbd_socket_writable : NULL,
                       NULL, NULL, sock);
}
