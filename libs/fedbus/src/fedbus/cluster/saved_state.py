"""What a local cluster keeps from one `fedbus up` to the next: its ports and its passwords.

Watchers, dashboards and shells were told of them; they go on when the cluster is started again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedbus.atomic_write import PRIVATE, atomic_write

FILE = "logins.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """Of an earlier start in this home; empty where there was none."""

    port: int | None = None
    """The broker's."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By account."""
    http: Mapping[str, str] = field(default_factory=dict)
    """`host:port` of a node's HTTP doors."""


def read(home: Path) -> SavedState:
    """Read what a home keeps; nothing where the file is missing or is not one of ours."""
    try:
        said = json.loads((home / FILE).read_text(encoding="utf-8"))
        return SavedState(
            port=None if said["port"] is None else int(said["port"]),
            passwords={str(name): str(word) for name, word in said["passwords"].items()},
            http={str(node): str(http_address) for node, http_address in said["http"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return SavedState()


def write(home: Path, kept: SavedState) -> None:
    """Keep it, readable by the owner alone.

    Raises:
        OSError: it cannot be written.
    """
    atomic_write(home / FILE, json.dumps(asdict(kept), indent=1).encode(), mode=PRIVATE)
