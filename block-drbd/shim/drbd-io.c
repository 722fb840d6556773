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
 * the volume is in flight, drained or not; the network does not run in the main
 * loop, and a peer that does not answer is given up in time.
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

/* What DRBD_STEP_SUBMIT asks for; a copied write is done from the copy. */
static int coroutine_fn GRAPH_RDLOCK
drbd_submit(const DrbdGuestRequest *g, const void *copy)
{
    BdrvChild *file = g->bs->file;

    switch (g->kind) {
    case DRBD_REQUEST_READ:
        return bdrv_co_preadv_part(file, g->offset, g->bytes, g->qiov,
                                   g->qiov_offset, g->flags);
    case DRBD_REQUEST_WRITE:
        if (copy) {
            /* The copy is no buffer that the device registered. */
            return bdrv_co_pwrite(file, g->offset, g->bytes, copy,
                                  g->flags & ~BDRV_REQ_REGISTERED_BUF);
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

/* What a copied write holds until its end. */
typedef struct DrbdCopy {
    void *payload;
    uint8_t *digests;       /* NULL: none are wanted */
} DrbdCopy;

/* Digests over pieces of @piece bytes, one behind the other; NULL: none. */
static uint8_t *drbd_digest_pieces(const DrbdDigest *digest, const void *payload,
                                   size_t bytes, uint32_t piece)
{
    uint8_t computed[DRBD_DIGEST_SIZE];
    uint8_t *digests, *next;

    if (!piece || digest->kind == DRBD_DIGEST_NONE) {
        return NULL;
    }
    next = digests = g_malloc(DIV_ROUND_UP(bytes, piece) * digest->bytes);
    for (size_t at = 0; at < bytes; at += piece) {
        if (!drbd_digest_compute(digest, payload + at, MIN(piece, bytes - at),
                                 computed)) {
            g_free(digests);
            return NULL;
        }
        memcpy(next, computed, digest->bytes);
        next += digest->bytes;
    }
    return digests;
}

/*
 * DRBD_STEP_COPY: the image, the peer and the digest all read this copy, which
 * the guest cannot change.  With the lock held, which is let go for that.
 */
static DrbdStep coroutine_fn drbd_copy(const DrbdGuestRequest *g,
                                       DrbdRequest *request, DrbdCopy *copy)
{
    BDRVDrbdState *s = g->bs->opaque;
    DrbdObject *obj = s->obj;
    DrbdDigest digest = obj->net.integrity;
    uint32_t piece = drbd_request_digest_piece(request);

    assert(!copy->payload);
    /*
     * Whoever waits for what was queued until here waits for the copy too; but
     * not for a buffer, which may wait for him.
     */
    drbd_net_unlock(obj);
    copy->payload = drbd_payload_try(&obj->payload, g->bytes);
    if (unlikely(!copy->payload)) {
        drbd_lock(obj);
        drbd_unlock(obj);
        copy->payload = drbd_payload_get(&obj->payload, g->bytes);
    }
    qemu_iovec_to_buf(g->qiov, g->qiov_offset, copy->payload, g->bytes);
    copy->digests = drbd_digest_pieces(&digest, copy->payload, g->bytes, piece);
    drbd_lock(obj);
    return drbd_on_copied(request, copy->payload, copy->digests);
}

/* DRBD_STEP_DELIVER: a read that the peer answered. */
static DrbdStep coroutine_fn drbd_deliver(const DrbdGuestRequest *g,
                                          DrbdRequest *request)
{
    BDRVDrbdState *s = g->bs->opaque;
    uint64_t offset;
    size_t bytes;
    const void *answer = drbd_request_answer(request, &offset, &bytes);

    drbd_unlock(s->obj);
    qemu_iovec_from_buf(g->qiov, g->qiov_offset + offset, answer, bytes);
    drbd_lock(s->obj);
    return drbd_on_delivered(request);
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
    DrbdCopy copy = { 0 };
    int ret;

    trace_drbd_request(g->bs, g->kind, g->offset, g->bytes, g->flags);

    if (unlikely(qatomic_read(&s->inactive))) {
        if (g->kind != DRBD_REQUEST_FLUSH) {
            ret = drbd_co_wait_active(s);
            if (ret < 0) {
                return ret;
            }
        }
    }

    drbd_lock(obj);
    if (unlikely(qatomic_read(&s->inactive)) &&
        g->kind == DRBD_REQUEST_FLUSH &&
        !drbd_volume_needs_disk(obj->core, s->volume)) {
        drbd_unlock(obj);
        return 0; /* leaving the disk has flushed all there was */
    }
    if (!drbd_in_range(obj, s->volume, g->offset, g->bytes)) {
        drbd_unlock(obj);
        return -EIO;
    }
    qatomic_set(&obj->net.requests, obj->net.requests + 1);
    qatomic_set(&obj->net.arrivals, obj->net.arrivals + 1);
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
        case DRBD_STEP_COPY:
            step = drbd_copy(g, request, &copy);
            break;
        case DRBD_STEP_DELIVER:
            step = drbd_deliver(g, request);
            break;
        case DRBD_STEP_SUBMIT:
            drbd_unlock(obj);
            ret = drbd_submit(g, copy.payload);
            drbd_lock(obj);
            step = drbd_on_local_done(request, ret);
            break;
        case DRBD_STEP_COMPLETE:
            g_assert_not_reached();
        }
    }

    ret = drbd_request_end(request);
    qatomic_set(&obj->net.requests, obj->net.requests - 1);
    if (unlikely(s->drain_told && g->kind == DRBD_REQUEST_FLUSH)) {
        drbd_co_rest(obj);
    }
    drbd_unlock(obj);
    if (copy.payload) {
        drbd_payload_put(&obj->payload, copy.payload, g->bytes);
        g_free(copy.digests);
    }
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
    /* The block layer asks for the ends by themselves, and takes that for done. */
    if (!QEMU_IS_ALIGNED(offset | bytes, bs->bl.request_alignment)) {
        return -ENOTSUP;
    }
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
