/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets of a resource: made, watched, closed.
 *
 * In: descriptors that were dialled or accepted, in the resource's AioContext;
 * the core's order to close.  Out: drbd_on_closed(), and a count of what exists
 * for whoever waits until nothing does.
 *
 * Descriptors change under fd_lock, because yank shuts them down from other
 * threads, and a number must not have become somebody else's by then.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/sockets.h"
#include <netinet/tcp.h>
#include "drbd-int.h"
#include "trace.h"

void drbd_count_descriptor(DrbdObject *obj, int change)
{
    qatomic_add(&obj->net.busy, change);
    if (change < 0) {
        aio_wait_kick();
    }
}

/* A non-blocking socket of the family of @address, bound to it. */
int drbd_bound_socket(const DrbdAddress *address, bool any_port,
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

/*
 * One stream of the two may die alone (a firewall that forgot it), while pings
 * are answered on the other.  What the core has sent and waits for without a
 * time limit, as the answers of a source whose disk may be slow, would never
 * come.  TCP knows that nothing arrives; it is to say so after ko-count x timeout
 * and not after a quarter of an hour.
 */
static void drbd_socket_limit(int fd, unsigned ms)
{
#ifdef TCP_USER_TIMEOUT
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
#endif
}

void drbd_sockets_limit(DrbdObject *obj, unsigned ms)
{
    QEMU_LOCK_GUARD(&obj->net.fd_lock);
    obj->net.unheard_ms = ms;
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        if (obj->net.sockets[i].fd >= 0) {
            drbd_socket_limit(obj->net.sockets[i].fd, ms);
        }
    }
}

void drbd_socket_start(DrbdSocket *sock, int fd, DrbdSocketState state)
{
    socket_set_nodelay(fd);
    WITH_QEMU_LOCK_GUARD(&sock->obj->net.fd_lock) {
        sock->fd = fd;
        drbd_socket_limit(fd, sock->obj->net.unheard_ms);
    }
    sock->state = state;
    sock->full = false;
    if (!sock->buffer) {
        sock->buffer = g_malloc(DRBD_INPUT_BUFFER);
    }
    drbd_count_descriptor(sock->obj, 1);
}

void drbd_socket_stop(DrbdSocket *sock)
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
