/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of the two ends, and names of hosts.
 *
 * In: host and port as the user gave them.  Out: a socket address.  A numeric
 * one is known at once.  A name is asked for in a thread of its own, because
 * that may take as long as a name server does; the answer, or the failure,
 * comes to the resource's AioContext.  It is kept: a name server that is down
 * must not keep a replica from coming back.
 *
 * The thread may outlive the resource: it holds its own lookup, and finds under
 * the lookup's lock whether anybody still wants the answer.
 */
#include "qemu/osdep.h"
#include <netdb.h>
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

struct DrbdLookup {
    QemuMutex lock;
    DrbdObject *obj;        /* lock; NULL: nobody wants it any more */
    DrbdAddress *address;   /* the object's */
    char *host, *port;      /* const */
    int result;             /* of getaddrinfo(); set by the thread */
    struct sockaddr_storage addr;
    socklen_t length;
};

static int drbd_lookup(const char *host, const char *port, int flags,
                       struct sockaddr_storage *addr, socklen_t *length)
{
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags,
    };
    struct addrinfo *found = NULL;
    int ret = getaddrinfo(host, port, &hints, &found);

    if (ret == 0) {
        memcpy(addr, found->ai_addr, found->ai_addrlen);
        *length = found->ai_addrlen;
        freeaddrinfo(found);
    }
    return ret;
}

static void drbd_lookup_free(DrbdLookup *lookup)
{
    qemu_mutex_destroy(&lookup->lock);
    g_free(lookup->host);
    g_free(lookup->port);
    g_free(lookup);
}

/* In ctx. */
static void drbd_lookup_bh(void *opaque)
{
    DrbdLookup *lookup = opaque;
    DrbdAddress *address = lookup->address;
    DrbdObject *obj;

    /* With the lock the thread has let it go for good. */
    WITH_QEMU_LOCK_GUARD(&lookup->lock) {
        obj = lookup->obj;
    }
    if (obj) {
        address->lookup = NULL;
        address->known = lookup->result == 0;
        address->addr = lookup->addr;
        address->length = lookup->length;
        snprintf(address->error, sizeof(address->error), "the address of host "
                 "'%s' port '%s' cannot be found: %s", lookup->host,
                 lookup->port, gai_strerror(lookup->result));
        trace_drbd_looked_up(obj->id, lookup->host,
                             address->known ? "" : address->error);
        drbd_net_enter(obj);
        drbd_net_looked_up(obj);
        drbd_net_leave(obj);
    }
    drbd_lookup_free(lookup);
}

static void *drbd_lookup_thread(void *opaque)
{
    DrbdLookup *lookup = opaque;
    bool wanted;

    lookup->result = drbd_lookup(lookup->host, lookup->port, 0, &lookup->addr,
                                 &lookup->length);
    WITH_QEMU_LOCK_GUARD(&lookup->lock) {
        wanted = lookup->obj;
        if (wanted) {
            aio_bh_schedule_oneshot(lookup->obj->ctx, drbd_lookup_bh, lookup);
        }
    }
    if (!wanted) {
        drbd_lookup_free(lookup);
    }
    return NULL;
}

/* Without the object's lock. */
bool drbd_address_known(DrbdObject *obj, DrbdAddress *address,
                        char error[DRBD_ERROR_SIZE])
{
    QemuThread thread;

    if (address->known) {
        return true;
    }
    if (drbd_lookup(address->host, address->port, AI_NUMERICHOST,
                    &address->addr, &address->length) == 0) {
        address->known = true;
        return true;
    }
    if (!address->lookup) {
        DrbdLookup *lookup = g_new0(DrbdLookup, 1);

        qemu_mutex_init(&lookup->lock);
        lookup->obj = obj;
        lookup->address = address;
        lookup->host = g_strdup(address->host);
        lookup->port = g_strdup(address->port);
        address->lookup = lookup;
        qemu_thread_create(&thread, "drbd-lookup", drbd_lookup_thread, lookup,
                           QEMU_THREAD_DETACHED);
    }
    if (address->error[0]) {
        pstrcpy(error, DRBD_ERROR_SIZE, address->error);
    } else {
        snprintf(error, DRBD_ERROR_SIZE, "the address of host '%s' is being "
                 "looked up", address->host);
    }
    return false;
}

void drbd_net_looked_up(DrbdObject *obj)
{
    DrbdNet *net = &obj->net;

    if (!net->listen_wanted || net->local.lookup) {
        return;
    }
    net->listen_wanted = false;
    if (net->local.known) {
        drbd_net_listen(obj);
    } else {
        drbd_on_listen_failed(obj->core, net->local.error);
    }
}

void drbd_address_forget(DrbdAddress *address)
{
    DrbdLookup *lookup = address->lookup;

    address->known = false;
    address->error[0] = '\0';
    address->lookup = NULL;
    if (lookup) {
        /* Its thread, or the bottom half that is under way, frees it. */
        QEMU_LOCK_GUARD(&lookup->lock);
        lookup->obj = NULL;
    }
}
