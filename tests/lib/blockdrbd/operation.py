# SPDX-License-Identifier: GPL-2.0-or-later
"""DRBD commands of QMP: they return an operation, the result is an event.

`run_operation` is what most tests want: start, wait for
DRBD_OPERATION_COMPLETED with that number, raise OperationFailed with the
driver's own reason when it did not succeed.
"""

from typing import Any, Dict, List, Optional

from .qmp import QmpClient


class OperationFailed(Exception):
    def __init__(self, command: str, data: Dict[str, Any]):
        super().__init__(f"{command}: {data.get('error', 'failed without a reason')}")
        self.command = command
        self.error = data.get("error", "")
        self.data = data


def start_operation(qmp: QmpClient, command: str, **arguments: Any) -> int:
    return qmp.command(command, **arguments)["operation"]


def wait_operation(qmp: QmpClient, operation: int, command: str = "operation",
                   timeout_s: Optional[float] = None) -> Dict[str, Any]:
    event = qmp.wait_event("DRBD_OPERATION_COMPLETED",
                           lambda data: data["operation"] == operation, timeout_s)
    data = event["data"]
    if not data["success"]:
        raise OperationFailed(command, data)
    return data


def run_operation(qmp: QmpClient, command: str, timeout_s: Optional[float] = None,
                  **arguments: Any) -> Dict[str, Any]:
    operation = start_operation(qmp, command, **arguments)
    return wait_operation(qmp, operation, command, timeout_s)


def set_role(qmp: QmpClient, role: str, resource: str = "r0", **options: Any) -> Dict[str, Any]:
    return run_operation(qmp, "drbd-set-role", resource=resource, role=role, **options)


def query_drbd(qmp: QmpClient, resource: Optional[str] = None) -> Any:
    """All resources, or the one that is named."""
    answer = qmp.command("query-drbd")
    resources: List[Dict[str, Any]] = answer["resources"] if isinstance(answer, dict) else answer
    if resource is None:
        return resources
    for entry in resources:
        if resource in (entry.get("name"), entry.get("id"), entry.get("resource")):
            return entry
    raise KeyError(f"query-drbd knows no resource {resource}: {resources}")


def query_volume(qmp: QmpClient, resource: str = "r0", volume: int = 0) -> Dict[str, Any]:
    for entry in query_drbd(qmp, resource)["volumes"]:
        if entry.get("volume", entry.get("id")) == volume:
            return entry
    raise KeyError(f"query-drbd knows no volume {volume} of {resource}")
