/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notices of the core: QMP events, and what follows in the block graph.
 *
 * In: one notice at a time, in order, in the main thread.  Out: the events
 * DRBD_STATE_CHANGED, DRBD_OPERATION_COMPLETED, DRBD_WARNING, DRBD_PEER_LOST,
 * DRBD_SPLIT_BRAIN and DRBD_RESYNC; permissions given up and the node's size
 * refreshed when the disk came or went; the connection begun when the last disk
 * has come.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/qapi-events-drbd.h"
#include "drbd-int.h"
#include "trace.h"

static BDRVDrbdState *drbd_notice_node(DrbdObject *obj, int volume)
{
    return volume < 0 ? NULL : obj->nodes[volume];
}

/* An absent reason is no text, not an empty one. */
static const char *drbd_text(const char *text)
{
    return text[0] ? text : NULL;
}

static void drbd_emit_resync(DrbdObject *obj, const DrbdNotice *notice,
                             const char *node_name)
{
    static const DrbdResyncStep phases[] = {
        [DRBD_RESYNC_STARTED] = DRBD_RESYNC_STEP_STARTED,
        [DRBD_RESYNC_PROGRESS] = DRBD_RESYNC_STEP_PROGRESS,
        [DRBD_RESYNC_FINISHED] = DRBD_RESYNC_STEP_FINISHED,
        [DRBD_RESYNC_ABORTED] = DRBD_RESYNC_STEP_ABORTED,
    };
    const DrbdResyncNotice *resync = &notice->resync;

    trace_drbd_resync(obj->id, notice->volume, resync->phase, resync->source,
                      resync->left_bytes, resync->total_bytes);
    qapi_event_send_drbd_resync(
        obj->id, MAX(notice->volume, 0), node_name, phases[resync->phase],
        resync->source ? DRBD_RESYNC_SIDE_SOURCE : DRBD_RESYNC_SIDE_TARGET,
        resync->total_bytes, resync->left_bytes, resync->failed_bytes,
        drbd_text(notice->text));
}

void drbd_notice_emit(DrbdObject *obj, const DrbdNotice *notice)
{
    BDRVDrbdState *s = drbd_notice_node(obj, notice->volume);
    const char *node_name = s ? s->node_name : NULL;
    bool has_volume = notice->volume >= 0;
    uint32_t volume = has_volume ? notice->volume : 0;

    switch (notice->kind) {
    case DRBD_NOTICE_STATE:
        trace_drbd_state(obj->id, notice->volume, notice->field,
                         notice->old_value, notice->new_value, notice->text);
        qapi_event_send_drbd_state_changed(obj->id, has_volume, volume,
                                           node_name, notice->field,
                                           notice->old_value,
                                           notice->new_value,
                                           drbd_text(notice->text));
        break;
    case DRBD_NOTICE_OPERATION:
        trace_drbd_operation(obj->id, notice->volume, notice->operation,
                             notice->command, notice->success, notice->text);
        qapi_event_send_drbd_operation_completed(
            notice->operation, notice->command, obj->id, has_volume, volume,
            notice->success, notice->success ? NULL : notice->text);
        break;
    case DRBD_NOTICE_WARNING:
        drbd_warn(obj, s, "%s", notice->text);
        break;
    case DRBD_NOTICE_PEER_LOST:
        trace_drbd_peer_lost(obj->id, notice->text);
        qapi_event_send_drbd_peer_lost(obj->id, notice->text);
        break;
    case DRBD_NOTICE_SPLIT_BRAIN:
        trace_drbd_split_brain(obj->id, notice->volume, notice->text);
        qapi_event_send_drbd_split_brain(obj->id, has_volume, volume,
                                         node_name, notice->text);
        break;
    case DRBD_NOTICE_RESYNC:
        drbd_emit_resync(obj, notice, node_name);
        break;
    }
}

static void drbd_look_for_no_flush(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i]) {
            qemu_bh_schedule(obj->nodes[i]->no_flush_bh);
        }
    }
}

void drbd_notice_apply(DrbdObject *obj, const DrbdNotice *notice)
{
    BDRVDrbdState *s = drbd_notice_node(obj, notice->volume);

    if (notice->kind == DRBD_NOTICE_OPERATION) {
        drbd_look_for_no_flush(obj);
    }
    if (!s) {
        return;
    }
    if (notice->kind == DRBD_NOTICE_OPERATION && s->md_operation &&
        notice->operation == s->md_operation) {
        GRAPH_RDLOCK_GUARD_MAINLOOP();
        s->md_operation = 0;
        if (!s->want_disk) {
            drbd_perm_drop(s);
        }
    }
    if (notice->kind == DRBD_NOTICE_STATE ||
        notice->kind == DRBD_NOTICE_OPERATION) {
        drbd_disk_changed(s);
    }
    if (notice->kind == DRBD_NOTICE_OPERATION && notice->success) {
        drbd_connect_when_ready(obj);
    }
}

void drbd_warn(DrbdObject *obj, BDRVDrbdState *s, const char *fmt, ...)
{
    g_autofree char *message = NULL;
    va_list ap;

    GLOBAL_STATE_CODE();
    va_start(ap, fmt);
    message = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    trace_drbd_warning(obj->id, s ? s->node_name : "", message);
    qapi_event_send_drbd_warning(obj->id, s != NULL, s ? s->volume : 0,
                                 s ? s->node_name : NULL, message);
}
