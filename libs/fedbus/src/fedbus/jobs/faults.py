"""Faults of a job file, for people and for programs, and the parts that their sentences share."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from fedbus.errors import WireError
from fedbus.wire import json_reader
from fedbus.wire.documents import JobFault
from fedbus.wire.json_reader import clip

MAX_FAULTS = 100
"""More are counted, not listed: a hostile file must not buy a megabyte of answer."""

_LONGEST_NAME = 64


class JobFileError(WireError):
    """A job file is refused, for these faults, in the order in which the file has them."""

    def __init__(self, faults: Iterable[JobFault]) -> None:
        """Keep the first faults and count the others."""
        found = tuple(faults)
        self.faults = found[:MAX_FAULTS]
        if len(found) > MAX_FAULTS:
            self.faults += (JobFault(key="", problem=f"{len(found) - MAX_FAULTS} more faults"),)
        super().__init__(self.faults)

    def __str__(self) -> str:
        """One fault on each line."""
        return "\n".join(str(fault) for fault in self.faults)


def format_faults(what: str, faults: Iterable[JobFault]) -> str:
    """Format faults one to a line, below a line that says what they are faults of."""
    lines = [f"  {fault}" for fault in faults]
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    return "\n".join([f"{what}, {count}:", *lines])


def write_refusal(job: str, faults: Iterable[JobFault]) -> dict[str, Any]:
    """Return the document that answers a refused job file; `job` is its id, or empty."""
    return {"accepted": False, "job": job, "faults": [asdict(fault) for fault in faults]}


def read_refusal(answer: Mapping[str, Any]) -> tuple[JobFault, ...]:
    """Read the faults of a document that this or a later version of `write_refusal` wrote."""
    return tuple(
        JobFault(**{name: str(fault.get(name, "")) for name in ("key", "problem", "hint")})
        for fault in answer.get("faults", ())
    )


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
