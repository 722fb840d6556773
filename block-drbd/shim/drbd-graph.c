/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph lock for a coroutine that others wait for.
 *
 * A guest request holds the graph lock for reading while it waits for metadata
 * I/O, and the metadata worker needs the same lock.  QEMU's lock is not made
 * for that: a writer that comes between the two announces itself, sees the
 * guest request and waits for it with the announcement withdrawn; but a reader
 * that saw the announcement sleeps until the writer has been and gone, which is
 * never, because the guest request waits for that reader.
 *
 * So the lock is asked for by a coroutine of its own.  If that one sleeps for
 * too long, another asks; the announcement has been withdrawn by then.  Who
 * gets the lock first does the work, and the others go home when they wake.
 * In the ordinary case the first gets it at once and nobody sleeps.
 *
 * All coroutines of one call run in the caller's AioContext, so nothing here
 * needs a lock.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "drbd-int.h"
#include "trace.h"

#define DRBD_GRAPH_PATIENCE_NS (20 * SCALE_MS)

/* Outlives the call if somebody still sleeps in the lock's queue. */
typedef struct DrbdGraphWork {
    unsigned refs;
    bool claimed;
    bool done;
    int ret;
    DrbdGraphFunc *func;
    void *opaque;           /* on the caller's stack; for the claimer alone */
    Coroutine *waiting;     /* the caller, while it waits for `done` */
} DrbdGraphWork;

static void drbd_graph_work_unref(DrbdGraphWork *work)
{
    if (--work->refs == 0) {
        g_free(work);
    }
}

static void coroutine_fn drbd_graph_attempt(void *opaque)
{
    DrbdGraphWork *work = opaque;

    WITH_GRAPH_RDLOCK_GUARD() {
        if (!work->claimed) {
            work->claimed = true;
            work->ret = work->func(work->opaque);
            work->done = true;
        }
    }
    if (work->done && work->waiting) {
        Coroutine *co = work->waiting;

        work->waiting = NULL;
        aio_co_wake(co);
    }
    drbd_graph_work_unref(work);
}

int coroutine_fn drbd_with_graph_lock(DrbdGraphFunc *func, void *opaque)
{
    DrbdGraphWork *work = g_new0(DrbdGraphWork, 1);
    int ret;

    work->refs = 1;
    work->func = func;
    work->opaque = opaque;
    while (!work->claimed) {
        work->refs++;
        qemu_coroutine_enter(qemu_coroutine_create(drbd_graph_attempt, work));
        if (!work->claimed) {
            trace_drbd_graph_contended();
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, DRBD_GRAPH_PATIENCE_NS);
        }
    }
    if (!work->done) {
        work->waiting = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    ret = work->ret;
    drbd_graph_work_unref(work);
    return ret;
}
