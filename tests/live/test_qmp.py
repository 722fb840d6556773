# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP: every command and event of the schema, what each answers, errors that
name what to do next, many commands in a row, query-drbd out of band."""

import re

import pytest

from blockdrbd import OperationFailed, QmpError, query_drbd, repository_root, resource_object
from blockdrbd.operation import start_operation
from stack import BLOCK, Stack, pattern

pytestmark = pytest.mark.storage_daemon


def schema_names(kind):
    text = (repository_root() / "qmp" / "drbd.json").read_text(encoding="utf-8")
    return set(re.findall(rf"^{{ '{kind}': '([^']+)'", text, re.M))


def test_schema_is_there(stack):
    """What qmp/drbd.json declares is what the program has, no more and no less."""
    commands = {entry["name"] for entry in stack.qmp.command("query-commands") if "drbd" in entry["name"]}
    assert commands == schema_names("command")
    events = {entry["name"] for entry in stack.qmp.command("query-qmp-schema")
              if entry["meta-type"] == "event" and entry["name"].startswith("DRBD")}
    assert events == schema_names("event")


def test_every_event_is_seen(stack):
    stack.ready()
    stack.guest().pwrite(pattern(1), 0)
    stack.unexport()
    stack.secondary()
    with pytest.raises(QmpError):
        stack.qmp.raw("blockdev-snapshot-internal-sync", {"device": "drbd0", "name": "s"})
    stack.qmp.wait_event("DRBD_STATE_CHANGED", lambda data: data["field"] == "role" and data["new"] == "Primary")
    stack.qmp.wait_event("DRBD_STATE_CHANGED", lambda data: data["field"] == "role" and data["new"] == "Secondary")


def test_state_events_tell_the_whole_story(stack):
    """Old, new and reason: the chain of events leads from the first state to the last."""
    stack.ready()
    stack.secondary()
    stack.run("drbd-outdate", node_name="drbd0")
    stack.run("drbd-detach", node_name="drbd0")
    events = [event["data"] for event in stack.qmp.take_events("DRBD_STATE_CHANGED")]
    for field, first, last in (("disk", "Diskless", "Diskless"), ("role", "Secondary", "Secondary")):
        chain = [(data["old"], data["new"]) for data in events if data["field"] == field]
        assert chain[0][0] == first and chain[-1][1] == last
        assert all(before[1] == after[0] for before, after in zip(chain, chain[1:])), chain
    assert all(data["resource"] == "r0" and data.get("reason") for data in events), events
    assert all(data["volume"] == 0 and data["node-name"] == "drbd0" for data in events if data["field"] == "disk")


def test_query_is_complete(stack):
    stack.ready()
    guest = stack.guest()
    guest.pwrite(pattern(1), 0)
    guest.pread(BLOCK, 0)
    guest.flush()
    entry = query_drbd(stack.qmp, "r0")
    volume = entry["volumes"][0]
    assert entry["role"] == "primary" and entry["connection"] == "StandAlone"
    assert (volume["disk"], volume["peer-disk"], volume["active"]) == ("UpToDate", "DUnknown", True)
    assert volume["disk-reason"]
    assert volume["io"]["writes"] == 1 and volume["io"]["written-bytes"] == BLOCK
    assert volume["io"]["reads"] == 1 and volume["io"]["flushes"] == 1
    assert volume["out-of-sync"] == BLOCK
    assert volume["activity-log"]["used"] == 1 and volume["activity-log"]["transactions"] >= 1
    assert re.fullmatch("[0-9A-F]{16}", volume["metadata"]["current-uuid"])
    assert volume["memory"] > 0 and not volume["busy"]
    assert "not-promotable" not in entry or entry["not-promotable"]


def test_query_without_resources(workspace):
    with Stack(workspace, resource={}) as stack:
        assert query_drbd(stack.qmp) == []


def test_query_out_of_band(stack):
    assert stack.qmp.oob, "the monitor of the tests has out-of-band commands"
    stack.ready()
    assert stack.qmp.oob_command("query-drbd")[0]["resource"] == "r0"
    with pytest.raises(QmpError, match="(?i)out-of-band|OOB"):
        stack.qmp.oob_command("drbd-set-role", resource="r0", role="secondary")


def test_operations_have_numbers_of_their_own(stack):
    stack.ready()
    numbers = [stack.secondary()["operation"], stack.primary()["operation"], stack.secondary()["operation"]]
    assert numbers == sorted(set(numbers))
    past = query_drbd(stack.qmp, "r0")["past-operations"]
    assert [entry["operation"] for entry in past][:3] == numbers[::-1]
    assert all(entry["success"] for entry in past)


def test_failed_operation_stands_in_the_query(stack):
    stack.file()
    stack.drbd(attach=False)
    with pytest.raises((OperationFailed, QmpError)) as caught:
        stack.run("drbd-attach", node_name="drbd0")
    if isinstance(caught.value, OperationFailed):
        past = query_drbd(stack.qmp, "r0")["past-operations"][0]
        assert not past["success"] and past["error"] == caught.value.error


def test_many_commands_in_a_row(stack):
    """Fifty commands sent without waiting: each is answered, by an operation or a reason, in order."""
    stack.ready()
    sent = [stack.qmp.send("drbd-set-role", resource="r0", role="secondary" if number % 2 else "primary")
            for number in range(50)]
    operations = []
    for identifier in sent:
        try:
            operations.append(stack.qmp.wait_reply(identifier)["operation"])
        except QmpError as error:
            assert "wait for its end" in error.description
    assert operations
    for operation in operations:
        stack.qmp.wait_event("DRBD_OPERATION_COMPLETED", lambda data, n=operation: data["operation"] == n)
    assert query_drbd(stack.qmp, "r0")["pending-operations"] == []


def test_a_thousand_role_changes(stack):
    stack.ready()
    for number in range(500):
        start = start_operation(stack.qmp, "drbd-set-role", resource="r0",
                                role="secondary" if number % 2 == 0 else "primary")
        stack.qmp.wait_event("DRBD_OPERATION_COMPLETED", lambda data, n=start: data["operation"] == n)
        stack.qmp.take_events()
    assert len(query_drbd(stack.qmp, "r0")["past-operations"]) <= 16


@pytest.mark.parametrize("command, arguments, says", [
    ("drbd-set-role", {"resource": "nobody", "role": "primary"}, "object"),
    ("drbd-set-role", {"resource": "r0", "role": "king"}, "role"),
    ("drbd-attach", {"node-name": "nobody"}, "nobody"),
    ("drbd-attach", {"node-name": "drbd0"}, "detach"),
    ("drbd-create-md", {"node-name": "drbd0"}, "detach"),
    ("drbd-detach", {"node-name": "drbd0"}, "force"),
    ("drbd-invalidate", {"node-name": "drbd0"}, "Secondary"),
    ("drbd-outdate", {"node-name": "drbd0"}, "(?i)secondary|primary"),
    ("drbd-create-md", {"node-name": "drbd0", "al-stripes": -1}, "al-stripes"),
    ("drbd-create-md", {}, "node-name"),
    ("drbd-attach", {"node-name": "drbd0", "colour": 1}, "colour"),
])
def test_errors_name_what_to_do(stack, command, arguments, says):
    stack.ready()
    with pytest.raises(QmpError, match=says):
        stack.qmp.raw(command, arguments)
    assert stack.volume()["disk"] == "UpToDate"


def test_sixteen_resources(stack):
    for number in range(16):
        stack.daemon.object_add(resource_object(f"m{number}"))
        stack.file(f"mf{number}", size=4 << 20)
        stack.fresh(f"md{number}", f"mf{number}", resource=f"m{number}")
        stack.primary(f"m{number}", force=True)
    assert {entry["resource"] for entry in query_drbd(stack.qmp)} == {"r0", *(f"m{n}" for n in range(16))}


def test_sixteen_volumes(stack):
    stack.daemon.object_add(resource_object("v", volumes=16))
    for number in range(16):
        stack.file(f"vf{number}", size=4 << 20)
        stack.fresh(f"vd{number}", f"vf{number}", resource="v", volume=number)
    stack.primary("v", force=True)
    assert query_drbd(stack.qmp, "v")["volumes-attached"] == 16
    stack.secondary("v")
