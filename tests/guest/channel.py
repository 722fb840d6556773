#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command channel of a guest: shell scripts in, status and output back.

In: the path of the unix socket that QEMU connects to the guest's port "commands".
Out: exit status and output of every script.
Invariant: answers carry the id of their call, so the late answer to a call that
was given up is never taken for another's.

    channel.py SOCKET COMMAND...    runs one command, prints its output, exits with its status
"""
import base64
import os
import shlex
import socket
import sys
import time
import uuid


class Channel:
    def __init__(self, path):
        self.path, self.sock, self.buf = path, None, b''

    def _connect(self, deadline):
        while True:
            try:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.connect(self.path)
                self.buf = b''
                return
            except OSError:
                self.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _receive(self, deadline):
        self.sock.settimeout(max(0.01, deadline - time.monotonic()))
        data = self.sock.recv(1 << 20)
        if not data:
            raise ConnectionError('the guest is gone')
        self.buf += data

    def call(self, script, timeout=120):
        """Run a shell script in the guest: (exit status, output bytes)."""
        deadline = time.monotonic() + timeout
        if self.sock is None:
            self._connect(deadline)
        ident = uuid.uuid4().hex[:8]
        self.sock.sendall(ident.encode() + b' ' + base64.b64encode(script.encode()) + b'\n')
        while True:
            while b'\n' not in self.buf:
                self._receive(deadline)
            head, self.buf = self.buf.split(b'\n', 1)
            answered, status, length = head.split()
            while len(self.buf) < int(length):
                self._receive(deadline)
            output, self.buf = self.buf[:int(length)], self.buf[int(length):]
            if answered.decode() == ident:
                return int(status), output

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def main():
    if len(sys.argv) < 3:
        sys.exit('usage: channel.py SOCKET COMMAND...')
    script = sys.argv[2] if len(sys.argv) == 3 else shlex.join(sys.argv[2:])
    status, output = Channel(sys.argv[1]).call(script, float(os.environ.get('CHANNEL_TIMEOUT', 120)))
    sys.stdout.buffer.write(output)
    sys.exit(status)


if __name__ == '__main__':
    main()
