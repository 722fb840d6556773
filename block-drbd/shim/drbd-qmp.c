/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands that do something (qapi/drbd.json).
 *
 * In: a resource or a node by name.  Out: the number of an operation that has
 * begun, or the reason why not.  None of them waits for a disk or the peer; the
 * result is the event DRBD_OPERATION_COMPLETED.  drbd-disconnect may run out of
 * band, in the monitor's thread: it uses nothing that needs the main one.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-drbd.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"

static DrbdOperation *drbd_operation(uint64_t number)
{
    DrbdOperation *operation;

    if (!number) {
        return NULL;
    }
    operation = g_new0(DrbdOperation, 1);
    operation->operation = number;
    return operation;
}

static BDRVDrbdState *GRAPH_RDLOCK drbd_node_by_name(const char *node_name,
                                                     Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(node_name);

    if (!bs) {
        error_setg(errp, "There is no node '%s'", node_name);
        return NULL;
    }
    if (!bs->drv || strcmp(bs->drv->format_name, "drbd")) {
        error_setg(errp, "Node '%s' has driver '%s', not 'drbd'", node_name,
                   bs->drv ? bs->drv->format_name : "none");
        return NULL;
    }
    return bs->opaque;
}

/* A guest that writes must not lose its disk by a slip. */
static bool GRAPH_RDLOCK drbd_held_by_writer(DrbdObject *obj, Error **errp)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BDRVDrbdState *s = obj->nodes[i];
        BdrvChild *c;

        if (!s) {
            continue;
        }
        QLIST_FOREACH(c, &s->bs->parents, next_parent) {
            g_autofree char *parent = NULL;

            if (!(c->perm & BLK_PERM_WRITE)) {
                continue;
            }
            parent = c->klass->get_parent_desc(c);
            error_setg(errp, "Node '%s' is held open for writing by %s; end "
                       "that first, or use 'force'", s->node_name, parent);
            return true;
        }
    }
    return false;
}

/* One that has left for a hand-over: its role may come back. */
static bool drbd_any_inactive(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i] && qatomic_read(&obj->nodes[i]->inactive)) {
            return true;
        }
    }
    return false;
}

DrbdOperation *qmp_drbd_set_role(const char *resource, DrbdResourceRole role,
                                 bool has_force, bool force, Error **errp)
{
    DrbdObject *obj = drbd_object_by_id(resource, errp);
    char error[DRBD_ERROR_SIZE];
    uint64_t number;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    if (!obj) {
        return NULL;
    }
    force = has_force && force;
    if (role == DRBD_RESOURCE_ROLE_SECONDARY && !force &&
        (drbd_is_primary(obj) || drbd_any_inactive(obj)) &&
        drbd_held_by_writer(obj, errp)) {
        return NULL;
    }
    drbd_lock(obj);
    number = drbd_on_set_role(obj->core, role == DRBD_RESOURCE_ROLE_PRIMARY,
                              force, error);
    drbd_unlock(obj);
    if (!number) {
        error_setg(errp, "%s", error);
    } else {
        drbd_object_forget_primary(obj);
    }
    return drbd_operation(number);
}

DrbdOperation *qmp_drbd_attach(const char *node_name, Error **errp)
{
    BDRVDrbdState *s;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    s = drbd_node_by_name(node_name, errp);
    return s ? drbd_operation(drbd_disk_attach(s, NULL, errp)) : NULL;
}

DrbdOperation *qmp_drbd_detach(const char *node_name, bool has_force,
                               bool force, Error **errp)
{
    BDRVDrbdState *s;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    s = drbd_node_by_name(node_name, errp);
    return s ? drbd_operation(drbd_disk_detach(s, has_force && force, errp))
             : NULL;
}

DrbdOperation *qmp_drbd_create_md(const char *node_name,
                                  bool has_force, bool force,
                                  bool has_al_stripes, uint32_t al_stripes,
                                  bool has_al_stripe_size_kb,
                                  uint32_t al_stripe_size_kb,
                                  bool has_peer_max_bio_size,
                                  uint32_t peer_max_bio_size, Error **errp)
{
    DrbdCreateMd options = {
        .force = has_force && force,
        .al_stripes = has_al_stripes ? al_stripes : 0,
        .al_stripe_size_kb = has_al_stripe_size_kb ? al_stripe_size_kb : 0,
        .peer_max_bio_size = has_peer_max_bio_size ? peer_max_bio_size : 0,
    };
    BDRVDrbdState *s;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    s = drbd_node_by_name(node_name, errp);
    return s ? drbd_operation(drbd_disk_create_md(s, &options, errp)) : NULL;
}

/* invalidate and outdate differ in what the core is told. */
typedef uint64_t DrbdVolumeOperation(DrbdResource *resource, unsigned volume,
                                     char error[DRBD_ERROR_SIZE]);

static DrbdOperation *drbd_volume_operation(const char *node_name,
                                            DrbdVolumeOperation *begin,
                                            Error **errp)
{
    char error[DRBD_ERROR_SIZE];
    BDRVDrbdState *s;
    uint64_t number;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    s = drbd_node_by_name(node_name, errp);
    if (!s) {
        return NULL;
    }
    drbd_lock(s->obj);
    number = begin(s->obj->core, s->volume, error);
    drbd_unlock(s->obj);
    if (!number) {
        error_setg(errp, "%s", error);
    }
    return drbd_operation(number);
}

DrbdOperation *qmp_drbd_invalidate(const char *node_name, Error **errp)
{
    return drbd_volume_operation(node_name, drbd_on_invalidate, errp);
}

DrbdOperation *qmp_drbd_outdate(const char *node_name, Error **errp)
{
    return drbd_volume_operation(node_name, drbd_on_outdate, errp);
}

DrbdOperation *qmp_drbd_invalidate_remote(const char *node_name, Error **errp)
{
    return drbd_volume_operation(node_name, drbd_on_invalidate_remote, errp);
}

DrbdOperation *qmp_drbd_new_current_uuid(const char *node_name,
                                         bool has_clear_bitmap,
                                         bool clear_bitmap, bool has_force,
                                         bool force, Error **errp)
{
    char error[DRBD_ERROR_SIZE];
    BDRVDrbdState *s;
    uint64_t number;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    s = drbd_node_by_name(node_name, errp);
    if (!s) {
        return NULL;
    }
    drbd_lock(s->obj);
    number = drbd_on_new_current_uuid(s->obj->core, s->volume,
                                      has_clear_bitmap && clear_bitmap,
                                      has_force && force, error);
    drbd_unlock(s->obj);
    if (!number) {
        error_setg(errp, "%s", error);
    }
    return drbd_operation(number);
}

DrbdOperation *qmp_drbd_connect(const char *resource, bool has_discard_my_data,
                                bool discard_my_data, Error **errp)
{
    DrbdObject *obj = drbd_object_by_id(resource, errp);
    char error[DRBD_ERROR_SIZE];
    uint64_t number;

    if (!obj) {
        return NULL;
    }
    if (obj->nr_nodes < obj->nr_volumes) {
        error_setg(errp, "Resource '%s' has %u of its %u volumes: add the "
                   "nodes of the others first", obj->id, obj->nr_nodes,
                   obj->nr_volumes);
        return NULL;
    }
    if (!obj->net.configured) {
        error_setg(errp, "Resource '%s' has no addresses: give its object the "
                   "properties local and peer", obj->id);
        return NULL;
    }
    qatomic_set(&obj->net.auto_connect, false);
    drbd_lock(obj);
    number = drbd_on_connect(obj->core, has_discard_my_data && discard_my_data,
                             error);
    drbd_unlock(obj);
    if (!number) {
        error_setg(errp, "%s", error);
    }
    return drbd_operation(number);
}

typedef struct DrbdDisconnect {
    const char *resource;
    bool force;
    bool found;
    uint64_t number;
    char error[DRBD_ERROR_SIZE];
} DrbdDisconnect;

/* With the list lock held, which keeps the resource in place. */
static void drbd_disconnect_one(DrbdObject *obj, void *opaque)
{
    DrbdDisconnect *d = opaque;

    if (strcmp(obj->id, d->resource)) {
        return;
    }
    d->found = true;
    drbd_lock(obj);
    if (obj->net.running) {
        qatomic_set(&obj->net.auto_connect, false);
        d->number = drbd_on_disconnect(obj->core, d->force, d->error);
    } else {
        snprintf(d->error, sizeof(d->error), "Resource '%s' has no node, and "
                 "so no connection", obj->id);
    }
    drbd_unlock(obj);
}

DrbdOperation *qmp_drbd_disconnect(const char *resource, bool has_force,
                                   bool force, Error **errp)
{
    DrbdDisconnect d = { .resource = resource, .force = has_force && force };

    drbd_object_foreach(drbd_disconnect_one, &d);
    if (!d.found) {
        error_setg(errp, "There is no drbd-resource '%s'", resource);
    } else if (!d.number) {
        error_setg(errp, "%s", d.error);
    }
    return drbd_operation(d.number);
}
