"""Reader of protobuf messages by a table of the fields that are needed, within bounds. Pure.

Source: "Encoding", protobuf.dev/programming-guides/encoding. Fields that no table names are passed
over by their length, so the weights of a file are never copied.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from fedbus.errors import WireError

MAX_FIELDS: Final = 2**22
"""Fields of all messages of a file."""
MAX_MESSAGE_DEPTH: Final = 64
"""Messages inside messages: graphs in attributes of nodes of graphs."""

Message: TypeAlias = dict[str, list[Any]]
"""The values of each named field in the order of the file; submessages are messages."""
Table: TypeAlias = Mapping[int, tuple[str, str]]
"""By field number: the name, and `int`, `text`, `size` (the length of its bytes), `ints`, or the
name of a submessage's table."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE_TYPES: Final = {"int": (_VARINT,), "ints": (_VARINT, _BYTES)}
_MAX_VARINT_BYTES: Final = 10


class ProtobufReader:
    """Reads messages of one file, with a budget of fields.

    Args:
        data: The file.
        tables: The fields of each kind of message.
    """

    def __init__(self, data: bytes | bytearray | memoryview, tables: Mapping[str, Table]) -> None:
        self._data = memoryview(data).cast("B")
        self._tables = tables
        self._fields = 0

    def read(self, kind: str) -> Message:
        """Read the whole file as a message of a kind; raise WireError if it is damaged."""
        return self._message(kind, 0, len(self._data), 0)

    def _message(self, kind: str, at: int, end: int, depth: int) -> Message:
        if depth > MAX_MESSAGE_DEPTH:
            raise WireError(f"{kind}: messages are nested more than {MAX_MESSAGE_DEPTH} deep")
        table, found = self._tables[kind], Message()
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise WireError(f"more than {MAX_FIELDS} fields")
            key, at = self._varint(kind, at, end)
            number, wire = key >> 3, key & 7
            begin, stop = at, self._end_of_value(kind, wire, at, end)
            at = stop
            if wire == _BYTES:
                length, begin = self._varint(kind, begin, end)
            if number not in table:
                continue
            name, form = table[number]
            place = f"{kind}.{name}"
            if wire not in _WIRE_TYPES.get(form, (_BYTES,)):
                raise WireError(f"{place}: a value of wire type {wire}")
            values = found.setdefault(name, [])
            if form == "size":
                values.append(length)
            elif form == "text":
                values.append(self._text(place, begin, stop))
            elif form == "int":
                values.append(self._varint(place, begin, end)[0])
            elif form == "ints":
                values.extend(self._ints(place, begin, stop))
            else:
                values.append(self._message(form, begin, stop, depth + 1))
        return found

    def _end_of_value(self, kind: str, wire: int, at: int, end: int) -> int:
        if wire == _VARINT:
            return self._varint(kind, at, end)[1]
        if wire == _BYTES:
            length, at = self._varint(kind, at, end)
            stop = at + length
        elif wire in {_FIXED64, _FIXED32}:
            stop = at + (8 if wire == _FIXED64 else 4)
        else:
            raise WireError(f"{kind}: byte {at}: a value of the unknown wire type {wire}")
        if stop > end:
            raise WireError(f"{kind}: byte {at}: a value that ends {stop - end} bytes too late")
        return stop

    def _varint(self, kind: str, at: int, end: int) -> tuple[int, int]:
        value = 0
        for n in range(min(_MAX_VARINT_BYTES, end - at)):
            byte = self._data[at + n]
            value |= (byte & 0x7F) << (7 * n)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
                return value & (2**64 - 1), at + n + 1
        raise WireError(f"{kind}: byte {at}: a number that does not end")

    def _ints(self, place: str, at: int, stop: int) -> list[int]:
        values: list[int] = []
        while at < stop:
            value, at = self._varint(place, at, stop)
            values.append(value)
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise WireError(f"more than {MAX_FIELDS} fields")
        return values

    def _text(self, place: str, begin: int, stop: int) -> str:
        try:
            return bytes(self._data[begin:stop]).decode()
        except UnicodeDecodeError as error:
            raise WireError(f"{place}: not UTF-8") from error
