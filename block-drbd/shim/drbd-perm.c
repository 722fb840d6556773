/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Permissions on the children.
 *
 * A replicated disk is written by the node itself (metadata, and a peer's
 * writes later), whatever is above it, so a filter's inherited permissions do
 * not do.  From before the attach until the disk is gone the node takes WRITE
 * and CONSISTENT_READ and shares neither WRITE nor RESIZE, in either role.
 * Without a disk, and while inactive, it takes nothing and shares everything:
 * it can be inserted above a node that a guest uses.
 *
 * `want_disk` and `md_operation` say that the children must be ours.  They are
 * set before the core is told and cleared after it has let go; the block layer
 * reads them through .bdrv_child_perm whenever anything else changes.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"
#include "trace.h"

/* Whether the children must be ours, now or after a reopen in progress. */
static bool drbd_perm_wanted(BDRVDrbdState *s, BlockReopenQueue *reopen_queue)
{
    if (s->bs->open_flags & BDRV_O_INACTIVE) {
        return false;
    }
    return s->want_disk || s->md_operation ||
           (reopen_queue && s->reopen && s->reopen->attach);
}

void GRAPH_RDLOCK
drbd_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
                BlockReopenQueue *reopen_queue,
                uint64_t perm, uint64_t shared,
                uint64_t *nperm, uint64_t *nshared)
{
    BDRVDrbdState *s = bs->opaque;
    const uint64_t passed = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                            BLK_PERM_WRITE_UNCHANGED;

    if (!drbd_perm_wanted(s, reopen_queue)) {
        *nperm = 0;
        *nshared = BLK_PERM_ALL;
        return;
    }

    *nperm = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE;
    *nshared = BLK_PERM_ALL & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    if (role & BDRV_CHILD_FILTERED) {
        *nperm |= perm & passed;
        /* What a parent tolerates below itself it must tolerate below us. */
        *nshared &= shared | BLK_PERM_WRITE_UNCHANGED;
    } else if (s->placement == DRBD_PLACEMENT_INDEXED) {
        /* Others have slots on the same device. */
        *nshared |= BLK_PERM_WRITE;
    }
}

/*
 * A Primary whose last writer went away may still have a guest: its writes go
 * into an overlay now, round the replication.  This runs from the outermost
 * main loop alone: a permission that comes back in the same command, or a
 * program that is ending, is not worth a warning.
 */
void drbd_writer_bh(void *opaque)
{
    BDRVDrbdState *s = opaque;

    if (s->had_writer || !s->opened || s->closing ||
        qatomic_read(&s->inactive) ||
        (s->bs->open_flags & BDRV_O_INACTIVE) || !drbd_is_primary(s->obj)) {
        return;
    }
    drbd_warn(s->obj, s, "The resource is Primary but nothing writes to node "
              "'%s' any more: if its guest runs, its writes bypass the "
              "replication (snapshots belong below the node); otherwise make "
              "it Secondary with drbd-set-role", s->node_name);
}

/* The cumulative permissions of the parents changed. */
void GRAPH_RDLOCK drbd_set_perm(BlockDriverState *bs, uint64_t perm,
                                uint64_t shared)
{
    BDRVDrbdState *s = bs->opaque;
    bool writer = perm & BLK_PERM_WRITE;

    trace_drbd_perm(bs, perm, shared, s->want_disk);
    if (s->had_writer && !writer && s->writer_bh) {
        qemu_bh_schedule(s->writer_bh);
    }
    s->had_writer = writer;
}

static bool GRAPH_RDLOCK drbd_perm_refresh(BDRVDrbdState *s, Error **errp)
{
    GLOBAL_STATE_CODE();
    if (bdrv_child_refresh_perms(s->bs, s->bs->file, errp) < 0) {
        return false;
    }
    return !s->metadata ||
           bdrv_child_refresh_perms(s->bs, s->metadata, errp) == 0;
}

bool GRAPH_RDLOCK drbd_perm_take(BDRVDrbdState *s, Error **errp)
{
    ERRP_GUARD();

    if (!drbd_perm_refresh(s, errp)) {
        error_prepend(errp, "Node '%s' cannot take its disk: ", s->node_name);
        return false;
    }
    return true;
}

/* Loosening cannot fail for a reason that anybody could act upon. */
void GRAPH_RDLOCK drbd_perm_drop(BDRVDrbdState *s)
{
    Error *local_err = NULL;

    if (!drbd_perm_refresh(s, &local_err)) {
        drbd_warn(s->obj, s, "Node '%s' could not give up its permissions on "
                  "the disk: %s", s->node_name, error_get_pretty(local_err));
        error_free(local_err);
    }
}
