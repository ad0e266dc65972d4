"""Selection of bytes by the Range header: RFC 9110's rules, and nothing that is not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.http_api.byte_ranges import (
    BytePart,
    Selection,
    names_etag,
    range_applies,
    select_bytes,
)


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 10, Selection.WHOLE),
        ("bytes=0-0", 10, BytePart(0, 1)),
        ("bytes=2-5", 10, BytePart(2, 6)),
        ("bytes=2-", 10, BytePart(2, 10)),
        ("bytes=2-99", 10, BytePart(2, 10)),
        ("bytes=-3", 10, BytePart(7, 10)),
        ("bytes=-99", 10, BytePart(0, 10)),
        ("bytes=9-9", 10, BytePart(9, 10)),
        ("bytes=10-", 10, Selection.BEYOND),
        ("bytes=9999999999999999999-", 10, Selection.BEYOND),
        ("bytes=-0", 10, Selection.BEYOND),
        ("bytes=0-", 0, Selection.BEYOND),
        ("bytes=-1", 0, Selection.BEYOND),
        ("bytes=5-2", 10, Selection.WHOLE),
        ("bytes=-", 10, Selection.WHOLE),
        ("bytes=0-1,4-5", 10, Selection.WHOLE),
        ("items=0-1", 10, Selection.WHOLE),
        ("bytes=٣-", 10, Selection.WHOLE),
        ("bytes=99999999999999999999999-", 10, Selection.WHOLE),
        ("bytes=" + "0" * 300 + "-", 10, Selection.WHOLE),
    ],
)
def test_one_range_is_selected(
    header: str | None, size: int, expected: BytePart | Selection
) -> None:
    """What cannot be read selects the whole; what begins beyond the end, nothing."""
    assert select_bytes(header, size) == expected


@given(st.text(max_size=40), st.integers(0, 50))
def test_no_header_selects_what_is_not_there(header: str, size: int) -> None:
    """Whatever a client sends."""
    for text in (header, f"bytes={header}"):
        found = select_bytes(text, size)
        assert isinstance(found, Selection) or 0 <= found.start < found.end <= size


def test_a_range_counts_for_the_bytes_it_was_made_for() -> None:
    """A weak tag or a date never matches."""
    assert range_applies(None, '"a"')
    assert range_applies('"a"', '"a"')
    assert not range_applies('"b"', '"a"')
    assert not range_applies('W/"a"', '"a"')
    assert not range_applies("Mon, 30 Nov 2026 00:00:00 GMT", '"a"')


def test_tags_are_compared() -> None:
    """Of a list, of any strength where the header allows it, and `*`."""
    for weak in (True, False):
        assert not names_etag(None, '"a"', weak=weak)
        assert names_etag("*", '"a"', weak=weak)
        assert names_etag('"b", "a"', '"a"', weak=weak)
        assert not names_etag('"b"', '"a"', weak=weak)
        assert names_etag('"b", W/"a"', '"a"', weak=weak) is weak


def test_a_part_is_named_in_content_range() -> None:
    """With the last byte, not the one behind it."""
    assert BytePart(2, 6).content_range(10) == "bytes 2-5/10"
