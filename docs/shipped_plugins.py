"""Plug-ins that fedbus ships, as its source names them."""

import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent / "libs/fedbus/pyproject.toml"


def shipped(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield the plug-ins that fedbus ships, by name, with what their entry points name."""
    # Read from the source: an environment that was installed earlier lacks new entry points.
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    group = f"fedbus.{kind}"
    for name, value in sorted(project["entry-points"][group].items()):
        yield name, EntryPoint(name, value, group).load()
