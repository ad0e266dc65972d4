"""The header of an encrypted blob is read as it was written, and a wrong one is refused by name."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.encryption.ciphertext_frames import (
    ciphertext_bounds,
    ciphertexts_in,
    framed,
)
from fedbus.encryption.encrypted_blob import (
    MAX_ENCRYPTED_HEADER_BYTES,
    EncryptedHeader,
    encrypted_bounds,
    encrypted_header_bytes,
    planned_header,
    read_encrypted_header,
)
from fedbus.encryption.parameters import (
    BFV_SIZES,
    EncryptionParameters,
    choose_parameters,
)
from fedbus.errors import EncryptionError, LayoutError
from fedbus.limits import MAX_TENSORS
from fedbus.model.blob import encode
from fedbus.model.encodings import SizeBounds
from fedbus.model.layout import Layout, Tensor
from tests.fedbus.encryption.encryption_examples import (
    ANCHOR,
    BFV,
    CKKS,
    LAYOUT,
    encrypted,
    header_of,
    key_of,
    terms_of,
)

HEADER = EncryptedHeader(
    layout="1" * 64,
    scheme="bfv",
    key="2" * 64,
    parameters="3" * 64,
    anchor=ANCHOR,
    ranges=(-126, 0, 127),
    bits=11,
    agents=100,
    fields=2,
    max_examples=10,
    count=3,
    weight=20,
    ciphertexts=7,
)


@given(
    ranges=st.lists(st.integers(-126, 127), min_size=1, max_size=MAX_TENSORS).map(tuple),
    count=st.integers(1, 100),
)
def test_a_header_is_read_back(ranges: tuple[int, ...], count: int) -> None:
    """Also of the most tensors, whose ranges do not fit the header of other blobs."""
    header = replace(HEADER, ranges=ranges, count=count, weight=count * 10)
    made = encrypted_header_bytes(header)
    assert len(made) % 64 == 0
    assert len(made) <= MAX_ENCRYPTED_HEADER_BYTES
    assert read_encrypted_header(made + b"more") == (header, len(made))


@given(st.binary(max_size=300), st.integers(0, 400), st.booleans())
def test_any_bytes_are_a_header_or_refused(found: bytes, at: int, inside: bool) -> None:
    """No other exception leaves the parser, whatever an agent sends."""
    made = bytearray(encrypted_header_bytes(HEADER))
    made[at : at + len(found)] = found
    with suppress(EncryptionError):
        read_encrypted_header(bytes(made) if inside else found, 10**6, LAYOUT)


def _with(**fields: object) -> bytes:
    made = encrypted_header_bytes(HEADER)
    content = msgpack.unpackb(made[8 : 8 + int.from_bytes(made[4:8], "little")])
    for name, value in fields.items():
        if name in {"encoding", "layout", "encryption"}:
            content[name] = value
        else:
            content["encryption"][name] = value
    packed: bytes = msgpack.packb(content)
    head = made[:4] + len(packed).to_bytes(4, "little") + packed
    return head + bytes(-len(head) % 64)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"encoding": "delta"}, "a delta blob where an encrypted one is expected"),
        ({"layout": 7}, "does not say how it is encrypted"),
        ({"layout": "1" * 63}, "layout in the header of an encrypted blob is no digest"),
        ({"encryption": None}, "does not say how it is encrypted"),
        ({"key": "2" * 63 + "G"}, "key in the header of an encrypted blob is no digest"),
        ({"parameters": None}, "parameters in the header of an encrypted blob is no digest"),
        ({"anchor": b"a" * 64}, "anchor in the header of an encrypted blob is no digest"),
        ({"scheme": "rsa"}, "scheme 'rsa' in the header"),
        ({"scheme": ["bfv"]}, "scheme .* in the header"),
        ({"ranges": [1, 2]}, "no ranges in the header"),
        ({"ranges": b""}, "no ranges in the header"),
        ({"ranges": bytes(MAX_TENSORS + 1)}, "no ranges in the header"),
        ({"ranges": b"\x80"}, r"a range of 2\^-128 in the header"),
        ({"bits": 25}, "bits in the header of an encrypted blob is 25, not 1 to 24"),
        ({"bits": True}, "bits in the header of an encrypted blob is True"),
        ({"fields": 0}, "fields in the header of an encrypted blob is 0, not 1 to 16"),
        ({"agents": 10_001}, "agents in the header"),
        ({"max_examples": 1.0}, "max_examples in the header of an encrypted blob is 1.0"),
        ({"count": 101}, "an encrypted blob of 101 agents, of which 100 may be"),
        ({"count": 0}, "count in the header"),
        (
            {"weight": 2},
            "weight 2 in the header of an encrypted blob, for 3 agents of 1 to 10 exam",
        ),
        ({"weight": 31}, "weight 31 in the header"),
        ({"ciphertexts": -1}, "ciphertexts in the header"),
    ],
)
def test_a_header_that_lies_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    """Before a ciphertext is read, in the collector's own process."""
    with pytest.raises(EncryptionError, match=said):
        read_encrypted_header(_with(**fields))


def test_bytes_that_are_no_encrypted_blob_are_refused() -> None:
    """A plain blob, a damaged or a cut one."""
    made = encrypted_header_bytes(HEADER)
    weights = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in LAYOUT.tensors}
    for raw, said in (
        (b"", "not an encrypted blob: it begins with b''"),
        (b"PK\x03\x04" + made[4:], "it begins with b'PK"),
        (made[:7], "not an encrypted blob"),
        (made[:100], "whose header ends after byte 100"),
        (made[:4] + b"\xff\xff\xff\xff" + made[8:], "whose header ends after byte"),
        (made[:8] + b"\xc1" + made[9:], "whose header is not msgpack"),
        (made[:-1] + b"\x01", "with bytes between its header and its ciphertexts"),
        (encode(weights, LAYOUT), "a plain blob where an encrypted one is expected"),
    ):
        with pytest.raises(EncryptionError, match=said):
            read_encrypted_header(raw)
    with pytest.raises(EncryptionError, match="of 300 bytes, too few for 7 ciphertexts"):
        read_encrypted_header(made, 300)
    with pytest.raises(EncryptionError, match=r"of layout 1{12}, where the model's is"):
        read_encrypted_header(made, layout=LAYOUT)
    with pytest.raises(EncryptionError, match="2 ranges for 3 shared tensors"):
        read_encrypted_header(
            encrypted_header_bytes(replace(HEADER, layout=LAYOUT.digest, ranges=(1, 2))),
            layout=LAYOUT,
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "9" * 64}, "the key of the encrypted blob is 9999.*, and 2222.* is expected"),
        ({"anchor": "9" * 64}, "the anchor of the encrypted blob is 9999"),
        ({"ranges": (0,)}, r"ranges of the encrypted blob is \(0,\), and \(-126, 0, 127\) is"),
        ({"fields": 1}, "fields of the encrypted blob is 1, and 2 is expected"),
    ],
)
def test_another_header_than_the_plan_s_is_refused(change: dict[str, Any], said: str) -> None:
    """All but the number of agents and their examples is the same in a round."""
    HEADER.with_sum(1, 4).check_like(HEADER)
    with pytest.raises(EncryptionError, match=said):
        replace(HEADER, **change).check_like(HEADER)


def test_a_planned_header_needs_a_range_for_each_shared_tensor() -> None:
    """Local tensors have none, and whole numbers cannot be encrypted."""
    key = key_of()
    with pytest.raises(EncryptionError, match="2 ranges for 3 shared tensors"):
        header_of(key, ranges=(0, 0))
    whole = Layout((*LAYOUT.tensors, Tensor("steps", (1,), "int64")))
    with pytest.raises(LayoutError, match=r"only floating-point tensors .*'steps'"):
        header_of(key, whole)
    local = Layout((*LAYOUT.tensors, Tensor("steps", (1,), "int64", "local")))
    assert header_of(key, local).ciphertexts == 1
    many = Layout((Tensor("all", (2 * 4095 + 1,), "float16"),))
    assert header_of(key, many).ciphertexts == 2
    planned = planned_header(
        terms_of(key, max_examples=3), LAYOUT, anchor=ANCHOR, ranges=(1, 2, 3), max_examples=2
    )
    assert (planned.ranges, planned.max_examples, planned.count) == ((1, 2, 3), 2, 0)


SEEDS = choose_parameters(
    scheme="ckks", poly_modulus_degree=8192, coeff_mod_bit_sizes=(60, 40, 40), scale_bits=40
)
SMALL_DEGREE = EncryptionParameters("bfv", 2048, (36, 18), 65537)
PARAMETERS = [
    *(choose_parameters(coeff_mod_bit_sizes=each, bits=11) for each in BFV_SIZES),
    *(CKKS, SEEDS, SMALL_DEGREE),
]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_real_ciphertexts_are_within_their_bounds(parameters: EncryptionParameters) -> None:
    """A collector states the sizes that it accepts before it fetches an update."""
    key = key_of(parameters)
    bounds, header = ciphertext_bounds(parameters), header_of(key, terms=terms_of(key, agents=2))
    blob = encrypted(key, header=header)
    found, offset = read_encrypted_header(blob, len(blob), LAYOUT)
    (ciphertext,) = ciphertexts_in(blob, offset, found.ciphertexts, bounds)
    assert bounds.least < len(ciphertext) < bounds.most
    whole = encrypted_bounds(terms_of(key, agents=2), LAYOUT)
    assert whole.least < len(blob) < whole.most


def test_frames_that_are_wrong_are_refused() -> None:
    """Each length is checked before as many bytes are read."""
    bounds = SizeBounds(2, 4)
    good = framed(b"abc") + framed(b"de")
    assert list(ciphertexts_in(good, 0, 2, bounds)) == [b"abc", b"de"]
    for blob, count, said in (
        (good, 1, "6 bytes follow the 1 ciphertexts"),
        (good, 3, "ciphertext 3 of 3 has 0 bytes; 2 to 4 are possible"),
        (good[:-1], 2, "ciphertext 2 of 2 is cut off"),
        (good[:9], 2, "ciphertext 2 of 2 has 0 bytes"),
        (framed(b"abcde"), 1, "ciphertext 1 of 1 has 5 bytes; 2 to 4"),
        (framed(b"a"), 1, "ciphertext 1 of 1 has 1 bytes"),
    ):
        with pytest.raises(EncryptionError, match=said):
            list(ciphertexts_in(blob, 0, count, bounds))


def test_bounds_are_those_of_the_default_parameters() -> None:
    """31 KB in an update, 62 KB in a sum."""
    bounds = ciphertext_bounds(BFV)
    assert bounds.least < 30_977
    assert 61_722 < bounds.most < 70_000
