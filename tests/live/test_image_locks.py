# SPDX-License-Identifier: GPL-2.0-or-later
"""One user at a time: QEMU's image locks hold below the filter, qdrbdmeta
respects them, and they follow the disk, not the node."""

import subprocess

import pytest

from blockdrbd import OperationFailed, QmpError, program
from stack import Stack, pattern, qdrbdmeta

pytestmark = pytest.mark.storage_daemon
REFUSED = (OperationFailed, QmpError)


@pytest.mark.parametrize("verb", [("create-md",), ("wipe-md",), ("outdate",), ("invalidate",), ("apply-al",),
                                  ("set-gi", "1:2:3:4:1:1")])
def test_tool_refuses_an_image_in_use(stack, verb):
    path = stack.ready()
    stack.guest().pwrite(pattern(1), 0)
    refused = qdrbdmeta("--force", *verb, path, check=False) if verb[0] != "set-gi" else \
        qdrbdmeta("--force", verb[0], path, verb[1], check=False)
    assert refused.returncode != 0
    assert "use" in refused.stdout.lower() or "lock" in refused.stdout.lower(), refused.stdout
    assert stack.volume()["disk"] == "UpToDate"


def test_second_process_is_refused(workspace):
    with Stack(workspace) as first:
        path = first.ready()
        with Stack(workspace, name="second") as second:
            second.file("f0", path)
            with pytest.raises(REFUSED, match="(?i)lock"):
                second.drbd()
            first.secondary()
            with pytest.raises(REFUSED, match="(?i)lock"):
                second.drbd()
            first.run("drbd-detach", node_name="drbd0")
            second.drbd()
            with pytest.raises(REFUSED, match="(?i)lock"):
                first.run("drbd-attach", node_name="drbd0")
            second.daemon.blockdev_del("drbd0")
            first.run("drbd-attach", node_name="drbd0")


def test_qemu_img_cannot_write_it(stack):
    path = stack.ready()
    done = subprocess.run([program("qemu-io"), "-f", "raw", "-c", "write 0 4k", str(path)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode != 0 and "lock" in done.stdout
    done = subprocess.run([program("qemu-img"), "resize", "-f", "raw", str(path), "+1M"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode != 0 and "lock" in done.stdout


def test_detached_image_is_free(stack):
    path = stack.ready()
    stack.secondary()
    stack.run("drbd-detach", node_name="drbd0")
    subprocess.run([program("qemu-io"), "-f", "raw", "-c", "write 1M 4k", str(path)], check=True,
                   stdout=subprocess.DEVNULL)
    qdrbdmeta("outdate", "--force", path)
    stack.run("drbd-attach", node_name="drbd0")
    assert stack.volume()["disk"] == "Outdated"
