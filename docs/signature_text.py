"""Texts of the generated pages from signatures, docstrings and entry points."""

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args, get_origin

PROJECT = Path(__file__).parent.parent / "libs/fedbus/pyproject.toml"


def shipped(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield the plug-ins that fedbus ships, by name, with what their entry points name."""
    # Read from the source: an environment that was installed earlier lacks new entry points.
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    group = f"fedbus.{kind}"
    for name, value in sorted(project["entry-points"][group].items()):
        yield name, EntryPoint(name, value, group).load()


def json_text(value: object) -> str:
    """Return a default as JSON in backquotes; None is left out."""
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into the text before its sections, and its Args by name."""
    before, _, rest = docstring.partition("\nArgs:\n")
    before = before.partition("\nRaises:\n")[0]
    options: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        if found := re.match(r"    (\w+): (.*)", line):
            name = found[1]
            options[name] = found[2]
        elif name and line.strip():
            options[name] += " " + line.strip()
    paragraphs = (
        textwrap.fill(" ".join(p.split()), 100, break_on_hyphens=False)
        for p in before.split("\n\n")
    )
    return "\n\n".join(p for p in paragraphs if p), options


def type_words(hint: Any) -> str:  # noqa: ANN401 - any annotation
    """Return the name of a type in JSON's terms."""
    words = dict.fromkeys(_words(hint))
    return " or ".join(word for word in words if word)


def _words(hint: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    arguments = [each for each in get_args(hint) if each is not type(None)]
    origin = get_origin(hint)
    if isinstance(hint, str):
        yield f"`{json.dumps(hint)}`"
    elif hint in _PLAIN:
        yield _PLAIN[hint]
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        yield "object"
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        yield "list"
    else:
        for each in arguments:
            yield from _words(each)


_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false"}
