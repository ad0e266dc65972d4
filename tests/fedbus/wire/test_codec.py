"""Whatever a peer may send is read as it was meant, or refused in a sentence."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.wire import codec
from fedbus.wire.messages import ChunkRequest, Confirm, Evaluated, Offer
from tests.fedbus.wire.kinds import KINDS, example, instances

GOLDEN = Path(__file__).parent / "golden.json"
DIGEST = "0123456789abcdef" * 4

any_kind = st.sampled_from(list(KINDS.values()))
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4)
    ),
    max_leaves=12,
)


def refusal(
    kind: type[Any], payload: bytes, read: Callable[[type[Any], bytes], object] = codec.unpack
) -> str | None:
    """Read a payload; say why it is refused, if it is."""
    try:
        read(kind, payload)
    except WireError as error:
        return str(error)
    return None


def golden() -> dict[str, Any]:
    """Read what every kind of message looks like on the wire."""
    read: dict[str, Any] = json.loads(GOLDEN.read_text())
    return read


@settings(max_examples=300)
@given(message=any_kind.flatmap(instances))
def test_what_is_written_is_read_back(message: object) -> None:
    """In msgpack between nodes and in JSON for people; nothing is rounded, cut or turned around."""
    kind = type(message)
    assert codec.unpack(kind, codec.pack(message)) == message
    assert codec.from_json(kind, codec.to_json(message)) == message
    assert codec.from_json(kind, json.dumps(codec.to_plain(message)).encode()) == message


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_message_looks_as_it_always_did(kind: type[Any]) -> None:
    """Fields are never renamed, and never change their type: an older peer reads the same bytes.

    After adding a message or a field: `python -m tests.fedbus.wire.test_codec`, then look at what
    has changed.
    """
    known = golden()[kind.__name__]
    message = example(kind)
    assert codec.pack(message).hex() == known["msgpack"]
    assert codec.to_plain(message) == known["json"]
    assert codec.unpack(kind, bytes.fromhex(known["msgpack"])) == message
    assert codec.from_json(kind, json.dumps(known["json"]).encode()) == message


def test_every_message_has_golden_bytes_and_none_is_left_over() -> None:
    """A message that was taken away is taken away on purpose."""
    assert golden().keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_newer_peer_may_add_a_field(kind: type[Any]) -> None:
    """What we do not know, we do not look at."""
    plain = msgpack.unpackb(codec.pack(example(kind))) | {"added_later": {"x": [1]}}
    assert codec.unpack(kind, msgpack.packb(plain)) == example(kind)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_missing_field_is_named(kind: type[Any]) -> None:
    """The sentence says which message and which field."""
    plain = msgpack.unpackb(codec.pack(example(kind)))
    for field in fields(kind):
        rest = {name: value for name, value in plain.items() if name != field.name}
        assert refusal(kind, msgpack.packb(rest)) in (
            f"{kind.__name__}.{field.name}: Field required",
            None,  # a field with a default
        )


@settings(max_examples=300)
@given(kind=any_kind.filter(fields), data=st.data())
def test_a_field_of_another_type_is_refused(kind: type[Any], data: st.DataObject) -> None:
    """No text is taken for a number, no number for a truth, nothing for nothing."""
    plain = msgpack.unpackb(codec.pack(example(kind)))
    name = data.draw(st.sampled_from(sorted(plain)))
    wrong = data.draw(plain_values)
    payload = msgpack.packb(plain | {name: wrong})
    refused = refusal(kind, payload)
    if refused is None:
        again = msgpack.unpackb(codec.pack(codec.unpack(kind, payload)))[name]
        if isinstance(again, float) and isinstance(wrong, int):
            wrong = float(wrong)  # a whole number for a float, rounded above 2^53
        assert again == wrong or isinstance(wrong, (list, dict))
        assert type(again) is type(wrong) or isinstance(again, float)
    else:
        assert refused.startswith(f"{kind.__name__}.{name}")


@given(kind=any_kind, payload=st.binary(max_size=200))
def test_noise_is_refused_and_never_raises_anything_else(kind: type[Any], payload: bytes) -> None:
    """One bad packet must not end a service."""
    for read in (codec.unpack, codec.from_json):
        assert len(refusal(kind, payload, read) or "") < 1000


@given(kind=any_kind, plain=plain_values)
def test_any_msgpack_is_read_or_refused(kind: type[Any], plain: object) -> None:
    """Well-formed nonsense is no better than noise."""
    assert (refusal(kind, msgpack.packb(plain)) or kind.__name__).startswith(kind.__name__)


@settings(max_examples=300)
@given(kind=any_kind, at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_damaged_message_is_read_or_refused(kind: type[Any], at: float, bit: int) -> None:
    """A small message has no checksum, so its fields must be checked."""
    payload = bytearray(codec.pack(example(kind)))
    payload[int(at * len(payload))] ^= 1 << bit
    for damaged in (bytes(payload), bytes(payload[: int(at * len(payload))])):
        # A number may differ unseen.
        assert (refusal(kind, damaged) or kind.__name__).startswith(kind.__name__)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="a code that msgpack never uses"),
        pytest.param(b"\x91" * 100_000, id="100,000 lists in each other"),
        pytest.param(b"\x81\xa1x" * 100_000, id="100,000 maps in each other"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="a list said to hold 4 Gi things"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map said to hold 4 Gi things"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes said to be 4 GiB"),
        pytest.param(b"\xdb\xff\xff\xff\xff", id="text said to be 4 GiB"),
        pytest.param(b"\xdd\x00\x0f\xff\x00" + b"\x80" * 0xFFF00, id="a million empty maps"),
        pytest.param(b"\x81\x90\x01", id="a list for a key"),
        pytest.param(b"\x81\x80\x01", id="a map for a key"),
        pytest.param(b"\x81\xa6digest\xa1\xff", id="text that is not UTF-8"),
        pytest.param(b"\x81\xa6digest\xd7\xff" + b"\xff" * 8, id="a time that is none"),
        pytest.param(b"\xc7\x03\xff\x00\x00\x00", id="a time of an impossible length"),
        pytest.param(b"\x80\x80", id="two messages"),
        pytest.param(b"\x90", id="a list"),
        pytest.param(b"\xc0", id="nil"),
    ],
)
def test_a_bomb_is_refused(payload: bytes) -> None:
    """Lengths are bounded by what was received, depth by msgpack; then the fields decide."""
    with pytest.raises(WireError, match=r"^Confirm[.:]"):
        codec.unpack(Confirm, payload)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" * 100_000, id="100,000 lists in each other"),
        pytest.param(b'{"digest":' * 100_000, id="100,000 maps in each other"),
        pytest.param(b'{"upto":' + b"1" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b'{"upto":1e400}', id="a number too large"),
        pytest.param(b'{"upto":NaN}', id="no number"),
        pytest.param(b'{"digest":"\\ud800"}', id="half a character"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"null", id="null"),
    ],
)
def test_a_bomb_in_json_is_refused(payload: bytes) -> None:
    """The same, where people write."""
    with pytest.raises(WireError, match=r"^Confirm[.:]"):
        codec.from_json(Confirm, payload)


def test_nothing_larger_than_a_broker_passes_is_parsed() -> None:
    """It is measured first."""
    for read in (codec.unpack, codec.from_json):
        with pytest.raises(WireError, match="Confirm: expected at most 1048576 bytes, got 1048577"):
            read(Confirm, b" " * (MAX_MESSAGE_BYTES + 1))


def test_a_number_that_is_none_is_refused() -> None:
    """One NaN would make every mean NaN."""
    for number in (float("nan"), float("inf"), "0.5", True, None):
        plain = {"job": "j", "version": 1, "examples": 1, "metrics": {"accuracy": number}}
        with pytest.raises(WireError, match=r"Evaluated\.metrics\.accuracy"):
            codec.unpack(Evaluated, msgpack.packb(plain))


def test_a_whole_number_will_do_where_any_number_does() -> None:
    """JSON and msgpack writers say 1 for 1.0."""
    plain = {"job": "j", "version": 1, "examples": 1, "metrics": {"accuracy": 1}}
    assert codec.unpack(Evaluated, msgpack.packb(plain)).metrics == {"accuracy": 1.0}


def test_names_end_where_they_seem_to_end() -> None:
    """A newline at the end of an address or digest would make two of one."""
    for digest in (DIGEST + "\n", DIGEST.upper(), DIGEST[:-1], DIGEST + "0"):
        with pytest.raises(WireError, match=r"Confirm\.digest"):
            codec.unpack(Confirm, msgpack.packb({"digest": digest, "upto": 1}))


def test_a_sentence_counts_all_faults_and_shows_the_first() -> None:
    """A log line stays a line, whatever a stranger called his fields."""
    with pytest.raises(WireError, match=r"^ChunkRequest\.digest: Field required \(and 2 more\)$"):
        codec.unpack(ChunkRequest, msgpack.packb({}))
    with pytest.raises(
        WireError, match=r"^ModelSpec: not JSON: expected value at line 1 column 1$"
    ):
        codec.from_json(KINDS["ModelSpec"], b"xx")
    spec = codec.to_plain(example(KINDS["ModelSpec"])) | {"model": "mi/ne"}
    with pytest.raises(WireError, match=r"^ModelSpec\.model: not 1 to 64 letters, digits, '\.', "):
        codec.from_json(KINDS["ModelSpec"], json.dumps(spec).encode())
    metrics = {"x" * 10_000: 1.0}
    offer = msgpack.unpackb(codec.pack(example(Offer))) | {"metrics": metrics}
    with pytest.raises(WireError) as raised:
        codec.unpack(Offer, msgpack.packb(offer))
    assert len(str(raised.value)) < 300


def write_golden() -> None:
    """Write golden.json again."""
    examples = {name: example(kind) for name, kind in sorted(KINDS.items())}
    known = {
        name: {"json": codec.to_plain(message), "msgpack": codec.pack(message).hex()}
        for name, message in examples.items()
    }
    GOLDEN.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
