# SPDX-License-Identifier: GPL-2.0-or-later
"""Two storage daemons that are two hosts, or one of ours for another peer.

In: a workspace, addresses, options of the resource.  Out: a HostNode per host
(daemon, images, the filters d0, d1 …, guests on an NBD export) with waits for
connection, disk and resync states; TwoNodes joins two of them, with a Link
between them where a test wants to cut it.
Invariants: the images outlive the daemons, so `kill` and `start` are a crash
and a reboot; images are compared only when nothing writes.
"""

import ipaddress
import os
import random
import socket
import subprocess
from typing import Any, Dict, List, Optional, Tuple

from .daemon import StorageDaemon, wait_for
from .guest import GuestDisk
from .images import compare_images, make_image
from .link import Link
from .metadata import AL_CLEAN, CONSISTENT, WAS_UP_TO_DATE, Metadata, data_bytes
from .nodes import drbd_node, file_node, resource_object
from .operation import query_drbd, query_volume, run_operation, set_role
from .paths import program

Address = Tuple[str, int]
PORT = 7788
MIB = 1 << 20
# Short enough for tests, long enough for a busy machine: tenths of a second, and seconds.
FAST = {"timeout": 20, "ping-timeout": 10, "connect-int": 1, "ping-int": 1, "ko-count": 2,
        "socket-check-timeout": 1}


def address(where: Address) -> Dict[str, str]:
    return {"host": where[0], "port": str(where[1])}


def loopback_pair(seed: Optional[int] = None) -> Tuple[str, str, str, str]:
    """Four addresses of 127/8 that no other test uses at the same time: host a, host b,
    and the link's two ends.  The lock is a bound socket, held until this process ends."""
    chance = random.Random(seed)
    while True:
        net = ipaddress.ip_address("127.64.0.0") + chance.randrange(1 << 14) * 256
        lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            lock.bind((str(net + 250), 1 + 1024))
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return tuple(str(net + last) for last in (1, 2, 11, 12))


_locks: List[socket.socket] = []


def create_md(path: str, where: str) -> None:
    done = subprocess.run([program("qdrbdmeta"), "--force", "-", "v08", path, where, "create-md"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"create-md of {path}: {done.stdout}")


class HostNode:
    """One host.  `here` is where it listens, `there` what it dials."""

    def __init__(self, folder, name: str, here: Address, there: Address, *, volumes: int = 1,
                 size: int = 32 * MIB, external: bool = False, options: Optional[Dict[str, Any]] = None,
                 objects: Tuple[Dict[str, Any], ...] = (), node_options: Optional[Dict[str, Any]] = None):
        self.folder, self.name, self.here, self.there = folder, name, here, there
        self.volumes, self.size, self.external = volumes, size, external
        self.options = {**FAST, "protocol": "C", **(options or {})}
        self.objects = tuple(objects)
        # Without it QEMU ignores a guest's discards, on the way to our node already.
        self.node_options = {"discard": "unmap", **(node_options or {})}
        self.file_options: Dict[str, Any] = {"discard": "unmap"}
        self.file_node = None       # or volume -> another node below, named image<volume>
        self.images = [str(folder / f"{name}{v}.raw") for v in range(volumes)]
        self.metadata_files = [str(folder / f"{name}{v}.md") if external else image
                               for v, image in enumerate(self.images)]
        self.daemon: Optional[StorageDaemon] = None
        self._guests: List[GuestDisk] = []
        self.starts = 0

    # -- disks ------------------------------------------------------------------

    def create(self, metadata: bool = True) -> "HostNode":
        """Empty images with fresh metadata, as create-md leaves them."""
        for image, md in zip(self.images, self.metadata_files):
            make_image(image, self.size)
            if self.external:
                make_image(md, 2 * MIB)
            if metadata:
                create_md(md, "flex-external" if self.external else "internal")
        return self

    def establish(self, current: int = 0x1234567890ABCDE0, history: int = 0x1111) -> "HostNode":
        """Empty images that are UpToDate and in one generation with whoever has the same."""
        self.create(metadata=False)
        for volume in range(self.volumes):
            self.metadata(volume).create(
                self.size, la_size_sect=self.data_bytes // 512, current=current, history0=history,
                flags=CONSISTENT | WAS_UP_TO_DATE | AL_CLEAN)
        return self

    @property
    def data_bytes(self) -> int:
        return data_bytes(self.size, not self.external)

    def metadata(self, volume: int = 0) -> Metadata:
        return Metadata(self.metadata_files[volume], not self.external)

    # -- the process ---------------------------------------------------------------

    def resource(self) -> Dict[str, Any]:
        return resource_object("r0", volumes=self.volumes, local=address(self.here),
                               peer=address(self.there), **self.options)

    def start(self, *, nodes: bool = True, **node_options: Any) -> "HostNode":
        """A daemon with the resource and all its volumes; it begins to connect by itself."""
        self.starts += 1
        self.daemon = StorageDaemon(folder=str(self.folder), name=f"{self.name}-{self.starts}")
        self.daemon.start()
        for extra in self.objects:
            self.daemon.object_add(extra)
        self.daemon.object_add(self.resource())
        if nodes:
            for volume in range(self.volumes):
                self.add_volume(volume, **node_options)
        return self

    def add_volume(self, volume: int = 0, **node_options: Any) -> None:
        self.daemon.blockdev_add(self.file_node(volume) if self.file_node else
                                 file_node(f"image{volume}", self.images[volume], **self.file_options))
        chosen = {**self.node_options, **node_options}
        if self.external:
            self.daemon.blockdev_add(file_node(f"md{volume}", self.metadata_files[volume],
                                               **self.file_options))
            chosen["metadata"] = f"md{volume}"
        self.daemon.blockdev_add(drbd_node(f"d{volume}", f"image{volume}", volume=volume, **chosen))

    @property
    def qmp(self):
        return self.daemon.qmp

    def is_running(self) -> bool:
        return self.daemon is not None and self.daemon.is_running()

    def kill(self) -> None:
        """SIGKILL: the host is gone, what it had sent is still on its way."""
        if self.daemon is not None:
            self.daemon.kill()
        self._forget_guests()

    def quit(self, timeout_s: float = 30.0) -> None:
        self._forget_guests()
        status = self.daemon.quit(timeout_s)
        assert status == 0, f"{self.name} ended with {status}:\n{self.daemon.log()}"

    def close(self, failed: bool = False) -> None:
        self._forget_guests()
        if self.daemon is not None:
            self.daemon.__exit__(RuntimeError if failed else None, None, None)

    # -- commands --------------------------------------------------------------------

    def run(self, command: str, timeout_s: Optional[float] = None, **arguments: Any):
        return run_operation(self.qmp, command, timeout_s, **arguments)

    def primary(self, **options: Any):
        return set_role(self.qmp, "primary", **options)

    def secondary(self, **options: Any):
        return set_role(self.qmp, "secondary", **options)

    def demote(self) -> None:
        """Secondary in an orderly way: those who write go first."""
        for volume in range(self.volumes):
            if f"d{volume}" in getattr(self.daemon, "made_exports", set()):
                self.unexport(volume)
        self.secondary()

    def connect(self, **options: Any):
        return self.run("drbd-connect", resource="r0", **options)

    def disconnect(self, **options: Any):
        return self.run("drbd-disconnect", resource="r0", **options)

    def set(self, option: str, value: Any) -> None:
        self.qmp.raw("qom-set", {"path": "/objects/r0", "property": option, "value": value})

    # -- states ------------------------------------------------------------------------

    def status(self) -> Dict[str, Any]:
        return query_drbd(self.qmp, "r0")

    def volume(self, volume: int = 0) -> Dict[str, Any]:
        return query_volume(self.qmp, "r0", volume)

    def peer(self) -> Dict[str, Any]:
        """What query-drbd says of the connection."""
        return self.status()["peer"]

    def state(self, volume: int = 0) -> Tuple[str, str, str, str]:
        """As in /proc/drbd: connection of the volume, role, own disk, peer's disk."""
        status = self.status()
        entry = next(v for v in status["volumes"] if v["volume"] == volume)
        return (entry.get("connection", status["connection"]), status["role"], entry["disk"],
                entry["peer-disk"])

    def reason(self) -> str:
        """Why the connection is in its state."""
        return self.peer().get("reason", "")

    def wait(self, condition, what: str, timeout_s: float = 30.0):
        try:
            return self.qmp.wait_until(condition, f"{self.name}: {what}", timeout_s)
        except Exception as error:
            raise type(error)(f"{error}\nstate: {self.status()}") from None

    def wait_connection(self, *states: str, timeout_s: float = 30.0) -> str:
        """Until the resource's connection is in one of these states."""
        def reached():
            now = self.status()["connection"]
            return now if now in states else None
        return self.wait(reached, f"connection {' or '.join(states)}", timeout_s)

    def wait_lost(self, timeout_s: float = 30.0) -> None:
        """Until the peer is gone for this node."""
        self.wait_connection("StandAlone", "Unconnected", "WFConnection", "Disconnecting", "Timeout",
                             "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown",
                             timeout_s=timeout_s)

    def wait_state(self, *wanted: str, volume: int = 0, timeout_s: float = 30.0) -> None:
        """Connection, own disk, peer's disk; "*" is any."""
        def reached():
            connection, _, disk, peer_disk = self.state(volume)
            return all(want in ("*", now) for want, now in zip(wanted, (connection, disk, peer_disk)))
        self.wait(reached, f"state {wanted}", timeout_s)

    def wait_synced(self, timeout_s: float = 40.0) -> None:
        """Connected, UpToDate on both sides, nothing out of sync, all volumes."""
        def synced():
            return all(self.state(v)[0] == "Connected" and self.state(v)[2:] == ("UpToDate", "UpToDate")
                       and self.volume(v)["out-of-sync"] == 0 for v in range(self.volumes))
        self.wait(synced, "in sync", timeout_s)

    def wait_event(self, name: str, predicate=lambda data: True, timeout_s: float = 30.0):
        return self.qmp.wait_event(name, predicate, timeout_s)["data"]

    # -- the guest's I/O ------------------------------------------------------------------

    def export(self, volume: int = 0) -> str:
        """Path of the socket; the export is made once per process."""
        name = f"d{volume}"
        made = getattr(self.daemon, "made_exports", set())
        if name not in made:
            self.daemon.export_nbd(name)
            self.daemon.made_exports = made | {name}
        return str(self.daemon.folder / f"{self.daemon.name}.nbd")

    def guest(self, volume: int = 0) -> GuestDisk:
        guest = GuestDisk(self.export(volume), f"d{volume}")
        self._guests.append(guest)
        return guest

    def leave(self, guest: GuestDisk) -> None:
        self._guests.remove(guest)
        guest.close()

    def unexport(self, volume: int = 0) -> None:
        for guest in list(self._guests):
            self.leave(guest)
        self.daemon.export_del(f"export-d{volume}")
        self.daemon.made_exports.discard(f"d{volume}")

    def _forget_guests(self) -> None:
        for guest in self._guests:
            guest.close()
        self._guests.clear()


class TwoNodes:
    """Hosts a and b.  With `link` all traffic goes through a Link that can be cut."""

    def __init__(self, workspace, *, link: bool = False, ipv6: bool = False, volumes: int = 1,
                 size: int = 32 * MIB, external: bool = False,
                 options: Optional[Dict[str, Any]] = None, options_a: Optional[Dict[str, Any]] = None,
                 options_b: Optional[Dict[str, Any]] = None,
                 node_options: Optional[Dict[str, Any]] = None):
        self.workspace = workspace
        at_a, at_b, to_a, to_b = loopback_pair()
        a, b = (at_a, PORT), (at_b, PORT)
        if ipv6:
            assert not link, "the link relays IPv4"
            base = 20000 + (int(ipaddress.ip_address(at_a)) >> 8 & 0x3FFF) * 2
            a, b = ("::1", base), ("::1", base + 1)
        self.link = None
        dial_a, dial_b = a, b
        if link:
            dial_a, dial_b = (to_a, PORT), (to_b, PORT)
            self.link = Link({"a": (dial_a, a, at_b), "b": (dial_b, b, at_a)})
        common = {"volumes": volumes, "size": size, "external": external, "node_options": node_options}
        self.a = HostNode(workspace.path, "a", a, dial_b, options={**(options or {}), **(options_a or {})},
                          **common)
        self.b = HostNode(workspace.path, "b", b, dial_a, options={**(options or {}), **(options_b or {})},
                          **common)

    # -- beginnings ----------------------------------------------------------------------

    def create(self) -> "TwoNodes":
        self.a.create()
        self.b.create()
        return self

    def up(self) -> "TwoNodes":
        """Both run and see each other; fresh disks are Inconsistent on both sides."""
        self.create()
        self.a.start()
        self.b.start()
        self.connected()
        return self

    def connected(self, timeout_s: float = 30.0) -> None:
        for node in (self.a, self.b):
            node.wait_connection("Connected", timeout_s=timeout_s)

    def established(self, primary: bool = True) -> "TwoNodes":
        """As ready, but by equal generations on the disks: quicker, and no sync at all."""
        self.a.establish()
        self.b.establish()
        self.a.start()
        self.b.start()
        self.synced()
        if primary:
            self.a.primary()
        return self

    def ready(self) -> "TwoNodes":
        """a is Primary, both are UpToDate: by a first sync, which sends no zeroes."""
        self.up()
        self.a.primary(force=True)
        self.synced()
        return self

    def synced(self, timeout_s: float = 40.0) -> None:
        for node in (self.a, self.b):
            node.wait_synced(timeout_s)

    # -- judging -----------------------------------------------------------------------------

    def differences(self, volume: int = 0) -> List[int]:
        """Offsets of differing blocks of the data area; nobody may be writing."""
        return compare_images(self.a.images[volume], self.b.images[volume],
                              min(self.a.data_bytes, self.b.data_bytes))

    def assert_equal(self) -> None:
        for volume in range(self.a.volumes):
            different = self.differences(volume)
            assert not different, f"volume {volume}: the images differ at {different}"

    def settle_equal(self) -> None:
        """In sync and equal: what a test ends with."""
        self.synced()
        self.assert_equal()

    def __enter__(self) -> "TwoNodes":
        return self

    def __exit__(self, kind, value, trace) -> None:
        for node in (self.a, self.b):
            node.close(failed=kind is not None)
        if self.link is not None:
            self.link.close()


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


__all__ = ["FAST", "HostNode", "MIB", "PORT", "TwoNodes", "address", "loopback_pair", "resident_bytes",
           "wait_for"]
