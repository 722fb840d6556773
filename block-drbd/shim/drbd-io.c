/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest I/O: reads, writes, zeroes, discards, flushes.
 *
 * In: the block layer's requests, from any thread and many at once.  Out: the
 * same requests on the image, in the order that the core wants.  The coroutine
 * of a request does its own local I/O and nobody else's; between two steps it
 * sleeps until the core wakes it.
 *
 * A request holds the in-flight count of the node and the graph lock (both
 * taken by the block layer) until it completes, so every wait here must end
 * by the work of others: metadata jobs are handed out as long as a request of
 * the volume is in flight, drained or not.
 */
#include "qemu/osdep.h"
#include "drbd-int.h"
#include "trace.h"

/* One request as the block layer gave it. */
typedef struct DrbdGuestRequest {
    BlockDriverState *bs;
    DrbdRequestKind kind;
    int64_t offset;
    int64_t bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    BdrvRequestFlags flags;
} DrbdGuestRequest;

/* The payload's copy goes to the image, and to whoever else reads it. */
static int coroutine_fn GRAPH_RDLOCK
drbd_write_copy(const DrbdGuestRequest *g)
{
    BDRVDrbdState *s = g->bs->opaque;
    DrbdPayloadPool *pool = &s->obj->payload;
    void *copy = drbd_payload_get(pool, g->bytes);
    int ret;

    qemu_iovec_to_buf(g->qiov, g->qiov_offset, copy, g->bytes);
    /* The copy is no buffer that the device registered. */
    ret = bdrv_co_pwrite(g->bs->file, g->offset, g->bytes, copy,
                         g->flags & ~BDRV_REQ_REGISTERED_BUF);
    drbd_payload_put(pool, copy, g->bytes);
    return ret;
}

/* What DRBD_STEP_SUBMIT asks for. */
static int coroutine_fn GRAPH_RDLOCK
drbd_submit(const DrbdGuestRequest *g, bool copy)
{
    BdrvChild *file = g->bs->file;

    switch (g->kind) {
    case DRBD_REQUEST_READ:
        return bdrv_co_preadv_part(file, g->offset, g->bytes, g->qiov,
                                   g->qiov_offset, g->flags);
    case DRBD_REQUEST_WRITE:
        if (copy) {
            return drbd_write_copy(g);
        }
        return bdrv_co_pwritev_part(file, g->offset, g->bytes, g->qiov,
                                    g->qiov_offset, g->flags);
    case DRBD_REQUEST_ZEROES:
    case DRBD_REQUEST_DISCARD:
        return bdrv_co_pwrite_zeroes(file, g->offset, g->bytes, g->flags);
    case DRBD_REQUEST_FLUSH:
        return bdrv_co_flush(file->bs);
    }
    g_assert_not_reached();
}

/* A parent with the resize permission may ask beyond the end; we do not grow. */
static bool drbd_in_range(DrbdObject *obj, unsigned volume, int64_t offset,
                          int64_t bytes)
{
    uint64_t size = drbd_volume_bytes(obj->core, volume);

    return offset <= size && bytes <= size - offset &&
           QEMU_IS_ALIGNED(offset | bytes, BDRV_SECTOR_SIZE);
}

static DrbdStep coroutine_fn
drbd_begin(BDRVDrbdState *s, const DrbdGuestRequest *g, DrbdWaiter *waiter,
           DrbdRequest **request)
{
    unsigned flags = 0;

    if (g->flags & BDRV_REQ_FUA) {
        flags |= DRBD_REQUEST_FUA;
    }
    if (g->flags & BDRV_REQ_MAY_UNMAP) {
        flags |= DRBD_REQUEST_MAY_UNMAP;
    }
    return drbd_on_guest_request(s->obj->core, s->volume, g->kind, g->offset,
                                 g->bytes, flags, qemu_coroutine_self(),
                                 waiter, request);
}

static int coroutine_fn GRAPH_RDLOCK drbd_do(const DrbdGuestRequest *g)
{
    BDRVDrbdState *s = g->bs->opaque;
    DrbdObject *obj = s->obj;
    DrbdRequest *request = NULL;
    DrbdWaiter waiter;
    DrbdStep step;
    bool copy;
    int ret;

    trace_drbd_request(g->bs, g->kind, g->offset, g->bytes, g->flags);

    if (unlikely(qatomic_read(&s->inactive))) {
        if (g->kind == DRBD_REQUEST_FLUSH) {
            return 0; /* leaving the disk has flushed all there was */
        }
        ret = drbd_co_wait_active(s);
        if (ret < 0) {
            return ret;
        }
    }

    drbd_lock(obj);
    if (!drbd_in_range(obj, s->volume, g->offset, g->bytes)) {
        drbd_unlock(obj);
        return -EIO;
    }
    step = drbd_begin(s, g, &waiter, &request);

    while (step != DRBD_STEP_COMPLETE) {
        trace_drbd_step(g->bs, request, step);
        switch (step) {
        case DRBD_STEP_WAIT:
            drbd_unlock(obj);
            qemu_coroutine_yield();
            drbd_lock(obj);
            step = drbd_request_step(request);
            break;
        case DRBD_STEP_RETRY:
            drbd_unlock(obj);
            qemu_coroutine_yield();
            drbd_lock(obj);
            step = drbd_begin(s, g, &waiter, &request);
            break;
        case DRBD_STEP_SUBMIT:
            copy = g->kind == DRBD_REQUEST_WRITE &&
                   drbd_request_wants_copy(request);
            drbd_unlock(obj);
            ret = drbd_submit(g, copy);
            drbd_lock(obj);
            step = drbd_on_local_done(request, ret);
            break;
        case DRBD_STEP_COMPLETE:
            g_assert_not_reached();
        }
    }

    ret = drbd_request_end(request);
    drbd_unlock(obj);
    trace_drbd_request_done(g->bs, g->kind, g->offset, ret);
    return ret;
}

int coroutine_fn GRAPH_RDLOCK
drbd_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags)
{
    return drbd_do(&(DrbdGuestRequest) {
        .bs = bs, .kind = DRBD_REQUEST_READ, .offset = offset, .bytes = bytes,
        .qiov = qiov, .qiov_offset = qiov_offset, .flags = flags,
    });
}

int coroutine_fn GRAPH_RDLOCK
drbd_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     QEMUIOVector *qiov, size_t qiov_offset,
                     BdrvRequestFlags flags)
{
    return drbd_do(&(DrbdGuestRequest) {
        .bs = bs, .kind = DRBD_REQUEST_WRITE, .offset = offset, .bytes = bytes,
        .qiov = qiov, .qiov_offset = qiov_offset, .flags = flags,
    });
}

int coroutine_fn GRAPH_RDLOCK
drbd_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                      BdrvRequestFlags flags)
{
    return drbd_do(&(DrbdGuestRequest) {
        .bs = bs, .kind = DRBD_REQUEST_ZEROES, .offset = offset,
        .bytes = bytes, .flags = flags,
    });
}

/*
 * A plain discard may keep old data on one copy and not on the other; zeroes
 * that may unmap leave the same bytes everywhere.
 */
int coroutine_fn GRAPH_RDLOCK
drbd_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    return drbd_do(&(DrbdGuestRequest) {
        .bs = bs, .kind = DRBD_REQUEST_DISCARD, .offset = offset,
        .bytes = bytes, .flags = BDRV_REQ_MAY_UNMAP,
    });
}

int coroutine_fn GRAPH_RDLOCK drbd_co_flush(BlockDriverState *bs)
{
    return drbd_do(&(DrbdGuestRequest) {
        .bs = bs, .kind = DRBD_REQUEST_FLUSH,
    });
}

/*
 * Only an UpToDate image may say where there is data; otherwise a block job
 * would copy holes of ours where the peer has data.
 */
int coroutine_fn GRAPH_RDLOCK
drbd_co_block_status(BlockDriverState *bs, DrbdBlockStatusMode mode,
                     int64_t offset, int64_t bytes, int64_t *pnum,
                     int64_t *map, BlockDriverState **file)
{
    BDRVDrbdState *s = bs->opaque;
    bool up_to_date;

    drbd_lock(s->obj);
    up_to_date = drbd_volume_is_up_to_date(s->obj->core, s->volume);
    drbd_unlock(s->obj);

    *pnum = bytes;
    if (!up_to_date) {
        return BDRV_BLOCK_DATA;
    }
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}
