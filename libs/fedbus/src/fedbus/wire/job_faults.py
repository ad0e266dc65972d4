"""Faults of a job file: error, text and JSON document, and the parts of their sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from fedbus.errors import WireError
from fedbus.wire.documents import JobFault
from fedbus.wire.json_reader import clip

MAX_FAULTS = 100
"""Further faults are counted only, so that a hostile file cannot cause a huge reply."""


class JobFileError(WireError):
    """A job file is refused; `faults` has the reasons, in the order of the file."""

    def __init__(self, faults: Iterable[JobFault]) -> None:
        """Keep the first `MAX_FAULTS` faults and count the others."""
        found = tuple(faults)
        self.faults = found[:MAX_FAULTS]
        if len(found) > MAX_FAULTS:
            self.faults += (JobFault(key="", problem=f"{len(found) - MAX_FAULTS} more faults"),)
        super().__init__(self.faults)

    def __str__(self) -> str:
        """One fault on each line."""
        return "\n".join(str(fault) for fault in self.faults)


def format_faults(what: str, faults: Iterable[JobFault]) -> str:
    """Format faults, one on each line, below a line with the name of the file."""
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


def show(value: object) -> str:
    """Format a value from an untrusted source."""
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
