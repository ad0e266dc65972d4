"""Texts about plug-ins from their signatures and docstrings: for pages and the terminal. Pure."""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args, get_origin


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


def summary(made: object) -> str:
    """Return the first paragraph of the docstring of a class or function; "" if it has none."""
    described = inspect.isclass(made) or inspect.isroutine(made)
    text, _ = read_docstring((inspect.getdoc(made) if described else None) or "")
    return " ".join(text.partition("\n\n")[0].split())


def parameter_meanings(made: object) -> dict[str, str]:
    """Return what the docstring says about each parameter; for a class, also those of its bases."""
    described: dict[str, str] = {}
    for one in reversed(made.__mro__ if isinstance(made, type) else (made,)):
        described.update(read_docstring(inspect.cleandoc(one.__doc__ or ""))[1])
    return described


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


_PLAIN: Final[Mapping[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}
