# SPDX-License-Identifier: GPL-2.0-or-later
"""One of the two hypervisors of the demo: its image, and the process that owns it.

In: a name, a folder, its address and the peer's.  Out: image and metadata; a
storage daemon or an emulator with the DRBD node; a guest, either in that emulator
or in any QEMU on the daemon's vhost-user-blk export; states as rows of a table.
Invariant: at most one process has the image open.
"""
import json

from blockdrbd import StorageDaemon, make_image, program
from blockdrbd.metadata import data_bytes
from blockdrbd.nodes import drbd_node, file_node, resource_object
from blockdrbd.operation import query_drbd, set_role
from blockdrbd.two_nodes import PORT, address
from disks import qdrbdmeta
from machine import Machine, any_qemu
from screen import size

MEMORY = '192M'


class Host:
    def __init__(self, name, folder, image_size, here, peer):
        self.name, self.here, self.peer = name, here, peer
        self.folder = folder / name
        self.folder.mkdir()
        self.image, self.image_size = str(self.folder / 'disk.img'), image_size
        self.process = self.guest = None
        self.starts = 0

    # -- what an administrator would set up --------------------------------------

    def create(self):
        make_image(self.image, self.image_size)
        qdrbdmeta('--force', '-', 'v08', self.image, 'internal', 'create-md')

    def fill(self, count, seed):
        """An old system's data: not zero, not the same everywhere."""
        unit = bytes((i * seed + (i >> 8)) & 0xff for i in range(1 << 20))
        with open(self.image, 'r+b') as image:
            image.seek(self.guest_bytes() - count)
            for number in range(count >> 20):
                image.write(number.to_bytes(8, 'little') + unit[8:])

    def resource(self):
        return resource_object('r0', volumes=1, protocol='C', local=address((self.here, PORT)),
                               peer=address((self.peer, PORT)), **{
                                   'connect-int': 1, 'ping-timeout': 10, 'timeout': 30,
                                   'wfc-timeout': 10})

    def arguments(self, dashes, **options):
        return [dashes + 'object', json.dumps(self.resource()),
                dashes + 'blockdev', json.dumps(file_node('image', self.image)),
                dashes + 'blockdev', json.dumps(drbd_node('d0', 'image', **options))]

    def words(self, program_name, *last):
        """The command line, as it would be typed."""
        return [program_name + ' … -object drbd-resource,id=r0,local.host=%s,peer.host=%s,… \\'
                % (self.here, self.peer),
                '    -blockdev driver=file,node-name=image,filename=disk.img \\',
                '    -blockdev driver=drbd,node-name=d0,resource=r0,file=image' + (' \\' if last else ''),
                *('    ' + word for word in last)]

    # -- processes ----------------------------------------------------------------

    def start_daemon(self):
        """The Secondary, or a host whose guest is switched off."""
        self.starts += 1
        self.process = StorageDaemon(self.arguments('--'), folder=str(self.folder),
                                     name='storage%d' % self.starts)
        self.process.start()

    def start_guest_here(self, guest_image):
        """Guest and DRBD in one emulator."""
        arguments = self.arguments('-', role='primary') + ['-device', 'virtio-blk-pci,drive=d0']
        self.guest = self.process = Machine('guest-' + self.name, self.folder, guest_image, arguments,
                                            qemu=program('qemu-system-x86_64'), ports=['records'],
                                            memory=MEMORY)
        self.guest.start()
        return self.guest.boot()

    def start_guest_on_export(self, guest_image):
        """Any QEMU, on the storage daemon's export.  writethrough=on: that export offers no
        flush, so every write must be stable when it completes."""
        socket = str(self.folder / 'vhost.sock')
        self.process.qmp.raw('block-export-add', {
            'type': 'vhost-user-blk', 'id': 'e0', 'node-name': 'd0', 'writable': True,
            'writethrough': True, 'addr': {'type': 'unix', 'path': socket}})
        arguments = ['-object', 'memory-backend-memfd,id=mem,size=%s,share=on' % MEMORY,
                     '-chardev', 'socket,id=vhost,path=' + socket,
                     '-device', 'vhost-user-blk-pci,chardev=vhost,num-queues=1']
        self.guest = Machine('guest-' + self.name, self.folder, guest_image, arguments, qemu=any_qemu(),
                             machine=',memory-backend=mem', ports=['records'], memory=MEMORY)
        self.guest.start()
        return self.guest.boot()

    def end_export(self):
        self.process.export_del('e0', hard=True)

    def power_off(self):
        """SIGKILL to everything that runs here."""
        for process in {self.guest, self.process} - {None}:
            process.kill()
        self.guest = self.process = None

    def quit(self):
        if self.process is not None:
            status = self.process.quit()
            if status:
                raise RuntimeError('%s ended with %d:\n%s' % (self.name, status, self.process.log()))
        self.guest = self.process = None

    def close(self):
        """After anything: nothing stays."""
        self.power_off()

    # -- states ---------------------------------------------------------------------

    def set_role(self, role, **options):
        set_role(self.process.qmp, role, **options)

    def state(self):
        resource = query_drbd(self.process.qmp, 'r0')
        return resource, resource['volumes'][0]

    def row(self):
        """One line of the table, as in /proc/drbd."""
        if self.process is None:
            return 'host ' + self.name, 'switched off'
        resource, volume = self.state()
        return ('host ' + self.name,
                '%-13s %-10s %s/%s  out of sync %s  generation %s'
                % (volume.get('connection', resource['connection']), resource['role'].capitalize(),
                   volume['disk'], volume['peer-disk'], size(volume['out-of-sync']),
                   volume['metadata']['current-uuid'][:8]))

    def wait(self, condition, what, timeout=60):
        return self.process.qmp.wait_until(lambda: condition(*self.state()),
                                           'host %s: %s' % (self.name, what), timeout)

    def wait_connection(self, name):
        self.wait(lambda resource, _: resource['connection'] == name, name)

    def is_synced(self):
        resource, volume = self.state()
        return (resource['connection'] == 'Connected' and volume['out-of-sync'] == 0
                and volume['disk'] == volume['peer-disk'] == 'UpToDate')

    def guest_bytes(self):
        return data_bytes(self.image_size, True)

    def show_gi(self):
        return qdrbdmeta('-', 'v08', self.image, 'internal', 'show-gi')
