"""The safetensors format: heads that lie."""

import json
import struct

import pytest

from fedbus.errors import LayoutError
from fedbus.model.safetensors import unpack


def file(head: bytes) -> bytes:
    """Write a file of one number behind a head."""
    return struct.pack("<Q", len(head)) + head + bytes(4)


def stated(shape: object, offsets: object = (0, 4)) -> bytes:
    """Write a head for one tensor."""
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        (b"[" * 200_000, "recursion"),
        (b"[1]", "not a safetensors file"),
        (stated([2**40]), "cannot reshape array of size 1"),
        (stated([-1]), r"tensor 'a': shape \[-1\]; no length is below 0"),
        (stated("x"), "not a safetensors file"),
        (stated([1], [4, 0]), "tensor 'a': bytes 4 to 0 of 4"),
        (stated([1], [0, 1e300]), "tensor 'a': bytes 0 to 1e.300 of 4"),
        (stated([1], [0]), "not a safetensors file"),
    ],
)
def test_a_head_that_lies_is_refused(head: bytes, sentence: str) -> None:
    """It is JSON from outside: every claim is held against the bytes that are there."""
    with pytest.raises(LayoutError, match=sentence):
        unpack(file(head))
