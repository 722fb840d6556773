# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest writes records; its QEMU is killed in the middle; nothing is gone.

The promise: every record that the guest was told is stable (fsync or FUA
returned) is there after SIGKILL and restart, in any kind of image.
"""
import json

import machine
import pytest
import records
from blockdrbd import StorageDaemon, program
from blockdrbd.daemon import wait_for
from blockdrbd.operation import query_volume
from disks import Disk

RECORDS_PER_ROUND = 400
DISK_SIZE = 2 << 30             # 512 activity log extents


ONE_QUEUE = ['-device', 'virtio-blk-pci,drive=d0,id=vd0']
# The queues are served by threads of their own, so the node is entered by both at once.
TWO_QUEUES = ['-smp', '2', '-object', 'iothread,id=io0', '-object', 'iothread,id=io1',
              '-device', json.dumps({
                  'driver': 'virtio-blk-pci', 'drive': 'd0', 'id': 'vd0', 'num-queues': 2,
                  'iothread-vq-mapping': [{'iothread': 'io0'}, {'iothread': 'io1'}]})]


def our_guest(workspace, guest_image, disk, device=ONE_QUEUE):
    """The driver in the guest's own QEMU."""
    arguments = disk.arguments('-', role='primary') + device
    return machine.Machine('guest', workspace.path, guest_image, arguments,
                           qemu=program('qemu-system-x86_64'), ports=['records'])


@pytest.mark.parametrize('kind,rounds', [('raw', 3), ('qcow2', 2), ('qcow2-internal', 2)])
def test_kill_qemu(workspace, guest_image, kind, rounds):
    disk = Disk(workspace.path, kind, DISK_SIZE).create()
    log = records.RecordLog()
    for _ in range(rounds):
        guest = our_guest(workspace, guest_image, disk)
        with guest:
            guest.boot()
            assert guest.sh('cat /sys/block/vda/queue/write_cache').strip() == 'write back'
            verdict = records.check_in_guest(guest, log)
            assert verdict.missing == 0, verdict.output
            records.start_writer(guest, log)
            log.wait_for(log.count() + RECORDS_PER_ROUND)
            guest.kill()
            log.finish()
    with our_guest(workspace, guest_image, disk) as guest:
        guest.boot()
        verdict = records.check_in_guest(guest, log)
        assert verdict.missing == 0, verdict.output
        assert verdict.checked == log.count() >= rounds * RECORDS_PER_ROUND
        # A crashed Primary without its peer has marked whatever it wrote.
        assert query_volume(guest.qmp)['out-of-sync'] > 0
        assert guest.quit() == 0


def requests_of_queues(guest):
    """Interrupts that each queue of the disk has raised."""
    lines = [line for line in guest.sh('cat /proc/interrupts').splitlines() if '-req.' in line]
    return [sum(int(word) for word in line.split()[1:3]) for line in lines]


def test_kill_qemu_with_two_queues(workspace, guest_image):
    disk = Disk(workspace.path, 'raw', DISK_SIZE).create()
    log = records.RecordLog()
    with our_guest(workspace, guest_image, disk, TWO_QUEUES) as guest:
        guest.boot()
        records.check_in_guest(guest, log)
        # Readers on both processors, beside the writer.
        for cpu in '12':
            guest.sh('(while :; do taskset %s dd if=/dev/vda of=/dev/null bs=64k count=64; '
                     'echo 3 > /proc/sys/vm/drop_caches; done) > /dev/null 2>&1 &' % cpu)
        records.start_writer(guest, log)
        log.wait_for(RECORDS_PER_ROUND)
        wait_for(lambda: len(busy := requests_of_queues(guest)) == 2 and min(busy) > 50,
                 'requests in both queues', 60)
        guest.kill()
        log.finish()
    with our_guest(workspace, guest_image, disk, TWO_QUEUES) as guest:
        guest.boot()
        verdict = records.check_in_guest(guest, log)
        assert verdict.missing == 0, verdict.output
        assert verdict.checked == log.count() >= RECORDS_PER_ROUND


# -- the distribution's own QEMU, served by our storage daemon -------------------

def start_daemon(workspace, disk):
    """writethrough=on, or the export swallows every fsync of the guest."""
    export = {'type': 'vhost-user-blk', 'id': 'e0', 'node-name': 'd0', 'writable': True,
              'writethrough': True, 'num-queues': 1,
              'addr': {'type': 'unix', 'path': str(workspace / 'vhost.sock')}}
    return StorageDaemon([*disk.arguments('--', role='primary'), '--export', json.dumps(export)],
                         folder=str(workspace.path), name='storage')


def served_guest(workspace, guest_image):
    """It waits and reconnects when the daemon dies, as an administrator would want."""
    arguments = ['-object', 'memory-backend-memfd,id=mem,size=192M,share=on',
                 '-chardev', 'socket,id=vhost,path=%s,reconnect=1' % (workspace / 'vhost.sock'),
                 '-device', 'vhost-user-blk-pci,chardev=vhost,num-queues=1']
    return machine.Machine('guest', workspace.path, guest_image, arguments,
                           qemu=machine.distribution_qemu(), machine=',memory-backend=mem',
                           ports=['records'])


def boot_and_check(guest, log):
    guest.boot()
    # The export announces a write-through cache: the guest sends no flush, and each
    # write must be stable when it completes (test_write_cache.py sees that it is).
    assert guest.sh('cat /sys/block/vda/queue/write_cache').strip() == 'write through'
    verdict = records.check_in_guest(guest, log)
    assert verdict.missing == 0, verdict.output
    assert verdict.checked == log.count()


def test_kill_distribution_qemu(workspace, guest_image):
    disk = Disk(workspace.path, 'raw', DISK_SIZE).create()
    log = records.RecordLog()
    with start_daemon(workspace, disk) as daemon:
        for _ in range(2):
            with served_guest(workspace, guest_image) as guest:
                boot_and_check(guest, log)
                records.start_writer(guest, log)
                log.wait_for(log.count() + RECORDS_PER_ROUND)
                guest.kill()
                log.finish()
        with served_guest(workspace, guest_image) as guest:
            boot_and_check(guest, log)
            assert guest.quit() == 0
        assert daemon.quit() == 0
    assert log.count() >= 2 * RECORDS_PER_ROUND


def test_kill_storage_daemon(workspace, guest_image):
    """The guest outlives the daemon: it goes on writing to the next one.

    One writer: of several requests that end out of order QEMU's export cannot tell
    the next daemon which were in flight (docs/OPERATIONS.md), and the guest sees errors.
    """
    disk = Disk(workspace.path, 'raw', DISK_SIZE).create()
    log = records.RecordLog()
    daemon = start_daemon(workspace, disk).start()
    try:
        with served_guest(workspace, guest_image) as guest:
            boot_and_check(guest, log)
            records.start_writer(guest, log, threads=1)
            for _ in range(2):
                log.wait_for(log.count() + RECORDS_PER_ROUND)
                daemon.kill()
                daemon = start_daemon(workspace, disk).start()
            log.wait_for(log.count() + RECORDS_PER_ROUND)
            daemon.kill()
            guest.kill()
            log.finish()
        assert log.unexpected == ''
        daemon = start_daemon(workspace, disk).start()
        assert query_volume(daemon.qmp)['out-of-sync'] > 0
        with served_guest(workspace, guest_image) as guest:
            boot_and_check(guest, log)
            assert guest.quit() == 0
        assert daemon.quit() == 0
    except BaseException:
        print('--- log of the daemon ---', daemon.log(), sep='\n')
        raise
    finally:
        daemon.kill()
    assert log.count() >= 3 * RECORDS_PER_ROUND
