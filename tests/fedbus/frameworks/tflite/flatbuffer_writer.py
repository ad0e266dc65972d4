"""A FlatBuffer of a schema, written the simple way: a table first, then all that it points to."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedbus.frameworks.tflite.flatbuffer import Schema, Unions

_SIZES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8, "d": 8}
_NUMPY = {
    "?": "u1",
    "b": "i1",
    "B": "u1",
    "H": "<u2",
    "i": "<i4",
    "I": "<u4",
    "q": "<i8",
    "f": "<f4",
}


class Writer:
    def __init__(self, schema: Schema, unions: Unions) -> None:
        self._schema, self._unions = schema, unions
        self.data = bytearray()

    def root(self, identifier: bytes, table: str, record: Mapping[str, Any]) -> bytes:
        self.data += bytes(4) + identifier
        self._point(0, self._table(table, record))
        return bytes(self.data)

    def _point(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.data, at, target - at)

    def _align(self, to: int, ahead: int = 0) -> None:
        self.data += bytes(-(len(self.data) + ahead) % to)

    def _table(self, kind: str, record: Mapping[str, Any]) -> int:
        fields = self._schema[kind]
        places, at = [], 4
        for name, code in fields:
            width = _SIZES.get(code, 4)
            at += -at % width if name in record else 0
            places.append(at if name in record else 0)
            at += width if name in record else 0
        self._align(8, ahead=-(-(4 + 2 * len(fields)) // 8) * 8 - (4 + 2 * len(fields)))
        vtable = len(self.data)
        self.data += struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), at, *places)
        self._align(8)
        begin = len(self.data)
        self.data += struct.pack("<i", begin - vtable) + bytes(at - 4)
        for (name, code), place in zip(fields, places, strict=True):
            if name in record:
                kind_of = record.get(f"{name}_type", 0)
                self._field(code, begin + place, record[name], kind_of)
        return begin

    def _field(self, code: str, at: int, value: Any, kind: int) -> None:  # noqa: ANN401 - as the code says
        if code in _SIZES:
            struct.pack_into(f"<{code}", self.data, at, value)
        elif code == "s":
            raw = value if isinstance(value, bytes) else str(value).encode()
            self._align(4)
            self._point(at, len(self.data))
            self.data += struct.pack("<I", len(raw)) + raw + b"\0"
        elif code[0] == ".":
            self._point(at, self._table(code[1:], value))
        elif code[0] == "|":
            union = self._unions[code[1:]]
            self._point(at, self._table(union.get(kind) or next(iter(union.values())), value))
        elif code[1] == ".":
            self._align(4)
            vector = len(self.data)
            self._point(at, vector)
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            for n, each in enumerate(value):
                self._point(vector + 4 + 4 * n, self._table(code[2:], each))
        else:
            raw = (
                value if isinstance(value, bytes) else np.asarray(value, _NUMPY[code[1]]).tobytes()
            )
            size = _SIZES[code[1]]
            self._align(max(4, size), ahead=4)
            self._point(at, len(self.data))
            self.data += struct.pack("<I", len(raw) // size) + raw
