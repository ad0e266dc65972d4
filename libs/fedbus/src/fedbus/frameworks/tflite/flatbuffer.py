"""Bounded reader of FlatBuffers, driven by a schema. Pure.

Native readers follow a FlatBuffer's offsets without checking them: a file that was truncated or
changed by one bit makes them read foreign memory. `Reader` follows every offset of every field in
the schema, checks that it is aligned and inside the file, and returns what it read. Offsets of
tables lead forward only, so no table contains itself; a table with several references is read once.
Vectors and strings are views of the file. So time and memory are bounded by the number of tables
and of entries in vectors of tables, which is at most `MAX_TABLES`.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from fedbus.errors import WireError

MAX_TABLES: Final = 2**19
"""Tables in a file, and entries in its vectors of tables; large models have tens of thousands."""
MAX_TABLE_DEPTH: Final = 16
"""Nested tables; TFLite's schema has five levels."""
MAX_STRING: Final = 2**16
"""Bytes of a string."""

Record: TypeAlias = dict[str, Any]
"""A table: numbers, memoryviews of strings, arrays, records and lists of records, by field."""

Field: TypeAlias = tuple[str, str]
"""A field's name and kind. Kinds: a struct code of a number (`i`); `s`, a string; `[i`, a vector
of numbers; `.name`, a table; `[.name`, a vector of tables; `|name`, a table of a union, whose type
is the field before it."""
Schema: TypeAlias = Mapping[str, tuple[Field, ...]]
Unions: TypeAlias = Mapping[str, Mapping[int, str]]
"""For each union: the table of each type number."""

_NUMPY: Final = {
    "b": "i1", "B": "u1", "?": "u1", "h": "<i2", "H": "<u2", "i": "<i4", "I": "<u4", "q": "<i8",
    "Q": "<u8", "f": "<f4", "d": "<f8",
}  # fmt: skip
_NUMBERS: Final = {code: struct.Struct(f"<{code}") for code in _NUMPY}
_DTYPES: Final = {code: np.dtype(name) for code, name in _NUMPY.items()}
_OFFSET = _NUMBERS["I"]
_BACK = _NUMBERS["i"]
_WORD = 4


class Reader:
    """Reads one file.

    Args:
        schema: Fields of each table, in the order of their numbers.
        unions: Tables that each union may hold.
    """

    def __init__(
        self, data: bytes | bytearray | memoryview, schema: Schema, unions: Unions
    ) -> None:
        self._data = memoryview(data).cast("B").toreadonly()
        self._schema = schema
        self._unions = unions
        self._read: dict[tuple[str, int], Record] = {}
        self._counted = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._data)

    def root(self, identifier: bytes, table: str) -> Record:
        """Read the root table and everything that it refers to.

        Raises:
            WireError: An offset, a length or an alignment is wrong; the message names the field.
        """
        head = _WORD + len(identifier)
        if self.size < head:
            raise WireError(f"{self.size} bytes, where the head alone takes {head}")
        found = bytes(self._data[_WORD:head])
        if found != identifier:
            raise WireError(f"it begins with {bytes(self._data[:head])!r}, not {identifier!r}")
        return self._table(table, self._target(0, table), table, 0)

    # ── tables ────────────────────────────────────────────────────────────────────────────────────

    def _table(self, kind: str, at: int, where: str, depth: int) -> Record:
        key = kind, at
        known = self._read.get(key)
        if known is not None:
            return known
        if depth >= MAX_TABLE_DEPTH:
            raise WireError(f"{where}: tables lie within tables more than {MAX_TABLE_DEPTH} deep")
        self._count(1, where)
        record: Record = {}
        for (name, code), place in self._places(at, self._schema[kind], where):
            if code[0] == "|":
                union = self._unions[code[1:]]
                table = union.get(record.get(f"{name}_type", 0))
                if table is None:
                    kind_number = record.get(f"{name}_type", 0)
                    raise WireError(
                        f"{where}.{name}: of type {kind_number}, which is not known here"
                    )
                code = f".{table}"  # noqa: PLW2901 - what the field holds after all
            record[name] = self._field(code, place, f"{where}.{name}", depth)
        self._read[key] = record
        return record

    def _places(
        self, at: int, fields: tuple[Field, ...], where: str
    ) -> Iterator[tuple[Field, int]]:
        """Yield the fields that a table has, with their positions."""
        self._inside(at, _WORD, _WORD, where)
        vtable = at - int(_BACK.unpack_from(self._data, at)[0])
        self._inside(vtable, _WORD, 2, f"{where}, its vtable")
        length, inline = struct.unpack_from("<HH", self._data, vtable)
        if length < _WORD or length % 2 or inline < _WORD:
            raise WireError(f"{where}: a vtable of {length} bytes for a table of {inline}")
        self._inside(vtable, length, 2, f"{where}, its vtable")
        self._inside(at, inline, _WORD, where)
        places = struct.unpack_from(f"<{length // 2 - 2}H", self._data, vtable + _WORD)
        if any(places[len(fields) :]):
            raise WireError(f"{where}: a field that is not known here; a newer converter wrote it")
        for each, place in zip(fields, places, strict=False):
            if not place:
                continue
            number = _NUMBERS.get(each[1])
            width = number.size if number else _WORD
            if place < _WORD or place + width > inline:
                raise WireError(f"{where}.{each[0]}: at {place} in a table of {inline} bytes")
            self._inside(at + place, width, width, f"{where}.{each[0]}")
            yield each, at + place

    def _field(self, code: str, at: int, where: str, depth: int) -> object:
        number = _NUMBERS.get(code)
        if number is not None:
            return number.unpack_from(self._data, at)[0]
        target = self._target(at, where)
        if code == "s":
            return self._string(target, where)
        if code[0] == ".":
            return self._table(code[1:], target, where, depth + 1)
        if code[1] == ".":
            return self._tables(target, code[2:], where, depth)
        return self._numbers(target, code[1], where)

    # ── vectors and strings ───────────────────────────────────────────────────────────────────────

    def _string(self, at: int, where: str) -> memoryview:
        length = self._length(at, where)
        if length > MAX_STRING:
            raise WireError(f"{where}: a string of {length} bytes; at most {MAX_STRING}")
        begin = at + _WORD
        self._inside(begin, length + 1, 1, where)
        if self._data[begin + length]:
            raise WireError(f"{where}: a string without its final zero")
        return self._data[begin : begin + length]

    def _numbers(self, at: int, code: str, where: str) -> np.ndarray[Any, Any]:
        count, dtype = self._length(at, where), _DTYPES[code]
        begin = at + _WORD
        self._inside(begin, count * dtype.itemsize, dtype.itemsize if count else 1, where)
        return np.frombuffer(self._data, dtype, count, begin)

    def _tables(self, at: int, table: str, where: str, depth: int) -> list[Record]:
        count = self._length(at, where)
        begin = at + _WORD
        self._inside(begin, count * _WORD, _WORD, where)
        self._count(count, where)
        return [
            self._table(table, self._target(place, f"{where}[{n}]"), f"{where}[{n}]", depth + 1)
            for n, place in enumerate(range(begin, begin + count * _WORD, _WORD))
        ]

    def _count(self, tables: int, where: str) -> None:
        self._counted += tables
        if self._counted > MAX_TABLES:
            raise WireError(f"{where}: more than {MAX_TABLES} tables")

    def _length(self, at: int, where: str) -> int:
        self._inside(at, _WORD, _WORD, where)
        return int(_OFFSET.unpack_from(self._data, at)[0])

    def _target(self, at: int, where: str) -> int:
        self._inside(at, _WORD, _WORD, where)
        offset = int(_OFFSET.unpack_from(self._data, at)[0])
        if not offset:
            raise WireError(f"{where}: an offset of 0, at byte {at}")
        self._inside(at + offset, _WORD, _WORD, where)
        return at + offset

    def _inside(self, at: int, length: int, aligned: int, where: str) -> None:
        if at < 0 or at + length > self.size:
            raise WireError(f"{where}: bytes {at} to {at + length} of a file of {self.size}")
        if at % aligned:
            raise WireError(f"{where}: at byte {at}, which is no multiple of {aligned}")
