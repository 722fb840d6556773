# SPDX-License-Identifier: GPL-2.0-or-later
"""What all live tests share: daemons of QEMU with a QMP monitor, the NBD
client that plays the guest, builders for block nodes, images and DRBD
metadata.

Nothing here knows pytest; every resource is a context manager that ends only
what it began itself.  Every wait has a condition and a deadline.
"""

from .daemon import StorageDaemon, SystemEmulator
from .guest import GuestDisk
from .images import Workspace, compare_images, make_image
from .metadata import Metadata, Superblock
from .nodes import drbd_node, file_node, nbd_node, qcow2_node, resource_object
from .operation import OperationFailed, query_drbd, run_operation, start_operation, wait_operation
from .paths import program, repository_root
from .qmp import QmpClient, QmpError, QmpTimeout

__all__ = [
    "GuestDisk", "Metadata", "OperationFailed", "QmpClient", "QmpError", "QmpTimeout",
    "StorageDaemon", "Superblock", "SystemEmulator", "Workspace", "compare_images",
    "drbd_node", "file_node", "make_image", "nbd_node", "program", "qcow2_node",
    "query_drbd", "repository_root", "resource_object", "run_operation",
    "start_operation", "wait_operation",
]
