# SPDX-License-Identifier: GPL-2.0-or-later
"""The disks of one run: sizes, placement of the metadata, base images.

The guest's area is larger than the activity log of 67 extents reaches, and
sparse; a hot part of it holds a pattern in the beginning, so that a lost write
shows.  The base's metadata are those of a disk in sync with a peer.
"""

import dataclasses
import pathlib
import random
import subprocess
from typing import Dict, List, Optional

import seqlog
from blockdrbd import make_image
from blockdrbd.metadata import AL_CLEAN, CONSISTENT, WAS_UP_TO_DATE, Metadata, data_bytes

EXTENT = 4 << 20
EXTERNAL_MD_BYTES = 128 << 10
SLOT_BYTES = 128 << 20             # of an indexed metadata device
INDEX = 1
PEER_GENERATION = 0x5AFE5AFE5AFE5AF0


@dataclasses.dataclass
class Geometry:
    placement: str                     # internal, external, indexed, or none (a plain node)
    device_bytes: int = 96 * EXTENT    # wider than the smallest activity log, 67 extents

    @property
    def internal(self) -> bool:
        return self.placement == "internal"

    @property
    def guest_bytes(self) -> int:
        return data_bytes(self.device_bytes, self.internal)

    def replayer_options(self) -> List[str]:
        options = [f"data-sectors={self.guest_bytes // 512}"]
        if self.internal:
            begin = self.guest_bytes
            end = self.device_bytes // 4096 * 4096
            options += ["internal=1", f"md-begin={begin}", f"md-bytes={end - begin}"]
        elif self.placement != "none":
            options += [f"md-begin={self.metadata_begin}", f"md-bytes={EXTERNAL_MD_BYTES}"]
        return options

    @property
    def metadata_begin(self) -> int:
        """Of external metadata, on their own device."""
        return INDEX * SLOT_BYTES if self.placement == "indexed" else 0

    def drbd_options(self) -> Dict[str, int]:
        return {"metadata_index": INDEX} if self.placement == "indexed" else {}

    @property
    def drbdmeta_kind(self) -> str:
        return {"internal": "flex-internal", "external": "flex-external"}.get(self.placement, str(INDEX))

    def metadata(self, images: "ImagePair") -> Metadata:
        return Metadata(images.md or images.data, self.internal, self.metadata_begin)


@dataclasses.dataclass
class ImagePair:
    data: str
    md: Optional[str]

    def copy(self, folder: pathlib.Path, name: str) -> "ImagePair":
        pair = ImagePair(str(folder / f"{name}.data"), self.md and str(folder / f"{name}.md"))
        for source, target in ((self.data, pair.data), (self.md, pair.md)):
            if source:
                copy_sparse(source, target)
        return pair


def copy_sparse(source: str, target: str) -> None:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def hot_ranges(geometry: Geometry, seed: int) -> List[int]:
    """Where the guest writes: 1 MiB at a random place in most extents."""
    source = random.Random(seed)
    extents = list(range(geometry.guest_bytes // EXTENT))
    source.shuffle(extents)
    chosen = sorted(extents[:max(1, len(extents) * 9 // 10)])
    return [extent * EXTENT + source.randrange(0, 3 << 20, 512) for extent in chosen]


def make_base(geometry: Geometry, folder: pathlib.Path, seed: int, fresh: bool = False) -> ImagePair:
    """The images before anything: in sync with a peer, or fresh from create-md."""
    pair = ImagePair(make_image(folder / "base.data", geometry.device_bytes), None)
    with open(pair.data, "r+b") as image:
        for begin in hot_ranges(geometry, seed)[::3]:
            image.seek(begin)
            image.write(seqlog.pattern(begin, 256 << 10, seqlog.BASE_OWNER))
    if geometry.placement == "none":
        return pair
    if not geometry.internal:
        size = SLOT_BYTES * (INDEX + 1) if geometry.placement == "indexed" else EXTERNAL_MD_BYTES
        pair.md = make_image(folder / "base.md", size)
    in_sync = {"flags": AL_CLEAN | CONSISTENT | WAS_UP_TO_DATE, "current": PEER_GENERATION,
               "la_size_sect": geometry.guest_bytes // 512}
    geometry.metadata(pair).create(geometry.device_bytes, **({} if fresh else in_sync))
    return pair
