# SPDX-License-Identifier: GPL-2.0-or-later
"""The two who play a recorded scenario again: one of our nodes, and the live kernel.

In: the commands of the steps, by the names of drbdsetup and blkop.  Out: what is done on the node; a
command that the node refuses raises OperationFailed or QmpError, on either side.  The node's state is a
text as it was recorded: "Connected Primary/Secondary UpToDate/UpToDate".
"""
import array
import os
import re

from blockdrbd import OperationFailed
from blockdrbd.daemon import wait_for

MASK = (1 << 64) - 1
# Options of connect, by their names here; these when a connect does not give them.
DEFAULTS = {'cram-hmac-alg': '', 'csums-alg': '', 'verify-alg': '', 'data-integrity-alg': '', 'protocol': 'C',
            'use-rle': True}


def blkop_data(offset, length, seed):
    """What blkop in the guest writes there."""
    first = offset // 8 + 1
    words = ((i * 0x9E3779B97F4A7C15 ^ seed * 0xD1B54A32D192ED03) & MASK for i in range(first, first + length // 8))
    return array.array('Q', words).tobytes()


class Ours:
    """The steps of a node, done by ours."""

    # What ours says where the kernel's code is this.
    REFUSALS = {'(-1)': 'two Primaries', '(-2)': 'not UpToDate', '(-12)': 'held open for writing'}

    def __init__(self, node):
        self.node = node
        self.guests = {}
        self.secrets = 0

    def refusal(self, recorded):
        return self.REFUSALS[re.search(r'\(-\d+\)', recorded)[0]]

    @property
    def is_connected(self):
        return self.node.status()['connection'] == 'Connected'

    def state(self, volume=0):
        connection, role, disk, peer_disk = self.node.state(volume)
        return '%s %s/%s %s/%s' % (connection, role.capitalize(), self.node.peer()['peer-role'], disk, peer_disk)

    def disk(self, volume):
        return self.node.images[volume]

    def out_of_sync(self, volume):
        return self.node.volume(volume)['out-of-sync']

    def has_disk(self, volume):
        return self.node.state(volume)[2] != 'Diskless'

    def connect(self, options):
        wanted = dict(DEFAULTS)
        for option in options:
            name, value = re.fullmatch(r'--([\w-]+)(?:=(\S+))?', option).groups()
            if name == 'discard-my-data':
                continue
            wanted[name] = False if value == 'no' else value
        secret = wanted.pop('shared-secret', None)
        if secret:
            self.secrets += 1
            self.node.daemon.object_add({'qom-type': 'secret', 'id': 's%d' % self.secrets, 'data': secret})
            self.node.set('secret', 's%d' % self.secrets)
        for name, value in wanted.items():
            self.node.set(name, value)
        self.node.connect(discard_my_data='--discard-my-data' in options)

    def disconnect(self, options=()):
        self.node.disconnect(force='--force' in options)
        self.node.wait_connection('StandAlone')

    def is_disconnected(self):
        """What the kernel answers with an error: there is no connection that could end."""
        return self.node.status()['connection'] == 'StandAlone'

    def primary(self, _volume):
        self.node.primary()

    def secondary(self, _volume):
        self.guests.clear()
        self.node.demote()

    def secondary_while_open(self):
        """Somebody has the disk open; nobody writes."""
        self.guest(0)
        self.node.secondary()

    def new_current_uuid(self, volume):
        self.node.run('drbd-new-current-uuid', node_name='d%d' % volume, clear_bitmap=True, force=True)

    def detach(self, volume):
        self.node.run('drbd-detach', node_name='d%d' % volume)

    def outdate(self, volume):
        self.node.run('drbd-outdate', node_name='d%d' % volume)

    def guest(self, volume):
        if volume not in self.guests:
            self.guests[volume] = self.node.guest(volume)
        return self.guests[volume]

    def blkop(self, what, volume, offset=0, length=0, seed=0, size=0, depth=0, fua=False):
        guest = self.guest(volume)
        if what == 'write':
            guest.pwrite(blkop_data(offset, length, seed), offset, fua=fua)
        elif what == 'many':
            for at in range(offset, offset + length, size):
                while guest.in_flight >= depth:
                    guest.poll()
                guest.submit('write', at, blkop_data(at, size, seed))
            guest.drain()
        elif what == 'flush':
            guest.flush()
        elif what == 'discard':
            guest.trim(length, offset)
        elif what in ('punch', 'zeroout', 'zerorange'):
            guest.zero(length, offset, may_unmap=what == 'punch')
        elif what == 'check':
            assert guest.pread(length, offset) == blkop_data(offset, length, seed)
        else:
            raise ValueError(what)

    def random(self, offset, length):
        data = os.urandom(length)
        self.guest(0).pwrite(data, offset)
        self.guest(0).flush()
        return data


class Theirs:
    """The steps of a node, done by the kernel, as they were recorded."""

    def __init__(self, kernel):
        self.kernel = kernel

    @staticmethod
    def refusal(recorded):
        return re.escape(recorded)

    @property
    def is_connected(self):
        return self.kernel.status()['cs'] == 'Connected'

    def state(self, volume=0):
        status = self.kernel.status(volume)
        return '%s %s %s' % (status['cs'], status['ro'], status['ds'])

    def disk(self, volume):
        return self.kernel.disks[volume]

    def out_of_sync(self, volume):
        return self.kernel.out_of_sync_bytes(volume)

    def has_disk(self, volume):
        return not self.kernel.status(volume)['ds'].startswith('Diskless')

    def run(self, command):
        status, output = self.kernel.rc(command)
        if status:
            raise OperationFailed(command, {'error': output})

    def setup(self, *words):
        self.run('drbdsetup-84 ' + ' '.join(map(str, words)))

    def connect(self, options):
        self.kernel.connect(' '.join(options))

    def disconnect(self, options=()):
        """With --force there may be nothing that could end.  In a handshake the kernel says: again, later."""
        def ended():
            try:
                self.setup('disconnect', self.kernel.names(), *options)
            except OperationFailed as error:
                if '(-18)' not in str(error):
                    raise
                return False
            return True
        if not ('--force' in options and self.is_disconnected()):
            wait_for(ended, 'disconnect', 30)
        self.kernel.wait_connection('StandAlone')

    def is_disconnected(self):
        return self.kernel.status()['cs'] == 'StandAlone'

    def primary(self, volume):
        self.setup('primary', volume)

    def secondary(self, volume):
        self.setup('secondary', volume)

    def secondary_while_open(self):
        self.run('exec 4</dev/drbd0; drbdsetup-84 secondary 0')

    def new_current_uuid(self, volume):
        self.setup('new-current-uuid', volume, '--clear-bitmap')

    def detach(self, volume):
        self.setup('detach', volume)

    def outdate(self, volume):
        self.setup('outdate', volume)

    def blkop(self, what, volume, *numbers, fua=False):
        self.run('blkop %s /dev/drbd%d %s%s' % (what, volume, ' '.join(map(str, numbers)), ' fua' if fua else ''))

    def random(self, offset, length):
        self.run('dd if=/dev/urandom of=/dev/drbd0 bs=%d count=1 seek=%d oflag=direct,seek_bytes conv=fsync 2>&1'
                 % (length, offset))
        with open(self.disk(0), 'rb') as disk:
            disk.seek(offset)
            return disk.read(length)
