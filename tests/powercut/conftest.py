# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets the tests of this folder import its modules by their names."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
