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
 *
 * A flush of a drained node is such a request, and nobody drains again after it
 * (a reopen flushes, and then changes what is below).  What it let begin must
 * not outlive it.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

/* Something of a drained node is at the image; with the lock held. */
static bool drbd_drained_runs(DrbdObject *obj)
{
    for (unsigned i = 0; i < DRBD_MAX_VOLUMES; i++) {
        BDRVDrbdState *s = obj->nodes[i];

        if (s && s->drain_told && s->own_runs > 0) {
            return true;
        }
    }
    return false;
}

/* Who need not wait any more; with the lock held. */
static void drbd_rests_take(DrbdObject *obj, DrbdRestList *rests)
{
    QSLIST_INIT(rests);
    if (unlikely(!QSLIST_EMPTY(&obj->rests)) && !drbd_drained_runs(obj)) {
        rests->slh_first = QSLIST_FIRST(&obj->rests);
        QSLIST_INIT(&obj->rests);
    }
}

void drbd_rests_wake(DrbdRestList *rests)
{
    while (!QSLIST_EMPTY(rests)) {
        Coroutine *co = QSLIST_FIRST(rests)->co;

        QSLIST_REMOVE_HEAD(rests, next); /* it is gone when its owner runs */
        aio_co_wake(co);
    }
}

/* The core is told whether the node is drained, unless that is suspended. */
static void drbd_drain_tell(BDRVDrbdState *s)
{
    DrbdObject *obj = s->obj;
    bool wanted = s->drained && !obj->drain_suspended;
    DrbdRestList rests;

    if (s->drain_told == wanted) {
        return;
    }
    drbd_lock(obj);
    if (wanted) {
        drbd_on_drain_begin(obj->core, s->volume);
    } else {
        drbd_on_drain_end(obj->core, s->volume);
    }
    s->drain_told = wanted;
    drbd_rests_take(obj, &rests);
    drbd_unlock(obj);
    drbd_rests_wake(&rests);
}

void coroutine_fn drbd_co_rest(DrbdObject *obj)
{
    while (drbd_drained_runs(obj)) {
        DrbdRest rest = { .co = qemu_coroutine_self() };

        QSLIST_INSERT_HEAD(&obj->rests, &rest, next);
        drbd_unlock(obj);
        qemu_coroutine_yield();
        drbd_lock(obj);
    }
}

void drbd_run_ends(BDRVDrbdState *s, DrbdRestList *rests)
{
    assert(s->own_runs > 0);
    s->own_runs--;
    drbd_rests_take(s->obj, rests);
}

/*
 * A node that the core does not know yet is drained too (opening a child
 * changes the graph), but each begin has its end before the core hears of it.
 */
void drbd_drain_begin(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;

    trace_drbd_drain(bs, "begin", s->drained);
    if (s->opened && !s->closing) {
        s->drained = true;
        drbd_drain_tell(s);
        if (!qatomic_read(&s->reactivating)) {
            drbd_wake_inactive(s);
        }
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
