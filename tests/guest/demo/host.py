# SPDX-License-Identifier: GPL-2.0-or-later
"""A hypervisor of the demo: its disk, and the guest that may run on it.

In: a name and a folder.  Out: image and metadata, a guest whose disk is below the
driver, its states as rows of a table, and what the metadata say when nobody runs.
Two of them, with addresses, make the demonstration with a peer.
"""
from blockdrbd import Metadata, program
from blockdrbd.metadata import data_bytes
from blockdrbd.operation import query_drbd
from disks import Disk, qdrbdmeta
from machine import Machine
from screen import size


class Host:
    def __init__(self, name, folder, image_size):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.disk = Disk(self.folder, 'raw', image_size)
        self.guest = None

    def start_guest(self, guest_image):
        arguments = self.disk.arguments('-', role='primary')
        arguments += ['-device', 'virtio-blk-pci,drive=d0']
        self.guest = Machine('guest', self.folder, guest_image, arguments,
                             qemu=program('qemu-system-x86_64'), ports=['records'])
        self.guest.start()
        return self.guest.boot()

    def command_line(self):
        """What an administrator would type; the same as what is run."""
        options = {k: v for k, v in self.disk.nodes(role='primary')[-1].items()
                   if k not in ('driver', 'volume')}
        options['file'] = 'image'
        words = ','.join('%s=%s' % pair for pair in options.items())
        return ('qemu-system-x86_64 … -object drbd-resource,id=r0 \\\n'
                '    -blockdev driver=file,node-name=image,filename=%s \\\n'
                '    -blockdev driver=drbd,%s \\\n'
                '    -device virtio-blk-pci,drive=d0' % (self.disk.image, words))

    # -- states ----------------------------------------------------------------

    def state(self):
        resource = query_drbd(self.guest.qmp, 'r0')
        return resource, resource['volumes'][0]

    def rows(self):
        """query-drbd as a person reads it."""
        resource, volume = self.state()
        metadata, log, io = volume['metadata'], volume['activity-log'], volume['io']
        return [
            ('resource', 'r0 on host %s: %s, %s' % (self.name, resource['role'].capitalize(),
                                                    resource['connection'])),
            ('volume 0', '%s, %s; peer %s' % (volume['disk'], size(volume['size']),
                                              volume['peer-disk'])),
            ('generation', '%s, bitmap since %s' % (metadata['current-uuid'],
                                                    metadata['bitmap-uuid'])),
            ('activity log', '%d of %d extents hot, %d transactions'
             % (log['used'], log['extents'], log['transactions'])),
            ('guest I/O', '%d writes, %d flushes, %s' % (io['writes'], io['flushes'],
                                                         size(io['written-bytes']))),
            ('out of sync', size(volume['out-of-sync']))]

    def guest_bytes(self):
        return data_bytes(self.disk.size, True)

    # -- metadata of a host where nothing runs -------------------------------------

    def show_gi(self):
        return qdrbdmeta('-', 'v08', self.disk.image, 'internal', 'show-gi')

    def hot_extents(self):
        """Extents of 4 MiB that the activity log calls hot."""
        return Metadata(self.disk.image, True).active_extents() or set()

    def marked_bytes(self):
        return len(Metadata(self.disk.image, True).out_of_sync_blocks()) * 4096
