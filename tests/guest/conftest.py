# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the guest tests."""
import pytest

import machine


@pytest.fixture(scope='module')
def guest_image():
    """Kernel, initramfs and the record judge."""
    return machine.build_image()
