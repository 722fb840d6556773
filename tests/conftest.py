# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of all pytest suites; the library itself is tests/lib/blockdrbd."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))

from blockdrbd import Workspace  # noqa: E402


@pytest.fixture
def workspace(request):
    """A folder on tmpfs, kept when BLOCK_DRBD_KEEP is set."""
    with Workspace(prefix=f"drbd-{request.node.name[:30].replace('/', '_')}-") as folder:
        yield folder
