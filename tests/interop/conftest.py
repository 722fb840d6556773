# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the tests with a live kernel find their parts."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
for folder in (HERE, HERE / 'kernel_peer', HERE.parent / 'guest', HERE.parent / 'lib'):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
