# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration that ./demo runs: a guest's disk survives its hypervisor.

In: the programs in build/bin and the guest of tests/guest/build.sh.  Out: a story
on the terminal, exit status 0 only if every acknowledged record was there and both
images are equal at the end.
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
from blockdrbd import (OperationFailed, QmpError, QmpTimeout, Workspace,  # noqa: E402
                       compare_images)
from blockdrbd.daemon import DaemonDied  # noqa: E402
from blockdrbd.two_nodes import loopback_pair  # noqa: E402
from host import Host  # noqa: E402
from screen import Screen, size  # noqa: E402

IMAGE_SIZE = 4 << 30            # sparse: it holds what is written
OLD_DATA = 256 << 20            # what the first sync has to carry
REFRESH_S = 0.1
SYNC_LIMIT_S = 60


class PromiseBroken(Exception):
    """A record is missing, or the images differ."""


class Demo:
    def __init__(self, screen, folder, seconds):
        self.screen, self.seconds = screen, seconds
        self.guest_image = machine.build_image()
        self.log = records.RecordLog()
        at_a, at_b, _, _ = loopback_pair()
        self.a = Host('A', folder, IMAGE_SIZE, at_a, at_b)
        self.b = Host('B', folder, IMAGE_SIZE, at_b, at_a)
        self.number = 0

    def step(self, text):
        self.number += 1
        self.screen.step(self.number, text)

    def show(self):
        self.screen.table([self.a.row(), self.b.row()])

    # -- the story ------------------------------------------------------------------

    def run(self):
        self.make_disks()
        self.first_sync()
        self.boot_on_a()
        self.write(self.a, 'Every record is on both disks before the guest\'s fsync returns')
        self.lose_a()
        self.promote_b()
        self.prove('Is every acknowledged record there?  The guest on B reads them all')
        self.return_of_a()
        self.leave()

    def make_disks(self):
        self.step('Two hosts, an image of %s on each, DRBD metadata at its end' % size(IMAGE_SIZE))
        self.screen.command('qdrbdmeta - v08 disk.img internal create-md')
        for host in (self.a, self.b):
            host.create()
        self.a.fill(OLD_DATA, 7)
        self.screen.say('A holds %s of an old system, B is empty; the guest will see %s'
                        % (size(OLD_DATA), size(self.a.guest_bytes())))

    def first_sync(self):
        self.step('A storage daemon on each host; they connect, and A\'s data are declared the good ones')
        for line in self.b.words('qemu-storage-daemon'):
            self.screen.say(line) if line.startswith(' ') else self.screen.command(line)
        for host in (self.a, self.b):
            host.start_daemon()
        for host in (self.a, self.b):
            host.wait_connection('Connected')
        self.show()
        self.screen.command('drbd-set-role r0 primary force=true          (on A, once in its life)')
        self.a.set_role('primary', force=True)
        self.watch_sync(self.a)
        self.show()
        self.screen.say('what reads as zero was not sent: %s would not fit through here in that time'
                        % size(IMAGE_SIZE))
        self.a.set_role('secondary')
        self.a.quit()

    def watch_sync(self, host, text=lambda: ''):
        """A progress bar until both disks are UpToDate."""
        begun, total, rate = time.monotonic(), 0, 0
        while not host.is_synced():
            if time.monotonic() - begun > SYNC_LIMIT_S:
                raise QmpTimeout('the resync did not end in %d s: %s' % (SYNC_LIMIT_S, host.row()[1]))
            sync = host.state()[1].get('resync')
            if sync:
                total, rate = max(total, sync['total']), sync.get('rate', rate)
                self.screen.progress(1 - sync['left'] / sync['total'] if sync['total'] else 1,
                                     '%s of %s, %s/s %s' % (size(sync['total'] - sync['left']),
                                                            size(sync['total']), size(rate), text()))
            time.sleep(REFRESH_S)
        seconds = time.monotonic() - begun
        self.screen.progress(1, '%s in %.1f s %s' % (size(total), seconds, text()))
        self.screen.good('in sync')

    def boot_on_a(self):
        self.step('A guest boots on host A; DRBD is in its own QEMU')
        for line in self.a.words('qemu-system-x86_64', '-device virtio-blk-pci,drive=d0'):
            self.screen.say(line) if line.startswith(' ') else self.screen.command(line)
        seconds = self.a.start_guest_here(self.guest_image)
        self.screen.say('up in %.1f s' % seconds)
        self.a.wait(lambda *_: self.a.is_synced(), 'in sync')
        self.show()

    def write(self, host, text):
        self.step('The guest writes numbered records.  ' + text)
        records.start_writer(host.guest, self.log)
        self.count_records(host, self.seconds)

    def count_records(self, host, seconds):
        before, begun = self.log.count(), time.monotonic()
        line = ''
        while time.monotonic() - begun < seconds:
            self.log.wait_for(self.log.count() + 1, 30)
            count = self.log.count() - before
            _, volume = host.state()
            line = ('%6d records stable, %5.0f/s   %6d writes sent to the peer   out of sync %s'
                    % (count, count / max(time.monotonic() - begun, 0.001), volume['replication']['sent-writes'],
                       size(volume['out-of-sync'])))
            self.screen.live(line)
            time.sleep(REFRESH_S)
        if not self.screen.terminal:
            self.screen.say(line)

    def lose_a(self):
        self.step('SIGKILL to everything on host A, with writes in flight')
        self.a.power_off()
        self.log.finish()
        self.screen.bad('host A is gone')
        self.screen.say('%d records were acknowledged to the guest' % self.log.count())
        self.b.wait(lambda resource, _: resource['connection'] != 'Connected', 'the loss is seen')
        self.show()

    def promote_b(self):
        self.step('Host B takes over; the guest boots there, in any QEMU, on the daemon\'s export')
        self.screen.command('drbd-set-role r0 primary                     (on B)')
        self.b.set_role('primary')
        self.screen.command('block-export-add vhost-user-blk node-name=d0 writable=on writethrough=on')
        seconds = self.b.start_guest_on_export(self.guest_image)
        self.screen.say('up in %.1f s' % seconds)
        self.show()

    def prove(self, text):
        self.step(text)
        self.judge(records.check_in_guest(self.b.guest, self.log))

    def judge(self, verdict):
        if verdict.missing or verdict.checked != self.log.count():
            raise PromiseBroken(verdict.output)
        self.screen.good('%d checked, 0 missing' % verdict.checked)

    def return_of_a(self):
        self.write(self.b, 'Only B has them: B marks what A will have missed')
        self.show()
        self.step('Host A is repaired; it comes back as the target, the guest goes on writing')
        begun = self.log.count()
        self.a.start_daemon()
        self.watch_sync(self.b, lambda: '  %d more records meanwhile' % (self.log.count() - begun))
        self.count_records(self.b, 1)
        self.show()

    def leave(self):
        self.step('The guest is switched off; every record is looked for once more, in A\'s image')
        self.b.guest.kill()
        self.log.finish()
        self.b.end_export()
        self.b.guest = None
        self.b.set_role('secondary')
        self.b.wait(lambda *_: self.b.is_synced(), 'in sync')
        self.b.quit()
        self.a.quit()
        self.judge(records.check_on_host(self.guest_image, self.log, self.a.image, self.a.guest_bytes()))
        self.screen.command('cmp A/disk.img B/disk.img                    (the guest\'s %s)'
                            % size(self.a.guest_bytes()))
        different = compare_images(self.a.image, self.b.image, self.a.guest_bytes())
        if different:
            raise PromiseBroken('the images differ at %s' % different)
        self.screen.good('equal, byte by byte')
        for host in (self.a, self.b):
            flags = [line for line in host.show_gi().split('\n') if line.startswith('flags:')]
            self.screen.say('%s: %s' % (host.name, ' '.join(flags)))

    def close(self):
        for host in (self.a, self.b):
            host.close()


def main():
    parser = argparse.ArgumentParser(prog='demo', description='A guest\'s disk survives its hypervisor.')
    parser.add_argument('--seconds', type=float, default=4,
                        help='how long the guest writes on each host (default 4)')
    chosen = parser.parse_args()
    if not 0 < chosen.seconds <= 3600:
        parser.error('--seconds: more than 0, and at most an hour')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    screen = Screen()
    screen.title('block-drbd: DRBD inside QEMU, two hosts on this machine')
    try:
        with Workspace('drbd-demo-') as folder:
            with contextlib.closing(Demo(screen, folder.path, chosen.seconds)) as demo:
                demo.run()
        screen.title('Done in %.0f s: nothing that was acknowledged is gone, and both hosts have it.'
                     % (time.monotonic() - screen.begun))
    except PromiseBroken as error:
        screen.bad('The promise was broken:\n' + str(error))
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
