# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver in qemu-system: stop and cont under load, insertion below a
running device, a Primary that loses its writer."""

import json

import pytest

from blockdrbd import QmpError, drbd_node, query_drbd
from blockdrbd.metadata import MAGIC_CLEAN, Metadata
from stack import BLOCK, IMAGE_BYTES, MIB, Stack, pattern, qdrbdmeta
from writer import Writer

PAUSED = ["-S", "-m", "64"]
RUNNING = ["-m", "64"]


@pytest.fixture
def machine(workspace):
    with Stack(workspace, emulator=True, arguments=PAUSED, name="machine") as stack:
        yield stack


def add_device(stack, node, **options):
    stack.qmp.raw("device_add", {"driver": "virtio-blk-pci", "id": "vd0", "drive": node,
                                 "share-rw": True, **options})


def backend(stack):
    """The node that the device uses now."""
    for entry in stack.qmp.command("query-block"):
        if entry.get("qdev", "").startswith("/machine/peripheral/vd0"):
            return entry["inserted"]["node-name"]
    raise AssertionError("vd0 has no backend")


def test_device_on_the_filter(workspace):
    with Stack(workspace, emulator=True, arguments=PAUSED, name="machine") as stack:
        path = stack.ready()
        add_device(stack, "drbd0")
        assert backend(stack) == "drbd0"
        assert stack.daemon.quit() == 0
    assert Metadata(str(path), True).superblock().magic == MAGIC_CLEAN


def test_stop_and_cont_while_a_guest_writes(workspace):
    with Stack(workspace, emulator=True, arguments=RUNNING, name="machine") as stack:
        stack.daemon.object_add({"qom-type": "iothread", "id": "io0"})
        stack.ready(al_extents=67)
        with Writer(stack.export()) as writer:
            for number in range(25):
                stack.qmp.command("stop")
                stack.qmp.command("cont")
                if number % 5 == 0:
                    writer.progress(20)
            writer.progress(100)
        assert stack.volume()["disk"] == "UpToDate"


def test_stop_flushes_through_the_filter(workspace):
    with Stack(workspace, emulator=True, arguments=RUNNING, name="machine") as stack:
        stack.ready()
        guest = stack.guest()
        guest.pwrite(pattern(1), 0)
        before = stack.volume()["io"]["flushes"]
        stack.qmp.command("stop")
        assert stack.volume()["io"]["flushes"] > before
        stack.qmp.command("cont")


@pytest.mark.parametrize("iothread", [False, True])
def test_insertion_under_a_running_device(machine, iothread):
    """attach=off, qom-set drive, attach; then out again."""
    stack = machine
    # The size the device was given must be the size with metadata: external, so it is the image's.
    metadata = stack.image("m0.raw", MIB)
    qdrbdmeta("--force", "--meta", "external", "create-md", metadata)
    stack.file("f0")
    stack.file("m0", metadata)
    options = {}
    if iothread:
        stack.daemon.object_add({"qom-type": "iothread", "id": "io0"})
        options["iothread"] = "io0"
    add_device(stack, "f0", **options)
    stack.drbd(attach=False, metadata="m0")
    with pytest.raises(QmpError, match="(?i)permission|conflict|allow"):
        stack.run("drbd-attach", node_name="drbd0")  # the device still writes f0 itself
    # A node without a disk serves nobody, so the device moves only while it is paused.
    stack.qmp.command("qom-set", path="/machine/peripheral/vd0", property="drive", value="drbd0")
    assert backend(stack) == "drbd0"
    stack.run("drbd-attach", node_name="drbd0")
    stack.primary(force=True)
    assert stack.volume()["size"] == IMAGE_BYTES
    stack.qmp.command("cont")
    stack.qmp.command("stop")
    stack.run("drbd-detach", node_name="drbd0", force=True)
    stack.qmp.command("qom-set", path="/machine/peripheral/vd0", property="drive", value="f0")
    stack.daemon.blockdev_del("drbd0")
    assert backend(stack) == "f0"


def test_primary_that_loses_its_last_writer_says_so(machine):
    """An overlay above takes the guest's writes away: snapshots belong below (D17)."""
    stack = machine
    stack.ready()
    add_device(stack, "drbd0")
    stack.qmp.take_events()
    overlay = stack.image("o.qcow2", stack.volume()["size"], "qcow2")
    stack.daemon.blockdev_add({"driver": "qcow2", "node-name": "o", "backing": None, "file": {
        "driver": "file", "filename": str(overlay)}})
    stack.qmp.command("blockdev-snapshot", node="drbd0", overlay="o")
    warning = stack.qmp.wait_event("DRBD_WARNING", lambda data: "nothing writes" in data["message"], 10)
    assert warning["data"]["node-name"] == "drbd0"
    assert query_drbd(stack.qmp, "r0")["role"] == "primary"


def test_snapshot_jobs_are_refused(machine):
    stack = machine
    stack.qcow2("f0")
    stack.fresh()
    stack.primary(force=True)
    add_device(stack, "drbd0")
    for command in ("snapshot-save", "snapshot-load"):
        arguments = {"job-id": command, "tag": "s", "vmstate": "drbd0", "devices": ["drbd0"]}
        try:
            stack.qmp.raw(command, arguments)
        except QmpError:
            continue

        def ended():
            jobs = [job for job in stack.qmp.command("query-jobs") if job["id"] == command]
            return jobs and jobs[0]["status"] == "concluded" and jobs[0]
        assert "error" in stack.qmp.wait_until(ended, "end of the job")
    text = stack.qmp.raw("human-monitor-command", {"command-line": "savevm s"})
    assert "rror" in text or "not" in text, text


def test_resize_is_refused(machine):
    stack = machine
    stack.ready()
    add_device(stack, "drbd0")
    with pytest.raises(QmpError):
        stack.qmp.command("block_resize", node_name="drbd0", size=2 * IMAGE_BYTES)
    assert stack.volume()["size"] < IMAGE_BYTES


def test_command_line(workspace):
    """Everything on the command line, as libvirt's or a script's start of a guest is."""
    path = workspace / "f0.raw"
    with open(path, "wb") as image:
        image.truncate(IMAGE_BYTES)
    qdrbdmeta("--force", "create-md", path)
    qdrbdmeta("--force", "set-gi", path, "0000000000001234:0:0:0:1:1")
    arguments = [*PAUSED, "-object", "iothread,id=net0", "-object", "drbd-resource,id=r0,volumes=1,iothread=net0",
                 "-blockdev", json.dumps({"driver": "file", "node-name": "f0", "filename": str(path)}),
                 "-blockdev", json.dumps(drbd_node("drbd0", "f0", role="primary")),
                 "-device", "virtio-blk-pci,drive=drbd0,id=vd0"]
    with Stack(workspace, emulator=True, arguments=arguments, name="machine", resource={}) as stack:
        assert query_drbd(stack.qmp, "r0")["role"] == "primary"
        text = stack.qmp.raw("human-monitor-command", {"command-line": f'qemu-io vd0 -d "write -P 7 0 {BLOCK}"'})
        assert "rror" not in text, text
        stack.daemon.quit()
    assert Metadata(str(path), True).superblock().magic == MAGIC_CLEAN
