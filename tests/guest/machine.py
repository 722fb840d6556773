# SPDX-License-Identifier: GPL-2.0-or-later
"""One small Linux guest under QEMU's TCG: boot, run commands, kill.

In: an image directory of build.sh (vmlinux, initrd.cpio), the QEMU to use and its
arguments for the disks.  Out: a Daemon (QMP, quit, kill) with a command channel
and any number of further ports, each a socket NAME.PORT.sock in its folder.
Its kernel's log is NAME.console.
Invariant: as every Daemon it ends with the process that started it, so no guest
is left behind, whatever state it was in.
"""
import os
import pathlib
import shutil
import subprocess
import time

from blockdrbd.daemon import FIRMWARE_FOLDERS, Daemon, DaemonDied
from blockdrbd.paths import program, system_program
from channel import Channel

HERE = pathlib.Path(__file__).resolve().parent

# Everything here saves boot time under emulation.
KERNEL_ARGUMENTS = ('console=ttyS0 quiet panic=-1 nokaslr mitigations=off nopti no_timer_check '
                    'noreplace-smp tsc=reliable rcupdate.rcu_expedited=1 random.trust_cpu=on')


class CommandFailed(Exception):
    """A script in the guest returned another status than 0."""


def build_image(script=HERE / 'build.sh'):
    """The directory of a guest's kernel and initramfs; made when it is missing."""
    done = subprocess.run([str(script)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def distribution_qemu():
    """The emulator that the distribution ships: a guest's usual home."""
    return system_program('qemu-system-x86_64', 'qemu-system-x86')


def any_qemu():
    """For guests whose disks need no driver of ours."""
    return shutil.which('qemu-system-x86_64') or program('qemu-system-x86_64')


class Machine(Daemon):
    binary_name = 'qemu-system-x86_64'

    def __init__(self, name, folder, image, arguments=(), *, qemu=None, ports=(), memory='192M',
                 machine='', append=''):
        super().__init__(arguments, folder=str(folder), binary=qemu, name=name)
        self.image, self.ports, self.memory = str(image), list(ports), memory
        self.machine, self.append = machine, append
        self.channel = Channel(self.path('commands.sock'))
        self.started = 0.0

    def path(self, leaf):
        return str(self.folder / (self.name + '.' + leaf))

    def monitor_arguments(self, listener):
        firmware = [a for d in FIRMWARE_FOLDERS if os.path.isdir(d) for a in ('-L', d)]
        command = [
            *firmware, '-nodefaults', '-no-user-config', '-nographic', '-no-reboot',
            '-M', 'q35,i8042=off,hpet=off' + self.machine, '-accel', 'tcg',
            '-cpu', 'max,la57=off', '-m', self.memory,
            '-kernel', self.image + '/vmlinux', '-initrd', self.image + '/initrd.cpio',
            '-append', '%s guest.name=%s %s' % (KERNEL_ARGUMENTS, self.name, self.append),
            '-serial', 'file:' + self.path('console'),
            '-chardev', 'socket,id=qmp0,fd=%d,server=on,wait=off' % listener,
            '-mon', 'chardev=qmp0,mode=control', '-device', 'virtio-serial-pci']
        for port in ['commands'] + self.ports:
            command += ['-chardev', 'socket,id=port-%s,path=%s,server=on,wait=off'
                        % (port, self.path(port + '.sock')),
                        '-device', 'virtserialport,chardev=port-%s,name=%s' % (port, port)]
        return command

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for port in ['commands'] + self.ports:
            pathlib.Path(self.path(port + '.sock')).unlink(missing_ok=True)
        self.channel.close()
        self.started = time.monotonic()
        return super().start()

    def boot(self, timeout=180):
        """Until the guest serves commands; returns the seconds it took."""
        deadline = time.monotonic() + timeout
        while True:
            if not self.is_running():
                raise DaemonDied('%s: QEMU ended with %d:\n%s'
                                 % (self.name, self.process.returncode, self.log()))
            try:
                self.channel.call('true', 5)
                return time.monotonic() - self.started
            except OSError:
                self.channel.close()
                if time.monotonic() > deadline:
                    raise

    def rc(self, script, timeout=120):
        """Run a shell script in the guest: (exit status, output)."""
        status, output = self.channel.call(script, timeout)
        return status, output.decode(errors='replace')

    def sh_bytes(self, script, timeout=120):
        status, output = self.channel.call(script, timeout)
        if status:
            raise CommandFailed('%s: "%s" returned %d: %s'
                                % (self.name, script, status, output.decode(errors='replace')))
        return output

    def sh(self, script, timeout=120):
        return self.sh_bytes(script, timeout).decode(errors='replace')

    def kill(self):
        super().kill()
        self.channel.close()

    def log(self, lines=60):
        """What QEMU said, and the end of what the guest's kernel said."""
        console = '\n'.join(self.console().splitlines()[-15:]) if os.path.exists(self.path('console')) else ''
        return '%s\n--- console ---\n%s' % (super().log(lines), console)

    def console(self):
        with open(self.path('console'), encoding='utf-8', errors='replace') as console:
            return console.read()
