"""Reader of JSON that people and other programs wrote, in files, over MQTT and HTTP. Pure.

The reader is strict where JSON is vague, so that the same bytes have one meaning everywhere: UTF-8
(with or without a byte order mark), no key twice, no NaN, no overlong or infinite number, no deep
nesting, one value. Limits are checked before any value is built.

Most requests for a prediction are long lists of numbers with a single name. Where a count of their
brackets and quotation marks shows that they break no limit, a parser in Rust reads them ten times
as fast as Python's; what it refuses is read again here, which says where the fault is.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from fedbus.errors import WireError
from fedbus.limits import MAX_MESSAGE_BYTES

MAX_DEPTH = 32
MAX_DIGITS = 32
_SHOWN = 64

Place = tuple[str | int, ...]

# An unclosed string extends to the end of the text, which keeps the scan linear.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
# Numbers that may exceed a limit, once their digits are zeros. All others are left to the parser,
# which is faster.
_ZEROS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_NUMBERS = (b"0" * (MAX_DIGITS + 1), b"e000", b"e+000")
_OTHER_ENCODINGS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_WIDE = 2
"""Leading bytes to test: in UTF-16 without a byte order mark one of them is zero."""
_ONE_STRING = 2
"""Quotation marks of a text in which no name can be given twice."""


@dataclass(frozen=True, slots=True)
class InvalidValue:
    """Placeholder for a value that is not valid."""

    problem: str


def read_tree(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> tuple[object, bool]:
    """Parse JSON; return its value, and whether it contains an `InvalidValue`.

    Raises:
        WireError: the text as a whole is not valid.
    """
    if len(data) > max_bytes:
        raise WireError(f"expected at most {max_bytes} bytes, got {len(data)}")
    careful = _may_have_long_numbers(data)
    if not careful and _is_plain(data):
        with suppress(ValueError):
            return from_json(data, allow_inf_nan=False), False
    text = _decoded(data)
    if _deeper_than(MAX_DEPTH, text):
        raise WireError(f"expected at most {MAX_DEPTH} levels of nesting, got more")
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


def read_json(data: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> object:
    """Parse JSON; raise WireError if the text or one of its values is not valid."""
    tree, faulty = read_tree(data, max_bytes)
    if faulty:
        found = ((at, one.problem) for at, one in walk(tree) if isinstance(one, InvalidValue))
        place, problem = next(found, ((), "not a valid value"))
        raise WireError(f"{path_of(place)}: {problem}".removeprefix(": "))
    return tree


def walk(tree: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Yield every value with its place, in the order of the text, containers first."""
    yield place, tree
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from walk(value, (*place, name))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from walk(value, (*place, index))


def path_of(place: Iterable[str | int]) -> str:
    """Format a place: `config[0].batch_size`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{clip(part)}" for part in place)
    return "".join(parts).removeprefix(".")


def clip(name: str) -> str:
    """Format a name from an untrusted source: printable and short."""
    shown = repr(name[:_SHOWN])[1:-1]
    return f"{shown}…" if len(name) > _SHOWN else shown


def _decoded(data: bytes) -> str:
    for mark, name in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise WireError(f"expected UTF-8, got {name}; save it as UTF-8")
    if data[:_WIDE].count(0) == 1:
        raise WireError("expected UTF-8, got UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WireError(f"expected UTF-8, got another byte at {error.start}") from error


def _may_have_long_numbers(data: bytes) -> bool:
    zeros = data.translate(_ZEROS)
    return any(number in zeros for number in _LONG_NUMBERS)


def _is_plain(data: bytes) -> bool:
    """Return whether a text has too few brackets and names to break a limit with them."""
    return data.count(b"[") + data.count(b"{") <= MAX_DEPTH and data.count(b'"') <= _ONE_STRING


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
    """Hooks of the JSON parser; `faulty` is set once a value is not valid."""

    def __init__(self) -> None:
        self.faulty = False

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for written, value in pairs:
            # Half a surrogate pair can be neither shown nor sent, so it is escaped.
            name = written.encode("utf-8", "backslashreplace").decode()
            tree[name] = self._invalid("given more than once") if name in tree else value
        return tree

    def whole(self, digits: str) -> int | InvalidValue:
        if len(digits) > MAX_DIGITS:
            problem = f"expected at most {MAX_DIGITS} digits, got {len(digits)}"
            return self._invalid(problem)
        return int(digits)

    def number(self, digits: str) -> float | InvalidValue:
        number = float(digits)
        return number if math.isfinite(number) else self._invalid("not a finite number")

    def constant(self, name: str) -> InvalidValue:
        return self._invalid(f"{name}, not a finite number")

    def _invalid(self, problem: str) -> InvalidValue:
        self.faulty = True
        return InvalidValue(problem)
