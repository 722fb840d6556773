#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the steps of recorded scenarios in: what was done, in order, and the states after it.

In: a directory of recordings, one folder each, with log.txt (every command that was run on the kernel
nodes a and b, its output, and the states).  Out: NAME.steps here, its lines as they were recorded,
without the time, without what sets a node up (the beginning is the same everywhere) and takes it
down, and without what a tool says of its work.

Usage: take_in.py RECORDINGS
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
LINE = re.compile(r'\[ *[\d.]+\] (.*)')
# What is done to have two nodes that are up, to look at them, and to end.
AROUND = re.compile(r'booted|metadata dumped|done|---|no (discard|punch)|[ab]: helper calls|'
                    r'[ab]# (drbdmeta \d|drbdmeta --force|grep|cat /proc/drbd|for v in|'
                    r'drbdsetup-84 (new-resource|new-minor|down))')
ADDRESSES = re.compile(r' r0 ipv4:\S+ ipv4:\S+ *')
# Disks that begin in one generation, UpToDate: the recorded way to write such metadata is long.
RESTORE = re.compile(r"# echo 'version \"v08\"; uuid { (\w+); .*flags (\w+);.*")
# Output that belongs to the step.
TELLS = re.compile(r'State change failed|Operation not supported')


def steps(log):
    """The lines to keep; output of a command stands indented behind it."""
    kept, last_is_kept = [], False
    for line in log.splitlines():
        begun = LINE.fullmatch(line)
        if begun:
            text = RESTORE.sub(r'# drbdmeta restore-md, current \1, flags \2',
                               ADDRESSES.sub(' ', begun.group(1)).rstrip())
            last_is_kept = not AROUND.match(text)
            if last_is_kept:
                kept.append(text)
        elif last_is_kept and TELLS.search(line):
            kept.append('    ' + line.strip())
    return kept


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for log in sorted(pathlib.Path(sys.argv[1]).glob('*/log.txt')):
        lines = steps(log.read_text(encoding='utf-8'))
        (HERE / (log.parent.name + '.steps')).write_text('\n'.join(lines) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
