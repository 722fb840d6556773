/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a resource: what its files share.
 *
 * All of it runs in the resource's AioContext ("ctx"), never in the main loop
 * (unless that is the context, in programs without threads).  The core says
 * what to do; these files own the sockets and move bytes:
 *   drbd-net.c      entering and leaving, the round through the core's queues
 *   drbd-socket.c   what sockets have in common: made, watched, closed
 *   drbd-dial.c, drbd-listen.c  connections made and accepted
 *   drbd-resolve.c  addresses, names of hosts
 *   drbd-receive.c  bytes and payload that come
 *   drbd-send.c     bytes that go
 *   drbd-peer-io.c  reads and writes of the image on behalf of the peer
 *   drbd-digest.c   digests and authentication
 *   drbd-connect.c  connect, disconnect, waiting for the peer
 *   drbd-net-options.c, drbd-address.c  properties of the object
 *
 * Field comments: "ctx" is used in that context alone, "lock" is
 * DrbdObject.lock, "BQL" the main thread, "fd_lock" as named.
 */
#ifndef BLOCK_DRBD_NET_H
#define BLOCK_DRBD_NET_H

#include "block/aio.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "drbd-core.h"

typedef struct DrbdObject DrbdObject;
struct BDRVDrbdState;

/* ------------------------------------------------- addresses (drbd-resolve.c) */

typedef struct DrbdLookup DrbdLookup;

/* One end of the connection as the user gave it, and what it means. */
typedef struct DrbdAddress {
    char *host, *port;              /* BQL; ctx reads them while connecting */
    bool known;                     /* ctx */
    struct sockaddr_storage addr;   /* ctx */
    socklen_t length;               /* ctx */
    DrbdLookup *lookup;             /* ctx; a thread that asks for it */
    char error[DRBD_ERROR_SIZE];    /* ctx; of the last lookup */
} DrbdAddress;

/* ------------------------------------------------------ digests (drbd-digest.c) */

typedef enum DrbdDigestKind {
    DRBD_DIGEST_NONE,
    DRBD_DIGEST_CRYPTO,
    DRBD_DIGEST_CRC32C,
} DrbdDigestKind;

typedef struct DrbdDigest {
    DrbdDigestKind kind;
    int algorithm;                  /* QCryptoHashAlgo */
    unsigned bytes;
} DrbdDigest;

bool drbd_digest_find(const char *name, DrbdDigest *digest, Error **errp);
/* A digest of payload; false if the library fails. */
bool drbd_digest_compute(const DrbdDigest *digest, const void *data,
                         size_t bytes, uint8_t result[DRBD_DIGEST_SIZE]);
bool drbd_hmac_find(const char *name, DrbdDigest *digest, Error **errp);
void drbd_crypto_init(DrbdObject *obj, DrbdCrypto *crypto);

/* --------------------------------------------------------------- options */

typedef struct DrbdNetOptions {
    DrbdNetConfig config;           /* BQL; without the callbacks' digests */
    char *secret_id;                /* BQL */
    bool connect;                   /* BQL; by itself, when all nodes are there */
    uint32_t wfc_timeout;           /* BQL; seconds */
} DrbdNetOptions;

/* --------------------------------------------------------------- sockets */

typedef enum DrbdSocketState {
    DRBD_SOCKET_FREE,
    DRBD_SOCKET_DIALLING,
    DRBD_SOCKET_OPEN,
    DRBD_SOCKET_ENDED,              /* the core knows; it waits to be closed */
} DrbdSocketState;

/* Bytes that one system call may bring beside a payload. */
#define DRBD_INPUT_BUFFER (256 * KiB)

/* One TCP connection; all of it belongs to ctx. */
typedef struct DrbdSocket {
    DrbdObject *obj;
    unsigned number;
    DrbdSocketState state;
    int fd;                         /* written: fd_lock too; -1: none */
    bool has_timer;
    QEMUTimer timer;                /* while dialling */
    bool full;                      /* no more can be sent until it is writable;
                                       the bit in net.full is the same */

    uint8_t *buffer;                /* bytes that came and were not taken */
    size_t start, end;
    bool stalled;

    bool has_bulk;                  /* payload is awaited */
    DrbdBulk bulk;
    void *payload;                  /* NULL: it is passed over */
    size_t filled;
} DrbdSocket;

typedef struct DrbdNet {
    bool running;                   /* lock; written: BQL */
    bool kicked;                    /* lock; somebody goes round or is about to */
    uint32_t full;                  /* lock; sockets that can send no more */
    unsigned requests;              /* written: lock; of guests and of the peer,
                                       that go on here */
    unsigned arrivals;              /* written: lock; of guests' requests and of
                                       results for the peer; it only grows */
    unsigned arrivals_seen;         /* ctx */
    unsigned turns_waited;          /* ctx */
    QEMUBH *bh;                     /* lock */
    QEMUTimer timer;                /* ctx */
    DrbdSocket sockets[DRBD_MAX_SOCKETS];
    int listener;                   /* ctx, written atomically; -1: none */
    bool listen_wanted;             /* ctx; the address is not known, or not free yet */
    bool taken_over;                /* lock; a process before this one may have
                                       the address still */
    QEMUTimer listen_timer;         /* ctx */
    DrbdAddress local, peer;
    DrbdSend send;                  /* ctx; what is being sent */
    QemuMutex fd_lock;              /* who shuts a socket down holds it */
    unsigned unheard_ms;            /* fd_lock; of what is sent; 0: TCP's own */
    unsigned busy;                  /* atomic; sockets and listeners that exist */

    DrbdNetOptions options;
    DrbdDigest integrity;           /* lock */
    DrbdDigest hmac;                /* lock */
    uint8_t *secret;                /* lock */
    size_t secret_bytes;            /* lock */
    bool configured;                /* lock; the core knows the options */
    bool auto_connect;              /* atomic; still to be done */
    bool connects_itself;           /* lock; since the last node was added */
    uint64_t times_before;          /* lock; connected so often before that */
} DrbdNet;

/* ------------------------------------------------------------ drbd-net.c */

void drbd_net_init(DrbdObject *obj);
void drbd_net_destroy(DrbdObject *obj);
/* With the first node and after the last; main thread.  Stop polls. */
void drbd_net_start(DrbdObject *obj);
void drbd_net_stop(DrbdObject *obj);
/* The clock of the core. */
static inline uint64_t drbd_net_now(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* With the lock held: what of @pending is to be done here now. */
uint32_t drbd_net_pending(DrbdObject *obj, uint32_t pending);
/* Around every event in ctx; enter takes the lock, leave lets it go. */
void drbd_net_enter(DrbdObject *obj);
void drbd_net_leave(DrbdObject *obj);
/* For system calls between: the lock and nothing else. */
void drbd_net_unlock(DrbdObject *obj);
void drbd_net_relock(DrbdObject *obj);
/* With the lock held: does what the core wants done with sockets. */
void drbd_net_actions(DrbdObject *obj);

/* --------------------------------------------- drbd-dial.c, drbd-listen.c */

/* All with the lock held, which they let go for a while. */
void drbd_net_listen(DrbdObject *obj);
void drbd_net_unlisten(DrbdObject *obj);
/* In ctx, without the lock: what had to wait is tried again. */
void drbd_listen_timer(void *opaque);
void drbd_net_dial(DrbdObject *obj, unsigned socket, unsigned timeout_ms);

/* --------------------------------------------------------- drbd-socket.c */

/* With the lock held, which is let go for a while. */
void drbd_net_close(DrbdObject *obj, unsigned socket);
/* In ctx, without the lock.  A descriptor or a negative errno. */
int drbd_bound_socket(const DrbdAddress *address, bool any_port,
                      const char **failed);
void drbd_socket_start(DrbdSocket *sock, int fd, DrbdSocketState state);
/* Closes the descriptor; the core is not told. */
void drbd_socket_stop(DrbdSocket *sock);
void drbd_count_descriptor(DrbdObject *obj, int change);
/* Any thread: how long what is sent may stay unacknowledged by TCP; 0: its own. */
void drbd_sockets_limit(DrbdObject *obj, unsigned ms);
/* What the socket is to be watched for follows its state; ctx. */
void drbd_socket_watch(DrbdSocket *sock);
/* Any thread: ends all connections as if the network had. */
void drbd_net_shutdown(DrbdObject *obj);

/* -------------------------------------------------------- drbd-resolve.c */

/* True if the address is known; else asks for it, and @error says so.  In ctx,
 * without the lock. */
bool drbd_address_known(DrbdObject *obj, DrbdAddress *address,
                        char error[DRBD_ERROR_SIZE]);
/* To be looked up again; in ctx, or while the network does not run. */
void drbd_address_forget(DrbdAddress *address);
/* Called in ctx, with the lock held, when a lookup has ended. */
void drbd_net_looked_up(DrbdObject *obj);

/* -------------------------------------------------------- drbd-receive.c */

void drbd_socket_readable(void *opaque);
/* With the lock held: goes on with sockets that had to stop reading. */
void drbd_net_resume_reading(DrbdObject *obj);
void drbd_socket_forget_input(DrbdSocket *sock);
/* With the lock held: the socket is at its end; NULL: a plain one. */
void drbd_socket_ended(DrbdSocket *sock, const char *error);

/* ----------------------------------------------------------- drbd-send.c */

/* With the lock held, which is let go while sending. */
void drbd_net_send(DrbdObject *obj);
void drbd_socket_writable(void *opaque);

/* -------------------------------------------------------- drbd-peer-io.c */

/* With the lock held, which is let go for a while. */
void drbd_net_peer_io(DrbdObject *obj);

/* -------------------------------------------------------- drbd-connect.c */

/* Main thread, unless noted. */
void drbd_connect_when_ready(DrbdObject *obj);
/* At most wfc-timeout for the peer; false if it refuses.  Polls. */
bool drbd_connect_wait(DrbdObject *obj, Error **errp);
/* A node is about to close.  Polls. */
void drbd_connect_end(DrbdObject *obj);
bool drbd_yank_add(struct BDRVDrbdState *s, Error **errp);
void drbd_yank_remove(struct BDRVDrbdState *s);
bool drbd_stands_alone(DrbdObject *obj);

/* -------------------------------------------------------- drbd-address.c */

/* @has: both were given; an error if it is one of them. */
bool drbd_addresses_given(DrbdObject *obj, bool *has, Error **errp);
void drbd_addresses_destroy(DrbdObject *obj);
void drbd_address_class_init(ObjectClass *klass);

/* ---------------------------------------------------- drbd-net-options.c */

void drbd_net_options_init(DrbdObject *obj);
void drbd_net_options_destroy(DrbdObject *obj);
/* The core is told; at the end of the object's creation and after changes. */
bool drbd_net_configure(DrbdObject *obj, Error **errp);
void drbd_net_class_init(ObjectClass *klass);

#endif
