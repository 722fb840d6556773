# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks below the driver, as an administrator would set them up.

In: a folder and a kind.  Out: files with metadata whose generation is UpToDate,
and the arguments that put the DRBD node "d0" over them.
Kinds: raw (internal metadata), qcow2 (metadata in a raw file beside it) and
qcow2-internal (metadata at the end of the qcow2 image's disk, made through the
block layer).
"""
import json
import subprocess

from blockdrbd import (StorageDaemon, drbd_node, file_node, make_image, program, qcow2_node,
                       resource_object, run_operation)
from blockdrbd.operation import set_role

KINDS = ('raw', 'qcow2', 'qcow2-internal')
METADATA_SIZE = 8 << 20


class Disk:
    def __init__(self, folder, kind, size):
        assert kind in KINDS
        self.folder, self.kind, self.size = folder, kind, size
        self.image, self.metadata = str(folder / 'disk.img'), str(folder / 'disk.md')

    # -- nodes ---------------------------------------------------------------

    def image_nodes(self):
        """Node "image": what the driver is given as its file."""
        if self.kind == 'raw':
            return [file_node('image', self.image)]
        return [file_node('image-file', self.image), qcow2_node('image', 'image-file')]

    def drbd_options(self, **options):
        if self.kind == 'qcow2':
            options['metadata'] = 'metadata'
        return drbd_node('d0', 'image', **options)

    def nodes(self, **options):
        below = self.image_nodes()
        if self.kind == 'qcow2':
            below.append(file_node('metadata', self.metadata))
        return below + [self.drbd_options(**options)]

    def arguments(self, dashes='-', **options):
        """For a command line: the resource, then the nodes, the driver's on top."""
        arguments = [dashes + 'object', json.dumps(resource_object('r0'))]
        for node in self.nodes(**options):
            arguments += [dashes + 'blockdev', json.dumps(node)]
        return arguments

    # -- setting up ------------------------------------------------------------

    def create(self):
        """Image, metadata, and the first promotion: the peer is not there, so the
        administrator says whose data is good."""
        if self.kind == 'raw':
            make_image(self.image, self.size)
            qdrbdmeta('--force', '-', 'v08', self.image, 'internal', 'create-md')
        else:
            subprocess.run([program('qemu-img'), 'create', '-q', '-f', 'qcow2', self.image,
                            str(self.size)], check=True)
        if self.kind == 'qcow2':
            make_image(self.metadata, METADATA_SIZE)
            qdrbdmeta('--force', '-', 'v08', self.metadata, 'flex-external', 'create-md')
        with StorageDaemon(folder=str(self.folder), name='setup') as daemon:
            daemon.object_add(resource_object('r0'))
            inside = self.kind == 'qcow2-internal'
            for node in self.nodes(**({'attach': False} if inside else {})):
                daemon.blockdev_add(node)
            if inside:
                run_operation(daemon.qmp, 'drbd-create-md', node_name='d0')
                run_operation(daemon.qmp, 'drbd-attach', node_name='d0')
            set_role(daemon.qmp, 'primary', force=True)
            daemon.quit()
        return self


def qdrbdmeta(*words):
    """Run our metadata tool; its output."""
    done = subprocess.run([program('qdrbdmeta'), *words], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise RuntimeError('qdrbdmeta %s returned %d:\n%s%s'
                           % (' '.join(words), done.returncode, done.stdout, done.stderr))
    return done.stdout
