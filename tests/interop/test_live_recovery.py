# SPDX-License-Identifier: GPL-2.0-or-later
"""With a live kernel: every way to part and to meet again, roles, crashes of
either side, split brain and invalidation."""
import errno
import pathlib

import nbd
import pytest
from blockdrbd import OperationFailed, QmpError, RecordingWriter, Workspace
from blockdrbd.nbdkit import SwitchedDisk
from together import MIB, Together, our_writes

REFUSED = (OperationFailed, QmpError)
GONE = ('WFConnection', 'Unconnected', 'StandAlone', 'NetworkFailure', 'BrokenPipe', 'Timeout',
        'TearDown', 'Disconnecting')


@pytest.fixture(scope='module')
def rig():
    with Workspace('drbd-live-kernel-') as folder:
        with Together(folder.path) as pair:
            yield pair


def part(rig):
    rig.link.cut()
    rig.ours.wait_lost()
    rig.kernel.wait_connection(*GONE)


@pytest.mark.parametrize('primary', ['ours', 'kernel'])
def test_bitmap_resync(rig, primary):
    rig.ready(primary)
    part(rig)
    if primary == 'ours':
        our_writes(rig.ours, 60)
    else:
        rig.kernel.some_of_everything(61)
    rig.link.heal()
    rig.settle_equal()


def test_resync_under_load_of_ours(rig):
    rig.ready()
    part(rig)
    with RecordingWriter(rig.ours.export(), 'd0', run=8) as writer:
        writer.progress(500)
        rig.link.heal()
        rig.ours.wait_connection('Connected', timeout_s=60)
        writer.progress(300)
        writer.stop()
    assert not writer.errors
    rig.settle_equal()
    writer.journal.judge_file(rig.disks[0])


def test_resync_under_load_of_the_kernel(rig):
    rig.ready('kernel')
    part(rig)
    rig.kernel.many(0, 4 * MIB, 70)
    rig.link.heal()
    rig.kernel.many(2 * MIB, 4 * MIB, 71, size=4096, depth=16)
    rig.settle_equal()


def test_our_disk_goes_and_comes_in_a_resync_from_the_kernel(rig):
    """The kernel does not answer what it has read when our disk is gone (spec 3.2): the next resync waits
    for that, and the nodes meet anew."""
    rig.ready('kernel')
    rig.kernel.many(0, 8 * MIB, 65)
    rig.link.delay_s = 0.05
    try:
        rig.ours.run('drbd-invalidate', node_name='d0')
        rig.ours.wait(lambda: 0 < rig.ours.volume()['out-of-sync'] < 12 * MIB, 'some of it has come')
        rig.ours.run('drbd-detach', node_name='d0', force=True)
        rig.ours.run('drbd-attach', node_name='d0')
        rig.synced()
    finally:
        rig.link.delay_s = 0
    rig.settle_equal()


def test_a_resync_that_was_paused_before_it_began(rig):
    """pause-sync, or resync-after another volume: the target asks when the pause is over."""
    rig.ready('kernel')
    part(rig)
    rig.kernel.many(0, 4 * MIB, 72)
    rig.kernel.sh('drbdsetup-84 pause-sync 0')
    try:
        rig.link.heal()
        rig.ours.wait_state('PausedSyncT', 'Inconsistent', 'UpToDate', timeout_s=60)
        assert rig.ours.volume()['out-of-sync'] > 0
    finally:
        rig.kernel.sh('drbdsetup-84 resume-sync 0')
    rig.settle_equal()


# -- roles --------------------------------------------------------------------------------


def test_one_primary(rig):
    rig.ready()
    status, output = rig.kernel.primary()
    assert status != 0, output
    rig.swap_roles()
    with pytest.raises(REFUSED, match='(?i)primar'):
        rig.ours.primary()
    assert rig.ours.peer()['peer-role'] == 'Primary'
    rig.kernel.secondary()
    rig.ours.primary()
    assert rig.kernel.status()['ro'] == 'Secondary/Primary'
    rig.settle_equal()


def test_what_failed_here_alone_follows_our_copy(rig):
    """ENOSPC of our disk: the kernel has the write, the guest the error, the disk is kept. After the
    demotion the kernel becomes the target for the marked blocks (decision 0024)."""
    rig.fresh(start=False)
    ours, image = rig.ours, pathlib.Path(rig.ours.images[0])
    with SwitchedDisk(image.parent, image.stem, 0, error='ENOSPC') as disk:
        ours.file_node = lambda volume: disk.node('image%d' % volume)
        ours.start()
        rig.connected()
        ours.primary(force=True)
        rig.synced()
        guest = ours.guest()
        guest.pwrite(b'a' * 65536, MIB)
        guest.flush()
        disk.fail_writes()
        with pytest.raises(nbd.Error) as failed:
            guest.pwrite(b'b' * 65536, MIB)
        assert failed.value.errnum == errno.ENOSPC
        disk.fail_writes(False)
        assert guest.pread(65536, MIB) == b'a' * 65536
        assert ours.volume()['disk'] == 'UpToDate' and ours.volume()['out-of-sync'] == 65536
        ours.demote()
        rig.settle_equal()
        with open(rig.disks[0], 'rb') as kernels:
            kernels.seek(MIB)
            assert kernels.read(65536) == b'a' * 65536
        status, output = rig.kernel.primary()
        assert status == 0, output
        rig.kernel.many(MIB, MIB, 63)
        rig.settle_equal()
        ours.kill()


# -- parting --------------------------------------------------------------------------------


@pytest.mark.parametrize('primary', ['ours', 'kernel'])
@pytest.mark.parametrize('who', ['ours', 'kernel'])
def test_graceful_disconnect(rig, primary, who):
    rig.ready(primary)
    if who == 'ours':
        rig.ours.disconnect()
        rig.ours.wait_connection('StandAlone')
        rig.kernel.wait_connection('WFConnection', 'Unconnected', 'TearDown')
    else:
        status, output = rig.kernel.disconnect()
        assert status == 0, output
        rig.kernel.wait_connection('StandAlone')
        rig.ours.wait_lost()
        assert rig.ours.status()['connection'] != 'StandAlone'
    if primary == 'ours':
        our_writes(rig.ours, 80)
    else:
        rig.kernel.many(MIB, MIB, 81)
    if who == 'ours':
        rig.ours.connect()
    else:
        rig.kernel.connect()
    rig.settle_equal()


def test_hard_disconnect_of_ours(rig):
    rig.ready('kernel')
    rig.ours.disconnect(force=True)
    rig.kernel.wait_connection(*GONE)
    rig.kernel.many(MIB, MIB, 82)
    rig.ours.connect()
    rig.settle_equal()


def test_hard_disconnect_of_the_kernel(rig):
    rig.ready()
    rig.kernel.disconnect(force=True)
    rig.ours.wait_lost()
    our_writes(rig.ours, 83)
    rig.kernel.connect()
    rig.settle_equal()


@pytest.mark.parametrize('kind', ['data', 'meta'])
def test_one_stream_cut_under_load(rig, kind):
    rig.ready()
    with RecordingWriter(rig.ours.export(), 'd0') as writer:
        writer.progress(100)
        rig.link.cut_stream(kind)
        rig.ours.wait(lambda: rig.ours.peer()['times-lost'] > 0, 'the loss is seen')
        writer.progress(100)
        rig.synced()
        writer.stop()
    assert not writer.errors
    rig.settle_equal()


# -- crashes ----------------------------------------------------------------------------------


def test_kernel_takes_over_after_our_crash(rig):
    rig.ready()
    writer = RecordingWriter(rig.ours.export(), 'd0').start()
    writer.progress(300)
    rig.ours.kill()
    journal = writer.stop()
    rig.kernel.wait_connection(*GONE)
    status, output = rig.kernel.primary()
    assert status == 0, output
    rig.kernel.rc('sync')
    journal.judge_file(rig.disks[0])
    rig.kernel.many(8 * MIB, MIB, 90)
    rig.restart_ours()
    rig.settle_equal()
    assert rig.ours.state()[1] == 'secondary'


def test_our_secondary_crashes(rig):
    rig.ready('kernel')
    rig.ours.kill()
    rig.kernel.wait_connection(*GONE)
    rig.kernel.many(0, MIB, 91)
    rig.restart_ours()
    rig.settle_equal()


def test_ours_takes_over_after_the_kernels_crash(rig):
    rig.ready('kernel')
    rig.kernel.many(0, 2 * MIB, 92)
    rig.kernel.kill()
    rig.ours.wait_lost()
    rig.ours.primary()
    our_writes(rig.ours, 93)
    rig.reboot_kernel()
    rig.settle_equal()


def test_kernel_secondary_crashes(rig):
    rig.ready()
    with RecordingWriter(rig.ours.export(), 'd0') as writer:
        writer.progress(200)
        rig.kernel.kill()
        writer.progress(200)
        rig.reboot_kernel()
        rig.synced()
        writer.stop()
    assert not writer.errors
    rig.settle_equal()
    writer.journal.judge_file(rig.disks[0])


# -- orders -------------------------------------------------------------------------------------


@pytest.mark.parametrize('who', ['ours', 'kernel'])
def test_invalidate(rig, who):
    """The Secondary throws its data away; all of it comes again."""
    rig.ready('kernel' if who == 'ours' else 'ours')
    if who == 'ours':
        rig.kernel.many(0, MIB, 94)
        rig.ours.run('drbd-invalidate', node_name='d0')
    else:
        our_writes(rig.ours, 95)
        rig.kernel.sh('drbdsetup-84 invalidate 0')
    rig.settle_equal()


@pytest.mark.parametrize('who', ['ours', 'kernel'])
def test_invalidate_remote(rig, who):
    rig.ready(who)
    if who == 'ours':
        our_writes(rig.ours, 96)
        rig.ours.run('drbd-invalidate-remote', node_name='d0')
    else:
        rig.kernel.many(0, MIB, 97)
        rig.kernel.sh('drbdsetup-84 invalidate-remote 0')
    rig.settle_equal()


@pytest.mark.parametrize('who', ['ours', 'kernel'])
def test_first_sync_is_skipped(rig, who):
    rig.fresh()
    rig.connected()
    if who == 'ours':
        rig.ours.run('drbd-new-current-uuid', node_name='d0', clear_bitmap=True,
                     force=True)
    else:
        rig.kernel.sh('drbdsetup-84 new-current-uuid 0 --clear-bitmap')
    rig.settle_equal()
    rig.ours.primary()
    our_writes(rig.ours, 98)
    rig.settle_equal()


@pytest.mark.parametrize('loser', ['ours', 'kernel'])
def test_split_brain(rig, loser):
    rig.ready()
    part(rig)
    status, output = rig.kernel.primary()
    assert status == 0, output
    our_writes(rig.ours, 100)
    rig.kernel.many(9 * MIB, MIB, 101)
    rig.link.heal()
    rig.ours.wait(lambda: rig.ours.status()['connection'] == 'StandAlone'
                  or rig.kernel.status()['cs'] == 'StandAlone', 'split brain is seen', 60)
    if rig.ours.status()['connection'] != 'StandAlone':
        rig.ours.disconnect(force=True)
    assert 'split' in rig.ours.reason().lower()
    rig.ours.wait_connection('StandAlone')
    rig.kernel.disconnect(force=True)
    rig.kernel.wait_connection('StandAlone')
    if loser == 'ours':
        rig.ours.demote()
        rig.ours.connect(discard_my_data=True)
        rig.kernel.connect()
    else:
        rig.kernel.secondary()
        rig.kernel.connect(discard=True)
        rig.ours.connect()
    rig.settle_equal()
