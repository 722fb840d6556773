# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of a recorded scenario, and what of them is otherwise with one of our nodes in it.

In: golden/NAME.steps, lines as they were recorded (golden/take_in.py), and DIFFERENCES of
golden_differences.py.  Out: a list of Step.

    a# drbdsetup-84 primary 0              a command on a node; what it answered stands indented below
    b# drbdsetup-84 primary 0  => 17       one that failed
    a: Connected Primary/Secondary …       the state that the node gets into
    STATE | STATE                          of a, and of b
    volume 0, N bytes: the data is …       both disks were compared
Invariant: each row of DIFFERENCES for a scenario and place changes at least one line of it.
"""
import dataclasses
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parent / 'golden'
NAMES = sorted(path.stem for path in FOLDER.glob('*.steps'))


@dataclasses.dataclass
class Step:
    line: str                       # as recorded, or as it is otherwise
    kind: str                       # 'command', 'state', 'compare'
    node: str = ''                  # 'a', 'b'
    command: str = ''
    status: int = 0                 # that the recorded command ended with
    states: tuple = ()              # pairs (node, pattern of "connection roles disks")
    output: list = dataclasses.field(default_factory=list)

    @property
    def fails(self):
        return self.status != 0 or any('failed' in o or 'not supported' in o for o in self.output)


def parse(line):
    """A line as recorded, or of DIFFERENCES."""
    command = re.fullmatch(r'([ab])# (.*?)(?:\s+=> (\d+)\b.*)?', line)
    if command:
        return Step(line, 'command', command[1], command[2].replace('drbdsetup-84 ', ''), int(command[3] or 0))
    one = re.fullmatch(r'([ab]): (.*)', line)
    if one:
        return Step(line, 'state', one[1], states=((one[1], pattern(one[2])),))
    if ' | ' in line:
        return Step(line, 'state', states=tuple(zip('ab', map(pattern, line.split(' | ')))))
    if re.match(r'volume \d+, \d+ bytes: the data is THE SAME', line):
        return Step(line, 'compare')
    raise ValueError('no step: ' + line)


def pattern(state):
    """* is any connection state, `trying` one of a node that would connect."""
    return re.compile(re.escape(state).replace(re.escape('*'), r'\w+').replace('trying', r'(?!StandAlone|Connected)\w+'))


def version_and_features(name):
    """What a scenario was agreed down to: NAME@VERSION (such peers have no features), NAME+FEATURES."""
    version, features = re.search(r'@(\d+)', name), re.search(r'\+(0x[0-9a-f]+)', name)
    if version:
        return int(version[1]), 0
    return 101, int(features[1], 16) if features else 15


def read_steps(name, place, differences):
    """Those of a scenario, with ours in the place of a or b."""
    rows = [row for row in differences if place in row.places and re.fullmatch(row.scenarios, name)]
    used, steps, last = set(), [], None
    for line in (FOLDER / (name + '.steps')).read_text(encoding='utf-8').splitlines():
        if line.startswith('    '):
            if steps and steps[-1].line == last:
                steps[-1].output.append(line.strip())
            continue
        last = line
        changed = [row for row in rows if re.fullmatch(row.line, line)]
        used.update(rows.index(row) for row in changed)
        if not changed:
            steps.append(parse(line))
        else:
            last = None         # what the recorded command answered counts no more
            steps += [parse(re.sub(changed[0].line, instead, line)) for instead in changed[0].instead]
    unused = [row for number, row in enumerate(rows) if number not in used]
    assert not unused, '%s, ours as %s: differences that change nothing: %s' % (name, place, unused)
    return steps
