# SPDX-License-Identifier: GPL-2.0-or-later
"""A connected node in the emulator: `stop` drains everything, `cont` lets it go,
also with a peer that hangs."""

from blockdrbd import RecordingWriter, SystemEmulator
from blockdrbd.nodes import drbd_node, file_node
from test_two_drain import OPTIONS, bounded


def test_stop_and_cont(two):
    """The emulator's `stop` drains everything, `cont` lets it go."""
    pair = two(options=OPTIONS)
    pair.a.establish()
    pair.b.establish()
    with SystemEmulator(folder=str(pair.workspace.path), name="vm") as vm:
        pair.a.daemon, a = vm, pair.a
        vm.object_add(a.resource())
        vm.blockdev_add(file_node("image0", a.images[0]))
        vm.blockdev_add(drbd_node("d0", "image0", discard="unmap"))
        pair.b.start()
        a.wait_connection("Connected")
        a.primary()
        with RecordingWriter(a.export(), "d0") as writer:
            for _ in range(10):
                bounded(vm.qmp.command, "stop")
                bounded(vm.qmp.command, "cont")
                writer.progress(10)
            pair.b.daemon.stop_process()
            try:
                bounded(vm.qmp.command, "stop")
                bounded(vm.qmp.command, "cont")
            finally:
                pair.b.daemon.continue_process()
            writer.progress(50)
            pair.synced()
            writer.stop()
        assert not writer.errors
        pair.settle_equal()
        a.unexport()
        bounded(vm.quit)
