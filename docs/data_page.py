"""Make `docs/loaders.md` of the signatures and docstrings of our loaders and transforms."""

import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_args, get_origin

PROJECT = Path(__file__).parent.parent / "libs/fedbus/pyproject.toml"
HEAD = """# Loaders and transforms

Generated from the signatures and docstrings of what fedbus ships, by `make docs`; do not edit.
[data.md](data.md) says how they are used; `fedbus plugins` lists those of others.

"""
LOADERS = """## Loaders

An agent's `FEDBUS_LOADER` names one, by default what `FEDBUS_DATA` looks like; its options are a
JSON object in `FEDBUS_LOADER_OPTIONS` (or `--loader-options` of `fedbus data`), or a file of it:
`{"label": "kind", "missing": "mean"}`. An option that it does not take is refused with those that
it takes. Inputs are float32. Truths that are whole numbers are classes, int64; others are float32.

"""
TRANSFORMS = """## Transforms

A pipeline (`FEDBUS_PIPELINE`, `--pipeline`) is a JSON list of `{"id": …, "parameters": {…}}`, or a
file of it; a job's `plugins.transforms` follow it. Those that augment are left out in evaluation.

"""


def write() -> str:
    """Make the whole page."""
    parts = [HEAD, LOADERS, *_section("loaders"), TRANSFORMS, *_section("transforms")]
    return "".join(parts).rstrip() + "\n"


def _section(kind: str) -> Iterator[str]:
    # As the source says: an environment that was installed before would lack the newest ones.
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    group = f"fedbus.{kind}"
    for name, value in sorted(project["entry-points"][group].items()):
        call: Callable[..., Any] = EntryPoint(name, value, group).load()
        text, options = _read(inspect.getdoc(call) or "")
        augments = " Training only." if getattr(call, "augments", False) else ""
        yield f"### {name}\n\n{text}{augments}\n\n"
        rows = list(_rows(call, options))
        if rows:
            yield "| option | is | default | what it does |\n|---|---|---|---|\n"
            yield "".join(rows) + "\n"
        else:
            yield "No options.\n\n"


def _rows(call: Callable[..., Any], options: dict[str, str]) -> Iterator[str]:
    for parameter in inspect.signature(call).parameters.values():
        if parameter.name == "path":
            continue
        if parameter.name not in options:
            raise SystemExit(f"{call.__qualname__}: its docstring does not say what {parameter} is")
        needed = parameter.default is inspect.Parameter.empty
        default = "**needed**" if needed else _json(parameter.default)
        cells = (f"`{parameter.name}`", _type(parameter.annotation), default,
                 options[parameter.name])  # fmt: skip
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _json(value: object) -> str:
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _read(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into what comes before its sections, and its Args by name."""
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


def _type(hint: Any) -> str:  # noqa: ANN401 - whatever an option may be typed as
    """Name a type in JSON's words."""
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
