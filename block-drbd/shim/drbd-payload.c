/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers for copies of guest payload.
 *
 * A guest may change a buffer while its write is in flight; when more than the
 * image reads the payload, all readers must see one copy.  The copies come from
 * this pool: five sizes, each with a list of free buffers, at most
 * DRBD_PAYLOAD_MAX bytes together.  Nothing is allocated once the pool has seen
 * the load; a request that finds it empty waits its turn.  Who holds a buffer
 * waits for the image and the peer, never for another buffer, so the wait ends.
 *
 * Payload of the peer has a pool of its own: it must not wait for guests, nor
 * can whoever reads a socket wait at all.  There the core bounds the bytes that
 * are in use (max-buffers), and what is above DRBD_PAYLOAD_MAX is not kept.
 */
#include "qemu/osdep.h"
#include "qemu/memalign.h"
#include "drbd-int.h"

#define DRBD_PAYLOAD_MAX (32 * MiB)
#define DRBD_PAYLOAD_ALIGN 4096

static const size_t payload_sizes[DRBD_PAYLOAD_CLASSES] = {
    4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, DRBD_MAX_TRANSFER,
};

static unsigned payload_class(size_t bytes)
{
    unsigned i = 0;

    while (payload_sizes[i] < bytes) {
        i++;
        assert(i < DRBD_PAYLOAD_CLASSES);
    }
    return i;
}

void drbd_payload_init(DrbdPayloadPool *pool)
{
    qemu_mutex_init(&pool->lock);
    qemu_co_queue_init(&pool->waiters);
}

static void *payload_take_free(DrbdPayloadPool *pool, unsigned class)
{
    void *buffer = pool->free[class];

    if (buffer) {
        pool->free[class] = *(void **)buffer;
    }
    return buffer;
}

/* Gives free buffers of any size back until @wanted bytes fit. */
static bool payload_make_room(DrbdPayloadPool *pool, size_t wanted)
{
    for (unsigned i = DRBD_PAYLOAD_CLASSES; i-- > 0; ) {
        while (pool->bytes + wanted > DRBD_PAYLOAD_MAX) {
            void *buffer = payload_take_free(pool, i);
            if (!buffer) {
                break;
            }
            pool->bytes -= payload_sizes[i];
            qemu_vfree(buffer);
        }
    }
    return pool->bytes + wanted <= DRBD_PAYLOAD_MAX;
}

void drbd_payload_destroy(DrbdPayloadPool *pool)
{
    for (unsigned i = 0; i < DRBD_PAYLOAD_CLASSES; i++) {
        void *buffer;
        while ((buffer = payload_take_free(pool, i))) {
            pool->bytes -= payload_sizes[i];
            qemu_vfree(buffer);
        }
    }
    assert(pool->bytes == 0);
    qemu_mutex_destroy(&pool->lock);
}

/* A new one while there is room for it; NULL if somebody has to wait. */
static void *payload_take(DrbdPayloadPool *pool, unsigned class)
{
    void *buffer = payload_take_free(pool, class);

    if (!buffer && payload_make_room(pool, payload_sizes[class])) {
        buffer = qemu_memalign(DRBD_PAYLOAD_ALIGN, payload_sizes[class]);
        pool->bytes += payload_sizes[class];
    }
    return buffer;
}

void *drbd_payload_try(DrbdPayloadPool *pool, size_t bytes)
{
    QEMU_LOCK_GUARD(&pool->lock);
    return qemu_co_queue_empty(&pool->waiters)
        ? payload_take(pool, payload_class(bytes)) : NULL;
}

void *coroutine_fn drbd_payload_get(DrbdPayloadPool *pool, size_t bytes)
{
    unsigned class = payload_class(bytes);
    void *buffer = NULL;

    QEMU_LOCK_GUARD(&pool->lock);

    /* Later comers do not overtake: a large request would starve. */
    if (!qemu_co_queue_empty(&pool->waiters)) {
        qemu_co_queue_wait(&pool->waiters, &pool->lock);
    }
    while (!(buffer = payload_take(pool, class))) {
        qemu_co_queue_wait_flags(&pool->waiters, &pool->lock,
                                 CO_QUEUE_WAIT_FRONT);
    }
    /* What is left may do for the next. */
    qemu_co_queue_next(&pool->waiters);
    return buffer;
}

void coroutine_fn drbd_payload_put(DrbdPayloadPool *pool, void *buffer,
                                   size_t bytes)
{
    unsigned class = payload_class(bytes);

    QEMU_LOCK_GUARD(&pool->lock);
    *(void **)buffer = pool->free[class];
    pool->free[class] = buffer;
    qemu_co_queue_next(&pool->waiters);
}

/* ------------------------------------------- for those who must not wait */

void *drbd_payload_take(DrbdPayloadPool *pool, size_t bytes)
{
    unsigned class = payload_class(bytes);
    void *buffer;

    QEMU_LOCK_GUARD(&pool->lock);
    buffer = payload_take_free(pool, class);
    if (!buffer) {
        payload_make_room(pool, payload_sizes[class]);
        buffer = qemu_try_memalign(DRBD_PAYLOAD_ALIGN, payload_sizes[class]);
        pool->bytes += buffer ? payload_sizes[class] : 0;
    }
    return buffer;
}

void drbd_payload_give(DrbdPayloadPool *pool, void *buffer, size_t bytes)
{
    unsigned class = payload_class(bytes);

    QEMU_LOCK_GUARD(&pool->lock);
    if (pool->bytes > DRBD_PAYLOAD_MAX) {
        pool->bytes -= payload_sizes[class];
        qemu_vfree(buffer);
        return;
    }
    *(void **)buffer = pool->free[class];
    pool->free[class] = buffer;
}
