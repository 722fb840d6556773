/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image on behalf of the peer: his writes, his reads, a resync.
 *
 * In: the core's peer I/O, many at a time.  Out: one coroutine each in the
 * resource's AioContext, which does it on the image and tells the core.
 *
 * An I/O is counted as in flight on its node before the lock is let go under
 * which the core gave it (drbd-jobs.c says why, and why not earlier).  That of a
 * drained node is there because a drained one, not always this, still had a
 * request: it counts on all that are drained, so that whoever waits for them one
 * after the other cannot see each idle at its time.
 * The graph lock is held around the I/O alone (drbd-graph.c says why that needs
 * care); nothing here waits for the network.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/defer-call.h"
#include "drbd-int.h"
#include "trace.h"

enum { DRBD_PEER_IO_AT_ONCE = 64 };

typedef struct DrbdPeerRun {
    BDRVDrbdState *s;
    DrbdPeerIo io;
    void *buffer;           /* READ */
    uint8_t digest[DRBD_DIGEST_SIZE];
    BDRVDrbdState *busy[DRBD_MAX_VOLUMES]; /* the nodes that it counts on */
    unsigned nr_busy;
} DrbdPeerRun;

/*
 * Allocated is not the question: a hole above a backing file with data reads as
 * data, and a written block of zeroes may be anything the image knows of it.
 */
static int coroutine_fn GRAPH_RDLOCK drbd_reads_as_zero(BlockDriverState *bs,
                                                        int64_t offset,
                                                        int64_t bytes)
{
    while (bytes > 0) {
        int64_t count = 0;
        int ret = bdrv_co_block_status_above(bs, NULL, offset, bytes, &count,
                                             NULL, NULL);

        if (ret < 0) {
            return ret;
        }
        if (!(ret & BDRV_BLOCK_ZERO) || count <= 0) {
            return 0;
        }
        offset += count;
        bytes -= MIN(bytes, count);
    }
    return 1;
}

static int coroutine_fn GRAPH_RDLOCK drbd_peer_step(void *opaque)
{
    DrbdPeerRun *run = opaque;
    const DrbdPeerIo *io = &run->io;
    BdrvChild *file = run->s->bs->file;
    BdrvRequestFlags fua = io->fua ? BDRV_REQ_FUA : 0;

    switch (io->kind) {
    case DRBD_PEER_READ:
        return bdrv_co_pread(file, io->offset, io->bytes, run->buffer, 0);
    case DRBD_PEER_WRITE:
        return bdrv_co_pwrite(file, io->offset, io->bytes, io->buffer, fua);
    case DRBD_PEER_ZEROES:
        return bdrv_co_pwrite_zeroes(file, io->offset, io->bytes, fua |
                                     (io->may_unmap ? BDRV_REQ_MAY_UNMAP : 0));
    case DRBD_PEER_FLUSH:
        return bdrv_co_flush(file->bs);
    case DRBD_PEER_STATUS:
        return drbd_reads_as_zero(file->bs, io->offset, io->bytes);
    }
    g_assert_not_reached();
}

/* The result for the core; a buffer that is of no use is given back. */
static int coroutine_fn drbd_peer_do(DrbdPeerRun *run, bool *has_digest)
{
    DrbdObject *obj = run->s->obj;
    DrbdPeerIo *io = &run->io;
    int ret;

    if (io->kind == DRBD_PEER_READ) {
        run->buffer = drbd_payload_take(&obj->peer_payload, io->bytes);
        if (!run->buffer) {
            return -ENOMEM;
        }
    }
    ret = drbd_with_graph_lock(drbd_peer_step, run);
    if (io->kind != DRBD_PEER_READ) {
        return ret;
    }
    if (ret >= 0 && io->wants_digest) {
        DrbdDigest digest;

        WITH_QEMU_LOCK_GUARD(&obj->lock) {
            digest = obj->net.integrity;
        }
        *has_digest = drbd_digest_compute(&digest, run->buffer, io->bytes,
                                          run->digest);
        ret = *has_digest ? 0 : -EIO;
    }
    if (ret < 0) {
        drbd_payload_give(&obj->peer_payload, run->buffer, io->bytes);
        run->buffer = NULL;
    }
    return ret < 0 ? ret : 0;
}

static void coroutine_fn drbd_peer_entry(void *opaque)
{
    DrbdPeerRun *run = opaque;
    BDRVDrbdState *s = run->s;
    DrbdObject *obj = s->obj;
    bool has_digest = false;
    DrbdRestList rests;
    int ret;

    trace_drbd_peer_io(s->bs, run->io.kind, run->io.offset, run->io.bytes,
                       run->io.fua);
    ret = drbd_peer_do(run, &has_digest);
    trace_drbd_peer_io_done(s->bs, run->io.kind, run->io.offset, ret);

    drbd_lock(obj);
    qatomic_set(&obj->net.arrivals, obj->net.arrivals + 1);
    qatomic_set(&obj->net.requests, obj->net.requests - 1);
    drbd_on_peer_io_done(obj->core, run->io.id, ret, run->buffer,
                         has_digest ? run->digest : NULL);
    drbd_run_ends(s, &rests);
    drbd_unlock(obj);
    for (unsigned i = 0; i < run->nr_busy; i++) {
        bdrv_dec_in_flight(run->busy[i]->bs);
    }
    drbd_rests_wake(&rests);
    /* From here on a node may be gone: closing it waits for this. */
    for (unsigned i = 0; i < run->nr_busy; i++) {
        qatomic_dec(&run->busy[i]->peer_runs);
    }
    g_free(run);
    aio_wait_kick();
}

static void drbd_peer_count(DrbdPeerRun *run, BDRVDrbdState *s)
{
    bdrv_inc_in_flight(s->bs);
    qatomic_inc(&s->peer_runs);
    run->busy[run->nr_busy++] = s;
}

/* With the lock held, which keeps the nodes in place. */
static DrbdPeerRun *drbd_peer_begin(DrbdObject *obj, const DrbdPeerIo *io)
{
    DrbdPeerRun *run = g_new(DrbdPeerRun, 1);
    BDRVDrbdState *s = obj->nodes[io->volume];

    run->s = s;
    run->io = *io;
    run->buffer = NULL;
    run->nr_busy = 0;
    s->own_runs++;
    drbd_peer_count(run, s);
    for (unsigned i = 0; s->drain_told && i < DRBD_MAX_VOLUMES; i++) {
        if (i != io->volume && obj->nodes[i] && obj->nodes[i]->drain_told) {
            drbd_peer_count(run, obj->nodes[i]);
        }
    }
    return run;
}

void drbd_net_peer_io(DrbdObject *obj)
{
    DrbdPeerRun *runs[DRBD_PEER_IO_AT_ONCE];
    DrbdPeerIo io;
    unsigned n = 0;

    while (n < DRBD_PEER_IO_AT_ONCE && drbd_next_peer_io(obj->core, &io)) {
        runs[n++] = drbd_peer_begin(obj, &io);
    }
    qatomic_set(&obj->net.requests, obj->net.requests + n);
    drbd_net_unlock(obj);

    /* One system call for what starts together. */
    defer_call_begin();
    for (unsigned i = 0; i < n; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(drbd_peer_entry, runs[i]));
    }
    defer_call_end();
    drbd_net_relock(obj);
}
