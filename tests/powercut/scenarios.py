# SPDX-License-Identifier: GPL-2.0-or-later
"""What is recorded: each scenario is a few steps of a node's life.

`scale` multiplies the guest's requests.  A scenario runs with metadata in
either placement and any seed; the order of steps is fixed, so that a failure
names the step.
"""

from typing import Callable, Dict

from recording import Recording


def plain(run: Recording, scale: float) -> None:
    """No driver: the guest over a plain node, to prove recorder and judge."""
    run.start_daemon()
    run.open_node()
    run.run_guest(int(600 * scale), kill=True)


def primary_load(run: Recording, scale: float) -> None:
    """A Primary in sync writes more extents than its activity log holds, and dies."""
    run.log.mark("expect disk=UpToDate")
    run.start_daemon()
    run.open_node(role="primary")
    run.run_guest(int(900 * scale), kill=True)


def restart(run: Recording, scale: float) -> None:
    """Death and return, twice, then an orderly end.  The host stays up, so a
    write that one daemon did not flush is in the caches under the next."""
    run.log.mark("expect disk=UpToDate")
    for turn in range(2):
        run.start_daemon()
        run.open_node(role="primary")
        run.run_guest(int(200 * scale), kill=True, flush_first=turn > 0)
    run.start_daemon()
    run.open_node(role="primary")
    run.run_guest(int(200 * scale), flush_first=True)
    run.set_role("secondary")
    run.close_node(clean=True)
    run.quit()


def attach_killed(run: Recording, scale: float) -> None:
    """Daemons that die in their attach, at one event after another: the next
    one reads from the caches what was written and never flushed."""
    run.log.mark("expect disk=UpToDate")
    run.start_daemon()
    run.open_node(role="primary")
    run.run_guest(int(150 * scale), kill=True)
    for events in range(8):
        for _ in range(2):
            run.start_daemon()
            run.kill_in_attach(events * 2500)
        run.start_daemon()
        run.open_node(role="primary")
        run.run_guest(int(20 * scale), kill=True)


def roles(run: Recording, scale: float) -> None:
    """Promotions and demotions, with detach and attach between them."""
    run.log.mark("expect disk=UpToDate")
    run.start_daemon()
    run.open_node()
    for turn in range(4):
        run.set_role("primary")
        run.run_guest(int(100 * scale))
        run.set_role("secondary")
        if turn % 2:
            run.operation("drbd-detach", node_name="drbd0")
            run.log.mark("expect clean=yes")
            run.log.mark("expect clean=any")
            run.operation("drbd-attach", node_name="drbd0")
    run.close_node(clean=True)
    run.open_node(role="primary")
    run.run_guest(int(100 * scale))
    run.log.mark("attach without clean detach")
    run.operation("drbd-detach", node_name="drbd0", force=True)
    run.operation("drbd-attach", node_name="drbd0")
    run.run_guest(int(60 * scale))
    run.close_node(clean=False)
    run.open_node(role="primary")
    run.run_guest(int(100 * scale), kill=True)


def first_use(run: Recording, scale: float) -> None:
    """Fresh metadata, forced to be Primary, first writes, an orderly end."""
    run.start_daemon()
    run.open_node()
    run.set_role("primary", disk="UpToDate", force=True)
    run.run_guest(int(250 * scale))
    run.set_role("secondary")
    run.close_node(clean=True)
    run.quit()


def verdicts(run: Recording, scale: float) -> None:
    """What an administrator declares stays declared: outdate, force, invalidate."""
    run.log.mark("expect disk=UpToDate")
    run.start_daemon()
    run.open_node(role="primary")
    run.run_guest(int(80 * scale))
    run.set_role("secondary")
    run.operation("drbd-outdate", disk="Outdated", node_name="drbd0")
    run.close_node(clean=True)
    run.open_node()
    run.log.mark("generation forced")
    run.set_role("primary", disk="UpToDate", force=True)
    run.run_guest(int(80 * scale))
    run.set_role("secondary")
    run.log.mark("expect bitmap=maybe-full")
    run.operation("drbd-invalidate", disk="Inconsistent", node_name="drbd0")
    run.log.mark("expect bitmap=full")
    run.close_node(clean=True)
    run.quit()


def create_md(run: Recording, scale: float) -> None:
    """Metadata are made anew over those in use; cut off, there are old ones,
    none, or new ones, and never a mixture that attaches."""
    run.log.mark("expect disk=UpToDate")
    run.start_daemon()
    run.open_node(role="primary")
    run.run_guest(int(80 * scale), kill=True)
    run.start_daemon()
    run.open_node(attach=False)
    run.log.mark("expect metadata=any")
    run.operation("drbd-create-md", disk="Inconsistent", node_name="drbd0", force=True)
    run.log.mark("expect metadata=new")
    run.operation("drbd-attach", node_name="drbd0")
    run.log.mark("generation forced")
    run.set_role("primary", disk="UpToDate", force=True)
    run.run_guest(int(80 * scale), kill=True)


SCENARIOS: Dict[str, Callable[[Recording, float], None]] = {
    "primary_load": primary_load, "restart": restart, "attach_killed": attach_killed,
    "roles": roles, "first_use": first_use, "verdicts": verdicts,
    "create_md": create_md,
}
FRESH = {"first_use"}
