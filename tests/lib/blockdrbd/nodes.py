# SPDX-License-Identifier: GPL-2.0-or-later
"""Builders for block nodes and the resource object, as QMP takes them.

`as_options` turns the same dictionary into the text of a command line, so a
test can give a node either way.
"""

import json
from typing import Any, Dict, List, Optional, Union

Node = Dict[str, Any]


def file_node(node_name: str, path: str, **options: Any) -> Node:
    """A file of the host; the page cache is bypassed only where asked for."""
    return {"driver": "file", "node-name": node_name, "filename": str(path), **_hyphens(options)}


def raw_node(node_name: str, file: Union[str, Node], **options: Any) -> Node:
    return {"driver": "raw", "node-name": node_name, "file": file, **_hyphens(options)}


def qcow2_node(node_name: str, file: Union[str, Node], **options: Any) -> Node:
    return {"driver": "qcow2", "node-name": node_name, "file": file, **_hyphens(options)}


def nbd_node(node_name: str, socket_path: str, export: str, **options: Any) -> Node:
    return {"driver": "nbd", "node-name": node_name, "export": export,
            "server": {"type": "unix", "path": str(socket_path)}, **_hyphens(options)}


def drbd_node(node_name: str, file: Union[str, Node], *, resource: str = "r0", volume: int = 0,
              metadata: Union[str, Node, None] = None, metadata_index: Optional[int] = None,
              role: Optional[str] = None, attach: Optional[bool] = None,
              al_extents: Optional[int] = None, on_io_error: Optional[str] = None,
              **options: Any) -> Node:
    """The DRBD filter: internal metadata unless `metadata` names a node."""
    node: Node = {"driver": "drbd", "node-name": node_name, "resource": resource,
                  "volume": volume, "file": file}
    chosen = {"metadata": metadata, "metadata-index": metadata_index, "role": role,
              "attach": attach, "al-extents": al_extents, "on-io-error": on_io_error}
    node.update({key: value for key, value in chosen.items() if value is not None})
    node.update(_hyphens(options))
    return node


def resource_object(identifier: str = "r0", **options: Any) -> Node:
    return {"qom-type": "drbd-resource", "id": identifier, **_hyphens(options)}


def as_blockdev(node: Node, dashes: str = "--") -> List[str]:
    """`--blockdev JSON` of a node."""
    return [f"{dashes}blockdev", json.dumps(node)]


def as_object(options: Node, dashes: str = "--") -> List[str]:
    """`--object JSON` of an object."""
    return [f"{dashes}object", json.dumps(options)]


def _hyphens(options: Dict[str, Any]) -> Dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in options.items()}
