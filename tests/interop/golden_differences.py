# SPDX-License-Identifier: GPL-2.0-or-later
"""What is otherwise than recorded when one of our nodes takes the place of a kernel node, and why.

A row: the scenarios and our places that it holds for, a pattern of recorded lines, the lines that stand for
such a one (none: it is left out), and the reason.  All else is as recorded.
"""
import collections

Difference = collections.namedtuple('Difference', 'scenarios places line instead why')

NOT_BUILT = [
    Difference('verify', 'ab', r'a# drbdsetup-84 verify .*', [], 'no online verify yet'),
    Difference('verify', 'ab', r'spoilt on b: .*', [], 'without a verify nobody would find it'),
    Difference('csums.*', 'a', r'(b# drbdsetup-84 connect --csums-alg=sha1)', [r'\1 --csums-after-crash-only'],
               'no resync by checksum yet: so the kernel target asks for the data themselves'),
    Difference('outdate', 'a', r'WFConnection Primary/Unknown UpToDate/Outdated \| StandAlone .*',
               ['WFConnection Primary/Unknown UpToDate/DUnknown | StandAlone Secondary/Unknown UpToDate/DUnknown',
                'b# drbdsetup-84 outdate 0'],
               'no fencing yet: a Primary of ours lets a Secondary go that is not outdated, so it is done by hand'),
]

# Without the feature a kernel gives its guest no zeroes that may unmap; ours sends them as data.
ZEROES = [
    Difference(r'io@95|io@100|io\+0x0', 'a', r'(a# blkop punch .*)', [r'\1'], 'ours can do it'),
]

# docs/decisions/0016: a graceful end with one Primary outdates the Secondary, and both know it.
OUTDATED_AT_THE_END = [
    Difference('resync.*|thin|csums.*|verify', 'a', r'b: WFConnection Secondary/Unknown UpToDate/DUnknown',
               ['b: WFConnection Secondary/Unknown Outdated/DUnknown'], 'ours disconnects as Primary'),
    Difference('auth.*', 'a', r'StandAlone (.*/)DUnknown \| StandAlone (.* )UpToDate(/DUnknown)',
               [r'StandAlone \1Outdated | StandAlone \2Outdated\3'], 'ours disconnected as Primary'),
    Difference('splitbrain', 'a', r'(a# drbdsetup-84 disconnect)  => 0', [r'\1 --force'],
               'the scenario needs a b that may be promoted'),
]

# Who sees a split brain first closes the connection; a kernel that has not read all by then goes on trying.
SEEN_BY_ONE = [
    Difference('splitbrain', 'a', r'(StandAlone .* \| )StandAlone (.*)', [r'\1* \2'], 'ours sees it first'),
    Difference('splitbrain', 'b', r'StandAlone (.* \| StandAlone .*)', [r'* \1'], 'ours sees it first'),
    Difference('splitbrain', 'a', r'(b# drbdsetup-84 disconnect)  => 10.*', [r'\1 --force'], 'it may be trying'),
    Difference('splitbrain', 'b', r'(a# drbdsetup-84 disconnect)  => 10.*', [r'\1 --force'], 'it may be trying'),
]

# Who goes on trying is seen in one state or another.
TRYING = [
    Difference('auth.*', 'a', r'Unconnected (.*/)DUnknown \| Unconnected (.* )UpToDate(/DUnknown)',
               [r'trying \1Outdated | trying \2Outdated\3'], 'and ours disconnected as Primary'),
    Difference('auth.*', 'b', r'Unconnected (.*) \| Unconnected (.*)', [r'trying \1 | trying \2'], 'both try'),
    Difference('auth.*', 'a', r'StandAlone (.*/)DUnknown \| WFConnection (.* )UpToDate(/DUnknown)',
               [r'StandAlone \1Outdated | trying \2Outdated\3'], 'and ours disconnected as Primary'),
    Difference('auth.*', 'b', r'StandAlone (.*) \| WFConnection (.*)', [r'StandAlone \1 | trying \2'], 'b tries'),
]

DIFFERENCES = NOT_BUILT + ZEROES + OUTDATED_AT_THE_END + SEEN_BY_ONE + TRYING
