/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QOM object drbd-resource: one resource, with the core's handle, the lock
 * and the thread of its own work.
 *
 * In: -object drbd-resource,id=ID[,volumes=N][,iothread=ID] and what
 * drbd-net-options.c knows of the way to the peer.  Out: an object
 * that nodes of driver drbd join by id.  It cannot be deleted while a node has
 * joined; nodes hold a reference all the same, because at the end of a program
 * objects are unparented without that question.
 *
 * The thread is an IOThread, looked up and made through QOM, because not every
 * program that links the block layer links the type; where it is missing the
 * main loop does.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qom/object_interfaces.h"
#include "crypto/random.h"
#include "system/iothread.h"
#include "drbd-int.h"

static QemuMutex drbd_list_lock;
static QLIST_HEAD(, DrbdObject) drbd_objects =
    QLIST_HEAD_INITIALIZER(drbd_objects);

/*
 * qemu-io and qemu-nbd make objects before they have a main loop, so what
 * needs it is made when somebody asks for the object.
 */
static void drbd_object_enter_main_loop(DrbdObject *obj)
{
    if (!obj->notice_bh) {
        obj->notice_bh = aio_bh_new(qemu_get_aio_context(), drbd_notice_bh,
                                    obj);
    }
}

DrbdObject *drbd_object_by_id(const char *id, Error **errp)
{
    Object *found = object_resolve_path_component(object_get_objects_root(),
                                                  id);
    DrbdObject *obj =
        (DrbdObject *)object_dynamic_cast(found, TYPE_DRBD_RESOURCE);

    if (!obj) {
        error_setg(errp, "There is no drbd-resource '%s'; create it first with "
                   "-object drbd-resource,id=%s or object-add", id, id);
        return NULL;
    }
    drbd_object_enter_main_loop(obj);
    return obj;
}

void drbd_object_foreach(DrbdObjectFunc *func, void *opaque)
{
    DrbdObject *obj;

    QEMU_LOCK_GUARD(&drbd_list_lock);
    QLIST_FOREACH(obj, &drbd_objects, list) {
        func(obj, opaque);
    }
}

/*
 * The thread of our own is made with the first node: qemu-nbd makes its objects
 * before it forks, and threads do not survive that.
 */
static bool drbd_object_enter_thread(DrbdObject *obj, Error **errp)
{
    if (obj->ctx) {
        return true;
    }
    if (!obj->iothread && module_object_class_by_name(TYPE_IOTHREAD)) {
        g_autofree char *name = g_strdup_printf("drbd-%s", obj->id);

        obj->iothread = object_new_with_props(TYPE_IOTHREAD,
                                              object_get_internal_root(),
                                              name, errp, NULL);
        if (!obj->iothread) {
            return false;
        }
        obj->own_iothread = true;
    }
    obj->ctx = obj->iothread ? ((IOThread *)obj->iothread)->ctx
                             : qemu_get_aio_context();
    return true;
}

bool drbd_object_add_node(DrbdObject *obj, BDRVDrbdState *s, Error **errp)
{
    char error[DRBD_ERROR_SIZE];
    bool ok;

    GLOBAL_STATE_CODE();
    if (!drbd_object_enter_thread(obj, errp)) {
        return false;
    }
    drbd_net_start(obj);
    WITH_QEMU_LOCK_GUARD(&drbd_list_lock) {
        drbd_lock(obj);
        ok = drbd_volume_open(obj->core, s->volume, error);
        if (ok) {
            obj->nodes[s->volume] = s;
            obj->net.connects_itself = false;
        }
        drbd_unlock(obj);
    }
    if (!ok) {
        error_setg(errp, "%s", error);
        if (!obj->nr_nodes) {
            drbd_net_stop(obj);
        }
        return false;
    }
    qatomic_set(&obj->net.auto_connect, obj->net.options.connect);
    s->opened = true;
    s->obj = obj;
    obj->nr_nodes++;
    object_ref(OBJECT(obj));
    return true;
}

void drbd_object_remove_node(DrbdObject *obj, BDRVDrbdState *s)
{
    GLOBAL_STATE_CODE();
    if (obj->nr_nodes == 1) {
        drbd_net_stop(obj);
    }
    WITH_QEMU_LOCK_GUARD(&drbd_list_lock) {
        drbd_lock(obj);
        drbd_volume_close(obj->core, s->volume);
        obj->nodes[s->volume] = NULL;
        drbd_unlock(obj);
    }
    s->opened = false;
    s->obj = NULL;
    obj->nr_nodes--;
    object_unref(OBJECT(obj));
}

bool drbd_object_wants_primary(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i] && obj->nodes[i]->primary) {
            return true;
        }
    }
    return false;
}

void drbd_object_forget_primary(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i]) {
            obj->nodes[i]->primary = false;
            qatomic_set(&obj->nodes[i]->was_primary, false);
        }
    }
}

/* The thread that the user names, if any. */
static bool drbd_object_find_thread(DrbdObject *obj, Error **errp)
{
    Object *found;

    if (!obj->iothread_id) {
        return true;
    }
    if (!module_object_class_by_name(TYPE_IOTHREAD)) {
        error_setg(errp, "This program has no iothread objects; leave the "
                   "property 'iothread' out");
        return false;
    }
    found = object_resolve_path_component(object_get_objects_root(),
                                          obj->iothread_id);
    obj->iothread = object_dynamic_cast(found, TYPE_IOTHREAD);
    if (!obj->iothread) {
        error_setg(errp, "There is no iothread '%s'; create it first with "
                   "-object iothread,id=%s or object-add",
                   obj->iothread_id, obj->iothread_id);
        return false;
    }
    object_ref(obj->iothread);
    return true;
}

static void drbd_object_complete(UserCreatable *uc, Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(uc);
    DrbdResourceConfig config = { 0 };
    char error[DRBD_ERROR_SIZE];

    obj->id = g_strdup(object_get_canonical_path_component(OBJECT(uc)));
    config.name = obj->id;
    config.nr_volumes = obj->nr_volumes;
    if (qcrypto_random_bytes(config.random_seed, sizeof(config.random_seed),
                             errp) < 0) {
        return;
    }

    if (!drbd_object_find_thread(obj, errp)) {
        return;
    }
    obj->core = drbd_resource_new(&config, error);
    if (!obj->core) {
        error_setg(errp, "%s", error);
        return;
    }
    if (!drbd_net_configure(obj, errp)) {
        drbd_resource_free(obj->core);
        obj->core = NULL;
        return;
    }

    WITH_QEMU_LOCK_GUARD(&drbd_list_lock) {
        QLIST_INSERT_HEAD(&drbd_objects, obj, list);
    }
}

static bool drbd_object_can_be_deleted(UserCreatable *uc)
{
    return DRBD_RESOURCE(uc)->nr_nodes == 0;
}

static void drbd_object_init(Object *object)
{
    DrbdObject *obj = DRBD_RESOURCE(object);

    obj->nr_volumes = 1;
    qemu_mutex_init(&obj->lock);
    QLIST_INIT(&obj->waits);
    drbd_payload_init(&obj->payload);
    drbd_payload_init(&obj->peer_payload);
    drbd_net_init(obj);
}

static void drbd_object_finalize(Object *object)
{
    DrbdObject *obj = DRBD_RESOURCE(object);

    assert(obj->nr_nodes == 0);
    if (obj->core) {
        WITH_QEMU_LOCK_GUARD(&drbd_list_lock) {
            QLIST_REMOVE(obj, list);
        }
        drbd_resource_free(obj->core);
    }
    if (obj->notice_bh) {
        qemu_bh_delete(obj->notice_bh);
    }
    if (obj->own_iothread) {
        object_unparent(obj->iothread);
    } else if (obj->iothread) {
        object_unref(obj->iothread);
    }
    drbd_net_destroy(obj);
    drbd_payload_destroy(&obj->payload);
    drbd_payload_destroy(&obj->peer_payload);
    qemu_mutex_destroy(&obj->lock);
    g_free(obj->iothread_id);
    g_free(obj->id);
}

static void drbd_object_get_volumes(Object *object, Visitor *v,
                                    const char *name, void *opaque,
                                    Error **errp)
{
    visit_type_uint32(v, name, &DRBD_RESOURCE(object)->nr_volumes, errp);
}

static bool drbd_object_is_complete(DrbdObject *obj, const char *name,
                                    Error **errp)
{
    if (obj->core) {
        error_setg(errp, "Property '%s' cannot change after the drbd-resource "
                   "has been created", name);
        return true;
    }
    return false;
}

static void drbd_object_set_volumes(Object *object, Visitor *v,
                                    const char *name, void *opaque,
                                    Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(object);
    uint32_t value;

    if (drbd_object_is_complete(obj, name, errp) ||
        !visit_type_uint32(v, name, &value, errp)) {
        return;
    }
    if (value < 1 || value > DRBD_MAX_VOLUMES) {
        error_setg(errp, "Property 'volumes' must be 1 to %d, not %" PRIu32,
                   DRBD_MAX_VOLUMES, value);
        return;
    }
    obj->nr_volumes = value;
}

static char *drbd_object_get_iothread(Object *object, Error **errp)
{
    return g_strdup(DRBD_RESOURCE(object)->iothread_id);
}

static void drbd_object_set_iothread(Object *object, const char *value,
                                     Error **errp)
{
    DrbdObject *obj = DRBD_RESOURCE(object);

    if (drbd_object_is_complete(obj, "iothread", errp)) {
        return;
    }
    g_free(obj->iothread_id);
    obj->iothread_id = g_strdup(value);
}

static void drbd_object_class_init(ObjectClass *klass,
                                   DRBD_CLASS_CONST void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(klass);

    ucc->complete = drbd_object_complete;
    ucc->can_be_deleted = drbd_object_can_be_deleted;

    object_class_property_add(klass, "volumes", "uint32",
                              drbd_object_get_volumes,
                              drbd_object_set_volumes, NULL, NULL);
    object_class_property_add_str(klass, "iothread",
                                  drbd_object_get_iothread,
                                  drbd_object_set_iothread);
    drbd_net_class_init(klass);
}

static const TypeInfo drbd_object_info = {
    .name = TYPE_DRBD_RESOURCE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(DrbdObject),
    .instance_init = drbd_object_init,
    .instance_finalize = drbd_object_finalize,
    .class_init = drbd_object_class_init,
    .interfaces = (DRBD_CLASS_CONST InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void drbd_object_register(void)
{
    /* query-drbd may come before the first object, and from any thread. */
    qemu_mutex_init(&drbd_list_lock);
    type_register_static(&drbd_object_info);
}

type_init(drbd_object_register)
