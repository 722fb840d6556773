# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded scenario is played again: one of our nodes in the place of a or b, the live kernel in the other.

In: the steps (golden_steps.py), a pair of together.py, the place of ours.  Out: nothing; a step that goes
otherwise fails.
What is judged: each command ends as recorded, each state is reached, and at every comparison and at the
end each disk holds, byte by byte, what was done to it (DiskModel), with nothing out of sync by either
side's counters where both copies are UpToDate.
"""
import re
import time

import pytest
from blockdrbd import OperationFailed, QmpError
from blockdrbd.daemon import wait_for
from blockdrbd.metadata import data_bytes
from golden_nodes import Ours, Theirs, blkop_data
from golden_steps import version_and_features
from together import MIB

REFUSED = (OperationFailed, QmpError)
SIZE = 64 * MIB


class DiskModel:
    """What a disk of a node must hold."""

    def __init__(self):
        self.bytes = bytearray(data_bytes(SIZE, True))

    def differences(self, path):
        """Offsets of blocks in which the file is otherwise."""
        with open(path, 'rb') as disk:
            data = disk.read(len(self.bytes))
        if data == self.bytes:
            return []
        return [at for at in range(0, len(data), 4096) if data[at:at + 4096] != self.bytes[at:at + 4096]][:16]


class Stage:
    """`play()`s the steps; before, `place` is 'a' or 'b'."""

    def __init__(self, pair, name, place, steps):
        self.pair, self.name, self.steps = pair, name, steps
        self.place, self.other = place, 'ba'['ab'.index(place)]
        self.volumes = 1 + any('/dev/drbd1' in s.command for s in steps)
        self.models = {node: [DiskModel() for _ in range(self.volumes)] for node in 'ab'}
        self.nodes = {}
        self.concerned = range(self.volumes)    # volumes that the next states are of

    # -- the beginning ---------------------------------------------------------------

    def up(self):
        """Both nodes are up, with the metadata and options of the disks that the scenario begins with."""
        version, features = version_and_features(self.name)
        attach = next(s for s in self.steps if s.node == self.other and s.command.startswith('attach'))
        options = ' '.join(w for w in attach.command.split() if w.startswith('--'))
        restored = [s for s in self.steps if 'restore-md' in s.command]
        self.pair.fresh(self.volumes, kernel_disk=options, connect=False, start=False,
                        protocol_version_max=version, features=features)
        if restored:
            current = int(re.search('current (0x[0-9A-F]+)', restored[0].command)[1], 16)
            self.pair.ours.establish(current, 0)
            self.pair.kernel.restore(current, SIZE, options)
        self.pair.ours.options['connect'] = False
        self.pair.ours.start()
        self.nodes = {self.place: Ours(self.pair.ours), self.other: Theirs(self.pair.kernel)}

    # -- the steps -------------------------------------------------------------------

    def play(self):
        for step in self.steps:
            try:
                self.step(step)
            except Exception as error:
                raise AssertionError('%s, ours as %s, at "%s": %s: %s' % (
                    self.name, self.place, step.line, type(error).__name__, error)) from error
        self.judge_disks()

    def step(self, step):
        if step.kind == 'state':
            self.reach(step.states)
        elif step.kind == 'compare':
            self.judge_disks(whole=True)
        elif not re.match('attach|drbdmeta', step.command):
            self.command(step)

    def command(self, step):
        node = self.nodes[step.node]
        if step.command.startswith('disconnect') and step.status == 10:
            assert node.is_disconnected(), node.state()
        elif step.fails:
            with pytest.raises(REFUSED) as refused:
                self.do(step)
            said = node.refusal(step.output[0])
            assert re.search(said, str(refused.value)), (said, refused.value)
        else:
            self.do(step)

    def do(self, step):
        node, words = self.nodes[step.node], step.command.split()
        self.concerned = [int(words[1])] if words[0] == 'new-current-uuid' else range(self.volumes)
        if words[0] in ('connect', 'disconnect'):
            getattr(node, words[0])(words[1:])
        elif words[0] in ('primary', 'secondary', 'new-current-uuid', 'detach', 'outdate'):
            getattr(node, words[0].replace('-', '_'))(int(words[1]))
        elif words[0] == 'blkop':
            for part in step.command.split('; '):
                self.blkop(step.node, part.split()[1:])
        elif words[0] == 'dd':
            numbers = dict(w.split('=', 1) for w in words if '=' in w)
            offset, length = (int(numbers[k]) * int(numbers['bs']) for k in ('seek', 'count'))
            self.changes(step.node, 0, offset, node.random(offset, length))
        elif words[0] == 'sleep':
            node.secondary_while_open()
        else:
            raise ValueError(step.command)

    def blkop(self, side, words):
        what, volume = words[0], int(words[1][-1])
        numbers, fua = [int(w) for w in words[2:] if w != 'fua'], 'fua' in words
        self.nodes[side].blkop(what, volume, *numbers, fua=fua)
        if what in ('write', 'many'):
            self.changes(side, volume, numbers[0], blkop_data(*numbers[:3]))
        elif what not in ('flush', 'check'):
            self.changes(side, volume, numbers[0], bytes(numbers[1]))

    def changes(self, side, volume, offset, data):
        """On the disk of who wrote, and of who is connected to it."""
        both = self.nodes[side].is_connected
        for node, models in self.models.items():
            if (node == side or both) and self.nodes[node].has_disk(volume):
                models[volume].bytes[offset:offset + len(data)] = data

    # -- judging ---------------------------------------------------------------------

    def reach(self, states, timeout=60):
        """Until each node is in its state, and a resync that ends in it is over."""
        deadline = time.monotonic() + timeout
        while True:
            seen = [(node, self.nodes[node].state(v)) for node, _ in states for v in self.concerned]
            wanted = dict(states)
            if all(wanted[node].fullmatch(state) for node, state in seen):
                break
            if time.monotonic() > deadline:
                raise TimeoutError('not reached in %d s; now %s, ours: %s, the kernel: %s\n%s' % (
                    timeout, seen, self.nodes[self.place].state(), self.nodes[self.other].state(),
                    self.pair.ours.reason()))
            time.sleep(0.02)
        if all(re.match(r'Connected .* UpToDate/UpToDate', state) for _, state in seen):
            self.synced(self.concerned)

    def synced(self, volumes):
        """What a target had of its own is gone: both hold what the Primary had, or a."""
        for node in self.nodes.values():
            wait_for(lambda at=node: all(at.out_of_sync(v) == 0 for v in volumes), 'nothing is out of sync', 60)
        source = 'b' if re.match(r'\w+ Primary/', self.nodes['b'].state()) else 'a'
        for volume in volumes:
            for models in self.models.values():
                models[volume].bytes[:] = self.models[source][volume].bytes

    def judge_disks(self, whole=False):
        """Each disk holds what it must; `whole`: nothing is out of sync, and so they are the same."""
        if whole:
            self.pair.synced()
        self.pair.kernel.rc('sync')
        for side, node in self.nodes.items():
            for volume in range(self.volumes):
                different = self.models[side][volume].differences(node.disk(volume))
                assert not different, 'volume %d of %s is not as written at %s' % (volume, side, different)
                assert not whole or node.out_of_sync(volume) == 0
        if whole:
            assert all(a.bytes == b.bytes for a, b in zip(self.models['a'], self.models['b']))
