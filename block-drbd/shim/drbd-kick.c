/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queues of the core: wake-ups, metadata jobs, notices, the network's.
 *
 * In: any call of the core under the lock.  Out: after drbd_unlock() everybody
 * who has something to do has been woken: owners of guest requests, metadata
 * workers, the bottom half that takes notices in the main loop, and the one
 * that goes round the network's queues (drbd-net.c).
 *
 * Waking from another thread.  A coroutine may be told of before it has
 * yielded: it got DRBD_STEP_WAIT, let the lock go, and another thread already
 * has its wake-up.  aio_co_wake() then only puts it into its AioContext's list
 * of scheduled coroutines; that list is run by the thread in which the
 * coroutine runs now, so not before it has yielded.  In the same thread nobody
 * else runs before it has yielded.  A coroutine that wakes itself would be an
 * error; the core wakes only those it told to wait.
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

/* Wake-ups that are taken under one hold of the lock. */
enum { DRBD_WAKES_AT_ONCE = 32 };

void drbd_lock(DrbdObject *obj)
{
    qemu_mutex_lock(&obj->lock);
    if (obj->core) {
        drbd_on_clock(obj->core, drbd_net_now());
    }
}

/* The workers that sleep and have a job; the bit is cleared by waking. */
static unsigned drbd_collect_workers(DrbdObject *obj, uint32_t pending,
                                     Coroutine **wakes)
{
    uint32_t jobs = pending >> DRBD_PENDING_JOB_SHIFT;
    unsigned n = 0;

    while (jobs) {
        BDRVDrbdState *s = obj->nodes[ctz32(jobs)];

        jobs &= jobs - 1;
        if (s && s->worker.sleeping) {
            s->worker.sleeping = false;
            wakes[n++] = s->worker.co;
        }
    }
    return n;
}

static void drbd_unlock_of(DrbdObject *obj, uint32_t queues)
{
    Coroutine *wakes[DRBD_WAKES_AT_ONCE + DRBD_MAX_VOLUMES];
    unsigned n;
    bool more;

    do {
        uint32_t pending = drbd_resource_pending(obj->core, queues);

        n = 0;
        if (pending & DRBD_PENDING_NOTICE) {
            qemu_bh_schedule(obj->notice_bh);
        }
        if (pending & DRBD_PENDING_WAKE) {
            while (n < DRBD_WAKES_AT_ONCE) {
                Coroutine *co = drbd_next_wake(obj->core);
                if (!co) {
                    break;
                }
                wakes[n++] = co;
            }
        }
        if (!obj->net.kicked && drbd_net_pending(obj, pending)) {
            obj->net.kicked = true;
            qemu_bh_schedule(obj->net.bh);
        }
        more = n == DRBD_WAKES_AT_ONCE;
        if (pending >> DRBD_PENDING_JOB_SHIFT) {
            n += drbd_collect_workers(obj, pending, wakes + n);
        }
        qemu_mutex_unlock(&obj->lock);

        for (unsigned i = 0; i < n; i++) {
            aio_co_wake(wakes[i]);
        }
        if (more) {
            qemu_mutex_lock(&obj->lock);
        }
    } while (more);
}

void drbd_unlock(DrbdObject *obj)
{
    /* Once kicked the network looks for itself. */
    drbd_unlock_of(obj, obj->net.kicked ? ~DRBD_PENDING_NETWORK
                                        : DRBD_PENDING_ALL);
}

void drbd_unlock_after_network(DrbdObject *obj)
{
    drbd_unlock_of(obj, ~DRBD_PENDING_NETWORK);
}

static void drbd_wait_begin(DrbdObject *obj, DrbdWait *wait, uint64_t operation,
                            Coroutine *co)
{
    wait->operation = operation;
    wait->co = co;
    qatomic_set(&wait->done, false);
    QLIST_INSERT_HEAD(&obj->waits, wait, next);
}

void drbd_unlock_and_wait(DrbdObject *obj, DrbdWait *wait, uint64_t operation)
{
    GLOBAL_STATE_CODE();
    drbd_wait_begin(obj, wait, operation, NULL);
    drbd_unlock(obj);
    /* drbd_notice_bh() runs in the loop that is polled here. */
    AIO_WAIT_WHILE_UNLOCKED(NULL, !qatomic_read(&wait->done));
}

void coroutine_fn drbd_unlock_and_co_wait(DrbdObject *obj, DrbdWait *wait,
                                          uint64_t operation)
{
    drbd_wait_begin(obj, wait, operation, qemu_coroutine_self());
    drbd_unlock(obj);
    qemu_coroutine_yield();
    assert(qatomic_read(&wait->done));
}

/* With the lock held: tells who waits for this operation. */
static Coroutine *drbd_wait_end(DrbdObject *obj, const DrbdNotice *notice)
{
    DrbdWait *wait;
    Coroutine *co;

    QLIST_FOREACH(wait, &obj->waits, next) {
        if (wait->operation == notice->operation) {
            QLIST_REMOVE(wait, next);
            wait->success = notice->success;
            pstrcpy(wait->error, sizeof(wait->error), notice->text);
            co = wait->co;
            /* The waiter's stack may be gone from here on. */
            qatomic_store_release(&wait->done, true);
            return co;
        }
    }
    return NULL;
}

/* Takes one notice; false if there is none. */
static bool drbd_take_notice(DrbdObject *obj)
{
    DrbdNotice notice;
    Coroutine *co = NULL;
    bool found;

    drbd_lock(obj);
    found = drbd_next_notice(obj->core, &notice);
    drbd_unlock(obj);
    if (!found) {
        return false;
    }

    /*
     * What the end of an operation changes in the graph and in the events comes
     * first: a waiter finds it done.
     */
    drbd_notice_emit(obj, &notice);
    drbd_notice_apply(obj, &notice);

    if (notice.kind == DRBD_NOTICE_OPERATION) {
        drbd_lock(obj);
        co = drbd_wait_end(obj, &notice);
        drbd_unlock(obj);
    }
    if (co) {
        aio_co_wake(co);
    }
    return true;
}

void drbd_notice_bh(void *opaque)
{
    DrbdObject *obj = opaque;

    GLOBAL_STATE_CODE();
    object_ref(OBJECT(obj));
    while (drbd_take_notice(obj)) {
        /* Until the queue is empty: nobody schedules us for what is in it. */
    }
    object_unref(OBJECT(obj));
}
