/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving.
 *
 * In: bytes of a socket.  Out: drbd_on_bytes() for what the core decodes, and
 * drbd_on_bulk() for payload in an aligned buffer.
 *
 * One system call takes what there is: the rest of a payload goes straight into
 * its buffer, everything behind it into the socket's input buffer, where most
 * packets are small enough to lie whole.  Digests are made without the lock.
 * A socket that the core lets stall is not watched until it may read again; the
 * kernel's buffer then fills and the peer waits.
 */
#include "qemu/osdep.h"
#include "drbd-int.h"
#include "trace.h"

enum { DRBD_READS_AT_ONCE = 8 };

void drbd_socket_ended(DrbdSocket *sock, const char *error)
{
    DrbdObject *obj = sock->obj;

    if (sock->state != DRBD_SOCKET_OPEN) {
        return;
    }
    trace_drbd_eof(obj->id, sock->number, error ?: "");
    sock->state = DRBD_SOCKET_ENDED;
    obj->net.full |= 1u << sock->number;
    drbd_socket_watch(sock);
    drbd_on_eof(obj->core, sock->number, error);
}

/* The core wants no more of it; the order to close it follows. */
static void drbd_socket_given_up(DrbdSocket *sock)
{
    sock->state = DRBD_SOCKET_ENDED;
    sock->obj->net.full |= 1u << sock->number;
    drbd_socket_watch(sock);
}

void drbd_socket_forget_input(DrbdSocket *sock)
{
    if (sock->payload) {
        drbd_payload_give(&sock->obj->peer_payload, sock->payload,
                          sock->bulk.bytes);
        sock->payload = NULL;
    }
    sock->has_bulk = false;
    sock->stalled = false;
    sock->start = sock->end = 0;
    g_free(sock->buffer);
    sock->buffer = NULL;
}

/* With the lock held.  False if there is no memory for the payload. */
static bool drbd_bulk_begin(DrbdSocket *sock)
{
    DrbdBulk *bulk = &sock->bulk;

    sock->has_bulk = true;
    sock->filled = 0;
    sock->payload = NULL;
    if (bulk->discard) {
        return true;
    }
    assert(bulk->bytes <= DRBD_MAX_TRANSFER);
    drbd_net_unlock(sock->obj);
    sock->payload = drbd_payload_take(&sock->obj->peer_payload, bulk->bytes);
    drbd_net_relock(sock->obj);
    if (!sock->payload) {
        sock->has_bulk = false;
        drbd_socket_ended(sock, "there is no memory for a payload of the peer");
        return false;
    }
    return true;
}

/* With the lock held: the payload is whole. */
static void drbd_bulk_end(DrbdSocket *sock)
{
    DrbdObject *obj = sock->obj;
    DrbdBulk *bulk = &sock->bulk;
    void *payload = sock->payload;
    bool ok = true;

    if (bulk->has_digest && payload) {
        DrbdDigest digest = obj->net.integrity;
        uint8_t computed[DRBD_DIGEST_SIZE];

        drbd_net_unlock(obj);
        ok = drbd_digest_compute(&digest, payload, bulk->bytes, computed) &&
             !memcmp(computed, bulk->digest, digest.bytes);
        drbd_net_relock(obj);
    }
    /* While the lock was free the core may have given the socket up. */
    drbd_net_actions(obj);
    if (sock->state != DRBD_SOCKET_OPEN) {
        return;
    }
    sock->has_bulk = false;
    sock->payload = NULL;
    drbd_on_bulk(obj->core, sock->number, payload, ok);
}

/* With the lock held: takes what lies in the input buffer for the payload. */
static void drbd_bulk_fill(DrbdSocket *sock)
{
    size_t missing = sock->bulk.bytes - sock->filled;
    size_t bytes = MIN(missing, sock->end - sock->start);

    if (sock->payload && bytes) {
        drbd_net_unlock(sock->obj);
        memcpy(sock->payload + sock->filled, sock->buffer + sock->start, bytes);
        drbd_net_relock(sock->obj);
    }
    sock->start += bytes;
    sock->filled += bytes;
}

/* With the lock held: hands the core what lies in the input buffer. */
static void drbd_socket_feed(DrbdSocket *sock)
{
    DrbdObject *obj = sock->obj;

    while (sock->state == DRBD_SOCKET_OPEN) {
        DrbdReceive verdict;
        size_t taken = 0;

        if (sock->has_bulk) {
            drbd_bulk_fill(sock);
            if (sock->filled < sock->bulk.bytes) {
                break;
            }
            drbd_bulk_end(sock);
            continue;
        }
        if (sock->start == sock->end) {
            break;
        }
        verdict = drbd_on_bytes(obj->core, sock->number,
                                sock->buffer + sock->start,
                                sock->end - sock->start, &taken, &sock->bulk);
        sock->start += taken;
        if (verdict == DRBD_RECEIVE_BULK) {
            if (!drbd_bulk_begin(sock)) {
                break;
            }
        } else if (verdict == DRBD_RECEIVE_STALL) {
            trace_drbd_stall(obj->id, sock->number, sock->end - sock->start);
            sock->stalled = true;
            drbd_socket_watch(sock);
            return;
        } else if (verdict == DRBD_RECEIVE_CLOSED) {
            drbd_socket_given_up(sock);
            break;
        }
    }
    if (sock->start == sock->end) {
        sock->start = sock->end = 0;
    }
}

/* Without the lock: bytes read, 0 at the end, or a negative errno. */
static ssize_t drbd_socket_read(DrbdSocket *sock, bool *more)
{
    struct iovec iov[2];
    struct msghdr msg = { .msg_iov = iov };
    size_t wanted = 0, direct = 0;
    ssize_t ret;

    if (sock->has_bulk && sock->payload) {
        direct = sock->bulk.bytes - sock->filled;
        iov[msg.msg_iovlen++] = (struct iovec) {
            .iov_base = sock->payload + sock->filled,
            .iov_len = direct,
        };
        wanted += direct;
    }
    iov[msg.msg_iovlen++] = (struct iovec) {
        .iov_base = sock->buffer + sock->end,
        .iov_len = DRBD_INPUT_BUFFER - sock->end,
    };
    wanted += DRBD_INPUT_BUFFER - sock->end;
    do {
        ret = recvmsg(sock->fd, &msg, MSG_DONTWAIT);
    } while (ret < 0 && errno == EINTR);
    if (ret < 0) {
        return -errno;
    }
    direct = MIN(direct, ret);
    sock->filled += direct;
    sock->end += ret - direct;
    *more = ret == wanted;
    return ret;
}

void drbd_socket_readable(void *opaque)
{
    DrbdSocket *sock = opaque;
    DrbdObject *obj = sock->obj;
    bool more = true;

    drbd_net_enter(obj);
    for (unsigned i = 0; more && i < DRBD_READS_AT_ONCE &&
         sock->state == DRBD_SOCKET_OPEN && !sock->stalled; i++) {
        ssize_t ret;

        drbd_net_unlock(obj);
        ret = drbd_socket_read(sock, &more);
        drbd_net_relock(obj);
        trace_drbd_receive(obj->id, sock->number, ret);
        if (ret > 0) {
            drbd_socket_feed(sock);
        } else if (ret == -EAGAIN) {
            break;
        } else {
            drbd_socket_ended(sock, ret < 0 ? strerror(-ret) : NULL);
        }
    }
    drbd_net_leave(obj);
}

void drbd_net_resume_reading(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_SOCKETS; i++) {
        DrbdSocket *sock = &obj->net.sockets[i];

        if (sock->state == DRBD_SOCKET_OPEN && sock->stalled &&
            drbd_may_receive(obj->core, i)) {
            sock->stalled = false;
            drbd_socket_feed(sock);
            if (sock->state == DRBD_SOCKET_OPEN && !sock->stalled) {
                drbd_socket_watch(sock);
            }
        }
    }
}
