"""What a job file may say that this version does not do: refused, never ignored.

An issue that implements something deletes its line from `NOT_YET`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from fedbus.wire.jobfile.faults import Fault, nearest, show

Check = Callable[[str, object], Fault | None]

_INDEX = re.compile(r"\[\d+\]")
_OFF = frozenset({"false", "0", "0.0"})


def only(*works: str) -> Check:
    """Accept these words; others come later."""
    known = " and ".join(f"'{word}'" for word in works)

    def check(key: str, value: object) -> Fault | None:
        if not isinstance(value, str) or (word := value.strip().lower()) in works:
            return None
        near = nearest(word, works)
        hint = f"did you mean '{near}'?" if near else f"this version knows {known}"
        return Fault(key=key, problem=f"{show(value)} is not implemented yet", hint=hint)

    return check


def off(hint: str = "leave it out") -> Check:
    """Accept what means that the feature is not used: false or 0."""

    def check(key: str, value: object) -> Fault | None:
        if str(value).strip().lower() in _OFF:
            return None
        return Fault(key=key, problem="not implemented yet", hint=hint)

    return check


def absent(key: str, _value: object) -> Fault:
    """Accept nothing at all."""
    return Fault(key=key, problem="not implemented yet", hint="leave it out")


def single(key: str, value: object) -> Fault | None:
    """Accept a list of one entry or none."""
    if isinstance(value, list) and len(value) > 1:
        problem = f"{len(value)} entries; more than one is not implemented yet"
        return Fault(key=key, problem=problem, hint="give one")
    return None


NOT_YET: Final[Mapping[str, Check]] = {
    "client_type_id": only("base"),
    "eval_metrics_value": off("stopping_target does it"),
    "config": single,
    "privacy-mechanisms.homomorphic": absent,
    "privacy-mechanisms.dp-adaptive": absent,
}
"""What is refused for now, by key: `[]` is any entry of a list."""


def not_yet(written: Mapping[str, object]) -> Iterator[Fault]:
    """Find what this version does not do; `written` is every key of the file with what it says."""
    for key, value in written.items():
        check = NOT_YET.get(_INDEX.sub("[]", key))
        fault = check(key, value) if check else None
        if fault:
            yield fault
