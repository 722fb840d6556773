# SPDX-License-Identifier: GPL-2.0-or-later
"""The recorded scenarios of two kernel nodes (golden/*.steps), played again with one of our nodes in the
place of a, and in the place of b, against the live kernel: every step in its order, the states after it
as recorded, but for what golden_differences.py names, both disks judged byte by byte, and the traffic
judged by tshark.
"""
import pytest
from blockdrbd import Workspace
from golden_differences import DIFFERENCES
from golden_stage import SIZE, Stage
from golden_steps import NAMES, read_steps
from together import Together
from wire_judge import judge_capture


@pytest.fixture(scope='module')
def rig():
    with Workspace('drbd-golden-') as folder:
        with Together(folder.path, volumes=2, size=SIZE) as pair:
            yield pair


def test_all_are_there():
    assert len(NAMES) == 20


@pytest.mark.parametrize('place', ['a', 'b'])
@pytest.mark.parametrize('name', NAMES)
def test_again(rig, name, place):
    stage = Stage(rig, name, place, read_steps(name, place, DIFFERENCES))
    stage.up()
    capture = rig.folder / ('%s-%s.pcap' % (name, place))
    with rig.kernel.captured(capture):
        stage.play()
        rig.kernel.down()
    counts = judge_capture(capture)
    assert counts['P_CONNECTION_FEATURES'] >= 2
