"""The content type selects JSON or msgpack; a malformed payload is refused with the reason."""

import math
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus_inference.encoding import Encoding, encoding_of, pack, unpack


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, Encoding.JSON),
        ("", Encoding.JSON),
        ("application/json", Encoding.JSON),
        ("Application/JSON; charset=utf-8", Encoding.JSON),
        ("application/msgpack", Encoding.MSGPACK),
        ("application/x-msgpack", Encoding.MSGPACK),
        ("application/vnd.msgpack", Encoding.MSGPACK),
    ],
)
def test_a_content_type_names_an_encoding(content_type: str | None, encoding: Encoding) -> None:
    """None means JSON, since mosquitto_pub sends none."""
    assert encoding_of(content_type) is encoding


def test_another_content_type_is_refused_with_those_we_read() -> None:
    """The encoding is not guessed from the bytes."""
    with pytest.raises(WireError) as caught:
        encoding_of("text/html")
    assert str(caught.value) == (
        "content type: expected application/json or application/msgpack, or none for JSON; "
        "got 'text/html'"
    )


@pytest.mark.parametrize("encoding", Encoding)
def test_an_answer_can_be_read_again(encoding: Encoding) -> None:
    """Both encodings carry the same facts."""
    answer = {"model": "digits", "version": 3, "outputs": [[0.5, 1e-7]]}
    assert unpack(encoding, pack(encoding, answer)) == answer


def test_json_says_null_where_it_has_no_number() -> None:
    """A client's parser must not stumble over NaN."""
    assert pack(Encoding.JSON, {"outputs": [math.nan, math.inf]}) == b'{"outputs":[null,null]}'


@given(st.sampled_from(Encoding), st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(encoding: Encoding, payload: bytes) -> None:
    """Any bytes end in a value or in a WireError."""
    with suppress(WireError):
        unpack(encoding, payload)


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        pytest.param(Encoding.JSON, b"[" * 100_000, id="json"),
        pytest.param(Encoding.MSGPACK, b"\x91" * 100_000, id="msgpack"),
        pytest.param(Encoding.MSGPACK, msgpack.packb({1: 2}), id="msgpack-keys"),
        pytest.param(Encoding.MSGPACK, b"\xdd\xff\xff\xff\xff", id="msgpack-length"),
    ],
)
def test_bombs_are_refused(encoding: Encoding, payload: bytes) -> None:
    """Depth and stated lengths cost us nothing."""
    with pytest.raises(WireError):
        unpack(encoding, payload)
