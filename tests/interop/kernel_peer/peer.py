# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with Linux's own DRBD 8.4: the judge that nobody here wrote.

In: disks (files of the host, or sizes for new ones) and a network back end.  Out:
a Machine whose disks are /dev/vda, /dev/vdb … and whose drbdsetup, drbdmeta and
blkop are run by sh().
Invariant: the kernel reaches only the files it was given; a killed guest leaves
them as a crashed host would.
"""
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE.parents[1] / 'lib', HERE.parents[1] / 'guest'):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from machine import Machine, any_qemu, build_image  # noqa: E402


def size_of(text):
    """Bytes of a size as people write it: 64M."""
    unit = {'K': 10, 'M': 20, 'G': 30, 'T': 40}.get(text[-1])
    return int(text[:-1]) << unit if unit else int(text)


class KernelPeer(Machine):
    def __init__(self, name, folder, disks=(), *, netdev='user,restrict=on', ip='', mac_last=1,
                 pcap=None, drbd='', errors=(), qemu=None):
        super().__init__(name, folder, build_image(HERE / 'build.sh'), qemu=qemu or any_qemu(),
                         memory='256M', append='guest.ip=%s guest.drbd=%s' % (ip, drbd))
        self.disks, self.errors = [str(d) for d in disks], list(errors)
        self.arguments += [
            '-netdev', netdev + ',id=n0',
            '-device', 'virtio-net-pci,netdev=n0,mac=52:54:00:00:00:%02x,romfile=' % mac_last]
        if pcap:
            self.arguments += ['-object', 'filter-dump,id=dump,netdev=n0,file=' + str(pcap)]
        for number, disk in enumerate(self.disks):
            self.arguments += self._disk_arguments(number, disk)

    def _disk_arguments(self, number, disk):
        """Errors are injected on the first disk: pairs (read or write, sector)."""
        name = disk
        if number == 0 and self.errors:
            rules = ''.join('[inject-error]\nevent = "none"\niotype = "%s"\nerrno = "5"\n'
                            'sector = "%d"\n' % pair for pair in self.errors)
            pathlib.Path(self.path('errors')).write_text(rules, encoding='utf-8')
            name = 'blkdebug:%s:%s' % (self.path('errors'), disk)
        return ['-drive', 'if=none,id=d%d,file=%s,format=raw,cache=writeback,discard=unmap'
                % (number, name),
                '-device', 'virtio-blk-pci,drive=d%d,serial=d%d' % (number, number)]

    # -- DRBD in the guest; `where` is drbdmeta's "internal", "flex-external" or an index --

    def new_minor(self, volume=0, resource='r0'):
        self.sh('drbdsetup-84 new-resource %s 2>&1 | grep -v "already exists" || true; '
                'drbdsetup-84 new-minor %s %d %d' % (resource, resource, volume, volume))

    def attach(self, disk='/dev/vda', md_disk=None, where='internal', volume=0, options=''):
        """Attach what is on the disk, without apply-al: refuses unclean metadata."""
        self.sh('drbdsetup-84 attach %d %s %s %s %s'
                % (volume, disk, md_disk or disk, where, options))

    def drbdmeta(self, verb, disk='/dev/vda', where='internal', minor='-', options='--force'):
        return self.sh('drbdmeta %s %s v08 %s %s %s' % (options, minor, disk, where, verb))

    def status(self, volume=0):
        """One device's line of /proc/drbd and its counters, as a dictionary."""
        text = self.sh('cat /proc/drbd')
        lines = text.split('\n')
        for number, line in enumerate(lines):
            if line.lstrip().startswith('%d: ' % volume):
                words = (line.split(': ', 1)[1] + ' ' + lines[number + 1]).split()
                return dict(w.split(':', 1) for w in words if ':' in w)
        raise KeyError('no device %d in /proc/drbd:\n%s' % (volume, text))

    def out_of_sync_bytes(self, volume=0):
        return int(self.status(volume)['oos']) * 1024

    def generation(self, volume=0):
        """UUIDs of an attached device as the kernel prints them: current, bitmap, history."""
        words = self.sh('drbdsetup-84 show-gi %d' % volume)
        return words


def make_disk(path, size):
    with open(path, 'wb') as disk:
        disk.truncate(size_of(size) if isinstance(size, str) else size)
    os.chmod(path, 0o600)
    return str(path)
