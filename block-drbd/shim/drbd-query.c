/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP query-drbd (qapi/drbd.json).
 *
 * May run out of band, in the monitor's thread while the main thread is stuck:
 * it takes the list lock and each resource's lock for a moment, and nothing
 * else.  The core's answer is copied to the stack under the lock; the reply is
 * built without it.
 */
#include "qemu/osdep.h"
#include "qapi/qapi-commands-drbd.h"
#include "drbd-int.h"

static char *drbd_uuid(uint64_t uuid)
{
    return g_strdup_printf("%016" PRIX64, uuid);
}

static DrbdActivityLogInfo *drbd_query_al(const DrbdVolumeStatus *v)
{
    DrbdActivityLogInfo *info = g_new0(DrbdActivityLogInfo, 1);

    info->extents = v->al_extents;
    info->used = v->al_used;
    info->referenced = v->al_referenced;
    info->waiting = v->al_waiting;
    info->transactions = v->al_transactions;
    info->updates = v->al_updates;
    return info;
}

static DrbdMetadataInfo *drbd_query_metadata(const DrbdVolumeStatus *v)
{
    DrbdMetadataInfo *info = g_new0(DrbdMetadataInfo, 1);
    strList **tail = &info->history_uuids;

    info->current_uuid = drbd_uuid(v->current_uuid);
    info->bitmap_uuid = drbd_uuid(v->bitmap_uuid);
    QAPI_LIST_APPEND(tail, drbd_uuid(v->history_uuid[0]));
    QAPI_LIST_APPEND(tail, drbd_uuid(v->history_uuid[1]));
    info->flags = v->metadata_flags;
    info->bitmap_pages_written = v->bitmap_pages_written;
    info->superblock_writes = v->superblock_writes;
    info->jobs = v->metadata_jobs;
    return info;
}

static DrbdIoInfo *drbd_query_io(const DrbdVolumeStatus *v)
{
    DrbdIoInfo *info = g_new0(DrbdIoInfo, 1);

    info->reads = v->reads;
    info->read_bytes = v->read_bytes;
    info->writes = v->writes;
    info->written_bytes = v->written_bytes;
    info->zeroes = v->zeroes;
    info->zeroed_bytes = v->zeroed_bytes;
    info->flushes = v->flushes;
    info->flushes_saved = v->flushes_saved;
    info->overlaps_waited = v->overlaps_waited;
    info->read_errors = v->read_errors;
    info->write_errors = v->write_errors;
    info->in_flight = v->in_flight;
    info->writes_in_flight = v->writes_in_flight;
    return info;
}

static strList *drbd_query_peer_uuids(const DrbdVolumeStatus *v)
{
    strList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(v->peer_uuid); i++) {
        QAPI_LIST_APPEND(tail, drbd_uuid(v->peer_uuid[i]));
    }
    return list;
}

static DrbdReplicationInfo *drbd_query_replication(const DrbdVolumeStatus *v)
{
    DrbdReplicationInfo *info = g_new0(DrbdReplicationInfo, 1);

    info->sent_writes = v->sent_writes;
    info->sent_bytes = v->sent_bytes;
    info->received_writes = v->received_writes;
    info->received_bytes = v->received_bytes;
    info->remote_reads = v->remote_reads;
    info->peer_reads = v->peer_reads;
    info->negative_acks = v->negative_acks;
    return info;
}

static DrbdResyncInfo *drbd_query_resync(const DrbdVolumeStatus *v)
{
    DrbdResyncInfo *info;
    bool source;

    if (!v->resync_running) {
        return NULL;
    }
    source = !strcmp(v->connection, "SyncSource") ||
             !strcmp(v->connection, "PausedSyncS");
    info = g_new0(DrbdResyncInfo, 1);
    info->side = source ? DRBD_RESYNC_SIDE_SOURCE : DRBD_RESYNC_SIDE_TARGET;
    info->total = v->resync_total_bytes;
    info->left = v->resync_left_bytes;
    info->failed = v->resync_failed_bytes;
    info->rate = v->resync_rate_bytes;
    info->elapsed = v->resync_ms;
    info->has_eta = v->resync_eta_ms != UINT64_MAX;
    info->eta = info->has_eta ? v->resync_eta_ms : 0;
    info->percent = v->resync_total_bytes
        ? 100.0 - 100.0 * MIN(v->resync_left_bytes, v->resync_total_bytes) /
                  v->resync_total_bytes
        : 100.0;
    return info;
}

static DrbdConnectionInfo *drbd_query_connection(DrbdObject *obj)
{
    DrbdConnectionInfo *info;
    DrbdConnectionStatus c;

    WITH_QEMU_LOCK_GUARD(&obj->lock) {
        drbd_connection_status(obj->core, &c);
    }
    if (!c.configured) {
        return NULL;
    }
    info = g_new0(DrbdConnectionInfo, 1);
    info->state = g_strdup(c.state);
    info->reason = c.reason[0] ? g_strdup(c.reason) : NULL;
    info->peer_role = g_strdup(c.peer_role);
    info->data = c.has_data;
    info->meta = c.has_meta;
    info->resolve_conflicts = c.resolve_conflicts;
    info->has_protocol_version = c.agreed_version != 0;
    info->protocol_version = c.agreed_version;
    info->features = c.agreed_features;
    info->times_connected = c.times_connected;
    info->times_lost = c.times_lost;
    info->data_sent = c.data_sent_bytes;
    info->data_received = c.data_received_bytes;
    info->meta_sent = c.meta_sent_bytes;
    info->meta_received = c.meta_received_bytes;
    info->pings_sent = c.pings_sent;
    info->pings_answered = c.pings_answered;
    info->last_ping = c.last_ping_ms;
    info->epochs = c.epochs;
    info->unacknowledged = c.unacknowledged;
    info->peer_requests = c.peer_requests;
    info->peer_requests_max = c.peer_requests_max;
    info->peer_request_bytes = c.peer_request_bytes;
    info->peer_request_bytes_max = c.peer_request_bytes_max;
    info->send_queue = c.send_queue;
    return info;
}

static DrbdVolumeInfo *drbd_query_volume(DrbdObject *obj, unsigned volume)
{
    BDRVDrbdState *s = obj->nodes[volume];
    DrbdVolumeStatus v;
    DrbdVolumeInfo *info;

    WITH_QEMU_LOCK_GUARD(&obj->lock) {
        drbd_volume_status(obj->core, volume, &v);
    }

    info = g_new0(DrbdVolumeInfo, 1);
    info->volume = volume;
    info->node_name = g_strdup(s->node_name);
    info->active = !qatomic_read(&s->inactive);
    info->disk = g_strdup(v.disk);
    info->disk_reason = v.disk_reason[0] ? g_strdup(v.disk_reason) : NULL;
    info->peer_disk = g_strdup(v.peer_disk);
    info->size = v.bytes;
    info->image_size = v.image_bytes;
    info->metadata_size = v.metadata_bytes;
    info->out_of_sync = v.out_of_sync_bytes;
    info->busy = v.busy;
    info->drained = v.drained;
    info->memory = v.memory_bytes;
    info->activity_log = drbd_query_al(&v);
    info->metadata = drbd_query_metadata(&v);
    info->io = drbd_query_io(&v);
    info->connection = g_strdup(v.connection);
    info->peer_role = g_strdup(v.peer_role);
    info->has_peer_uuids = v.peer_uuid[0] != 0;
    info->peer_uuids = info->has_peer_uuids ? drbd_query_peer_uuids(&v) : NULL;
    info->sync_reason = v.sync_reason[0] ? g_strdup(v.sync_reason) : NULL;
    info->replication = drbd_query_replication(&v);
    info->resync = drbd_query_resync(&v);
    return info;
}

static DrbdPendingOperationList *drbd_query_pending(DrbdObject *obj)
{
    DrbdPendingOperationList *list = NULL, **tail = &list;

    for (unsigned i = 0; ; i++) {
        DrbdPendingOperation *info;
        const char *command;
        uint64_t operation;
        int volume;
        bool found;

        WITH_QEMU_LOCK_GUARD(&obj->lock) {
            found = drbd_pending_operation(obj->core, i, &operation, &command,
                                           &volume);
        }
        if (!found) {
            return list;
        }
        info = g_new0(DrbdPendingOperation, 1);
        info->operation = operation;
        info->command = g_strdup(command);
        info->has_volume = volume >= 0;
        info->volume = volume >= 0 ? volume : 0;
        QAPI_LIST_APPEND(tail, info);
    }
}

static DrbdPastOperationList *drbd_query_past(DrbdObject *obj)
{
    DrbdPastOperationList *list = NULL, **tail = &list;

    for (unsigned i = 0; ; i++) {
        DrbdPastOperation *info;
        DrbdNotice notice;
        bool found;

        WITH_QEMU_LOCK_GUARD(&obj->lock) {
            found = drbd_past_operation(obj->core, i, &notice);
        }
        if (!found) {
            return list;
        }
        info = g_new0(DrbdPastOperation, 1);
        info->operation = notice.operation;
        info->command = g_strdup(notice.command);
        info->has_volume = notice.volume >= 0;
        info->volume = notice.volume >= 0 ? notice.volume : 0;
        info->success = notice.success;
        info->error = notice.success ? NULL : g_strdup(notice.text);
        QAPI_LIST_APPEND(tail, info);
    }
}

/* With the list lock held, which keeps the resource and its nodes in place. */
static void drbd_query_resource(DrbdObject *obj, void *opaque)
{
    DrbdResourceInfoList **list = opaque;
    DrbdResourceInfo *info = g_new0(DrbdResourceInfo, 1);
    DrbdVolumeInfoList **tail = &info->volumes;
    DrbdResourceStatus r;

    WITH_QEMU_LOCK_GUARD(&obj->lock) {
        drbd_resource_status(obj->core, &r);
        info->not_promotable = g_strdup(r.promotable_reason);
    }

    info->resource = g_strdup(obj->id);
    info->role = r.role == DRBD_ROLE_PRIMARY ? DRBD_RESOURCE_ROLE_PRIMARY
                                             : DRBD_RESOURCE_ROLE_SECONDARY;
    info->connection = g_strdup(r.connection);
    info->peer = drbd_query_connection(obj);
    info->volumes_configured = r.nr_volumes;
    info->volumes_attached = r.nr_attached;
    info->requests_in_use = r.requests_in_use;
    info->requests_max = r.requests_max;
    info->requests_waited = r.requests_waited_for_pool;

    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i]) {
            QAPI_LIST_APPEND(tail, drbd_query_volume(obj, i));
        }
    }
    info->pending_operations = drbd_query_pending(obj);
    info->past_operations = drbd_query_past(obj);
    QAPI_LIST_PREPEND(*list, info);
}

DrbdResourceInfoList *qmp_query_drbd(Error **errp)
{
    DrbdResourceInfoList *list = NULL;

    drbd_object_foreach(drbd_query_resource, &list);
    return list;
}
