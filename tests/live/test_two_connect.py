# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes find each other: in either order, again after every end, over IPv6;
first sync; what does not fit together is named with both values."""

import pytest

from blockdrbd import OperationFailed, QmpError
from blockdrbd.two_nodes import address
from stack import BLOCK, MIB, pattern

pytestmark = pytest.mark.storage_daemon
SECRET = {"qom-type": "secret", "id": "s0", "data": "the same on both"}


def test_fresh_nodes_stay_inconsistent(two):
    pair = two().up()
    for node in (pair.a, pair.b):
        node.wait_state("Connected", "Inconsistent", "Inconsistent")
        assert node.status()["role"] == "secondary"
        assert "Inconsistent" in node.status()["not-promotable"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_either_may_be_there_first(two, first):
    pair = two().create()
    early, late = (pair.a, pair.b) if first == "a" else (pair.b, pair.a)
    early.start()
    early.wait_connection("WFConnection")
    late.start()
    pair.connected()


def test_first_sync_and_writes(two):
    pair = two().ready()
    guest = pair.a.guest()
    for number in range(64):
        guest.pwrite(pattern(number), number * 17 * BLOCK)
    guest.flush()
    # A write completes under C when it is in the other image.
    pair.assert_equal()
    pair.settle_equal()
    assert pair.b.volume()["replication"]["received-writes"] >= 64


def test_first_sync_carries_what_is_there(two):
    """The Primary has data before it ever saw its peer."""
    pair = two().create()
    pair.a.start()
    pair.a.primary(force=True)
    guest = pair.a.guest()
    for number in range(200):
        guest.pwrite(pattern(number, 4 * BLOCK), number * 7 * 4 * BLOCK % (24 * MIB))
    pair.b.start()
    pair.settle_equal()
    assert pair.b.metadata().superblock().current == pair.a.metadata().superblock().current & ~1


def test_first_sync_sends_no_zeroes(two):
    """An empty gigabyte costs no gigabyte on the wire."""
    pair = two(link=True, size=1024 * MIB).up()
    pair.a.primary(force=True)
    pair.synced()
    assert pair.link.bytes("data") + pair.link.bytes("meta") < 24 * MIB
    pair.assert_equal()


def test_ipv6(two):
    pair = two(ipv6=True).ready()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.settle_equal()


def test_external_metadata(two):
    pair = two(external=True).ready()
    pair.a.guest().pwrite(pattern(3), 5 * BLOCK)
    pair.settle_equal()


def test_peer_vanishes_and_comes_back(two):
    pair = two().ready()
    for number in range(3):
        pair.b.kill()
        pair.a.wait_lost()
        assert pair.a.status()["role"] == "primary"
        pair.a.guest().pwrite(pattern(number), number * BLOCK)
        pair.b.start()
        pair.settle_equal()


def test_orderly_end_of_the_secondary(two):
    pair = two().ready()
    pair.b.quit()
    pair.a.wait_lost()
    pair.a.guest().pwrite(pattern(9), 0)
    pair.b.start()
    pair.settle_equal()


def test_several_volumes(two):
    pair = two(volumes=3).ready()
    for volume in range(3):
        pair.a.guest(volume).pwrite(pattern(volume + 1), (volume + 1) * BLOCK)
    pair.settle_equal()


# -- authentication ------------------------------------------------------------


def secrets(pair, word_a, word_b, algorithm="sha1"):
    for node, word in ((pair.a, word_a), (pair.b, word_b)):
        if word:
            node.objects = ({"qom-type": "secret", "id": "s0", "data": word},)
            node.options.update({"secret": "s0", "cram-hmac-alg": algorithm})
    return pair.create()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_same_secret(two, algorithm):
    pair = secrets(two(), "the same", "the same", algorithm)
    pair.a.start()
    pair.b.start()
    pair.connected()


def test_other_secret(two):
    pair = secrets(two(), "one word", "other word")
    pair.a.start()
    pair.b.start()
    nodes = (pair.a, pair.b)
    # The first that sees it hangs up, and the other may not have seen it yet.
    pair.a.wait(lambda: any(n.status()["connection"] == "StandAlone" for n in nodes), "one refuses")
    reasons = [n.reason() for n in nodes if n.status()["connection"] == "StandAlone"]
    assert reasons and all("secret" in reason for reason in reasons), reasons


def test_only_one_authenticates(two):
    pair = secrets(two(), "one word", None)
    pair.a.start()
    pair.b.start()
    pair.a.wait_connection("StandAlone")
    assert "cram-hmac-alg" in pair.a.reason() and "none" in pair.a.reason()


# -- what does not fit ------------------------------------------------------------

# option, value of a, value of b, what the reason must name
MISMATCHES = [
    ("protocol", "C", "A", ("C", "A")),
    ("after-sb-0pri", "discard-zero-changes", "disconnect", ("after-sb-0pri",)),
    ("data-integrity-alg", "sha1", "md5", ("sha1", "md5")),
]


@pytest.mark.parametrize("option,of_a,of_b,named", MISMATCHES, ids=[m[0] for m in MISMATCHES])
def test_mismatch_is_named_with_both_values(two, option, of_a, of_b, named):
    pair = two(options_a={option: of_a}, options_b={option: of_b}).create()
    pair.a.start()
    pair.b.start()
    nodes = (pair.a, pair.b)

    def somebody_stands_alone():
        return [n for n in nodes if n.status()["connection"] == "StandAlone"]
    pair.a.wait(somebody_stands_alone, "one node refuses")
    reasons = " ".join(node.reason() for node in somebody_stands_alone())
    assert all(word in reasons for word in named), reasons


def test_no_common_version(two):
    pair = two(options_a={"protocol-version-max": 95}, options_b={"protocol-version-min": 100}).create()
    pair.a.start()
    pair.b.start()
    pair.a.wait(lambda: any(n.status()["connection"] == "StandAlone" for n in (pair.a, pair.b)),
                "one node refuses")
    reasons = pair.a.reason() + pair.b.reason()
    assert "95" in reasons and "100" in reasons


@pytest.mark.parametrize("version", [86, 90, 95, 96, 100, 101])
def test_older_versions(two, version):
    pair = two(options_a={"protocol-version-max": version}).ready()
    assert pair.b.peer()["protocol-version"] == version
    guest = pair.a.guest()
    for number in range(40):
        guest.pwrite(pattern(number, 3 * BLOCK), number * 5 * BLOCK)
    guest.pwrite(pattern(77), 0, fua=True)
    guest.trim(8 * BLOCK, 20 * BLOCK)
    guest.zero(64 * BLOCK, 64 * BLOCK)
    guest.pwrite(pattern(99, 512 * 1024), 8 * MIB)
    guest.flush()
    pair.settle_equal()
    pair.b.kill()
    pair.a.wait_lost()
    guest.pwrite(pattern(5), 9 * BLOCK)
    pair.b.start()
    pair.settle_equal()


def test_a_busy_address_is_an_error(two):
    """Nobody can listen there: the node says so and stands alone."""
    pair = two()
    pair.create()
    pair.a.start()
    pair.b.here = pair.a.here
    try:
        pair.b.start()
    except (QmpError, OperationFailed) as error:
        assert "listen" in str(error) or "address" in str(error).lower()
        return
    pair.b.wait_connection("StandAlone")
    assert pair.a.here[0] in pair.b.reason()


def test_a_volume_that_is_added_again_joins_the_connection(two):
    """Of a Primary that is connected by another volume: no handshake is left open."""
    pair = two(volumes=2).ready()
    pair.a.guest(0).pwrite(pattern(1), 0)
    pair.a.qmp.command("blockdev-del", node_name="d1")
    pair.a.qmp.command("blockdev-del", node_name="image1")
    pair.b.wait_state("Connected", "UpToDate", "Diskless", volume=1)
    times = pair.a.peer()["times-connected"]
    pair.a.add_volume(1)
    pair.a.wait_synced()
    pair.b.wait_synced()
    assert pair.a.peer()["times-connected"] == times, "nobody else was disturbed"
    pair.a.guest(1).pwrite(pattern(2), 0)
    pair.settle_equal()
    with pytest.raises((OperationFailed, QmpError), match="Connected already"):
        pair.a.connect()


def test_a_volume_is_closed_in_its_resync(two):
    """Packets of it are on their way yet; the connection of the other one, which has a guest, stays."""
    pair = two(volumes=2, size=256 * MIB).ready()
    for at in range(0, 128, 4):     # what reads as zero is not sent
        pair.a.guest(1).pwrite(pattern(at) * (MIB // 4096), at * MIB)
    pair.a.unexport(1)
    times = pair.a.peer()["times-connected"]
    for attempt in range(3):
        guest = pair.a.guest(0)
        pair.b.run("drbd-detach", node_name="d1")
        pair.b.run("drbd-create-md", node_name="d1", force=True)
        pair.b.run("drbd-attach", node_name="d1")
        pair.a.wait_state("SyncSource", "UpToDate", "Inconsistent", volume=1)
        pair.a.qmp.command("blockdev-del", node_name="d1")
        pair.a.qmp.command("blockdev-del", node_name="image1")
        guest.pwrite(pattern(attempt), 0)
        # A Primary takes no disk of another generation than its guest may have seen.
        pair.a.unexport(0)
        pair.a.secondary()
        pair.a.add_volume(1)
        pair.a.wait_synced()
        pair.b.wait_synced()
        pair.a.primary()
    assert pair.a.peer()["times-connected"] == times, "nobody else was disturbed"
    pair.settle_equal()


def test_a_volume_that_the_peer_has_not(two):
    """It goes on without a copy there, and does not keep the other one; the peer may get it later."""
    pair = two(volumes=2).ready()
    pair.b.quit()
    pair.a.wait_lost()
    pair.b.volumes = 1
    pair.b.start()
    guests = [pair.a.guest(volume) for volume in range(2)]
    warning = pair.a.wait_event("DRBD_WARNING", lambda data: "told nothing of volume 1" in data["message"])
    assert warning["volume"] == 1
    lost = pair.a.peer()["times-lost"]
    for at in range(20):
        for guest in guests:
            guest.pwrite(pattern(at), at * BLOCK)
            guest.flush()
    pair.a.wait_state("Connected", "UpToDate", "UpToDate", volume=0)
    pair.a.wait_state("Connected", "UpToDate", "Diskless", volume=1)
    pair.a.demote()
    pair.a.primary()
    assert pair.a.peer()["times-lost"] == lost
    pair.b.quit()
    pair.b.volumes = 2
    pair.b.start()
    pair.a.wait_synced()
    pair.settle_equal()


@pytest.mark.parametrize("options", [{"protocol": "A"}, {"after-sb-0pri": "discard-zero-changes"}])
def test_wfc_timeout_promotes_nobody_beside_a_peer_that_refuses(two, options):
    """It was met, so it lives, and is Primary."""
    pair = two().ready()
    pair.a.guest().pwrite(pattern(1), 0)
    pair.b.kill()
    pair.a.wait_lost()
    pair.b.options.update({"wfc-timeout": 20, **options})
    pair.b.start(nodes=False)
    with pytest.raises(QmpError, match="does not become Primary, .* do not come together"):
        pair.b.add_volume(role="primary")
    assert pair.b.status()["role"] == "secondary"


def test_what_cannot_be_configured(two):
    pair = two().create()
    pair.a.start(nodes=False)
    same = {**pair.a.resource(), "id": "r1", "peer": address(pair.a.here)}
    with pytest.raises(QmpError, match="are one address"):
        pair.a.daemon.object_add(same)
    pair.a.daemon.object_add({"qom-type": "secret", "id": "nothing", "data": ""})
    with pytest.raises(QmpError, match="'nothing' is empty"):
        pair.a.daemon.object_add({**pair.a.resource(), "id": "r1", "secret": "nothing", "cram-hmac-alg": "sha256"})
    with pytest.raises(QmpError, match="nobody"):
        pair.a.set("secret", "nobody")
    pair.a.add_volume()
    pair.a.export()
    pair.a.secondary()      # what it is, whoever holds the node open


def test_why_a_peer_is_not_reached_is_told(two):
    pair = two().create()
    pair.a.start()
    pair.a.wait(lambda: "the peer is not reached" in pair.a.reason(), "a reason")
    assert "refused" in pair.a.reason()
    pair.b.start()
    pair.connected()
    assert pair.a.reason() == ""


def test_wfc_timeout_is_not_refused_by_an_old_reason(two):
    """The administrator disconnected; with connect=off nobody seeks the peer after that."""
    pair = two(options={"connect": False}).create()
    pair.a.start()
    pair.a.primary(force=True)
    pair.a.secondary()
    pair.a.connect()
    pair.a.disconnect()
    assert "administrator" in pair.a.reason()
    pair.a.set("wfc-timeout", 20)
    for node in ("d0", "image0"):
        pair.a.qmp.command("blockdev-del", node_name=node)
    pair.a.add_volume(role="primary")
    assert pair.a.status()["role"] == "primary"


def test_a_refused_address_changes_nothing(two):
    pair = secrets(two(), "the same", "the same", "sha256")
    pair.a.start()
    pair.a.disconnect()
    pair.a.daemon.qmp.command("object-del", id="s0")
    before = pair.a.qmp.command("qom-get", path="/objects/r0", property="peer")
    with pytest.raises(QmpError, match="s0"):
        pair.a.set("peer", {"host": "127.0.0.1", "port": "9"})
    assert pair.a.qmp.command("qom-get", path="/objects/r0", property="peer") == before
