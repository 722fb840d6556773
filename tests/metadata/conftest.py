# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the metadata suite: two copies of one image, one for each tool."""
import pytest
from tools import Pair


@pytest.fixture
def pair(workspace):
    """Makes a Pair of sparse files in the test's folder."""
    def make(size, placement="internal"):
        return Pair.make(workspace, size, placement)
    return make
