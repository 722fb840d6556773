/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of a node.
 *
 * In: the flattened options of blockdev-add or blockdev-reopen.  Out: what the
 * node needs to know.  Two lists: what is fixed when the node is opened, and
 * what a reopen may change.  A reopen that leaves one of the latter out asks
 * for its default, as everywhere in QEMU.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/option.h"
#include "qobject/qdict.h"
#include "drbd-int.h"

#define DRBD_OPT_RESOURCE "resource"
#define DRBD_OPT_VOLUME "volume"
#define DRBD_OPT_METADATA_INDEX "metadata-index"
#define DRBD_OPT_ROLE "role"

static QemuOptsList drbd_fixed_opts = {
    .name = "drbd",
    .head = QTAILQ_HEAD_INITIALIZER(drbd_fixed_opts.head),
    .desc = {
        {
            .name = DRBD_OPT_RESOURCE,
            .type = QEMU_OPT_STRING,
            .help = "id of the drbd-resource object",
        }, {
            .name = DRBD_OPT_VOLUME,
            .type = QEMU_OPT_NUMBER,
            .help = "number of the volume in the resource, default 0",
        }, {
            .name = DRBD_OPT_METADATA_INDEX,
            .type = QEMU_OPT_NUMBER,
            .help = "slot on a shared metadata device",
        }, {
            .name = DRBD_OPT_ROLE,
            .type = QEMU_OPT_STRING,
            .help = "role after opening: secondary (default) or primary",
        },
        { /* end of list */ }
    },
};

static QemuOptsList drbd_disk_opts = {
    .name = "drbd-disk",
    .head = QTAILQ_HEAD_INITIALIZER(drbd_disk_opts.head),
    .desc = {
        {
            .name = DRBD_OPT_ATTACH,
            .type = QEMU_OPT_BOOL,
            .help = "attach the disk, default on",
        }, {
            .name = DRBD_OPT_ON_IO_ERROR,
            .type = QEMU_OPT_STRING,
            .help = "detach (default) or pass-on",
        }, {
            .name = DRBD_OPT_AL_EXTENTS,
            .type = QEMU_OPT_NUMBER,
            .help = "hot extents of the activity log",
        },
        { /* end of list */ }
    },
};

const char *const drbd_mutable_opts[] = {
    DRBD_OPT_ATTACH, DRBD_OPT_ON_IO_ERROR, DRBD_OPT_AL_EXTENTS, NULL
};

/* Without these the json: filename would name another disk. */
const char *const drbd_strong_opts[] = {
    DRBD_OPT_RESOURCE, DRBD_OPT_VOLUME, DRBD_OPT_METADATA_INDEX, NULL
};

static bool drbd_opt_u32(QemuOpts *opts, const char *name, uint32_t fallback,
                         uint32_t *result, Error **errp)
{
    uint64_t value = qemu_opt_get_number(opts, name, fallback);

    if (value > UINT32_MAX) {
        error_setg(errp, "Option '%s' is out of range: %" PRIu64, name, value);
        return false;
    }
    *result = value;
    return true;
}

static bool drbd_opt_role(QemuOpts *opts, bool *primary, Error **errp)
{
    const char *role = qemu_opt_get(opts, DRBD_OPT_ROLE);

    *primary = role && !strcmp(role, "primary");
    if (role && !*primary && strcmp(role, "secondary")) {
        error_setg(errp, "Option 'role' must be 'secondary' or 'primary', not "
                   "'%s'", role);
        return false;
    }
    return true;
}

static bool drbd_opt_on_io_error(QemuOpts *opts, DrbdOnIoError *result,
                                 Error **errp)
{
    const char *policy = qemu_opt_get(opts, DRBD_OPT_ON_IO_ERROR);

    if (!policy || !strcmp(policy, "detach")) {
        *result = DRBD_ON_IO_ERROR_DETACH;
    } else if (!strcmp(policy, "pass-on") || !strcmp(policy, "pass_on")) {
        /* The second is DRBD's own spelling; QAPI admits the first alone. */
        *result = DRBD_ON_IO_ERROR_PASS_ON;
    } else {
        error_setg(errp, "Option 'on-io-error' must be 'detach' or 'pass-on', "
                   "not '%s'", policy);
        return false;
    }
    return true;
}

bool drbd_parse_disk_options(QDict *options, DrbdNodeOptions *result,
                             Error **errp)
{
    QemuOpts *opts = qemu_opts_create(&drbd_disk_opts, NULL, 0, &error_abort);
    bool ok;

    ok = qemu_opts_absorb_qdict(opts, options, errp) &&
         drbd_opt_on_io_error(opts, &result->on_io_error, errp) &&
         drbd_opt_u32(opts, DRBD_OPT_AL_EXTENTS, 0, &result->al_extents, errp);
    if (ok && result->al_extents != 0 &&
        (result->al_extents < DRBD_AL_EXTENTS_MIN ||
         result->al_extents > DRBD_AL_EXTENTS_MAX)) {
        error_setg(errp, "Option 'al-extents' must be %d to %d, not %" PRIu32,
                   DRBD_AL_EXTENTS_MIN, DRBD_AL_EXTENTS_MAX,
                   result->al_extents);
        ok = false;
    }
    if (ok) {
        result->attach = qemu_opt_get_bool(opts, DRBD_OPT_ATTACH, true);
    }
    qemu_opts_del(opts);
    return ok;
}

static bool drbd_parse_fixed_opts(BDRVDrbdState *s, QemuOpts *opts,
                                  char **resource, Error **errp)
{
    bool indexed = qemu_opt_get(opts, DRBD_OPT_METADATA_INDEX);

    if (!drbd_opt_u32(opts, DRBD_OPT_VOLUME, 0, &s->volume, errp) ||
        !drbd_opt_u32(opts, DRBD_OPT_METADATA_INDEX, 0, &s->metadata_index,
                      errp) ||
        !drbd_opt_role(opts, &s->primary, errp)) {
        return false;
    }
    s->placement = indexed ? DRBD_PLACEMENT_INDEXED : DRBD_PLACEMENT_INTERNAL;

    *resource = g_strdup(qemu_opt_get(opts, DRBD_OPT_RESOURCE));
    if (!*resource) {
        error_setg(errp, "Option 'resource' is missing; it names an object "
                   "made with -object drbd-resource,id=...");
        return false;
    }
    return true;
}

bool drbd_parse_fixed_options(BDRVDrbdState *s, QDict *options,
                              char **resource, Error **errp)
{
    QemuOpts *opts = qemu_opts_create(&drbd_fixed_opts, NULL, 0, &error_abort);
    bool ok;

    ok = qemu_opts_absorb_qdict(opts, options, errp) &&
         drbd_parse_fixed_opts(s, opts, resource, errp);
    qemu_opts_del(opts);
    return ok;
}
