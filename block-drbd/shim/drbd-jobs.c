/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metadata worker: one coroutine a volume, in the resource's AioContext.
 *
 * In: the core's metadata jobs, one at a time.  Out: reads, writes (with FUA
 * where the job says so) and flushes on the metadata device or the image, then
 * drbd_on_job_done().
 *
 * A job is counted as in flight on our node before the lock is let go under
 * which the core gave it: who drains the node tells the core under that lock,
 * so he either sees the count, or the core gives no job.  Nothing is counted
 * while the worker only looks: the block layer asserts that a drained node
 * stays idle.
 * Asleep the worker holds neither the count nor the graph lock.
 *
 * Pieces of a job run side by side, a few at a time.  Each takes the graph lock
 * for itself, and nobody holds it while waiting for another piece: a reader
 * that waits for a second reader, which a writer made wait, would never end.
 */
#include "qemu/osdep.h"
#include "drbd-int.h"
#include "trace.h"

/* Pieces in flight at a time, with the worker's own. */
enum { DRBD_JOB_PARALLEL = 8 };

/* One piece, or a flush if @part is NULL: what needs the graph lock. */
typedef struct DrbdJobStep {
    BDRVDrbdState *s;
    const DrbdJob *job;
    const DrbdJobPart *part;
    DrbdJobTarget target;
} DrbdJobStep;

/* A job that is being done; all of it belongs to the worker's AioContext. */
typedef struct DrbdJobRun {
    BDRVDrbdState *s;
    const DrbdJob *job;
    unsigned next;          /* piece to take */
    unsigned helpers;       /* coroutines beside the worker */
    Coroutine *waiting;     /* the worker, when it waits for them */
    int ret;
} DrbdJobRun;

static BdrvChild * GRAPH_RDLOCK drbd_job_target(BDRVDrbdState *s,
                                               DrbdJobTarget target)
{
    if (target == DRBD_TARGET_METADATA && s->metadata) {
        return s->metadata;
    }
    return s->bs->file;
}

/*
 * The block layer leaves out the flush of a node that this process has not
 * written to; but the process before us may have written.  Counting one write
 * for each node below makes the next flush a real one.
 */
static void coroutine_fn GRAPH_RDLOCK
drbd_count_foreign_writes(BlockDriverState *bs)
{
    BdrvChild *child;

    qatomic_inc(&bs->write_gen);
    QLIST_FOREACH(child, &bs->children, next) {
        drbd_count_foreign_writes(child->bs);
    }
}

static int coroutine_fn GRAPH_RDLOCK drbd_job_step(void *opaque)
{
    const DrbdJobStep *step = opaque;
    const DrbdJobPart *part = step->part;
    BdrvChild *target = drbd_job_target(step->s, step->target);

    if (!part) {
        if (step->job->flush_foreign) {
            drbd_count_foreign_writes(target->bs);
        }
        return bdrv_co_flush(target->bs);
    }
    if (step->job->kind == DRBD_JOB_READ) {
        return bdrv_co_pread(target, part->offset, part->bytes, part->buffer,
                             0);
    }
    return bdrv_co_pwrite(target, part->offset, part->bytes, part->buffer,
                          step->job->fua ? BDRV_REQ_FUA : 0);
}

static void coroutine_fn drbd_take_parts(DrbdJobRun *run)
{
    while (run->next < run->job->nr_parts && run->ret == 0) {
        DrbdJobStep step = {
            .s = run->s,
            .job = run->job,
            .part = &run->job->parts[run->next++],
            .target = run->job->target,
        };
        int ret = drbd_with_graph_lock(drbd_job_step, &step);

        if (ret < 0 && run->ret == 0) {
            run->ret = ret;
        }
    }
}

static void coroutine_fn drbd_part_helper(void *opaque)
{
    DrbdJobRun *run = opaque;

    drbd_take_parts(run);
    if (--run->helpers == 0 && run->waiting) {
        aio_co_wake(run->waiting);
    }
}

static void coroutine_fn drbd_do_parts(DrbdJobRun *run)
{
    unsigned helpers = MIN(run->job->nr_parts, DRBD_JOB_PARALLEL);

    for (unsigned i = 1; i < helpers; i++) {
        run->helpers++;
        qemu_coroutine_enter(qemu_coroutine_create(drbd_part_helper, run));
    }
    drbd_take_parts(run);
    if (run->helpers) {
        run->waiting = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    assert(run->helpers == 0);
}

static int coroutine_fn drbd_job_flush(BDRVDrbdState *s, const DrbdJob *job,
                                       DrbdJobTarget target)
{
    DrbdJobStep step = { .s = s, .job = job, .target = target };

    return drbd_with_graph_lock(drbd_job_step, &step);
}

static int coroutine_fn drbd_do_job(BDRVDrbdState *s, const DrbdJob *job)
{
    DrbdJobRun run = { .s = s, .job = job };
    int ret;

    trace_drbd_job(s->bs, job->kind, job->target, job->nr_parts,
                   job->nr_parts ? job->parts[0].offset : 0, job->fua,
                   job->flush_image_first, job->flush_after);

    if (job->flush_image_first) {
        ret = drbd_job_flush(s, job, DRBD_TARGET_IMAGE);
        if (ret < 0) {
            return ret;
        }
    }
    drbd_do_parts(&run);
    if (run.ret < 0) {
        return run.ret;
    }
    if (job->flush_after) {
        return drbd_job_flush(s, job, job->target);
    }
    return 0;
}

/* The next job, counted as in flight; NULL if the worker may sleep or end. */
static const DrbdJob *coroutine_fn drbd_worker_next(BDRVDrbdState *s,
                                                    bool *stop)
{
    const DrbdJob *job;

    drbd_lock(s->obj);
    *stop = s->worker.stop;
    job = *stop ? NULL : drbd_next_job(s->obj->core, s->volume);
    if (job) {
        bdrv_inc_in_flight(s->bs);
        s->own_runs++;
    }
    drbd_unlock(s->obj);
    return job;
}

/*
 * No job: asking for one may have ended an operation, so the queues were looked
 * at first.  Now the flag is set with the lock that whoever queues a job needs,
 * and no job is missed.  True if the worker is to yield.
 */
static bool coroutine_fn drbd_worker_may_sleep(BDRVDrbdState *s)
{
    QEMU_LOCK_GUARD(&s->obj->lock);
    if (s->worker.stop ||
        drbd_resource_pending(s->obj->core, 1u << (DRBD_PENDING_JOB_SHIFT +
                                                   s->volume))) {
        return false;
    }
    s->worker.sleeping = true;
    return true;
}

void coroutine_fn drbd_worker_entry(void *opaque)
{
    BDRVDrbdState *s = opaque;
    bool stop = false;

    while (!stop) {
        const DrbdJob *job = drbd_worker_next(s, &stop);

        if (job) {
            int ret = drbd_do_job(s, job);
            DrbdRestList rests;

            trace_drbd_job_done(s->bs, ret);
            drbd_lock(s->obj);
            drbd_on_job_done(s->obj->core, s->volume, ret);
            drbd_run_ends(s, &rests);
            drbd_unlock(s->obj);
            bdrv_dec_in_flight(s->bs);
            drbd_rests_wake(&rests);
        } else if (!stop) {
            /* A job that is announced and not given: others of this context first. */
            if (!drbd_worker_may_sleep(s)) {
                aio_co_schedule(s->obj->ctx, qemu_coroutine_self());
            }
            qemu_coroutine_yield();
        }
    }
    qatomic_store_release(&s->worker.running, false);
    aio_wait_kick();
}

void drbd_worker_start(BDRVDrbdState *s)
{
    GLOBAL_STATE_CODE();
    s->worker.running = true;
    s->worker.co = qemu_coroutine_create(drbd_worker_entry, s);
    aio_co_schedule(s->obj->ctx, s->worker.co);
}

/* The volume must have no job any more.  Polls. */
void drbd_worker_stop(BDRVDrbdState *s)
{
    Coroutine *co = NULL;

    GLOBAL_STATE_CODE();
    WITH_QEMU_LOCK_GUARD(&s->obj->lock) {
        s->worker.stop = true;
        if (s->worker.sleeping) {
            s->worker.sleeping = false;
            co = s->worker.co;
        }
    }
    if (co) {
        aio_co_wake(co);
    }
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_load_acquire(&s->worker.running));
}
