/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the block layer would do round the replication.
 *
 * For a filter many absent callbacks mean "ask the child".  Every one was
 * looked at; those that would change one copy, or believe the image where the
 * peer may know better, are defined here and refuse:
 *
 *   snapshot_goto      rolls image and internal metadata back together: the
 *                      copies diverge and nobody notices
 *   snapshot_create    a snapshot that could not be applied; it also opens the
 *   snapshot_delete    way round for the one above
 *   snapshot_list      they are the image's snapshots, not the volume's
 *   snapshot_load_tmp
 *   save/load_vmstate  writes beyond the image's end, on one copy
 *   has_zero_init      a fresh image reads as zero, the volume need not
 *   recurse_can_replace  a mirror would exchange the image below us
 *   probe_geometry     the image is larger than the volume
 *
 * Defined elsewhere: truncate, getlength, refresh_limits (drbd-limits.c),
 * block_status (drbd-io.c), child_perm, set_perm (drbd-perm.c), drain
 * (drbd-drain.c), reopen (drbd-reopen.c), inactivate, invalidate_cache
 * (drbd-migrate.c).
 *
 * Absent, and right so:
 *   get_info, get_allocated_file_size, probe_blocksizes, debug_*, dirname,
 *   register_buf       the image's answer is true for the volume
 *   refresh_filename, gather_child_options  strong_runtime_opts makes the name
 *                      a json: one that holds the resource, so nobody reopens
 *                      the image under the volume's name
 *   copy_range_*       absent means that the caller reads and writes
 *   pwritev_compressed, amend, check, make_empty, change_backing_file, eject,
 *   lock_medium, ioctl, zone_*, persistent bitmaps   absent means refused
 *   cancel_in_flight   would fail writes of the image, which is a disk failure
 *   attach/detach_aio_context   nothing of ours lives in the node's context:
 *                      the worker is in the resource's
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "drbd-int.h"

int drbd_snapshot_goto(BlockDriverState *bs, const char *snapshot_id)
{
    BDRVDrbdState *s = bs->opaque;

    drbd_warn(s->obj, s, "Snapshot '%s' was not applied through node '%s': it "
              "would roll back one copy and its metadata alone", snapshot_id,
              s->node_name);
    return -ENOTSUP;
}

int drbd_snapshot_create(BlockDriverState *bs, QEMUSnapshotInfo *sn_info)
{
    return -ENOTSUP;
}

int drbd_snapshot_delete(BlockDriverState *bs, const char *snapshot_id,
                         const char *name, Error **errp)
{
    error_setg(errp, "Node '%s' is replicated and has no internal snapshots; "
               "use the image below it while it is detached", bs->node_name);
    return -ENOTSUP;
}

int drbd_snapshot_list(BlockDriverState *bs, QEMUSnapshotInfo **psn_info)
{
    return -ENOTSUP;
}

int drbd_snapshot_load_tmp(BlockDriverState *bs, const char *snapshot_id,
                           const char *name, Error **errp)
{
    error_setg(errp, "Node '%s' is replicated and has no internal snapshots",
               bs->node_name);
    return -ENOTSUP;
}

int coroutine_fn drbd_co_vmstate(BlockDriverState *bs, QEMUIOVector *qiov,
                                 int64_t pos)
{
    return -ENOTSUP;
}

int drbd_has_zero_init(BlockDriverState *bs)
{
    return 0;
}

bool drbd_recurse_can_replace(BlockDriverState *bs,
                              BlockDriverState *to_replace)
{
    return false;
}

int drbd_probe_geometry(BlockDriverState *bs, HDGeometry *geo)
{
    return -ENOTSUP;
}
