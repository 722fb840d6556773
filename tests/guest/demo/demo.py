# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration that ./demo runs: a guest's disk survives its hypervisor.

In: the programs in build/bin and the guest of tests/guest/build.sh.  Out: a story
on the terminal, exit status 0 only if every acknowledged record was there.
Invariant: everything lives in one temporary folder and ends with this process,
whatever ends it (^C, an error, SIGTERM): nothing is left behind.
"""
import argparse
import contextlib
import pathlib
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / 'lib')]

import machine  # noqa: E402
import records  # noqa: E402
from blockdrbd import OperationFailed, QmpError, QmpTimeout, Workspace  # noqa: E402
from blockdrbd.daemon import DaemonDied  # noqa: E402
from host import Host  # noqa: E402
from screen import Screen, size  # noqa: E402

IMAGE_SIZE = 16 << 30           # sparse: it holds what the guest writes
REFRESH_S = 0.2


class RecordLost(Exception):
    """The promise was broken."""


class Demo:
    def __init__(self, screen, folder, seconds):
        self.screen, self.seconds = screen, seconds
        self.guest_image = machine.build_image()
        self.log = records.RecordLog()
        self.host = Host('a', folder, IMAGE_SIZE)
        self.number = 0

    def step(self, text):
        self.number += 1
        self.screen.step(self.number, text)

    # -- the story ------------------------------------------------------------------

    def run(self):
        self.make_disk()
        self.start('A guest boots; its disk is the DRBD node')
        self.write_and_kill()
        self.look_at_metadata()
        self.start('The host is back: the guest boots again, the activity log is replayed')
        self.show_replay()
        self.prove()
        self.write_and_kill()
        self.start('Once more')
        self.show_replay()
        self.prove()
        self.leave()

    def make_disk(self):
        self.step('An image of %s and its DRBD metadata' % size(IMAGE_SIZE))
        self.screen.command('qdrbdmeta - v08 disk.img internal create-md')
        self.screen.command('drbd-set-role r0 primary force=true   (the first time: whose data is good)')
        self.host.disk.create()
        self.screen.say('the guest will see %s; the last %s are bitmap, activity log and superblock'
                        % (size(self.host.guest_bytes()),
                           size(IMAGE_SIZE - self.host.guest_bytes())))

    def start(self, text):
        self.step(text)
        for line in self.host.command_line().split('\n'):
            self.screen.command(line) if line.startswith('qemu') else self.screen.say('  ' + line)
        seconds = self.host.start_guest(self.guest_image)
        self.screen.say('up in %.1f s' % seconds)
        self.screen.table(self.host.rows())

    def write_and_kill(self):
        self.step('The guest writes records; each is acknowledged after fsync or FUA')
        guest = self.host.guest
        records.start_writer(guest, self.log)
        before, begun = self.log.count(), time.monotonic()
        line = ''
        while time.monotonic() - begun < self.seconds:
            self.log.wait_for(self.log.count() + 1, 30)
            count = self.log.count() - before
            _, volume = self.host.state()
            line = ('%6d records stable, %5.0f/s   activity log %3d hot, %4d transactions   out of sync %s'
                    % (count, count / max(time.monotonic() - begun, 0.001),
                       volume['activity-log']['used'], volume['activity-log']['transactions'],
                       size(volume['out-of-sync'])))
            self.screen.live(line)
            time.sleep(REFRESH_S)
        guest.kill()
        self.log.finish()
        if not self.screen.terminal:
            self.screen.say(line)
        self.screen.bad('SIGKILL: the hypervisor is gone, with writes in flight')
        self.screen.say('%d records were acknowledged so far, in all' % self.log.count())

    def look_at_metadata(self):
        self.step('What the metadata say now')
        self.screen.command('qdrbdmeta - v08 disk.img internal show-gi')
        for line in self.host.show_gi().strip('\n').split('\n'):
            self.screen.say('  ' + line)
        self.screen.table([
            ('bitmap', size(self.host.marked_bytes()) + ' marked as out of sync, on the disk'),
            ('activity log', '%d extents of 4 MiB hot: any block in them may differ from a peer\'s'
             % len(self.host.hot_extents()))])

    def show_replay(self):
        _, volume = self.host.state()
        self.screen.good('replayed: %s must be sent to a peer, not %s'
                         % (size(volume['out-of-sync']), size(volume['size'])))

    def prove(self):
        self.step('Is every acknowledged record there?  The guest reads them all')
        verdict = records.check_in_guest(self.host.guest, self.log)
        self.judge(verdict)

    def judge(self, verdict):
        if verdict.missing or verdict.checked != self.log.count():
            raise RecordLost(verdict.output)
        self.screen.good('%d checked, 0 missing' % verdict.checked)

    def leave(self):
        self.step('An orderly end')
        self.host.guest.quit()
        self.screen.command('qdrbdmeta - v08 disk.img internal show-gi')
        for line in self.host.show_gi().split('\n'):
            if line.startswith(('flags:', 'meta-data:')):
                self.screen.say('  ' + line)
        self.judge(records.check_on_host(self.guest_image, self.log, self.host.disk.image,
                                         self.host.guest_bytes()))
        self.screen.say('(this time read from the raw image, by the host)')

    def close(self):
        if self.host.guest is not None:
            self.host.guest.kill()


def main():
    parser = argparse.ArgumentParser(prog='demo', description='A guest\'s disk survives its hypervisor.')
    parser.add_argument('--seconds', type=float, default=5,
                        help='how long the guest writes before each crash (default 5)')
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    screen.title('block-drbd: DRBD inside QEMU, on one host')
    screen.say('This version shows one node: the driver alone on its disk, and what a crash leaves.\n'
               'The second host (replication, failover, resync) comes with the next version.')
    try:
        with Workspace('drbd-demo-') as folder:
            with contextlib.closing(Demo(screen, folder.path, chosen.seconds)) as demo:
                demo.run()
        screen.title('Done in %.0f s: nothing that was acknowledged is gone.'
                     % (time.monotonic() - screen.begun))
    except RecordLost as error:
        screen.bad('Acknowledged records are missing:\n' + str(error))
        return 1
    except (DaemonDied, OperationFailed, QmpError, QmpTimeout, TimeoutError, OSError,
            RuntimeError) as error:
        screen.bad('The demonstration could not go on: %s' % error)
        return 1
    except KeyboardInterrupt:
        screen.end_live()
        screen.say('stopped; nothing is left behind')
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
