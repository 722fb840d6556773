# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that answers late or not at all: no QMP command waits for it, and the
end of the process takes no longer than it does without the filter."""

import time

import pytest

from blockdrbd import QmpError, drbd_node, query_drbd
from blockdrbd.metadata import EXTENT
from blockdrbd.nbdkit import SwitchedDisk
from stack import BLOCK, IMAGE_BYTES, MIB, Stack, pattern

pytestmark = pytest.mark.storage_daemon
AT_ONCE_S = 2.0     # a command that waits for the disk would never return


def at_once(call, *arguments, **options):
    began = time.monotonic()
    result = call(*arguments, **options)
    assert time.monotonic() - began < AT_ONCE_S
    return result


@pytest.fixture
def image(workspace):
    with SwitchedDisk(workspace, "image", IMAGE_BYTES) as disk:
        yield disk


@pytest.fixture
def metadata(workspace):
    with SwitchedDisk(workspace, "meta", MIB) as disk:
        yield disk


def build(stack, image, metadata, primary=True):
    for name, disk in (("f0", image), ("m0", metadata)):
        if disk:
            stack.daemon.blockdev_add(disk.node(name))
        else:
            stack.file(name, size=IMAGE_BYTES if name == "f0" else MIB)
    stack.fresh(metadata="m0")
    if primary:
        stack.primary(force=True)


def test_query_while_the_metadata_is_stuck(stack, metadata):
    build(stack, None, metadata)
    guest = stack.guest()
    guest.pwrite(pattern(0), 0)
    metadata.pause()
    for number in range(1, 9):
        guest.submit("write", number * EXTENT, pattern(number))
    stack.qmp.wait_until(lambda: stack.volume()["activity-log"]["waiting"]
                         or stack.volume()["io"]["writes-in-flight"] == 8, "writes wait")
    for _ in range(20):
        entry = at_once(query_drbd, stack.qmp, "r0")
    assert entry["requests-in-use"] >= 8
    at_once(stack.qmp.command, "query-block")
    metadata.resume()
    guest.drain()


@pytest.mark.parametrize("command, arguments, primary", [
    ("drbd-set-role", {"resource": "r0", "role": "primary", "force": True}, False),
    ("drbd-set-role", {"resource": "r0", "role": "secondary"}, True),
    ("drbd-invalidate", {"node-name": "drbd0"}, False),
    ("drbd-outdate", {"node-name": "drbd0"}, False),
    ("drbd-detach", {"node-name": "drbd0"}, False),
])
def test_no_command_waits_for_the_metadata(stack, metadata, command, arguments, primary):
    build(stack, None, metadata, primary=command not in ("drbd-set-role",) or primary)
    if not primary and command != "drbd-set-role":
        stack.secondary()
    metadata.pause()
    operation = at_once(stack.qmp.raw, command, arguments)["operation"]
    pending = at_once(query_drbd, stack.qmp, "r0")["pending-operations"]
    assert [entry["operation"] for entry in pending] == [operation]
    if stack.qmp.oob:
        at_once(stack.qmp.oob_command, "query-drbd")
    with pytest.raises(QmpError, match="pending|wait"):
        at_once(stack.qmp.command, "drbd-outdate", node_name="drbd0")
    metadata.resume()
    done = stack.qmp.wait_event("DRBD_OPERATION_COMPLETED", lambda data: data["operation"] == operation)
    assert done["data"]["success"], done
    past = query_drbd(stack.qmp, "r0")
    assert past["past-operations"][0]["operation"] == operation and past["pending-operations"] == []


@pytest.mark.parametrize("command", ["drbd-attach", "drbd-create-md"])
def test_no_command_waits_for_a_disk_that_comes(stack, metadata, command):
    build(stack, None, metadata)
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    metadata.pause()
    options = {"force": True} if command == "drbd-create-md" else {}
    operation = at_once(stack.qmp.raw, command, {"node-name": "drbd0", **options})["operation"]
    assert at_once(query_drbd, stack.qmp, "r0")["pending-operations"][0]["operation"] == operation
    metadata.resume()
    stack.qmp.wait_event("DRBD_OPERATION_COMPLETED", lambda data: data["operation"] == operation)


def test_detach_waits_for_requests_in_flight(stack, image):
    """Orderly: what is in flight ends first, the command does not wait for that."""
    build(stack, image, None)
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    image.pause()
    done = []
    guest.submit("write", BLOCK, pattern(2), done=done.append)
    stack.qmp.wait_until(lambda: stack.volume()["io"]["writes-in-flight"] == 1, "write in flight")
    operation = at_once(stack.qmp.command, "drbd-detach", node_name="drbd0", force=True)["operation"]
    assert query_drbd(stack.qmp, "r0")["pending-operations"]
    image.resume()
    stack.qmp.wait_event("DRBD_OPERATION_COMPLETED", lambda data: data["operation"] == operation)
    guest.drain()
    assert done == [0]


def test_reopen_does_not_wait_for_the_metadata(stack, metadata):
    build(stack, None, metadata)
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    metadata.pause()
    # The drained section of a reopen must not wait for the attach that follows it.
    at_once(stack.qmp.raw, "blockdev-reopen", {"options": [drbd_node("drbd0", "f0", metadata="m0")]})
    metadata.resume()
    stack.wait_disk("UpToDate")


def time_to_quit(workspace, name, delay_ms, filtered):
    """Seconds from `quit` to the end, with eight slow writes in flight."""
    with SwitchedDisk(workspace, name, IMAGE_BYTES, delay_ms=delay_ms) as disk, \
            Stack(workspace, name=f"{name}-daemon") as stack:
        stack.daemon.blockdev_add(disk.node("f0"))
        top = "f0"
        if filtered:
            stack.file("m0", size=MIB)
            stack.fresh(metadata="m0")
            stack.primary(force=True)
            top = "drbd0"
        guest = stack.guest(top)
        guest.pwrite(pattern(0), 0)
        for number in range(8):
            guest.submit("write", number * BLOCK, pattern(number))
        guest.poll(0.05)
        began = time.monotonic()
        assert stack.daemon.quit() == 0
        took = time.monotonic() - began
        stack._guests.clear()
        return took


def test_quit_with_a_slow_disk_is_as_quick_as_without_the_filter(workspace):
    bare = time_to_quit(workspace, "bare", 1000, False)
    filtered = time_to_quit(workspace, "filtered", 1000, True)
    assert filtered < bare + 1.0, f"{filtered:.2f} s with the filter, {bare:.2f} s without"


@pytest.mark.parametrize("filtered", [False, True])
def test_quit_while_the_image_is_stuck(workspace, image, filtered):
    """Stuck is stuck, with and without the filter; when the disk comes back the end does too."""
    with Stack(workspace) as stack:
        if filtered:
            build(stack, image, None)
        else:
            stack.daemon.blockdev_add(image.node("f0"))
        guest = stack.guest("drbd0" if filtered else "f0")
        guest.pwrite(pattern(1), 0)
        image.pause()
        for number in range(8):
            guest.submit("write", number * BLOCK, pattern(number))
        guest.poll(0.1)
        stack.qmp.send("quit")
        stack.qmp.wait_until(lambda: True, "sent")
        image.resume()
        assert stack.daemon.wait_exit(20) == 0
        stack._guests.clear()


def test_quit_while_the_metadata_is_stuck(workspace, metadata):
    with Stack(workspace) as stack:
        build(stack, None, metadata)
        guest = stack.guest()
        metadata.pause()
        guest.submit("write", 0, pattern(1))
        guest.poll(0.1)
        stack.qmp.send("quit")
        metadata.resume()
        assert stack.daemon.wait_exit(20) == 0
        stack._guests.clear()


def test_other_nodes_while_the_image_answers_late(stack, workspace):
    """A drain of everything ends when the slow request does, not later."""
    with SwitchedDisk(workspace, "slow", IMAGE_BYTES, delay_ms=300) as disk:
        build(stack, disk, None)
        guest = stack.guest()
        for number in range(16):
            guest.submit("write", number * BLOCK, pattern(number))
        began = time.monotonic()
        stack.daemon.blockdev_add({"driver": "null-co", "node-name": "n", "size": 4096})
        stack.daemon.blockdev_del("n")
        assert time.monotonic() - began < 5
        guest.drain()
