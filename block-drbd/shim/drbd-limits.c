/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits and size of a node.
 *
 * In: the limits of both children and the size that the core agreed upon.
 * Out: what the block layer may ask of us.  Requests are at least a sector,
 * because the metadata format knows nothing smaller; they are bounded, because
 * one request is one entry in the core's tables.  The block layer merges the
 * limits of the image alone, so the metadata device is looked at here.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"

void GRAPH_RDLOCK drbd_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BDRVDrbdState *s = bs->opaque;
    uint32_t alignment = BDRV_SECTOR_SIZE;

    alignment = MAX(alignment, bs->file->bs->bl.request_alignment);
    if (s->metadata) {
        alignment = MAX(alignment, s->metadata->bs->bl.request_alignment);
    }
    if (alignment > DRBD_MAX_TRANSFER) {
        error_setg(errp, "Node '%s' needs requests of %" PRIu32 " bytes, but "
                   "replication has at most %" PRIu64, bs->node_name,
                   alignment, (uint64_t)DRBD_MAX_TRANSFER);
        return;
    }

    bs->bl.request_alignment = alignment;
    bs->bl.max_transfer = MIN_NON_ZERO(bs->bl.max_transfer, DRBD_MAX_TRANSFER);
    bs->bl.opt_transfer = MIN(bs->bl.opt_transfer, bs->bl.max_transfer);
    bs->bl.max_pdiscard = DRBD_MAX_ZEROES;
    bs->bl.pdiscard_alignment = bs->file->bs->bl.pwrite_zeroes_alignment;
    bs->bl.max_pwrite_zeroes = DRBD_MAX_ZEROES;
    bs->bl.pwrite_zeroes_alignment = bs->file->bs->bl.pwrite_zeroes_alignment;
    /* The size is what was agreed upon, not what the image has today. */
    bs->bl.has_variable_length = false;
}

int64_t coroutine_fn GRAPH_RDLOCK drbd_co_getlength(BlockDriverState *bs)
{
    BDRVDrbdState *s = bs->opaque;

    QEMU_LOCK_GUARD(&s->obj->lock);
    return drbd_volume_bytes(s->obj->core, s->volume);
}

/* The block layer would pass it to the image and change one copy alone. */
int coroutine_fn GRAPH_RDLOCK
drbd_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                 PreallocMode prealloc, BdrvRequestFlags flags, Error **errp)
{
    error_setg(errp, "The size of node '%s' is part of its replication and "
               "cannot be changed here", bs->node_name);
    return -ENOTSUP;
}

/* One that somebody has in use keeps its size, which is an error of his. */
static void drbd_bitmaps_follow(BDRVDrbdState *s, BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap;

    FOR_EACH_DIRTY_BITMAP(bs, bitmap) {
        if (bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY, NULL)) {
            drbd_warn(s->obj, s, "Node '%s' has another size now, and dirty "
                      "bitmap '%s' is in use: end that and remove it before "
                      "the guest writes", bs->node_name,
                      bdrv_dirty_bitmap_name(bitmap));
            return;
        }
    }
    bdrv_dirty_bitmap_truncate(bs, bs->total_sectors * BDRV_SECTOR_SIZE);
}

/*
 * Parents hear of another size as they hear of a truncate.  The block layer has
 * no way to tell a filter above, which has our size as its own: it looks anew, and
 * its parents hear of it.
 */
static void GRAPH_RDLOCK drbd_tell_parents(BDRVDrbdState *s,
                                           BlockDriverState *bs)
{
    BdrvChild *c;

    drbd_bitmaps_follow(s, bs);
    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (c->klass->parent_is_bds && (c->role & BDRV_CHILD_FILTERED)) {
            BlockDriverState *parent = c->opaque;
            int64_t before = parent->total_sectors;

            /* One that knows no size of its own keeps what it has. */
            if (bdrv_refresh_total_sectors(parent, before) == 0 &&
                parent->total_sectors != before) {
                drbd_tell_parents(s, parent);
            }
        } else if (c->klass->resize) {
            c->klass->resize(c);
        }
    }
}

/* An attach may have changed the size; dirty bitmaps follow.  Main thread. */
void GRAPH_RDLOCK drbd_size_changed(BDRVDrbdState *s)
{
    BlockDriverState *bs = s->bs;
    int64_t sectors;

    GLOBAL_STATE_CODE();
    WITH_QEMU_LOCK_GUARD(&s->obj->lock) {
        sectors = drbd_volume_bytes(s->obj->core, s->volume) >>
                  BDRV_SECTOR_BITS;
    }
    if (sectors == bs->total_sectors) {
        return;
    }
    bs->total_sectors = sectors;
    drbd_tell_parents(s, bs);
}
