# SPDX-License-Identifier: GPL-2.0-or-later
"""The two tools under comparison, Debian's drbdmeta (the judge) and qdrbdmeta,
and a Pair of images that both work on with the same commands.

After every command a Pair can be asked whether both files hold the same
bytes; only what is allocated is read, so 16 TiB cost nothing.
"""
import dataclasses
import os
import re
import shutil
import subprocess

from blockdrbd.images import compare_images, make_image
from blockdrbd.metadata import Superblock
from blockdrbd.paths import program, system_program

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
BLOCK = 4096
INDEXED_SLOT = 128 * MIB


def run(words, *, stdin=subprocess.DEVNULL, env=None, timeout=120):
    return subprocess.run([str(word) for word in words], stdin=stdin, capture_output=True,
                          text=True, check=False, timeout=timeout, env=env)


def drbdmeta(path, placement, *words):
    """Debian's tool.  It takes only absolute paths of plain files, with --force."""
    return run([system_program("drbdmeta", "drbd-utils"), "--force", "-", "v08",
                os.path.abspath(path), placement, *words])


def qdrbdmeta(path, placement, *words, force=True, **options):
    """Ours, in the judge's order of arguments."""
    return run([program("qdrbdmeta"), *(["--force"] if force else []), "-", "v08", path,
                placement, *words], **options)


def superblock_offset(size, placement):
    if placement in ("internal", "flex-internal"):
        return size // BLOCK * BLOCK - BLOCK
    return 0 if placement == "flex-external" else int(placement) * INDEXED_SLOT


def read_superblock(path, placement):
    with open(path, "rb") as image:
        return Superblock.unpack(os.pread(image.fileno(), BLOCK, superblock_offset(
            os.path.getsize(path), placement)))


def change_superblock(path, placement, **fields):
    """Sets fields of the superblock as a driver might have left them."""
    changed = dataclasses.replace(read_superblock(path, placement), **fields)
    with open(path, "r+b") as image:
        os.pwrite(image.fileno(), changed.pack(), superblock_offset(
            os.path.getsize(path), placement))


def normalised_dump(text):
    """A dump without what differs by intent: header, marker of an unclean
    dump, and the flags, which drbdmeta 9.22 prints as zero for v08."""
    text = text[text.index("version"):]
    text = re.sub(r"^(This_is_an_unclean|Unclean_dump).*\n#.*\n\n", "", text, flags=re.M)
    return re.sub(r"flags 0x[0-9A-F]{8};", "flags;", text)


def relevant_output(text):
    """The judge prints what it found in the way to standard output before it
    asks; ours asks on standard error."""
    return re.sub(r"^md_offset .*This might destroy existing data! <==\n", "", text, flags=re.S)


@dataclasses.dataclass
class Pair:
    judge: str      # the file drbdmeta works on
    ours: str
    placement: str

    @classmethod
    def make(cls, folder, size, placement):
        number = len(list(folder.path.glob("judge-*.img")))
        return cls(make_image(folder / f"judge-{number}.img", size),
                   make_image(folder / f"ours-{number}.img", size), placement)

    def both(self, *words):
        """Runs one command with each tool; both must agree on status and output."""
        judge = drbdmeta(self.judge, self.placement, *words)
        ours = qdrbdmeta(self.ours, self.placement, *words)
        assert ours.returncode == judge.returncode, (words, judge, ours)
        assert ours.stdout == relevant_output(judge.stdout), (words, judge, ours)
        self.assert_same()
        return ours

    def crossed(self, *words):
        """As both(), but each tool works on the other's file."""
        return Pair(self.ours, self.judge, self.placement).both(*words)

    def assert_same(self):
        assert not compare_images(self.judge, self.ours)

    def each(self, function, *arguments, **fields):
        """Does the same to both files."""
        for path in (self.judge, self.ours):
            function(path, self.placement, *arguments, **fields)

    def copy_judge_to_ours(self):
        shutil.copyfile(self.judge, self.ours)
