"""Faults of a job file: where, what, and the nearest thing that would have been right."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from fedbus.errors import WireError
from fedbus.wire import json_reader
from fedbus.wire.json_reader import clip

MAX_FAULTS = 100
"""More are counted, not listed: a hostile file must not buy a megabyte of answer."""

_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong; `key` is its path in the file, empty for the file itself."""

    key: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        """Read as a sentence."""
        sentence = f"{self.key or 'job file'}: {self.problem}"
        return f"{sentence}; {self.hint}" if self.hint else sentence


class JobFileError(WireError):
    """A job file is refused, for these faults, in the order in which the file has them."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        """Keep the first faults and count the others."""
        found = tuple(faults)
        self.faults = found[:MAX_FAULTS]
        if len(found) > MAX_FAULTS:
            self.faults += (Fault(key="", problem=f"{len(found) - MAX_FAULTS} more faults"),)
        super().__init__(self.faults)

    def __str__(self) -> str:
        """One fault on each line."""
        return "\n".join(str(fault) for fault in self.faults)


def path_of(parts: Iterable[str | int]) -> str:
    """Write a place in the file as people do: `config[0].batch_size`."""
    return json_reader.path_of(parts)


def show(value: object) -> str:
    """Show a value that somebody else chose."""
    match value:
        case str():
            return f"'{clip(value)}'"
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return str(value)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return the choice that is spelled most alike, or nothing when none is near."""
    near = difflib.get_close_matches(name[:_LONGEST_NAME].lower(), list(choices), n=1)
    return near[0] if near else ""
