#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rounds of faults against two nodes under a writer that records what it was promised.

    tests/live/rounds.py [--rounds N] [--seed S] [--protocol A|B|C] [--external] [--only NAME] [-v]

Each round is one fault drawn from the seed, in the middle of writes: SIGKILL of
either side or of both, a link reset or cut in silence, one stream cut or stalled,
a cut at a byte in the middle of a packet, a host stopped for longer than every
timeout, errors of the disk (EIO, ENOSPC), a crash that follows a cut (then both
were right alone, and split brain must be told).  At its end:

- what was completed under C is on the survivor, or the survivor's generation is
  not the one in which it completed, and then split brain is reported, not silence;
- the guest saw no error and no stall longer than the timeouts allow;
- after the resync both images are equal, and hold what the journal allows.

200 rounds take about 10 minutes; continuous integration runs 8 (test_rounds.py).
A failure prints the seed and the round; `--seed S --first R --rounds 1` repeats
the draw of round R on fresh disks, not the history before it.
"""

import argparse
import pathlib
import random
import sys
import time
from typing import Callable, Dict, Optional

HERE = pathlib.Path(__file__).resolve().parent
for folder in (str(HERE), str(HERE.parent / "lib")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from blockdrbd import Journal, RecordingWriter, TwoNodes, Workspace  # noqa: E402
from blockdrbd.daemon import wait_for  # noqa: E402
from blockdrbd.nbdkit import SwitchedDisk  # noqa: E402

# Two request timeouts, reconnect, a busy machine.
LONGEST_STALL_S = 12.0
SIZE = 32 << 20


class Rounds:
    def __init__(self, workspace, seed: int, *, protocol: str = "C", external: bool = False,
                 say: Callable[[str], None] = lambda text: None):
        self.chance = random.Random(seed)
        self.seed, self.say, self.protocol = seed, say, protocol
        self.workspace = workspace
        self.pair = TwoNodes(workspace, link=True, size=SIZE, external=external,
                             options={"protocol": protocol})
        self.journal = Journal()
        self.writer: Optional[RecordingWriter] = None
        self.longest_s = 0.0
        self.done: Dict[str, int] = {}
        self.number = 0

    def __enter__(self) -> "Rounds":
        self.pair.established()
        self.primary, self.secondary = self.pair.a, self.pair.b
        return self

    def __exit__(self, kind, value, trace) -> None:
        if kind is not None:
            print(f"round {self.number} of seed {self.seed} failed", file=sys.stderr)
        if self.writer is not None:
            self.writer.stop(check=False)
        self.pair.__exit__(kind, value, trace)

    # -- the writer -----------------------------------------------------------------

    def write(self) -> None:
        self.writer = RecordingWriter(self.primary.export(), "d0", self.journal,
                                      depth=self.chance.choice((1, 8, 32, 64)),
                                      seed=self.chance.randrange(1 << 30), run=self.chance.choice((1, 4, 32)))
        self.writer.start()
        self.go_on()

    def go_on(self) -> None:
        self.writer.progress(self.chance.choice((1, 20, 100, 300)))

    def end_writing(self, errors_allowed: bool = False) -> None:
        self.writer.stop()
        self.longest_s = max(self.longest_s, self.writer.longest_s)
        assert errors_allowed or not self.writer.errors, f"the guest saw errors: {self.writer.errors}"
        assert self.writer.longest_s < LONGEST_STALL_S, f"a request took {self.writer.longest_s:.1f} s"
        self.writer = None

    # -- one round ----------------------------------------------------------------------

    def faults(self) -> Dict[str, Callable[[], None]]:
        return {name[6:]: getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("fault_")}

    def round(self, only: Optional[str] = None) -> str:
        self.number += 1
        self.chance = random.Random(self.seed * 1000003 + self.number)
        faults = self.faults()
        name = self.chance.choice(sorted(faults))
        if only:
            name = only
        began = time.monotonic()
        self.write()
        faults[name]()
        if self.writer is not None:
            self.go_on()
            self.end_writing()
        self.pair.settle_equal()
        for node in (self.pair.a, self.pair.b):
            self.journal.judge_file(node.images[0])
        self.done[name] = self.done.get(name, 0) + 1
        self.say(f"round {self.number}: {name}, {time.monotonic() - began:.1f} s, "
                 f"{self.journal.acknowledged} writes so far")
        return name

    # -- faults -------------------------------------------------------------------------

    def fault_kill_secondary(self) -> None:
        self.secondary.kill()
        self.go_on()
        self.secondary.start()

    def fault_kill_primary(self) -> None:
        """The survivor is promoted, and has everything that completed."""
        self.primary.kill()
        self.end_writing()
        self.fail_over()
        self.secondary.start()

    def fail_over(self) -> None:
        old, new = self.primary, self.secondary
        new.wait_lost()
        new.primary()
        if self.protocol == "C":
            self.journal.judge_file(new.images[0])
        else:
            # What was on its way is lost with its sender.
            self.forget_to(new)
        self.primary, self.secondary = new, old

    def fault_kill_both(self) -> None:
        self.primary.kill()
        self.secondary.kill()
        self.end_writing()
        for node in self.chance.sample((self.primary, self.secondary), 2):
            node.start()
        self.pair.synced()
        self.primary.primary()

    def fault_link_reset(self) -> None:
        self.pair.link.cut()
        self.primary.wait_lost()
        self.go_on()
        self.pair.link.heal()

    def fault_link_silent(self) -> None:
        self.pair.link.cut(silent=True)
        self.primary.wait_lost()
        self.secondary.wait_lost()
        self.go_on()
        self.pair.link.heal()

    def fault_data_stream(self) -> None:
        self.lose(lambda: self.pair.link.cut_stream("data"))

    def fault_meta_stream(self) -> None:
        self.lose(lambda: self.pair.link.cut_stream("meta"))

    def fault_cut_in_a_packet(self) -> None:
        kind, count = self.chance.choice(("data", "meta")), self.chance.randrange(1, 20000)
        self.lose(lambda: self.pair.link.cut_after(kind, count))

    def fault_stalled_stream(self) -> None:
        kind = self.chance.choice(("data", "meta"))
        self.lose(lambda: self.pair.link.stall(kind))
        self.pair.link.cut()
        self.pair.link.heal()

    def lose(self, fault: Callable[[], None]) -> None:
        before = self.primary.peer()["times-lost"]
        fault()
        self.primary.wait(lambda: self.primary.peer()["times-lost"] > before, "the loss is seen")

    def fault_stopped_secondary(self) -> None:
        self.secondary.daemon.stop_process()
        try:
            self.primary.wait_lost()
            self.go_on()
        finally:
            self.secondary.daemon.continue_process()

    def fault_stopped_primary(self) -> None:
        self.primary.daemon.stop_process()
        try:
            self.secondary.wait_lost()
        finally:
            self.primary.daemon.continue_process()

    def fault_killed_in_resync(self) -> None:
        """The peer comes back and dies again before it has everything."""
        self.secondary.kill()
        self.writer.progress(400)
        self.pair.link.delay_s = 0.02
        self.secondary.start()
        self.secondary.wait(lambda: self.secondary.state()[0] in ("SyncTarget", "Connected"), "the resync")
        if self.chance.random() < 0.5:
            self.secondary.kill()
        else:
            self.pair.link.cut()
            self.secondary.wait_lost()
            self.pair.link.heal()
            self.pair.link.delay_s = 0
            return
        self.pair.link.delay_s = 0
        self.secondary.start()

    def fault_killed_after_a_cut(self) -> None:
        """The Primary went on alone and died; the other is promoted and writes: split
        brain is told.  The one that died gives way."""
        self.pair.link.cut()
        self.primary.wait_lost()
        self.go_on()
        self.primary.kill()
        self.end_writing()
        old, new = self.primary, self.secondary
        new.wait_lost()
        new.primary()
        self.forget_to(new)
        self.primary, self.secondary = new, old
        self.write()
        self.pair.link.heal()
        old.start()
        nodes = (old, new)
        new.wait(lambda: any(n.status()["connection"] == "StandAlone" and "split" in n.reason().lower()
                             for n in nodes), "split brain is reported")
        for node in nodes:
            if node.status()["connection"] != "StandAlone":
                node.disconnect(force=True)
                node.wait_connection("StandAlone")
        old.connect(discard_my_data=True)
        new.connect()

    def forget_to(self, node) -> None:
        """What this node holds is the truth from now on, if it was ever written."""
        for block, history in self.journal.blocks.items():
            history.settled = self.journal.everything(block)
        self.journal.judge_file(node.images[0])

    def fault_secondary_disk_error(self) -> None:
        self.disk_error(self.secondary, self.chance.choice(("EIO", "ENOSPC")))

    def disk_error(self, node, error: str) -> None:
        """The node runs on a disk that begins to fail: it detaches or passes on, marks, and
        is whole again after a restart on the same file."""
        node.kill()
        image = pathlib.Path(node.images[0])
        with SwitchedDisk(self.workspace, image.stem, 0, error=error) as disk:
            assert disk.path == image, (disk.path, image)
            node.file_node = lambda volume: disk.node(f"image{volume}")
            try:
                node.start()
                self.pair.synced()
                self.go_on()
                disk.fail_writes()
                self.go_on()
                wait_for(lambda: node.volume()["disk"] != "UpToDate" or self.primary.volume()["out-of-sync"],
                         "the error is noticed")
                disk.fail_writes(False)
                node.kill()
            finally:
                node.file_node = None
        node.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--protocol", choices="ABC", default="C")
    parser.add_argument("--external", action="store_true", help="external metadata")
    parser.add_argument("--only", help="one kind of fault")
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {chosen.rounds} rounds, protocol {chosen.protocol}", flush=True)
    began = time.monotonic()
    with Workspace("drbd-rounds-") as workspace:
        with Rounds(workspace, seed, protocol=chosen.protocol, external=chosen.external,
                    say=lambda text: print(text, flush=True)) as rounds:
            rounds.number = chosen.first - 1
            for _ in range(chosen.rounds):
                rounds.round(chosen.only)
            print(f"{chosen.rounds} rounds in {time.monotonic() - began:.0f} s, "
                  f"{rounds.journal.acknowledged} writes acknowledged, the longest took "
                  f"{rounds.longest_s:.1f} s: " + ", ".join(f"{n} {c}" for n, c in sorted(rounds.done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
