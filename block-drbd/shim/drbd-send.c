/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending.
 *
 * In: what the core has queued for a socket.  Out: one sendmsg() for all of it,
 * headers and payloads of many packets, without the lock; the core hears how
 * much went.  A socket that takes no more is left alone until it is writable;
 * its bit in net.full keeps others from kicking us for it.
 */
#include "qemu/osdep.h"
#include "drbd-int.h"
#include "trace.h"

/* Without the lock: bytes sent, or a negative errno. */
static ssize_t drbd_send_parts(int fd, const DrbdSend *send)
{
    struct iovec iov[DRBD_SEND_PARTS];
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = send->nr_parts };
    ssize_t ret;

    for (unsigned i = 0; i < send->nr_parts; i++) {
        iov[i].iov_base = (void *)send->parts[i].data;
        iov[i].iov_len = send->parts[i].bytes;
    }
    do {
        ret = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

static void drbd_socket_set_full(DrbdSocket *sock, bool full)
{
    DrbdNet *net = &sock->obj->net;

    if (sock->full != full) {
        sock->full = full;
        if (full) {
            net->full |= 1u << sock->number;
        } else {
            net->full &= ~(1u << sock->number);
        }
        drbd_socket_watch(sock);
    }
}

/* False if the socket has nothing more or takes no more for now. */
static bool drbd_send_once(DrbdSocket *sock)
{
    DrbdObject *obj = sock->obj;
    DrbdSend *send = &obj->net.send;
    size_t wanted;
    ssize_t ret;

    if (!drbd_next_send(obj->core, sock->number, send)) {
        return false;
    }
    wanted = send->bytes;
    drbd_net_unlock(obj);
    ret = drbd_send_parts(sock->fd, send);
    drbd_net_relock(obj);
    trace_drbd_send(obj->id, sock->number, send->nr_parts, wanted, ret);
    drbd_on_sent(obj->core, sock->number, MAX(ret, 0));
    if (ret < 0 && ret != -EAGAIN) {
        drbd_socket_ended(sock, strerror(-ret));
        return false;
    }
    if (ret < 0 || ret < wanted) {
        drbd_socket_set_full(sock, true);
        return false;
    }
    return true;
}

void drbd_net_send(DrbdObject *obj)
{
    uint32_t sockets = drbd_pending_sockets(obj->core) & ~obj->net.full;

    while (sockets) {
        DrbdSocket *sock = &obj->net.sockets[ctz32(sockets)];

        sockets &= sockets - 1;
        if (sock->state == DRBD_SOCKET_OPEN) {
            drbd_send_once(sock);
        } else {
            /* Nothing goes there any more; it is about to be closed. */
            obj->net.full |= 1u << sock->number;
        }
    }
}

void drbd_socket_writable(void *opaque)
{
    DrbdSocket *sock = opaque;

    drbd_net_enter(sock->obj);
    if (sock->state == DRBD_SOCKET_OPEN) {
        drbd_socket_set_full(sock, false);
    }
    drbd_net_leave(sock->obj);
}
