# SPDX-License-Identifier: GPL-2.0-or-later
"""Our driver and a live kernel DRBD as one pair.

In: a folder, how many volumes and how large.  Out: a booted kernel (booted once
for many tests), a node of ours, a link between them that can be cut, waits for
the states that either side shows, and the judgement at the end of every test:
both disks equal byte by byte, nothing out of sync by the kernel's own counters.
Invariants: tests begin with `fresh`, which leaves nothing of the last one; the
kernel's disks are files of the host, compared only when nobody writes.
"""
import contextlib
import socket
import time

from blockdrbd import Link, compare_images
from blockdrbd.metadata import data_bytes
from blockdrbd.two_nodes import HostNode
from peer import KernelPeer, make_disk

MIB = 1 << 20
HERE_IN_GUEST, HOST_IN_GUEST, PORT = '10.0.2.15', '10.0.2.2', 7788
# Emulation is slow: the kernel's answer to a ping may take its time.
KERNEL_NET = '--connect-int=1 --ping-int=2 --ping-timeout=30 --timeout=40 --socket-check-timeout=2'
OURS = {'ping-timeout': 30, 'ping-int': 2, 'connect-int': 1, 'timeout': 40, 'ko-count': 3,
        'socket-check-timeout': 2}
ESTABLISHED = ('Connected', 'SyncSource', 'SyncTarget', 'WFBitMapS', 'WFBitMapT')


def free_ports(count):
    """Ports of 127.0.0.1 that nobody has now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in found]


class Kernel(KernelPeer):
    """The kernel's side: resource r0, minor n is volume n."""

    def __init__(self, folder, disks, port, target_port, pcap=None, name='kernel'):
        netdev = ('user,ipv6=off,restrict=off,hostfwd=tcp:127.0.0.1:%d-%s:%d'
                  % (port, HERE_IN_GUEST, PORT))
        super().__init__(name, folder, disks, netdev=netdev, ip=HERE_IN_GUEST + '/24', pcap=pcap)
        self.target_port = target_port
        self.volumes = 1

    def boot(self, timeout=180):
        seconds = super().boot(timeout)
        self.sh('ip route add default via ' + HOST_IN_GUEST)
        return seconds

    def disk(self, volume):
        return '/dev/vd' + 'abcdefgh'[volume]

    def up(self, volumes=1, options='', create=True):
        """Metadata are new, or repaired as after a crash of the host."""
        self.volumes = volumes
        for volume in range(volumes):
            self.drbdmeta('create-md' if create else 'apply-al', self.disk(volume))
            self.new_minor(volume)
            self.attach(self.disk(volume), volume=volume, options=options)

    def restore(self, current, size, options=''):
        """Volume 0 is UpToDate in this generation, with nothing out of sync: what two nodes need to meet
        without a sync below protocol 90."""
        self.sh('drbdsetup-84 down r0')
        uuids = ' '.join('0x%016X;' % uuid for uuid in (current, 0, 0, 0))
        self.sh("""echo 'version "v08"; uuid { %s flags 0x00000011; }
                la-size-sect %d; bm-byte-per-bit 4096; device-uuid 0x%016X; la-peer-max-bio-size 0;
                al-stripes 1; al-stripe-size-4k 8; bm { %d times 0x%016X; }' > /tmp/md
                drbdmeta --force 0 v08 %s internal restore-md /tmp/md"""
                % (uuids, data_bytes(size, True) // 512, 0, size >> 18, 0, self.disk(0)))
        self.up(1, options, create=False)

    def connect(self, options='', discard=False):
        self.sh('drbdsetup-84 connect r0 ipv4:%s:%d ipv4:%s:%d %s %s %s'
                % (HERE_IN_GUEST, PORT, HOST_IN_GUEST, self.target_port, KERNEL_NET, options,
                   '--discard-my-data' if discard else ''))

    def names(self):
        return 'ipv4:%s:%d ipv4:%s:%d' % (HERE_IN_GUEST, PORT, HOST_IN_GUEST, self.target_port)

    def disconnect(self, force=False):
        return self.rc('drbdsetup-84 disconnect %s %s' % (self.names(), '--force' if force else ''))

    def down(self):
        self.rc('for m in 0 1 2 3; do drbdsetup-84 secondary $m; done; '
                'drbdsetup-84 disconnect %s --force; drbdsetup-84 down r0; true' % self.names())

    def primary(self, force=False):
        return self.rc(';'.join('drbdsetup-84 primary %d %s || exit' % (v, '--force' if force else '')
                                for v in range(self.volumes)))

    def secondary(self):
        self.sh(';'.join('drbdsetup-84 secondary %d || exit' % v for v in range(self.volumes)))

    @contextlib.contextmanager
    def captured(self, path):
        """What goes over its wire meanwhile."""
        self.qmp.raw('object-add', {'qom-type': 'filter-dump', 'id': 'capture', 'netdev': 'n0', 'file': str(path)})
        try:
            yield
        finally:
            self.qmp.raw('object-del', {'id': 'capture'})

    def wait(self, condition, what, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            states = [self.status(v) for v in range(self.volumes)]
            if all(condition(s) for s in states):
                return states
            if time.monotonic() > deadline:
                raise TimeoutError('kernel: %s: not so after %d s: %s\n%s'
                                   % (what, timeout, states, self.rc('dmesg | tail -25')[1]))
            time.sleep(0.05)

    def wait_connection(self, *wanted, timeout=60):
        return self.wait(lambda s: s['cs'] in wanted, 'connection ' + ' or '.join(wanted), timeout)

    def wait_synced(self, timeout=90):
        return self.wait(lambda s: s['cs'] == 'Connected' and s['ds'] == 'UpToDate/UpToDate'
                         and s['oos'] == '0', 'in sync', timeout)

    def write(self, offset, length, seed, volume=0, fua=False):
        self.sh('blkop write /dev/drbd%d %d %d %d %s' % (volume, offset, length, seed, 'fua' if fua else ''))

    def many(self, offset, length, seed, size=4096, depth=8, volume=0):
        self.sh('blkop many /dev/drbd%d %d %d %d %d %d' % (volume, offset, length, seed, size, depth))

    def some_of_everything(self, seed, discards=True, volume=0):
        """What a guest of the kernel may do to its disk."""
        dev = '/dev/drbd%d' % volume
        self.many(0, MIB, seed, volume=volume)
        self.write(2 * MIB + 512, 3584, seed + 1, volume)
        self.write(3 * MIB, 512 << 10, seed + 2, volume)
        self.write(4 * MIB, 4096, seed + 3, volume, fua=True)
        self.sh('blkop flush ' + dev)
        if discards:
            self.sh('blkop discard %s %d %d; blkop punch %s %d %d; blkop zeroout %s %d %d'
                    % (dev, 256 << 10, 64 << 10, dev, 512 << 10, 64 << 10, dev, 768 << 10, 64 << 10))
        self.many(5 * MIB, 256 << 10, seed + 4, size=512, volume=volume)
        self.sh('blkop flush ' + dev)


class Together:
    """`with Together(folder) as pair:` boots; `pair.fresh(...)` begins a test."""

    def __init__(self, folder, volumes=1, size=16 * MIB, pcap=None):
        self.folder, self.max_volumes, self.size = folder, volumes, size
        ours, kernel, to_ours, to_kernel = free_ports(4)
        self.link = Link({'ours': (('127.0.0.1', to_ours), ('127.0.0.1', ours), None),
                          'kernel': (('127.0.0.1', to_kernel), ('127.0.0.1', kernel), None)})
        self.ports = {'ours': ours, 'to_kernel': to_kernel}
        self.disks = [make_disk(folder / ('kernel%d.img' % v), size) for v in range(volumes)]
        self.kernel = Kernel(folder, self.disks, kernel, to_ours, pcap)
        self.ours = None
        self.tests = 0

    def __enter__(self):
        self.kernel.start()
        self.kernel.boot()
        return self

    def __exit__(self, kind, value, trace):
        if self.ours is not None:
            self.ours.close(failed=kind is not None)
        self.kernel.__exit__(kind, value, trace)
        self.link.close()

    # -- beginnings ---------------------------------------------------------------

    def fresh(self, volumes=1, kernel_net=None, kernel_disk='', connect=True, start=True, **options):
        """Empty disks, fresh metadata, both sides up; `options` are ours by their names in
        the kernel (with _ for -), kernel_net its own command line."""
        if self.ours is not None:
            self.ours.close()
        self.kernel.down()
        self.link.heal()
        self.link.delay_s = 0
        self.tests += 1
        folder = self.folder / ('ours%d' % self.tests)
        folder.mkdir()
        self.ours = HostNode(folder, 'ours', ('127.0.0.1', self.ports['ours']),
                             ('127.0.0.1', self.ports['to_kernel']), volumes=volumes, size=self.size,
                             options={**OURS, **{k.replace('_', '-'): v for k, v in options.items()}})
        self.ours.create()
        for volume in range(volumes):
            self.kernel.sh('blkdiscard -f %s 2>/dev/null || dd if=/dev/zero of=%s bs=1M count=%d 2>/dev/null'
                           % (self.kernel.disk(volume), self.kernel.disk(volume), self.size // MIB))
        self.kernel.up(volumes, kernel_disk)
        if start:
            self.ours.start()
        if connect:
            self.kernel.connect(self._net(options) if kernel_net is None else kernel_net)
        return self

    @staticmethod
    def _net(options):
        """The kernel's words for options that both sides must have alike."""
        return ' '.join('--%s=%s' % (k.replace('_', '-'), v) for k, v in options.items()
                        if k in ('protocol', 'after_sb_0pri', 'after_sb_1pri', 'data_integrity_alg'))

    def connected(self):
        self.ours.wait_connection('Connected', timeout_s=60)
        self.kernel.wait_connection(*ESTABLISHED)

    def synced(self):
        self.ours.wait_synced(90)
        self.kernel.wait_synced()

    def ready(self, primary='ours', **options):
        """In sync, with one side Primary."""
        self.fresh(**options)
        self.connected()
        if primary == 'ours':
            self.ours.primary(force=True)
        else:
            status, output = self.kernel.primary(force=True)
            assert status == 0, output
        self.synced()
        return self

    def swap_roles(self):
        """The Primary hands over to the other side."""
        if self.ours.status()['role'] == 'primary':
            self.ours.demote()
            status, output = self.kernel.primary()
            assert status == 0, output
        else:
            self.kernel.secondary()
            self.ours.primary()

    # -- our side loses its process, and comes back ------------------------------------

    def restart_ours(self, **options):
        self.ours.start(**options)

    def reboot_kernel(self, options=''):
        """After kernel.kill(): the disks as the crash left them."""
        self.kernel.start()
        self.kernel.boot()
        self.kernel.up(self.kernel.volumes, create=False)
        self.kernel.connect(options)

    # -- judging ----------------------------------------------------------------------

    def settle_equal(self):
        self.synced()
        # Under A nobody has waited for the kernel's disk yet.
        self.ours.wait(lambda: self.ours.peer()['epochs'] == 0 and self.ours.peer()['unacknowledged'] == 0, 'all is acknowledged', 60)
        self.kernel.rc('sync')
        usable = data_bytes(self.size, True)
        for volume in range(self.ours.volumes):
            different = compare_images(self.ours.images[volume], self.disks[volume], usable)
            assert not different, 'volume %d: the disks differ at %s' % (volume, different)


def our_writes(node, seed, volume=0, discards=True):
    """What a guest of ours may do to its disk."""
    guest = node.guest(volume)
    unit = bytes((seed * 37 + i) % 251 for i in range(4096))
    for number in range(64):
        guest.submit('write', number * 5 * 4096, unit, fua=number % 9 == 0)
    guest.drain()
    guest.pwrite(unit[:3584], 3 * MIB + 512)
    guest.pwrite(unit * 256, 4 * MIB)
    guest.pwrite(unit, 6 * MIB, fua=True)
    guest.flush()
    guest.zero(96 << 10, 64 << 10)
    if discards:
        guest.trim(128 << 10, 4 * MIB + (64 << 10))
    guest.flush()
    node.leave(guest)
