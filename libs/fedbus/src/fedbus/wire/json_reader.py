"""The one reader of JSON that people and other programs wrote: files, MQTT and HTTP alike. Pure.

Strict where JSON is vague, so that the same bytes have one meaning everywhere: UTF-8 (a byte order
mark is let be), no key twice, no NaN, no number beyond all measure, no deep nest, one value. Limits
are applied before anything is built.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fedbus.errors import WireError
from fedbus.limits import MAX_MESSAGE_BYTES

MAX_DEPTH = 32
MAX_DIGITS = 32
_SHOWN = 64

Place = tuple[str | int, ...]

# A string runs to the end of the text when it is never closed, which keeps the scan linear.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
# What may be a number that needs a closer look than json's own, much faster, reading.
_LONG_NUMBER = re.compile(rb"[0-9]{%d}|[eE]\+?[0-9]{3}" % (MAX_DIGITS + 1))
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WIDE = 2
"""Of the first two bytes of JSON, which are ASCII, one is zero in UTF-16 without a mark."""


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """Stands where the text has a value that nobody can use."""

    problem: str


def read_tree(data: bytes) -> tuple[object, bool]:
    """Read JSON; returns its values, and whether an `InvalidValue` stands in the place of any.

    Raises:
        WireError: for what concerns the text as a whole.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"{len(data)} bytes, at most {MAX_MESSAGE_BYTES}")
    text = _decoded(data)
    if _deeper_than(MAX_DEPTH, text):
        raise WireError(f"nested deeper than {MAX_DEPTH} levels")
    careful = _LONG_NUMBER.search(data) is not None
    values = _Values()
    try:
        tree: object = json.loads(
            text,
            object_pairs_hook=values.object,
            parse_int=values.whole if careful else None,
            parse_float=values.number if careful else None,
            parse_constant=values.constant,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise WireError(f"not JSON at {place}: {error.msg}") from error
    return tree, values.faulty


def read_json(data: bytes) -> object:
    """Read JSON.

    Raises:
        WireError: it is none, or one of its values is of no use; says where and why.
    """
    tree, faulty = read_tree(data)
    if faulty:
        found = ((at, one.problem) for at, one in walk(tree) if isinstance(one, InvalidValue))
        place, problem = next(found, ((), "a value of no use"))
        raise WireError(f"{path_of(place)}: {problem}".removeprefix(": "))
    return tree


def walk(tree: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Visit every value with its place, in the order of the text, containers first."""
    yield place, tree
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from walk(value, (*place, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from walk(value, (*place, index))


def path_of(place: Iterable[str | int]) -> str:
    """Write a place as people do: `config[0].batch_size`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{clip(part)}" for part in place)
    return "".join(parts).removeprefix(".")


def clip(name: str) -> str:
    """Show a name that somebody else chose: printable, and no longer than need be."""
    shown = repr(name[:_SHOWN])[1:-1]
    return f"{shown}…" if len(name) > _SHOWN else shown


def _decoded(data: bytes) -> str:
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise WireError(f"{name}, not UTF-8: save it as UTF-8")
    if data[:_WIDE].count(0) == 1:
        raise WireError("UTF-16, not UTF-8: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WireError(f"not UTF-8 at byte {error.start}") from error


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


class _Values:
    """Makes the values, and remembers whether one was of no use."""

    def __init__(self) -> None:
        self.faulty = False

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for written, value in pairs:
            # Half a surrogate pair can be neither shown nor sent, so it is spelled out.
            name = written.encode("utf-8", "backslashreplace").decode()
            tree[name] = self._unusable("given more than once") if name in tree else value
        return tree

    def whole(self, digits: str) -> int | InvalidValue:
        if len(digits) > MAX_DIGITS:
            problem = f"a number of {len(digits)} digits, at most {MAX_DIGITS}"
            return self._unusable(problem)
        return int(digits)

    def number(self, digits: str) -> float | InvalidValue:
        number = float(digits)
        return number if math.isfinite(number) else self._unusable("not a finite number")

    def constant(self, name: str) -> InvalidValue:
        return self._unusable(f"{name}, not a finite number")

    def _unusable(self, problem: str) -> InvalidValue:
        self.faulty = True
        return InvalidValue(problem)
