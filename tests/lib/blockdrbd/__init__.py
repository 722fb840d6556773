# SPDX-License-Identifier: GPL-2.0-or-later
"""What all live tests share: daemons of QEMU with a QMP monitor, the NBD
client that plays the guest, builders for block nodes, images and DRBD
metadata; two hosts with a network that can be cut, a writer with a journal.

Nothing here knows pytest; every resource is a context manager that ends only
what it began itself.  Every wait has a condition and a deadline.
"""

from .daemon import StorageDaemon, SystemEmulator
from .guest import GuestDisk
from .images import Workspace, compare_images, make_image
from .journal import Journal, RecordLost
from .link import Link
from .metadata import Metadata, Superblock
from .nodes import drbd_node, file_node, nbd_node, qcow2_node, resource_object
from .operation import OperationFailed, query_drbd, run_operation, start_operation, wait_operation
from .paths import program, repository_root
from .qmp import QmpClient, QmpError, QmpTimeout
from .recording import RecordingWriter
from .two_nodes import HostNode, TwoNodes

__all__ = [
    "GuestDisk", "HostNode", "Journal", "Link", "Metadata", "OperationFailed", "QmpClient", "QmpError", "QmpTimeout",
    "RecordLost", "RecordingWriter", "StorageDaemon", "Superblock", "SystemEmulator", "TwoNodes", "Workspace", "compare_images",
    "drbd_node", "file_node", "make_image", "nbd_node", "program", "qcow2_node",
    "query_drbd", "repository_root", "resource_object", "run_operation",
    "start_operation", "wait_operation",
]
