"""Names of classes and inputs cross the bus in few bytes and compare exactly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.wire.announced_names import (
    MAX_CHARACTERS,
    MAX_NAMES,
    abbreviate_names,
    classes_in,
    columns_in,
    decode_names,
    encode_names,
    names_of,
)

NAMES = st.lists(st.text(max_size=200), min_size=1, max_size=200, unique=True)


@given(NAMES)
def test_names_are_what_was_announced(names: list[str]) -> None:
    """Whether they were sent as they are, or shortened."""
    for plain in (encode_names(names), abbreviate_names(names)):
        read = decode_names(plain)
        assert read is not None
        assert (read.digest, read.count) == (names_of(names).digest, len(names))


@given(NAMES, NAMES)
def test_other_names_have_another_digest(one: list[str], other: list[str]) -> None:
    """And the same names in another order are others."""
    assert (names_of(one).digest == names_of(other).digest) == (one == other)
    assert names_of(one).digest != names_of([*one, "\n"]).digest


def test_long_lists_are_shortened() -> None:
    """A fleet's states stay small; a person sees the first names and how many there are."""
    many = [f"class-{number}" for number in range(MAX_NAMES + 1)]
    long = ["x" * MAX_CHARACTERS, "y"]
    assert isinstance(encode_names(many[:-1]), list)
    for names in (many, long):
        plain = encode_names(names)
        assert isinstance(plain, dict)
        assert (plain["count"], len(str(plain))) < (len(names) + 1, 1024)
    assert str(decode_names(encode_names(many))).endswith("class-6, class-7 and 57 more")
    assert str(names_of(many[:13])).endswith("class-11 and 1 more")
    assert str(names_of(many[:12])).endswith("class-11")
    assert abbreviate_names([]) == {}


@pytest.mark.parametrize(
    "form",
    [{}, {"y": 3}, {"y": {"data_types": {"categorical": 3}}}, {"y": {"data_types": {"a": {}}}},
     {"y": {"data_types": {"a": {"classes": [1]}}}}, {"y": {"data_types": {"a": {"classes": []}}}},
     {"y": {"data_types": {"a": {"classes": {"count": 1}}}}}],
)  # fmt: skip
def test_what_cannot_be_read_names_nothing(form: dict[str, Any]) -> None:
    """Whatever a foreign agent announces."""
    assert classes_in(form) is None
    assert columns_in(form) is None
