# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph changes while a guest writes at depth 32 in an IOThread: nodes come
and go, options change, block jobs read the volume, and no write is lost.

What QEMU's own tests graph-changes-while-io and 245 ask of every driver.
"""

import json

import pytest

from blockdrbd import QmpError, drbd_node, resource_object
from blockdrbd.metadata import MAGIC_CLEAN, Metadata
from stack import BLOCK, IMAGE_BYTES, MIB, pattern, qemu_img
from writer import Writer

pytestmark = pytest.mark.storage_daemon


@pytest.fixture(params=["main loop", "iothread"])
def writing(request, stack):
    """A Primary whose export is in the main loop or in an IOThread, and a writer on it."""
    stack.iothread = "io0" if request.param == "iothread" else None
    if stack.iothread:
        stack.daemon.object_add({"qom-type": "iothread", "id": "io0"})
    stack.ready(al_extents=67)
    path = str(stack.workspace / "nbd.sock")
    stack.qmp.command("nbd-server-start", max_connections=0,
                      addr={"type": "unix", "data": {"path": path}})
    options = {"iothread": "io0", "fixed-iothread": True} if stack.iothread else {}
    stack.qmp.raw("block-export-add", {"type": "nbd", "id": "w", "node-name": "drbd0",
                                       "name": "drbd0", "writable": True, **options})
    with Writer(path) as writer:
        yield stack, writer
    stack.qmp.command("block-export-del", id="w", mode="hard")
    stack.qmp.wait_event("BLOCK_EXPORT_DELETED")


def test_other_nodes_come_and_go(writing):
    stack, writer = writing
    for number in range(60):
        stack.daemon.blockdev_add({"driver": "null-co", "node-name": f"n{number}", "size": 4096})
        if number % 10 == 0:
            writer.progress(20)
        stack.daemon.blockdev_del(f"n{number}")
    writer.progress(100)


def test_another_resource_comes_and_goes(writing):
    stack, writer = writing
    for number in range(8):
        stack.daemon.object_add(resource_object("o"))
        stack.file("of", stack.image(f"o{number}.raw", 8 * MIB))
        stack.fresh("od", "of", resource="o")
        stack.primary("o", force=True)
        for name in ("od", "of"):
            stack.daemon.blockdev_del(name)
        stack.qmp.command("object-del", id="o")
        writer.progress(20)


def test_reopen_of_the_filter(writing):
    stack, writer = writing
    for number in range(40):
        policy = "pass-on" if number % 2 else "detach"
        stack.qmp.raw("blockdev-reopen", {"options": [
            drbd_node("drbd0", "f0", al_extents=67, on_io_error=policy)]})
        if number % 10 == 0:
            writer.progress(20)
    writer.progress(100)


def test_reopen_of_the_image(writing):
    stack, writer = writing
    for number in range(40):
        stack.qmp.raw("blockdev-reopen", {"options": [{
            "driver": "file", "node-name": "f0", "filename": str(stack.workspace / "f0.raw"),
            "discard": "unmap" if number % 2 else "ignore"}]})
        if number % 10 == 0:
            writer.progress(20)
    writer.progress(100)


@pytest.mark.parametrize("job", ["blockdev-backup", "blockdev-mirror"])
def test_volume_is_the_source_of_a_job(writing, job):
    stack, writer = writing
    size = stack.volume()["size"]
    stack.file("t0", stack.image("t0.raw", size))
    stack.daemon.blockdev_add({"driver": "raw", "node-name": "t", "file": "t0"})
    if stack.iothread:
        # Like fixed-iothread: QEMU 10.0 aborts, also without us, when a backup moves its source.
        stack.qmp.command("x-blockdev-set-iothread", node_name="t", iothread=stack.iothread, force=True)
    stack.qmp.command(job, job_id="j", device="drbd0", target="t", sync="full", auto_dismiss=False,
                      # A mirror in the background need not ever catch up with a writer.
                      **({"filter_node_name": "cbw"} if job == "blockdev-backup"
                         else {"copy_mode": "write-blocking"}))
    writer.progress(50)
    if job == "blockdev-mirror":
        stack.qmp.wait_event("BLOCK_JOB_READY", timeout_s=50)
        writer.progress(50)
        writer.stop()
        stack.qmp.command("block-job-cancel", device="j")

    def concluded():
        jobs = stack.qmp.command("query-jobs")
        return jobs and jobs[0]["status"] == "concluded" and jobs[0]
    done = stack.qmp.wait_until(concluded, "end of the job", 50)
    assert "error" not in done, done
    stack.qmp.command("job-dismiss", id="j")
    if job == "blockdev-mirror":
        with open(stack.workspace / "t0.raw", "rb") as copy, open(stack.workspace / "f0.raw", "rb") as image:
            assert copy.read(size) == image.read(size)
    else:
        writer.progress(50)


def test_overlay_above_and_commit(stack):
    """A qcow2 overlay takes the guest's writes away; a commit brings them back through the driver."""
    stack.ready()
    overlay = stack.image("o.qcow2", stack.volume()["size"], "qcow2")
    stack.daemon.blockdev_add({"driver": "qcow2", "node-name": "top", "backing": "drbd0", "file": {
        "driver": "file", "filename": str(overlay)}})
    guest = stack.guest("top")
    guest.pwrite(pattern(1, MIB), 5 * MIB)
    guest.flush()
    assert stack.volume()["io"]["writes"] == 0
    stack.unexport("top")
    with pytest.raises(QmpError, match="(?i)permission"):  # QEMU looks below filters for the base
        stack.qmp.command("block-commit", job_id="c", device="top")
    stack.qmp.command("block-commit", job_id="c", device="top", base_node="drbd0")
    stack.qmp.wait_event("BLOCK_JOB_READY")
    stack.qmp.command("block-job-complete", device="c")
    stack.qmp.wait_event("BLOCK_JOB_COMPLETED", lambda data: "error" not in data)
    assert stack.volume()["out-of-sync"] >= MIB
    stack.daemon.blockdev_del("top")
    assert stack.guest().pread(MIB, 5 * MIB) == pattern(1, MIB)


def test_mirror_may_not_replace_the_image(stack):
    stack.ready()
    stack.file("t", stack.image("t.raw", IMAGE_BYTES))
    with pytest.raises(QmpError):
        stack.qmp.command("blockdev-mirror", job_id="m", device="drbd0", target="t", sync="full",
                          replaces="f0")


def test_snapshots_and_resize_are_refused(stack):
    """D17: nothing goes round the filter unseen."""
    stack.qcow2("f0")
    stack.fresh()
    stack.primary(force=True)
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    for node in ("drbd0", "f0"):
        with pytest.raises(QmpError):
            stack.qmp.command("block_resize", node_name=node, size=2 * IMAGE_BYTES)
    with pytest.raises(QmpError):
        stack.qmp.raw("blockdev-snapshot-internal-sync", {"device": "drbd0", "name": "s"})
    assert guest.pread(BLOCK, 0) == pattern(1)


def test_snapshot_cannot_be_applied_offline_through_the_node(stack):
    path = stack.image("q.qcow2", fmt="qcow2")
    qemu_img("snapshot", "-c", "before", path)
    stack.daemon.blockdev_add({"driver": "qcow2", "node-name": "f0", "file": {
        "driver": "file", "filename": str(path)}})
    stack.fresh()
    stack.primary(force=True)
    stack.guest().pwrite(pattern(1), 0)
    stack.daemon.quit()
    options = {"driver": "drbd", "resource": "r0", "file": {
        "driver": "qcow2", "file": {"driver": "file", "filename": str(path)}}}
    with pytest.raises(AssertionError):
        qemu_img("snapshot", "--object", "drbd-resource,id=r0", "-a", "before", "json:" + json.dumps(options))


def test_quit_while_busy(workspace, stack):
    path = stack.ready()
    with_writer = Writer(stack.export())
    with_writer.__enter__()
    with_writer.progress(100)
    assert stack.daemon.quit() == 0
    with_writer.stop(check=False)
    superblock = Metadata(str(path), True).superblock()
    assert superblock.magic == MAGIC_CLEAN
    marked = Metadata(str(path), True).out_of_sync_blocks()
    assert set(with_writer.last) <= marked


def test_kill_while_the_graph_changes(workspace, stack):
    path = stack.ready()
    writer = Writer(stack.export())
    writer.__enter__()
    for number in range(10):
        stack.daemon.blockdev_add({"driver": "null-co", "node-name": f"n{number}", "size": 4096})
    writer.progress(50)
    stack.daemon.kill()
    writer.stop(check=False)
    metadata = Metadata(str(path), True)
    extents = metadata.active_extents()
    on_disk = metadata.out_of_sync_blocks()
    for block in writer.last:
        assert block in on_disk or block * BLOCK // (4 * MIB) in extents


def test_a_new_node_is_idle_while_it_is_drained(stack):
    """Since QEMU 10.2 the end of an open drains all nodes, and then asserts that none has anything in
    flight: our worker, which starts meanwhile, counts nothing before it has a job.  The number of other
    nodes sets the time from the last look to the assertion: with 20 to 50 of them a worker that counts
    before it looks ends the daemon once in about a thousand opens."""
    stack.file("f0")
    for others in range(1, 51):
        stack.daemon.blockdev_add({"driver": "null-co", "node-name": f"n{others}", "size": MIB})
        for number in range(400 if others in (20, 30, 40, 50) else 0):
            name = f"fresh{number}"     # a resource of its own, so that its thread is new as well
            stack.daemon.object_add({"qom-type": "drbd-resource", "id": name})
            stack.drbd(resource=name, attach=False)
            stack.daemon.blockdev_del("drbd0")
            stack.qmp.command("object-del", id=name)
