/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drain as an event of the core.
 *
 * In: the block layer's drain callbacks (main thread, no polling allowed).
 * Out: drbd_on_drain_begin/_end.  The block layer calls at the first begin and the
 * last end of nested ones, and once for each child that was drained at the open.
 *
 * Between them the core hands out metadata jobs only while guest requests of
 * the volume are in flight, so that the node comes to rest.  Whoever must wait
 * for an operation inside a drained section suspends that for the resource:
 * jobs of the operation may be on any volume.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

/* The core is told whether the node is drained, unless that is suspended. */
static void drbd_drain_tell(BDRVDrbdState *s)
{
    DrbdObject *obj = s->obj;
    bool wanted = s->drained && !obj->drain_suspended;

    if (s->drain_told == wanted) {
        return;
    }
    drbd_lock(obj);
    if (wanted) {
        drbd_on_drain_begin(obj->core, s->volume);
    } else {
        drbd_on_drain_end(obj->core, s->volume);
    }
    drbd_unlock(obj);
    s->drain_told = wanted;
}

/*
 * A node that the core does not know yet is drained too (opening a child
 * changes the graph), but each begin has its end before the core hears of it.
 */
void drbd_drain_begin(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;

    trace_drbd_drain(bs, "begin", s->drained);
    if (s->opened) {
        s->drained = true;
        drbd_drain_tell(s);
        drbd_wake_inactive(s);
    }
}

void drbd_drain_end(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;

    trace_drbd_drain(bs, "end", s->drained);
    if (s->opened && s->drained) {
        s->drained = false;
        drbd_drain_tell(s);
        qemu_bh_schedule(s->no_flush_bh);
    }
}

static void drbd_drain_tell_all(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        if (obj->nodes[i]) {
            drbd_drain_tell(obj->nodes[i]);
        }
    }
}

void drbd_drain_suspend(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    if (obj->drain_suspended++ == 0) {
        drbd_drain_tell_all(obj);
    }
}

void drbd_drain_resume(DrbdObject *obj)
{
    GLOBAL_STATE_CODE();
    assert(obj->drain_suspended > 0);
    if (--obj->drain_suspended == 0) {
        drbd_drain_tell_all(obj);
    }
}

/* The node ends while it is drained: the block layer has no end for it. */
void drbd_drain_end_all(BDRVDrbdState *s)
{
    s->drained = false;
    drbd_drain_tell(s);
}
