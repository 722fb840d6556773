/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qtest of the drbd block driver: what a management program sees.
 *
 * In: an emulator with the driver, images made here.  Each test starts its own
 * emulator, and drives it through QMP alone: objects, nodes, devices, roles,
 * reopen, stop and cont, an inactive node, quit.  Guest I/O is done by backup
 * jobs that write to or read from the node.
 *
 * Operations are waited for by their event; a test that waits for ever is ended
 * by the harness.
 */
#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qemu/units.h"

#define IMAGE_BYTES (16 * MiB)
#define MD_CRASHED_PRIMARY (1 << 1)

typedef struct Fixture {
    char *image;
    char *metadata;
} Fixture;

static char *make_image(const char *what)
{
    char *path = NULL;
    g_autofree char *name = g_strdup_printf("drbd-test-%s-XXXXXX", what);
    int fd = g_file_open_tmp(name, &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, IMAGE_BYTES), ==, 0);
    close(fd);
    return path;
}

static void setup(Fixture *f, gconstpointer data)
{
    f->image = make_image("image");
    f->metadata = make_image("metadata");
}

static void teardown(Fixture *f, gconstpointer data)
{
    unlink(f->image);
    unlink(f->metadata);
    g_free(f->image);
    g_free(f->metadata);
}

/* ------------------------------------------------------------- helpers -- */

static void G_GNUC_PRINTF(2, 3) ok(QTestState *qts, const char *fmt, ...)
{
    va_list ap;
    QDict *reply;

    va_start(ap, fmt);
    reply = qtest_vqmp(qts, fmt, ap);
    va_end(ap);
    if (!qdict_haskey(reply, "return")) {
        QDict *error = qdict_get_qdict(reply, "error");
        g_error("%s: %s", fmt, qdict_get_str(error, "desc"));
    }
    qobject_unref(reply);
}

/* The command fails, and its error says @part. */
static void G_GNUC_PRINTF(3, 4) refused(QTestState *qts, const char *part,
                                        const char *fmt, ...)
{
    va_list ap;
    QDict *reply;
    const char *desc;

    va_start(ap, fmt);
    reply = qtest_vqmp(qts, fmt, ap);
    va_end(ap);
    g_assert_true(qdict_haskey(reply, "error"));
    desc = qdict_get_str(qdict_get_qdict(reply, "error"), "desc");
    if (!strstr(desc, part)) {
        g_error("'%s' does not say '%s'", desc, part);
    }
    qobject_unref(reply);
}

/* Waits for the end of the next operation @command. */
static bool operation_ended(QTestState *qts, const char *command)
{
    for (;;) {
        QDict *event = qtest_qmp_eventwait_ref(qts,
                                               "DRBD_OPERATION_COMPLETED");
        QDict *data = qdict_get_qdict(event, "data");
        bool mine = !strcmp(qdict_get_str(data, "command"), command);
        bool success = qdict_get_bool(data, "success");

        qobject_unref(event);
        if (mine) {
            return success;
        }
    }
}

static void state_changes_to(QTestState *qts, const char *field,
                             const char *state)
{
    bool found = false;

    while (!found) {
        QDict *event = qtest_qmp_eventwait_ref(qts, "DRBD_STATE_CHANGED");
        QDict *data = qdict_get_qdict(event, "data");

        found = !strcmp(qdict_get_str(data, "field"), field) &&
                !strcmp(qdict_get_str(data, "new"), state);
        qobject_unref(event);
    }
}

static QDict *query(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'query-drbd' }");
    QList *list = qdict_get_qlist(reply, "return");
    QDict *resource;

    g_assert_cmpint(qlist_size(list), ==, 1);
    resource = qobject_to(QDict, qlist_peek(list));
    qobject_ref(resource);
    qobject_unref(reply);
    return resource;
}

static QDict *query_volume(QTestState *qts)
{
    QDict *resource = query(qts);
    QDict *volume = qobject_to(QDict,
                               qlist_peek(qdict_get_qlist(resource,
                                                          "volumes")));

    g_assert_nonnull(volume);
    qobject_ref(volume);
    qobject_unref(resource);
    return volume;
}

static void assert_disk(QTestState *qts, const char *state)
{
    QDict *volume = query_volume(qts);

    g_assert_cmpstr(qdict_get_str(volume, "disk"), ==, state);
    qobject_unref(volume);
}

static void assert_role(QTestState *qts, const char *role)
{
    QDict *resource = query(qts);

    g_assert_cmpstr(qdict_get_str(resource, "role"), ==, role);
    qobject_unref(resource);
}

static void add_image(QTestState *qts, Fixture *f)
{
    ok(qts, "{ 'execute': 'object-add', 'arguments':"
            "  { 'qom-type': 'drbd-resource', 'id': 'r0' } }");
    ok(qts, "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'file', 'node-name': 'img0', 'filename': %s } }",
       f->image);
}

static void create_md(QTestState *qts)
{
    ok(qts, "{ 'execute': 'drbd-create-md', 'arguments':"
            "  { 'node-name': 'd0' } }");
    g_assert_true(operation_ended(qts, "create-md"));
}

static void set_role(QTestState *qts, const char *role, bool force)
{
    ok(qts, "{ 'execute': 'drbd-set-role', 'arguments':"
            "  { 'resource': 'r0', 'role': %s, 'force': %i } }", role, force);
}

/* A Secondary with an attached, Inconsistent disk. */
static QTestState *start_attached(Fixture *f, const char *args)
{
    QTestState *qts = qtest_initf("-nic none %s", args);

    add_image(qts, f);
    ok(qts, "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'attach': false } }");
    create_md(qts);
    ok(qts, "{ 'execute': 'drbd-attach', 'arguments':"
            "  { 'node-name': 'd0' } }");
    g_assert_true(operation_ended(qts, "attach"));
    assert_disk(qts, "Inconsistent");
    return qts;
}

static QTestState *start_primary(Fixture *f, const char *args)
{
    QTestState *qts = start_attached(f, args);

    ok(qts, "{ 'execute': 'drbd-set-role', 'arguments':"
            "  { 'resource': 'r0', 'role': 'primary', 'force': true } }");
    g_assert_true(operation_ended(qts, "set-role"));
    assert_disk(qts, "UpToDate");
    return qts;
}

/* Writes the whole of d0; the job's error, or NULL. */
static char *write_all(QTestState *qts)
{
    QDict *volume = query_volume(qts);
    QDict *event, *data;
    char *error;

    ok(qts, "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'null-co', 'node-name': 'source',"
            "    'read-zeroes': false, 'size': %" PRId64 " } }",
       qdict_get_int(volume, "size"));
    qobject_unref(volume);
    ok(qts, "{ 'execute': 'blockdev-backup', 'arguments':"
            "  { 'job-id': 'b', 'device': 'source', 'target': 'd0',"
            "    'sync': 'full' } }");
    event = qtest_qmp_eventwait_ref(qts, "BLOCK_JOB_COMPLETED");
    data = qdict_get_qdict(event, "data");
    error = g_strdup(qdict_get_try_str(data, "error"));
    qobject_unref(event);
    ok(qts, "{ 'execute': 'blockdev-del', 'arguments':"
            "  { 'node-name': 'source' } }");
    return error;
}

/* --------------------------------------------------------------- tests -- */

static void test_query_empty(void)
{
    QTestState *qts = qtest_init("-nic none");
    QDict *reply = qtest_qmp(qts, "{ 'execute': 'query-drbd' }");

    g_assert_true(qlist_empty(qdict_get_qlist(reply, "return")));
    qobject_unref(reply);
    qtest_quit(qts);
}

static void test_order_of_deletion(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_attached(f, "");

    refused(qts, "in use", "{ 'execute': 'object-del', 'arguments':"
                           "  { 'id': 'r0' } }");
    refused(qts, "in use", "{ 'execute': 'blockdev-del', 'arguments':"
                           "  { 'node-name': 'img0' } }");
    ok(qts, "{ 'execute': 'blockdev-del', 'arguments':"
            "  { 'node-name': 'd0' } }");
    state_changes_to(qts, "disk", "Diskless");
    ok(qts, "{ 'execute': 'object-del', 'arguments': { 'id': 'r0' } }");
    ok(qts, "{ 'execute': 'blockdev-del', 'arguments':"
            "  { 'node-name': 'img0' } }");
    qtest_quit(qts);
}

static void test_bad_options(Fixture *f, gconstpointer data)
{
    QTestState *qts = qtest_init("-nic none");

    add_image(qts, f);
    refused(qts, "no drbd-resource 'none'",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'none',"
            "    'file': 'img0' } }");
    refused(qts, "volume 1",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'volume': 1, 'file': 'img0', 'attach': false } }");
    refused(qts, "metadata",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'metadata-index': 0, 'file': 'img0' } }");
    refused(qts, "read-only",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'read-only': true } }");
    /* No metadata yet: the reason is the core's, and nothing is left behind. */
    refused(qts, "metadata",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0' } }");
    refused(qts, "no-flush",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'attach': false,"
            "    'file': { 'driver': 'null-co',"
            "              'cache': { 'no-flush': true } } } }");
    refused(qts, "1 to 16",
            "{ 'execute': 'object-add', 'arguments':"
            "  { 'qom-type': 'drbd-resource', 'id': 'r1', 'volumes': 17 } }");
    refused(qts, "no iothread 'none'",
            "{ 'execute': 'object-add', 'arguments':"
            "  { 'qom-type': 'drbd-resource', 'id': 'r1',"
            "    'iothread': 'none' } }");
    ok(qts, "{ 'execute': 'object-del', 'arguments': { 'id': 'r0' } }");
    qtest_quit(qts);
}

static void test_second_node(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_attached(f, "");

    refused(qts, "volume 0",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd1', 'resource': 'r0',"
            "    'file': 'img0' } }");
    ok(qts, "{ 'execute': 'object-add', 'arguments':"
            "  { 'qom-type': 'drbd-resource', 'id': 'r1' } }");
    refused(qts, "img0",
            "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd1', 'resource': 'r1',"
            "    'file': 'img0' } }");
    /* The first is as it was. */
    set_role(qts, "primary", true);
    g_assert_true(operation_ended(qts, "set-role"));
    qtest_quit(qts);
}

static void test_roles(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_attached(f, "");
    g_autofree char *as_secondary = NULL;
    g_autofree char *as_primary = NULL;

    as_secondary = write_all(qts);
    g_assert_cmpstr(as_secondary, ==, "Read-only file system");

    refused(qts, "force", "{ 'execute': 'drbd-set-role', 'arguments':"
                          "  { 'resource': 'r0', 'role': 'primary' } }");
    set_role(qts, "primary", true);
    state_changes_to(qts, "role", "Primary");
    assert_role(qts, "primary");
    as_primary = write_all(qts);
    g_assert_cmpstr(as_primary, ==, NULL);

    refused(qts, "Primary", "{ 'execute': 'drbd-detach', 'arguments':"
                            "  { 'node-name': 'd0' } }");
    set_role(qts, "secondary", false);
    state_changes_to(qts, "role", "Secondary");
    ok(qts, "{ 'execute': 'drbd-outdate', 'arguments':"
            "  { 'node-name': 'd0' } }");
    g_assert_true(operation_ended(qts, "outdate"));
    assert_disk(qts, "Outdated");
    ok(qts, "{ 'execute': 'drbd-invalidate', 'arguments':"
            "  { 'node-name': 'd0' } }");
    g_assert_true(operation_ended(qts, "invalidate"));
    assert_disk(qts, "Inconsistent");
    qtest_quit(qts);
}

static void test_reopen(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_primary(f, "");

    refused(qts, "Secondary first",
            "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'attach': false } ] } }");
    refused(qts, "al-extents",
            "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'al-extents': 67 } ] } }");
    refused(qts, "resource",
            "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r9',"
            "    'file': 'img0' } ] } }");
    ok(qts, "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'on-io-error': 'pass-on' } ] } }");
    set_role(qts, "secondary", false);
    g_assert_true(operation_ended(qts, "set-role"));

    ok(qts, "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'attach': false } ] } }");
    g_assert_true(operation_ended(qts, "detach"));
    assert_disk(qts, "Diskless");
    /* The image is free for others. */
    ok(qts, "{ 'execute': 'block_resize', 'arguments':"
            "  { 'node-name': 'img0', 'size': %" PRId64 " } }",
       (int64_t)IMAGE_BYTES);

    ok(qts, "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'al-extents': 67 } ] } }");
    g_assert_true(operation_ended(qts, "attach"));
    assert_disk(qts, "UpToDate");
    assert_role(qts, "secondary");
    refused(qts, "size", "{ 'execute': 'block_resize', 'arguments':"
                         "  { 'node-name': 'd0', 'size': 1048576 } }");
    qtest_quit(qts);
}

static void test_lost_writer(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_primary(f, "");
    QDict *event;

    /* The backup job is the only writer; with its end the Primary has none. */
    g_free(write_all(qts));
    event = qtest_qmp_eventwait_ref(qts, "DRBD_WARNING");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"),
                                  "node-name"), ==, "d0");
    qobject_unref(event);
    qtest_quit(qts);
}

static void test_device(Fixture *f, gconstpointer data)
{
    const char *mapping = data;
    QTestState *qts = start_primary(f, "-object iothread,id=t0 "
                                       "-object iothread,id=t1");

    if (mapping) {
        ok(qts, "{ 'execute': 'device_add', 'arguments':"
                "  { 'driver': 'virtio-blk-pci', 'id': 'vd0', 'drive': 'd0',"
                "    'num-queues': 2, 'romfile': '',"
                "    'iothread-vq-mapping': [ { 'iothread': 't0' },"
                "                             { 'iothread': 't1' } ] } }");
    } else {
        ok(qts, "{ 'execute': 'device_add', 'arguments':"
                "  { 'driver': 'virtio-blk-pci', 'id': 'vd0', 'drive': 'd0',"
                "    'iothread': 't0', 'romfile': '' } }");
    }
    refused(qts, "in use", "{ 'execute': 'blockdev-del', 'arguments':"
                           "  { 'node-name': 'd0' } }");
    refused(qts, "held open", "{ 'execute': 'drbd-set-role', 'arguments':"
                              "  { 'resource': 'r0', 'role': 'secondary' } }");
    ok(qts, "{ 'execute': 'stop' }");
    qtest_qmp_eventwait(qts, "STOP");
    ok(qts, "{ 'execute': 'blockdev-reopen', 'arguments': { 'options': ["
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'on-io-error': 'pass-on' } ] } }");
    ok(qts, "{ 'execute': 'cont' }");
    qtest_qmp_eventwait(qts, "RESUME");
    assert_disk(qts, "UpToDate");
    assert_role(qts, "primary");
    qtest_quit(qts);
}

/* quit in the role Primary leaves metadata that needs no repair. */
static void test_quit_is_clean(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_primary(f, "");
    QDict *volume, *metadata;

    g_free(write_all(qts));
    ok(qts, "{ 'execute': 'quit' }");
    qtest_wait_qemu(qts);
    qtest_quit(qts);

    qts = qtest_initf("-nic none -object drbd-resource,id=r0 "
                      "-blockdev driver=file,node-name=img0,filename=%s "
                      "-blockdev driver=drbd,node-name=d0,resource=r0,"
                      "file=img0", f->image);
    assert_disk(qts, "UpToDate");
    volume = query_volume(qts);
    metadata = qdict_get_qdict(volume, "metadata");
    g_assert_cmpint(qdict_get_int(metadata, "flags") & MD_CRASHED_PRIMARY, ==,
                    0);
    qobject_unref(volume);
    qtest_quit(qts);
}

/* kill -9 in the role Primary: the next attach repairs and says so. */
static void test_kill(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_primary(f, "");

    g_free(write_all(qts));
    qtest_kill_qemu(qts);
    qtest_quit(qts);

    qts = qtest_initf("-nic none -object drbd-resource,id=r0 "
                      "-blockdev driver=file,node-name=img0,filename=%s "
                      "-blockdev driver=drbd,node-name=d0,resource=r0,"
                      "file=img0,role=primary", f->image);
    assert_disk(qts, "UpToDate");
    assert_role(qts, "primary");
    qtest_quit(qts);
}

/* A QEMU that waits for a migration touches nothing until it is activated. */
static void test_incoming(Fixture *f, gconstpointer data)
{
    QTestState *qts = start_primary(f, "");
    QDict *volume;

    ok(qts, "{ 'execute': 'quit' }");
    qtest_wait_qemu(qts);
    qtest_quit(qts);

    qts = qtest_initf("-nic none -incoming defer -object drbd-resource,id=r0 "
                      "-blockdev driver=file,node-name=img0,filename=%s "
                      "-blockdev driver=drbd,node-name=d0,resource=r0,"
                      "file=img0,role=primary", f->image);
    assert_disk(qts, "Diskless");
    volume = query_volume(qts);
    g_assert_false(qdict_get_bool(volume, "active"));
    qobject_unref(volume);
    refused(qts, "inactive", "{ 'execute': 'drbd-attach', 'arguments':"
                             "  { 'node-name': 'd0' } }");
    ok(qts, "{ 'execute': 'blockdev-set-active', 'arguments':"
            "  { 'node-name': 'd0', 'active': true } }");
    assert_disk(qts, "UpToDate");
    assert_role(qts, "primary");
    ok(qts, "{ 'execute': 'blockdev-set-active', 'arguments':"
            "  { 'node-name': 'd0', 'active': false } }");
    assert_disk(qts, "Diskless");
    assert_role(qts, "secondary");
    qtest_quit(qts);
}

/* External metadata, flexible: the whole image is the guest's. */
static void test_external(Fixture *f, gconstpointer data)
{
    QTestState *qts = qtest_init("-nic none");
    QDict *volume;

    add_image(qts, f);
    ok(qts, "{ 'execute': 'blockdev-add', 'arguments':"
            "  { 'driver': 'drbd', 'node-name': 'd0', 'resource': 'r0',"
            "    'file': 'img0', 'attach': false, 'metadata':"
            "    { 'driver': 'file', 'filename': %s } } }", f->metadata);
    create_md(qts);
    ok(qts, "{ 'execute': 'drbd-attach', 'arguments':"
            "  { 'node-name': 'd0' } }");
    g_assert_true(operation_ended(qts, "attach"));
    volume = query_volume(qts);
    g_assert_cmpint(qdict_get_int(volume, "size"), ==, IMAGE_BYTES);
    qobject_unref(volume);
    qtest_quit(qts);
}

#define ADD(name, function, data) \
    qtest_add("drbd/" name, Fixture, data, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    qtest_add_func("drbd/query-empty", test_query_empty);
    ADD("order-of-deletion", test_order_of_deletion, NULL);
    ADD("bad-options", test_bad_options, NULL);
    ADD("second-node", test_second_node, NULL);
    ADD("roles", test_roles, NULL);
    ADD("reopen", test_reopen, NULL);
    ADD("lost-writer", test_lost_writer, NULL);
    ADD("device/iothread", test_device, NULL);
    ADD("device/iothread-vq-mapping", test_device, "two");
    ADD("quit-is-clean", test_quit_is_clean, NULL);
    ADD("kill", test_kill, NULL);
    ADD("incoming", test_incoming, NULL);
    ADD("external-metadata", test_external, NULL);
    return g_test_run();
}
