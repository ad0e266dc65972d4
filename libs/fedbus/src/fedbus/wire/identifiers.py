"""Scalar types of messages: node names, digests, task numbers, timestamps, metrics."""

import re
from typing import Annotated

from fedbus.limits import MAX_METRICS
from fedbus.scalars import IDENT, Bounds, Ident, Number, Strict

BASE = "base"
"""As a job's trainer: any trainer that fedbus ships."""

ROLES = ("agent", "collector", "controller", "inference", "repository", "user")
_NODE = re.compile(rf"(?:{'|'.join(ROLES)})\.{IDENT}")

NodeName = Annotated[str, Strict(pattern=rf"^(?:{'|'.join(ROLES)})\.{IDENT}$")]
HTTP_AUTHOR = "http."
ChangeAuthor = Annotated[
    str, Strict(pattern=rf"^(?:{'|'.join((*ROLES, HTTP_AUTHOR[:-1]))})\.{IDENT}$")
]
"""A node, or a token of the HTTP API, as `http.TOKEN`: no node has such a name."""
Digest = Annotated[str, Strict(pattern=r"^[0-9a-f]{64}$")]
TaskNumber = Annotated[int, Strict(ge=1, lt=2**31)]
Timestamp = Annotated[
    str,
    Strict(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
]
"""A time, RFC 3339 in UTC to the millisecond: `2026-11-29T08:53:28.120Z`; see timestamps.py."""
Metrics = Annotated[dict[Ident, Number], Bounds(max_length=MAX_METRICS)]


def is_node(name: str) -> bool:
    """Return whether a name is a well-formed node name, `role.name`."""
    return _NODE.fullmatch(name) is not None


def role_of(node: str) -> str:
    """Return the role in a node's name: the part before the first dot."""
    return node.partition(".")[0]
