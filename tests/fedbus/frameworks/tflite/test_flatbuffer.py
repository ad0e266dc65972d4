"""Offsets from outside: followed only where they lead into the file."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.frameworks.tflite import flatbuffer
from fedbus.frameworks.tflite.flatbuffer import Reader, Schema, Unions
from tests.fedbus.frameworks.tflite.flatbuffer_writer import Writer

SCHEMA: Schema = {
    "root": (
        ("name", "s"),
        ("numbers", "[q"),
        ("children", "[.child"),
        ("only", ".child"),
        ("one_type", "B"),
        ("one", "|either"),
        ("count", "i"),
    ),
    "child": (("value", "h"), ("deeper", ".child")),
    "other": (("ratio", "f"),),
}
UNIONS: Unions = {"either": {1: "child", 2: "other"}}
WHOLE = {
    "name": "a name",
    "numbers": [1, -2, 3],
    "children": [{"value": 7}, {"deeper": {"value": 8}}],
    "only": {},
    "one_type": 2,
    "one": {"ratio": 0.5},
    "count": -5,
}


def _written(record: dict[str, object] | None = None) -> bytearray:
    return bytearray(Writer(SCHEMA, UNIONS).root(b"TEST", "root", record or WHOLE))


def _read(data: bytes | bytearray) -> flatbuffer.Record:
    return Reader(data, SCHEMA, UNIONS).root(b"TEST", "root")


def test_what_was_written_is_read() -> None:
    """Every kind of field, and none that was left out."""
    found = _read(_written())
    assert bytes(found.pop("name")) == b"a name"
    assert found.pop("numbers").tolist() == [1, -2, 3]
    assert found == {
        "children": [{"value": 7}, {"deeper": {"value": 8}}],
        "only": {},
        "one_type": 2,
        "one": {"ratio": 0.5},
        "count": -5,
    }
    assert _read(_written({"count": 1})) == {"count": 1}


def test_a_file_that_is_none_of_its_kind_is_refused() -> None:
    """A page of HTML, an empty file."""
    with pytest.raises(WireError, match="0 bytes, where the head alone takes 8"):
        _read(b"")
    with pytest.raises(WireError, match="it begins with b'<html>12', not b'TEST'"):
        _read(b"<html>12")


@pytest.mark.parametrize("cut", range(len(_written()) - 1))
def test_a_file_that_was_cut_is_never_read_beyond_its_end(cut: int) -> None:
    """Whatever is left of it: refused, or read without what is missing."""
    with pytest.raises(WireError, match=r"bytes|offset|begins|final zero|multiple"):
        _read(_written()[:cut])


@given(st.lists(st.tuples(st.integers(0, len(_written()) - 1), st.integers(0, 255)), max_size=8))
def test_no_change_of_bytes_leads_out_of_the_file(changes: list[tuple[int, int]]) -> None:
    """It is read, or refused with a sentence: no other exception."""
    data = _written()
    for at, value in changes:
        data[at] = value
    try:
        _read(data)
    except WireError as error:
        assert str(error)  # noqa: PT017 - either way is right


def _table(data: bytearray) -> int:
    return int(struct.unpack_from("<I", data)[0])


def _slot(data: bytearray, number: int) -> int:
    """Find the byte where a field of the root table lies."""
    table = _table(data)
    vtable = table - struct.unpack_from("<i", data, table)[0]
    return int(table + struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0])


@pytest.mark.parametrize(
    ("number", "value", "sentence"),
    [
        (0, 2**31, "root.name: bytes .* of a file of"),
        (0, 0, "root.name: an offset of 0"),
        (1, 2, "root.numbers: at byte .* no multiple of 4"),
        (3, 2**31 - 4, "root.only: bytes"),
        (6, 0, ""),
    ],
)
def test_an_offset_that_leads_elsewhere_is_refused(number: int, value: int, sentence: str) -> None:
    """The sentence names the field; a number is no offset."""
    data = _written()
    struct.pack_into("<I", data, _slot(data, number), value)
    if sentence:
        with pytest.raises(WireError, match=sentence):
            _read(data)
    else:
        assert _read(data)["count"] == value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((0, 3), "a vtable of 3 bytes for a table"),
        ((2, 2), "for a table of 2"),
        ((0, 2**16 - 2), "its vtable: bytes"),
        ((2, 2**16 - 1), "root: bytes"),
        ((4, 2**16 - 4), "root.name: at 65532 in a table of"),
        ((4, 2), "root.name: at 2 in a table of"),
        ((4, 5), "root.name: at byte .* no multiple of 4"),
    ],
)
def test_a_vtable_that_lies_is_refused(change: tuple[int, int], sentence: str) -> None:
    """It says how long it and its table are, and where each field is."""
    data = _written()
    table = _table(data)
    vtable = table - struct.unpack_from("<i", data, table)[0]
    struct.pack_into("<H", data, vtable + change[0], change[1])
    with pytest.raises(WireError, match=sentence):
        _read(data)


def test_a_field_of_a_later_schema_is_refused() -> None:
    """Native code that is newer than this reader would follow it unverified."""
    data = Writer({**SCHEMA, "child": (*SCHEMA["child"], ("new", "i"))}, UNIONS)
    written = data.root(b"TEST", "root", {"only": {"new": 1}})
    with pytest.raises(WireError, match=r"root\.only: a field that is not known here"):
        _read(written)


def test_a_union_of_an_unknown_type_is_refused() -> None:
    """Or of none, where there is a table."""
    with pytest.raises(WireError, match=r"root\.one: of type 9, which is not known here"):
        _read(_written({"one_type": 9, "one": {}}))
    with pytest.raises(WireError, match=r"root\.one: of type 0"):
        _read(_written({"one": {}}))


def test_a_string_is_bounded_and_ends_with_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """C reads on to the zero."""
    data = _written({"name": "abc"})
    data[data.index(b"abc") + 3] = 1
    with pytest.raises(WireError, match=r"root\.name: a string without its final zero"):
        _read(data)
    monkeypatch.setattr(flatbuffer, "MAX_STRING", 2)
    with pytest.raises(WireError, match="a string of 3 bytes; at most 2"):
        _read(data)


def test_tables_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that many point to is read once; a vector is counted before its tables are read."""
    shared = _written({"children": [{"value": 1}] * 40})
    first = shared.index(struct.pack("<I", 40)) + 4
    target = first + struct.unpack_from("<I", shared, first)[0]
    for n in range(40):
        struct.pack_into("<I", shared, first + 4 * n, target - first - 4 * n)
    monkeypatch.setattr(flatbuffer, "MAX_TABLES", 42)  # the root, 40 places, one child
    assert _read(shared)["children"] == [{"value": 1}] * 40
    with pytest.raises(WireError, match=r"root\.children\[1\]: more than 42 tables"):
        _read(_written({"children": [{"value": 1}] * 40}))
    with pytest.raises(WireError, match=r"root\.children: more than 42 tables"):
        _read(_written({"children": [{"value": 1}] * 42}))


def test_tables_within_tables_are_bounded() -> None:
    """A table that leads to itself would be read without end."""
    deep: dict[str, object] = {"value": 1}
    for _ in range(flatbuffer.MAX_TABLE_DEPTH):
        deep = {"deeper": deep}
    with pytest.raises(WireError, match="more than 16 deep"):
        _read(_written({"only": deep}))
    data = _written({"only": {"deeper": {}}})
    table = _slot(data, 3) + struct.unpack_from("<I", data, _slot(data, 3))[0]
    vtable = table - struct.unpack_from("<i", data, table)[0]
    place = table + struct.unpack_from("<H", data, vtable + 6)[0]
    struct.pack_into("<I", data, place, 2**32 - (place - table))
    with pytest.raises(WireError, match=r"root\.only\.deeper: bytes"):
        _read(data)
