# SPDX-License-Identifier: GPL-2.0-or-later
"""What most live tests stand on: one daemon, one resource, one volume.

In: a workspace.  Out: a running daemon with `drbd-resource` r0; methods that
build the usual graph (image f0, filter drbd0) up to the state a test begins
with, and guests on its exports.  `ready()` is an UpToDate Primary.
"""

import os
import pathlib
import subprocess
from typing import Any, Dict, List, Optional

from blockdrbd import (GuestDisk, StorageDaemon, SystemEmulator, drbd_node, file_node, make_image,
                       program, qcow2_node, resource_object, run_operation)
from blockdrbd.operation import query_volume, set_role

MIB = 1 << 20
IMAGE_BYTES = 64 * MIB
BLOCK = 4096


def qemu_img(*arguments: str) -> str:
    done = subprocess.run([program("qemu-img"), *map(str, arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, f"qemu-img {arguments}: {done.stdout}"
    return done.stdout


def qdrbdmeta(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run([program("qdrbdmeta"), *map(str, arguments)], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert not check or done.returncode == 0, f"qdrbdmeta {arguments}: {done.stdout}"
    return done


class Stack:
    def __init__(self, workspace, emulator: bool = False, arguments: Optional[List[str]] = None,
                 name: str = "daemon", resource: Optional[Dict[str, Any]] = None):
        self.workspace = workspace
        kind = SystemEmulator if emulator else StorageDaemon
        self.daemon = kind(arguments or [], folder=str(workspace.path), name=name)
        self.resource = resource_object("r0") if resource is None else resource
        self._guests: List[GuestDisk] = []

    def __enter__(self) -> "Stack":
        self.daemon.start()
        if self.resource:
            self.daemon.object_add(self.resource)
        return self

    def __exit__(self, kind, value, trace) -> None:
        for guest in self._guests:
            guest.close()
        self.daemon.__exit__(kind, value, trace)

    @property
    def qmp(self):
        return self.daemon.qmp

    # -- building -----------------------------------------------------------

    def image(self, name: str = "disk.raw", size: int = IMAGE_BYTES, fmt: str = "raw") -> pathlib.Path:
        path = self.workspace / name
        if fmt == "raw":
            make_image(path, size)
        else:
            qemu_img("create", "-q", "-f", fmt, path, size)
        return path

    def file(self, node_name: str = "f0", path=None, size: int = IMAGE_BYTES, **options: Any):
        """Adds a node over a raw file, which is made unless a path is given."""
        path = path or self.image(f"{node_name}.raw", size)
        self.daemon.blockdev_add(file_node(node_name, path, **options))
        return path

    def qcow2(self, node_name: str = "f0", path=None, size: int = IMAGE_BYTES, **options: Any):
        path = path or self.image(f"{node_name}.qcow2", size, "qcow2")
        self.daemon.blockdev_add(qcow2_node(
            node_name, {"driver": "file", "filename": str(path)}, **options))
        return path

    def drbd(self, node_name: str = "drbd0", file: Any = "f0", **options: Any) -> None:
        self.daemon.blockdev_add(drbd_node(node_name, file, **options))

    def fresh(self, node_name: str = "drbd0", file: Any = "f0", **options: Any) -> None:
        """A filter over a node without metadata: made, attached, Inconsistent."""
        self.drbd(node_name, file, attach=False, **options)
        self.run("drbd-create-md", node_name=node_name)
        self.run("drbd-attach", node_name=node_name)

    def ready(self, path=None, **options: Any):
        """f0 and drbd0 over a raw file, Primary and UpToDate."""
        path = self.file("f0", path)
        self.fresh(**options)
        self.primary(force=True)
        return path

    # -- commands -------------------------------------------------------------

    def run(self, command: str, **arguments: Any):
        return run_operation(self.qmp, command, **arguments)

    def primary(self, resource: str = "r0", **options: Any):
        return set_role(self.qmp, "primary", resource, **options)

    def secondary(self, resource: str = "r0", **options: Any):
        return set_role(self.qmp, "secondary", resource, **options)

    def volume(self, volume: int = 0, resource: str = "r0") -> Dict[str, Any]:
        return query_volume(self.qmp, resource, volume)

    def wait_disk(self, state: str, volume: int = 0) -> Dict[str, Any]:
        def reached():
            entry = self.volume(volume)
            return entry if entry["disk"] == state else None
        return self.qmp.wait_until(reached, f"disk state {state}")

    # -- guests ---------------------------------------------------------------

    def export(self, node_name: str = "drbd0", **options: Any) -> str:
        return self.daemon.export_nbd(node_name, **options)

    def guest(self, node_name: str = "drbd0", export: bool = True) -> GuestDisk:
        """A connection to the node; the first one makes the export."""
        socket_path = self.export(node_name) if export else self.daemon._nbd_path
        guest = GuestDisk(socket_path, node_name)
        self._guests.append(guest)
        return guest

    def leave(self, guest: GuestDisk) -> None:
        """Closes a guest that has nothing more to do."""
        self._guests.remove(guest)
        guest.close()

    def unexport(self, node_name: str = "drbd0") -> None:
        for guest in list(self._guests):
            self.leave(guest)
        self.daemon.export_del(f"export-{node_name}")


def pattern(seed: int, length: int = BLOCK) -> bytes:
    """Bytes that tell which write they are from."""
    unit = b"%016x" % (seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1)
    return (unit * (length // len(unit) + 1))[:length]


def processor_seconds(pid: int) -> float:
    """What a process has used of the processors: it does not grow while others keep it from running."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


__all__ = ["BLOCK", "IMAGE_BYTES", "MIB", "Stack", "pattern", "processor_seconds", "qdrbdmeta", "qemu_img",
           "resident_bytes"]
