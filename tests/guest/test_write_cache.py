# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's fsync reaches the image, whichever way the disk is given to it.

A recorder below the driver counts flushes.  The export without writethrough=on is
the control: there the guest's fsync is a lie, and this test can see it.
"""
import json

import machine
import pytest
import records
from blockdrbd import StorageDaemon, file_node, make_image, program
from blockdrbd.operation import query_volume
from disks import Disk
from write_log import log_node, read_write_log

DISK_SIZE = 256 << 20
RECORDS = 150


class RecordedDisk(Disk):
    """External metadata, so that only the guest's data pass the recorder."""

    def image_nodes(self):
        below = super().image_nodes()
        below[-1]['node-name'] = 'recorded'
        return below + [file_node('log', str(self.folder / 'log')),
                        log_node('image', 'recorded', 'log')]

    def create(self):
        make_image(self.folder / 'log', 0)
        super().create()
        make_image(self.folder / 'log', 0)      # without what the first promotion did
        return self


@pytest.fixture
def disk(workspace):
    return RecordedDisk(workspace.path, 'qcow2', DISK_SIZE).create()


def write_records(guest):
    log = records.RecordLog()
    records.start_writer(guest, log, threads=1)
    log.wait_for(RECORDS)
    return log


def test_virtio_blk(workspace, guest_image, disk):
    arguments = disk.arguments('-', role='primary') + ['-device', 'virtio-blk-pci,drive=d0']
    with machine.Machine('guest', workspace.path, guest_image, arguments,
                         qemu=program('qemu-system-x86_64'), ports=['records']) as guest:
        guest.boot()
        assert guest.sh('cat /sys/block/vda/queue/write_cache').strip() == 'write back'
        log = write_records(guest)
        # The cached third of the records needs a flush each; the guest's kernel
        # writes the others with flushes or FUA as it likes.
        assert query_volume(guest.qmp)['io']['flushes'] >= RECORDS // 3
        guest.kill()
        log.finish()
    assert read_write_log(disk.folder / 'log').flushes >= RECORDS * 9 // 10


@pytest.mark.parametrize('writethrough', [True, False])
def test_vhost_user_blk(workspace, guest_image, disk, writethrough):
    socket = workspace / 'vhost.sock'
    export = {'type': 'vhost-user-blk', 'id': 'e0', 'node-name': 'd0', 'writable': True,
              'writethrough': writethrough, 'addr': {'type': 'unix', 'path': str(socket)}}
    with StorageDaemon([*disk.arguments('--', role='primary'), '--export', json.dumps(export)],
                       folder=str(workspace.path), name='storage') as daemon:
        arguments = ['-object', 'memory-backend-memfd,id=mem,size=192M,share=on',
                     '-chardev', 'socket,id=vhost,path=%s' % socket,
                     '-device', 'vhost-user-blk-pci,chardev=vhost,num-queues=1']
        with machine.Machine('guest', workspace.path, guest_image, arguments,
                             qemu=machine.distribution_qemu(), machine=',memory-backend=mem',
                             ports=['records']) as guest:
            guest.boot()
            log = write_records(guest)
            guest.kill()
            log.finish()
        daemon.kill()
    recorded = read_write_log(disk.folder / 'log')
    assert recorded.writes >= RECORDS
    if writethrough:
        assert recorded.flushes >= RECORDS * 9 // 10
    else:
        assert recorded.flushes < RECORDS // 2, 'the control must show the lie'
