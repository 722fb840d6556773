# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of the record writer: who was promised what, and is it there?

In: lines "ack N" from a guest's port "records".  Out: the set of acknowledged
numbers as ranges, and the judgement of guest/records.c about an image.
Invariant: a number is in the set only after its line arrived whole.
"""
import re
import socket
import subprocess
import threading
import time


class RecordLog:
    """Everything that was ever acknowledged, over any number of runs."""

    def __init__(self):
        self._acked = set()
        self._changed = threading.Condition()
        self._thread = None
        self._sock = None
        self.unexpected = ''

    def follow(self, path):
        """Read the acknowledgements of a new run from a guest's port."""
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(path)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        rest = b''
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except OSError:
                data = b''
            if not data:
                return
            *lines, rest = (rest + data).split(b'\n')
            self.take(b'\n'.join(lines).decode(errors='replace'))

    def take(self, text):
        """Whole lines of the writer's output."""
        with self._changed:
            for line in text.split('\n'):
                if re.fullmatch(r'ack \d+', line):
                    self._acked.add(int(line[4:]))
                elif line:
                    self.unexpected += line + '\n'
            self._changed.notify_all()

    def finish(self):
        """After the guest is gone: take what is still in the socket."""
        if self._thread is not None:
            self._thread.join(30)
            self._sock.close()
            self._thread = None

    def count(self):
        with self._changed:
            return len(self._acked)

    def wait_for(self, count, timeout=120):
        deadline = time.monotonic() + timeout
        with self._changed:
            while len(self._acked) < count:
                left = deadline - time.monotonic()
                if left <= 0 or self.unexpected:
                    raise TimeoutError('%d records acknowledged after %d s, %d were expected; %s'
                                       % (len(self._acked), time.monotonic() - deadline + timeout, count,
                                          self.unexpected))
                self._changed.wait(left)

    def next_number(self):
        """Where the next run begins: no number is ever used twice, not even one
        that was in flight when its writer died."""
        with self._changed:
            return (max(self._acked) + 1 if self._acked else 0) + 256

    def ranges(self):
        """The acknowledged numbers as lines "FIRST LAST"."""
        with self._changed:
            numbers = sorted(self._acked)
        lines = []
        first = last = None
        for number in numbers:
            if last is not None and number == last + 1:
                last = number
                continue
            if first is not None:
                lines.append('%d %d' % (first, last))
            first = last = number
        if first is not None:
            lines.append('%d %d' % (first, last))
        return '\n'.join(lines) + '\n'


class Verdict:
    def __init__(self, output):
        self.output = output
        found = re.search(r'^checked (\d+) missing (\d+)$', output, re.M)
        if not found:
            raise ValueError('no verdict: ' + output)
        self.checked, self.missing = int(found[1]), int(found[2])


def start_writer(machine, log, threads=4, device='/dev/vda'):
    """Start the record writer in a guest that has the port "records"."""
    first = log.next_number()
    log.follow(machine.path('records.sock'))
    machine.sh('records write %s %d %d > /dev/port-records 2>&1 &' % (device, first, threads))


def check_in_guest(machine, log, device='/dev/vda', timeout=120):
    script = "records check %s << 'END'\n%sEND\n" % (device, log.ranges())
    return Verdict(machine.rc(script, timeout)[1])


def check_on_host(image_dir, log, path, size=0):
    """The same judge on a raw image that nobody has open.  `size`: what the guest saw,
    where metadata follow in the same file."""
    done = subprocess.run([str(image_dir) + '/records', 'check', str(path), str(size)],
                          input=log.ranges(), capture_output=True, text=True, check=False)
    return Verdict(done.stdout + done.stderr)
