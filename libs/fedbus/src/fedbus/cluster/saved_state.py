"""Saved state of a local cluster: the ports and passwords that it uses again at the next start.

So clients that were configured with them still connect.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedbus.atomic_write import PRIVATE, atomic_write

FILE = "logins.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """Ports and passwords of an earlier start in this home; empty at the first start."""

    port: int | None = None
    """Port of the broker."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By account."""
    http: Mapping[str, str] = field(default_factory=dict)
    """`host:port` of each node's HTTP API."""


def read(home: Path) -> SavedState:
    """Read the saved state of a home; empty if the file is missing or malformed."""
    try:
        saved = json.loads((home / FILE).read_text(encoding="utf-8"))
        return SavedState(
            port=None if saved["port"] is None else int(saved["port"]),
            passwords={str(name): str(password) for name, password in saved["passwords"].items()},
            http={str(node): str(address) for node, address in saved["http"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return SavedState()


def write(home: Path, state: SavedState) -> None:
    """Write the saved state, readable by the owner only; raise OSError if it fails."""
    atomic_write(home / FILE, json.dumps(asdict(state), indent=1).encode(), mode=PRIVATE)
