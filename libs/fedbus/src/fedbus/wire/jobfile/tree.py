"""Bytes to a tree of plain values, with limits applied before anything is built.

What JSON allows and a job does not (a key given twice, NaN, a number beyond all measure) becomes an
`Unusable` in its place, so that its path is known and the rest of the file is still judged.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from fedbus.wire.jobfile.faults import Fault, JobFileError

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_VALUES = 10_000
_MAX_DIGITS = 32

Place = tuple[str | int, ...]

# A string runs to the end of the text when it is never closed, which keeps the scan linear.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands where the file has a value that no job can use."""

    problem: str


def read(data: bytes) -> object:
    """Return the tree; raise `JobFileError` for what concerns the file as a whole."""
    if len(data) > MAX_BYTES:
        _refuse(f"{len(data)} bytes, at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"not UTF-8 at byte {error.start}", error)
    if _deeper_than(MAX_DEPTH, text):
        _refuse(f"nested deeper than {MAX_DEPTH} levels")
    try:
        tree: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_number,
            parse_constant=lambda name: Unusable(f"{name}, not a finite number"),
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        _refuse(f"not JSON at {place}: {error.msg}", error)
    if next(islice(walk(tree), MAX_VALUES, None), None):
        _refuse(f"more than {MAX_VALUES} values")
    return tree


def walk(tree: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Visit every value with its place, in the order of the file, containers first."""
    yield place, tree
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from walk(value, (*place, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from walk(value, (*place, index))


def _refuse(problem: str, cause: Exception | None = None) -> NoReturn:
    raise JobFileError([Fault(key="", problem=problem)]) from cause


def _deeper_than(limit: int, text: str) -> bool:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
        elif found[0] in "]}":
            depth -= 1
        if depth > limit:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for written, value in pairs:
        # Half a surrogate pair can be neither shown nor sent, so it is spelled out.
        name = written.encode("utf-8", "backslashreplace").decode()
        tree[name] = Unusable("given more than once") if name in tree else value
    return tree


def _whole(digits: str) -> int | Unusable:
    if len(digits) > _MAX_DIGITS:
        return Unusable(f"a number of {len(digits)} digits, at most {_MAX_DIGITS}")
    return int(digits)


def _number(digits: str) -> float | Unusable:
    number = float(digits)
    return number if math.isfinite(number) else Unusable("not a finite number")
