#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for qemu-nbd in QEMU's iotests and puts the driver over the image.

In: qemu-nbd's own arguments; from the environment IOTESTS_NBD (the real one),
IOTESTS_LAYER (raw or qcow2: what is below the driver), IOTESTS_STATE (a folder
for metadata and qcow2 files), BLOCK_DRBD_BIN.  Out: the real qemu-nbd in this
process's place; each start is noted in IOTESTS_STATE/log, so that a run in
which the driver was never used is not mistaken for a success.

`-f raw FILE` becomes a drbd node with external metadata made on the spot, whose
generation says UpToDate, with role=primary.  With the layer qcow2 the image is
FILE as the raw data file of a qcow2 image, so FILE stays what the test looks
at.  What has no writable raw image in it (lists, -r, -c, other formats, options
that name a node) goes through unchanged.
"""

import hashlib
import os
import subprocess
import sys

REAL = os.environ["IOTESTS_NBD"]
STATE = os.environ["IOTESTS_STATE"]
TOOLS = os.environ["BLOCK_DRBD_BIN"]
SECTOR = 512
BYTES_PER_BITMAP_BYTE = 8 * 4096
UP_TO_DATE = "0000000000001234:0:0:0:1:1"
# Options of qemu-nbd that have a value, with one letter or a word.
WITH_VALUE = set("-f --format -k --socket -p --port -b --bind -e --shared -x --export-name -D --description "
                 "-o --offset --cache --aio --discard --detect-zeroes --object --tls-creds --tls-hostname "
                 "--tls-authz --trace --pid-file -B --bitmap -l --load-snapshot --handshake-limit -T".split())
UNCHANGED = set("-L --list -r --read-only -c --connect -d --disconnect -s --snapshot -l --load-snapshot "
                "-o --offset -h --help -V --version --image-opts -B --bitmap".split())


def note(text):
    with open(os.path.join(STATE, "log"), "a", encoding="utf-8") as log:
        log.write(text + "\n")


def split(arguments):
    """Options (as given, without -f) and the image; None if it must stay as it is."""
    options, images, fmt = [], [], None
    words = iter(arguments)
    for word in words:
        name = word.split("=")[0]
        if name in UNCHANGED:
            return None
        if word in WITH_VALUE:
            value = next(words)
            if word in ("-f", "--format"):
                fmt = value
            else:
                options += [word, value]
        elif word.startswith("-"):
            options.append(word)
        else:
            images.append(word)
    if fmt != "raw" or len(images) != 1 or not os.path.isfile(images[0]):
        return None
    size = os.path.getsize(images[0])
    if size == 0 or size % SECTOR:
        return None     # DRBD's disks consist of sectors
    return options, os.path.abspath(images[0])


def run(*command):
    subprocess.run([os.path.join(TOOLS, command[0]), *command[1:]], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_metadata(name, size):
    metadata = os.path.join(STATE, name + ".md")
    with open(metadata, "wb") as image:
        image.truncate(size // BYTES_PER_BITMAP_BYTE + (1 << 20))
    run("qdrbdmeta", "--force", "--meta", "external", "create-md", metadata)
    run("qdrbdmeta", "--force", "--meta", "external", "set-gi", metadata, UP_TO_DATE)
    return metadata


def image_node(path, name):
    """The image below the driver, as suffixes of the option `file`."""
    if os.environ["IOTESTS_LAYER"] == "raw":
        return {"driver": "raw", "file.driver": "file", "file.filename": path, "file.discard": "unmap"}
    # Made with a data file of its own, because creating one would empty the test's image.
    qcow2 = os.path.join(STATE, name + ".qcow2")
    size = os.path.getsize(path)
    # A raw data file means that all tables are written now: few for a test with terabytes.
    clusters = ",cluster_size=2M" if size > 64 << 30 else ""
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o",
        f"data_file={qcow2}.data,data_file_raw=on{clusters}", qcow2, str(size))
    os.unlink(qcow2 + ".data")
    return {"driver": "qcow2", "discard": "unmap", "file.driver": "file",
            "file.filename": qcow2, "data-file.driver": "file", "data-file.filename": path,
            "data-file.discard": "unmap"}


def main():
    arguments = sys.argv[1:]
    parts = split(arguments)
    if parts is None:
        note("unchanged " + " ".join(arguments))
        os.execv(REAL, [REAL, *arguments])
    options, path = parts
    name = hashlib.sha256(path.encode()).hexdigest()[:16] + f"-{os.getpid()}"
    node = {"driver": "drbd", "resource": "r0", "role": "primary", "discard": "unmap"}
    node.update({"file." + key: value for key, value in image_node(path, name).items()})
    node.update({"metadata.driver": "file", "metadata.filename": make_metadata(name, os.path.getsize(path))})
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in node.items())
    note("driver " + path)
    os.execv(REAL, [REAL, *options, "--object", "drbd-resource,id=r0", "--image-opts", text])


main()
