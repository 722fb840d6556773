# SPDX-License-Identifier: GPL-2.0-or-later
"""What qdrbdmeta must not write over, and what it must say: images in use, disk
images of other formats, file systems, foreign and damaged metadata, nobody to
ask."""
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import time

import nbd
import pytest
from tools import GIB, MIB, change_superblock, drbdmeta, qdrbdmeta, read_superblock, run, superblock_offset

from blockdrbd.images import compare_images, make_image
from blockdrbd.paths import program, system_program

WRITING = [("create-md",), ("wipe-md",), ("set-gi", "1:::"), ("outdate",), ("invalidate",), ("apply-al",),
           ("write-dev-uuid", "1"), ("check-resize",)]
READING = ["get-gi", "show-gi", "dstate", "dump-md", "read-dev-uuid"]


@pytest.fixture
def image(workspace):
    path = make_image(workspace / "disk.img", 300 * MIB)
    assert qdrbdmeta(path, "internal", "create-md").returncode == 0
    assert qdrbdmeta(path, "internal", "set-gi", "::::1:1").returncode == 0
    return path


@pytest.fixture
def copy(image, workspace):
    """The image as it was, to prove that nothing was written."""
    path = workspace / "before.img"
    subprocess.run(["cp", "--sparse=always", image, path], check=True)
    return path


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)


# ---- in use ----

def qemu_nbd(image, socket, *options):
    """Our own qemu-nbd if it was built, else the distribution's."""
    found = program("qemu-nbd", required=False) or system_program("qemu-nbd", "qemu-utils")
    server = subprocess.Popen([found, "-f", "raw", "-k", socket, "-t", *options, image])
    wait_for(lambda: os.path.exists(socket) or server.poll() is not None, "qemu-nbd")
    assert server.poll() is None
    # It listens before it opens the image, and greets after.
    client = nbd.NBD()
    client.connect_unix(socket)
    client.shutdown()
    return server


@pytest.fixture
def served(image, copy, workspace):
    server = qemu_nbd(image, str(workspace / "nbd.sock"))
    yield image
    server.terminate()
    server.wait(timeout=20)


@pytest.mark.parametrize("words", WRITING, ids=lambda words: words[0])
def test_refuses_while_qemu_writes(served, copy, words):
    result = qdrbdmeta(served, "internal", *words)
    assert result.returncode == 20
    assert served in result.stderr and "in use" in result.stderr
    assert not compare_images(served, copy)


@pytest.mark.parametrize("verb", READING)
def test_reading_is_allowed_while_qemu_writes(served, verb):
    result = qdrbdmeta(served, "internal", verb)
    assert result.returncode == 0
    if verb == "dump-md":
        assert "stale" in result.stdout


def test_qemu_refuses_while_we_write(image):
    """While the question is open, the image is ours."""
    process, descriptor = pty.fork()
    if process == 0:
        os.execv(program("qdrbdmeta"), ["qdrbdmeta", "wipe-md", image])
    try:
        seen = b""
        while b"confirm" not in seen:
            seen += os.read(descriptor, 1000)
        other = run([system_program("qemu-io", "qemu-utils"), "-f", "raw", "-c", "write 0 512", image])
        assert other.returncode != 0 and "lock" in other.stderr
        assert qdrbdmeta(image, "internal", "outdate").returncode == 20
        os.write(descriptor, b"no\n")
        _, status = os.waitpid(process, 0)
        process = 0
        assert os.waitstatus_to_exitcode(status) == 1
    finally:
        os.close(descriptor)
        if process:
            os.kill(process, 9)
            os.waitpid(process, 0)
    assert read_superblock(image, "internal").magic == 0x8374026B


@pytest.mark.parametrize("byte, refused", [(101, True), (102, True), (103, True), (200, True), (201, True),
                                           (100, False), (202, False), (203, False)])
def test_each_lock_byte(image, byte, refused):
    """100 + p: somebody uses permission p; 200 + p: somebody denies it.
    Permissions: read, write, write unchanged, resize."""
    with open(image, "r+b") as other:
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(other, fcntl.F_OFD_SETLK if hasattr(fcntl, "F_OFD_SETLK") else 37, lock)
        assert qdrbdmeta(image, "internal", "outdate").returncode == (20 if refused else 0)


# ---- nobody to ask, and the answer no ----

@pytest.mark.parametrize("words", [("create-md",), ("wipe-md",), ("set-gi", "1:::")], ids=lambda words: words[0])
def test_no_terminal_means_no(image, copy, words):
    result = qdrbdmeta(image, "internal", *words, force=False)
    assert result.returncode == 1 and "terminal" in result.stderr
    assert not compare_images(image, copy)


def test_new_metadata_on_zeroes_needs_no_answer(workspace):
    path = make_image(workspace / "new.img", 64 * MIB)
    assert qdrbdmeta(path, "internal", "create-md", force=False).returncode == 0


@pytest.mark.parametrize("answer, wiped", [(b"yes\n", True), (b"no\n", False), (b"y\n", False), (b"\n", False)])
def test_answers(image, answer, wiped):
    process, descriptor = pty.fork()
    if process == 0:
        os.execv(program("qdrbdmeta"), ["qdrbdmeta", "wipe-md", image])
    os.write(descriptor, answer)
    try:
        while os.read(descriptor, 1000):
            pass
    except OSError:
        pass
    _, status = os.waitpid(process, 0)
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(status) == (0 if wiped else 1)
    assert qdrbdmeta(image, "internal", "get-gi").returncode == (1 if wiped else 0)


# ---- disk images, file systems, partitions ----

@pytest.mark.parametrize("kind", ["qcow2", "qed", "vmdk", "vdi", "vhdx", "vpc", "parallels"])
def test_disk_images_are_refused_even_by_force(workspace, kind):
    path = str(workspace / f"disk.{kind}")
    run([system_program("qemu-img", "qemu-utils"), "create", "-f", kind, path, "64M"])
    before = open(path, "rb").read()
    for placement in ("internal", "flex-external"):
        result = qdrbdmeta(path, placement, "create-md")
        assert result.returncode in (10, 40)
        if result.returncode == 40:
            assert "drbd-create-md" in result.stderr and "qemu-storage-daemon" in result.stderr
    assert open(path, "rb").read() == before


def partitioned(workspace):
    """A disk whose one partition reaches to its end."""
    path = make_image(workspace / "disk.img", 100 * MIB)
    table = bytearray(512)
    struct.pack_into("<BBBBBBBBII", table, 446, 0x80, 0, 0, 0, 0x83, 0, 0, 0, 2048, 100 * MIB // 512 - 2048)
    table[510:512] = b"\x55\xaa"
    with open(path, "r+b") as disk:
        disk.write(table)
    return path


@pytest.fixture
def dump(workspace):
    """Metadata of another device, as text."""
    other = make_image(workspace / "other.img", 64 * MIB)
    assert qdrbdmeta(other, "internal", "create-md").returncode == 0
    path = workspace / "dump"
    path.write_text(qdrbdmeta(other, "internal", "dump-md").stdout)
    return str(path)


def test_a_dump_is_not_restored_over_what_is_in_use(workspace, dump):
    qcow2 = str(workspace / "disk.qcow2")
    run([system_program("qemu-img", "qemu-utils"), "create", "-f", "qcow2", qcow2, "64M"])
    before = open(qcow2, "rb").read()
    for size in (len(before), 64 * MIB):  # as it is, and with room behind it
        os.truncate(qcow2, size)
        for placement in ("internal", "flex-external"):
            result = qdrbdmeta(qcow2, placement, "restore-md", dump)
            assert result.returncode in (10, 40), result.stderr
    assert result.returncode == 40 and "qcow2" in result.stderr
    assert open(qcow2, "rb").read() == before + bytes(64 * MIB - len(before))

    disk = partitioned(workspace)
    for placement in ("internal", "flex-external"):
        result = qdrbdmeta(disk, placement, "restore-md", dump)
        assert result.returncode == 40 and "MBR" in result.stderr
    # Where metadata is already, it may be replaced: the device's own size was taken care of then.
    assert qdrbdmeta(disk, "internal", "create-md", "--ignore-sanity-checks").returncode == 0
    assert qdrbdmeta(disk, "internal", "restore-md", dump).returncode == 0


FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "e2fsprogs"),
    "ext2": (["mkfs.ext2", "-q", "-F"], "e2fsprogs"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "xfsprogs"),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], "btrfs-progs"),
    "swap": (["mkswap"], "util-linux"),
}


@pytest.mark.parametrize("name", FILE_SYSTEMS)
def test_file_system_that_would_lose_its_end(workspace, name):
    words, package = FILE_SYSTEMS[name]
    try:
        words = [system_program(words[0], package), *words[1:]]
    except FileNotFoundError:
        pytest.skip(f"{package} is not installed")
    path = make_image(workspace / "fs.img", 400 * MIB)
    assert run([*words, path]).returncode == 0
    before = str(workspace / "before.img")
    shutil.copyfile(path, before)
    for placement in ("internal", "flex-external"):
        result = qdrbdmeta(path, placement, "create-md")
        assert result.returncode == 40 and "refused" in result.stderr and name[:3] in result.stderr
        if name != "swap" and name != "btrfs":
            assert drbdmeta(path, placement, "create-md").returncode == 40
    assert not compare_images(path, before)

    # A device that grew since has room behind the file system.
    os.truncate(path, 500 * MIB)
    assert qdrbdmeta(path, "internal", "create-md", force=False).returncode == 1
    result = qdrbdmeta(path, "internal", "create-md")
    assert result.returncode == 0 and "seems to fit" in result.stderr
    assert not compare_images(path, before, size=400 * MIB)


def test_partition_table_that_reaches_the_end(workspace):
    result = qdrbdmeta(partitioned(workspace), "internal", "create-md")
    assert result.returncode == 40 and "MBR" in result.stderr


def test_unknown_data_in_the_place(workspace):
    path = make_image(workspace / "disk.img", 100 * MIB)
    with open(path, "r+b") as disk:
        disk.seek(100 * MIB - 20000)
        disk.write(b"somebody's bytes")
    result = qdrbdmeta(path, "internal", "create-md", force=False)
    assert result.returncode == 1 and "some data" in result.stderr
    assert qdrbdmeta(path, "internal", "create-md").returncode == 0


# ---- damaged and foreign metadata ----

def damage(path, offset, data):
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), data, superblock_offset(os.path.getsize(path), "internal") + offset)


@pytest.mark.parametrize("offset, data, says", [
    (60, bytes(4), "no DRBD metadata"), (60, b"\x12\x34\x56\x78", "0x12345678"), (60, b"\x83\x74\x02\x6d", "v09"),
    (60, b"\x83\x74\x02\x69", "v06"), (60, b"\x83\x74\x02\x6a", "v07"), (80, bytes(4), "bitmap bit"),
    (88, bytes(4), "neither may be zero"), (92, b"\xff" * 4, "4194304"), (68, bytes(4), "al_offset"),
    (76, bytes(4), "bitmap before"), (76, b"\x80\0\0\0", "before the device"), (64, bytes(4), "md_size_sect"),
    (0, b"\x7f" + bytes(7), "cannot cover"), (0, b"\0\0\0\0\x0f\0\0\0", "cannot cover"), (0, bytes(512), "no DRBD"),
])
def test_superblock_that_cannot_be(image, offset, data, says):
    damage(image, offset, data)
    before = open(image, "rb").read()
    for words in [*((verb,) for verb in READING), ("outdate",), ("invalidate",), ("set-gi", "1:::"), ("apply-al",)]:
        result = qdrbdmeta(image, "internal", *words)
        assert result.returncode == 1 and says in result.stderr, result.stderr
        assert image in result.stderr and re.search(r"sector \d+", result.stderr)
    assert open(image, "rb").read() == before


def test_other_versions_are_not_converted(workspace):
    path = make_image(workspace / "disk.img", GIB)
    run([system_program("drbdmeta", "drbd-utils"), "--force", "-", "v09", path, "internal", "create-md", "1"])
    result = qdrbdmeta(path, "internal", "get-gi")
    assert result.returncode == 1 and "v09" in result.stderr
    result = qdrbdmeta(path, "internal", "create-md", force=False)
    assert result.returncode == 1 and "v09" in result.stderr and "overwrite" in result.stderr
    result = run([program("qdrbdmeta"), "-", "v09", path, "internal", "get-gi"])
    assert result.returncode == 10 and "v09" in result.stderr


@pytest.mark.parametrize("words", [("-", "v08", "/nonexistent", "internal", "get-gi"), ("get-gi", "/nonexistent"),
                                   ("get-gi", "/"), ("get-gi", "/dev/null")])
def test_no_such_device(words):
    result = run([program("qdrbdmeta"), *words])
    assert result.returncode == 20 and result.stderr


def test_read_only_file(image):
    os.chmod(image, 0o444)
    if os.access(image, os.W_OK):
        pytest.skip("root may write to anything")
    assert qdrbdmeta(image, "internal", "outdate").returncode == 20
    assert qdrbdmeta(image, "internal", "get-gi").returncode == 0


@pytest.mark.parametrize("words", [(), ("bogus",), ("get-gi",), ("-", "v08"), ("-", "v08", "x", "somewhere", "get-gi"),
                                   ("set-gi", "x"), ("create-md", "x", "--bogus"), ("get-gi", "x", "--meta=-1")])
def test_usage_errors(words):
    result = run([program("qdrbdmeta"), *words])
    assert result.returncode == 10 and result.stderr


def test_short_form_is_the_same_command(image):
    long = qdrbdmeta(image, "internal", "get-gi")
    assert run([program("qdrbdmeta"), "get-gi", image]).stdout == long.stdout
    assert run([program("qdrbdmeta"), "get-gi", image, "--meta", "internal"]).stdout == long.stdout
    assert run([program("qdrbdmeta"), "--meta", "external", "get-gi", image]).returncode == 1
    change_superblock(image, "internal", flags=0)
    assert run([program("qdrbdmeta"), "dstate", image]).stdout == "Inconsistent\n"
