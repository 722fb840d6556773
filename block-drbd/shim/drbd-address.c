/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties local and peer of drbd-resource.
 *
 * In: object-add and qom-set, main thread.  Out: the two addresses, of which
 * there are both or none.  While sockets exist they do not change, so whoever
 * connects can read them without a lock.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "block/aio-wait.h"
#include "qemu/cutils.h"
#include "drbd-int.h"

bool drbd_addresses_given(DrbdObject *obj, bool *has, Error **errp)
{
    *has = obj->net.local.host && obj->net.peer.host;
    if (!*has && (obj->net.local.host || obj->net.peer.host)) {
        error_setg(errp, "Property '%s' is missing: a connection needs both "
                   "addresses, local and peer",
                   obj->net.local.host ? "peer" : "local");
        return false;
    }
    if (*has && !strcmp(obj->net.local.host, obj->net.peer.host) &&
        !strcmp(obj->net.local.port, obj->net.peer.port)) {
        error_setg(errp, "Properties 'local' and 'peer' are one address, %s:%s; "
                   "the peer has another one", obj->net.local.host,
                   obj->net.local.port);
        return false;
    }
    return true;
}

static DrbdAddress *drbd_address(Object *object, const void *opaque)
{
    DrbdNet *net = &DRBD_RESOURCE(object)->net;

    return opaque ? &net->peer : &net->local;
}

static void drbd_get_address(Object *object, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    DrbdAddress *address = drbd_address(object, opaque);
    InetSocketAddressBase value = {
        .host = address->host ?: (char *)"",
        .port = address->port ?: (char *)"",
    };
    InetSocketAddressBase *p = &value;

    visit_type_InetSocketAddressBase(v, name, &p, errp);
}

static void drbd_forget_addresses(void *opaque)
{
    DrbdObject *obj = opaque;

    timer_del(&obj->net.listen_timer);
    drbd_address_forget(&obj->net.local);
    drbd_address_forget(&obj->net.peer);
}

static bool drbd_port_is_valid(const char *port)
{
    unsigned value;

    return qemu_strtoui(port, NULL, 10, &value) == 0 && value > 0 &&
           value <= UINT16_MAX;
}

static void drbd_set_address(Object *object, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(object);
    DrbdAddress *address = drbd_address(object, opaque);
    g_autoptr(InetSocketAddressBase) value = NULL;
    char *host, *port;

    if (!visit_type_InetSocketAddressBase(v, name, &value, errp)) {
        return;
    }
    if (!value->host[0] || !drbd_port_is_valid(value->port)) {
        error_setg(errp, "Property '%s' needs a host and a port of 1 to 65535, "
                   "not '%s:%s'", name, value->host, value->port);
        return;
    }
    /* A name may be being looked up for it, without a socket yet. */
    if (qatomic_read(&obj->net.busy) ||
        (obj->core && !drbd_stands_alone(obj))) {
        error_setg(errp, "Property '%s' cannot change while resource '%s' has "
                   "a connection or tries to: use drbd-disconnect first", name,
                   obj->id);
        return;
    }
    if (obj->net.running) {
        aio_wait_bh_oneshot(obj->ctx, drbd_forget_addresses, obj);
    }
    host = address->host;
    port = address->port;
    address->host = value->host;
    address->port = value->port;
    if (obj->core && obj->net.local.host && obj->net.peer.host &&
        !drbd_net_configure(obj, errp)) {
        address->host = host; /* refused, and nothing has changed */
        address->port = port;
        return;
    }
    value->host = host;
    value->port = port;
}

void drbd_addresses_destroy(DrbdObject *obj)
{
    g_free(obj->net.local.host);
    g_free(obj->net.local.port);
    g_free(obj->net.peer.host);
    g_free(obj->net.peer.port);
}

void drbd_address_class_init(ObjectClass *klass)
{
    object_class_property_add(klass, "local", "InetSocketAddressBase",
                              drbd_get_address, drbd_set_address, NULL, NULL);
    object_class_property_add(klass, "peer", "InetSocketAddressBase",
                              drbd_get_address, drbd_set_address, NULL,
                              klass);
}
