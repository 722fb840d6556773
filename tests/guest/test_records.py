# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge itself: it must see a record that is not there.

No guest is needed: the record program is the same on the host.
"""
import subprocess

import pytest
import records


@pytest.fixture
def written(guest_image, workspace):
    """A full image of 1 MiB whose records 0..255 were all acknowledged."""
    image = workspace / 'image'
    image.write_bytes(bytes(1 << 20))
    log = records.RecordLog()
    done = subprocess.run([guest_image + '/records', 'write', str(image), '0', '4'],
                          capture_output=True, text=True, check=True)
    log.take(done.stdout)
    return guest_image, log, image


def damage(image, offset, length):
    data = bytearray(image.read_bytes())
    data[offset:offset + length] = bytes(b ^ 1 for b in data[offset:offset + length])
    image.write_bytes(data)


def test_all_records_are_found(written):
    guest_image, log, image = written
    verdict = records.check_on_host(guest_image, log, image)
    assert (verdict.checked, verdict.missing) == (256, 0)


@pytest.mark.parametrize('offset,length,missing', [
    (0, 1, 1),                  # the first byte of a header
    (511, 1, 1),                # the last byte of the shortest record
    (40960, 4096, 1),           # a lost block
    (524288, 65536, 16)])       # a lost run of blocks
def test_a_lost_record_is_seen(written, offset, length, missing):
    guest_image, log, image = written
    damage(image, offset, length)
    assert records.check_on_host(guest_image, log, image).missing == missing


def test_what_nobody_wrote_may_differ(written):
    guest_image, log, image = written
    data = image.read_bytes()
    short = next(o for o in range(0, len(data), 4096) if not any(data[o + 512:o + 4096]))
    damage(image, short + 512, 3584)
    assert records.check_on_host(guest_image, log, image).missing == 0


def test_ranges():
    log = records.RecordLog()
    log.take('ack 3\nack 1\nack 2\nack 9\n')
    assert log.ranges() == '1 3\n9 9\n'
    assert log.next_number() > 9
