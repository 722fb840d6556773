# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo shows: headings, commands, tables, one live line, a bar.

In: plain values.  Out: text for a person, with colours on a terminal and without
in a file (or where NO_COLOR is set).
"""
import os
import sys
import time

LABEL_WIDTH = 13
BAR_WIDTH = 40


class Screen:
    def __init__(self, out=sys.stdout):
        self.out = out
        self.terminal = out.isatty() and os.environ.get('TERM') != 'dumb'
        self.colours = self.terminal and not os.environ.get('NO_COLOR')
        self.begun = time.monotonic()
        self._live = False

    def _paint(self, code, text):
        return '\033[%sm%s\033[0m' % (code, text) if self.colours else text

    def _line(self, text=''):
        self.end_live()
        print(text, file=self.out, flush=True)

    def title(self, text):
        self._line()
        self._line(self._paint('1', text))
        self._line()

    def step(self, number, text):
        self._line()
        stamp = '%5.1f s' % (time.monotonic() - self.begun)
        self._line('%s  %s' % (self._paint('1;36', '%d  %s' % (number, text)),
                               self._paint('2', stamp)))

    def command(self, text):
        self._line('   ' + self._paint('2', '$ ' + text))

    def say(self, text):
        for line in text.split('\n'):
            self._line('   ' + line)

    def good(self, text):
        self._line('   ' + self._paint('1;32', text))

    def bad(self, text):
        self._line('   ' + self._paint('1;31', text))

    def table(self, rows):
        """Pairs (label, value)."""
        for label, value in rows:
            self._line('   %s %s' % (self._paint('2', label.ljust(LABEL_WIDTH)), value))

    def live(self, text):
        """One line that is written over; where it cannot be, the last one is kept."""
        if self.terminal:
            print('\r   %s\033[K' % text, end='', file=self.out, flush=True)
            self._live = True

    def progress(self, fraction, text):
        """A bar that fills; in a file only its end is kept."""
        fraction = min(1.0, max(0.0, fraction))
        full = int(BAR_WIDTH * fraction)
        line = '[%s%s] %3d %%  %s' % ('#' * full, '.' * (BAR_WIDTH - full), 100 * fraction, text)
        if self.terminal:
            self.live(line)
        elif fraction == 1:
            self.say(line)

    def end_live(self):
        if self._live:
            self._live = False
            print(file=self.out, flush=True)


def size(count):
    """Bytes for a person."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024 or unit == 'GiB':
            return '%d %s' % (count, unit) if count == int(count) else '%.1f %s' % (count, unit)
        count /= 1024
    raise AssertionError('unreachable')
