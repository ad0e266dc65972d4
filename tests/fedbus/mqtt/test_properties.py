"""Properties, against paho's own reading and writing of them."""

import contextlib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fedbus.mqtt.bus import Packet
from fedbus.mqtt.properties import pack, unpack, variable_length

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=200)
packets = st.builds(
    Packet,
    topic=st.just("t"),
    payload=st.just(b""),
    content_type=st.none() | texts,
    response_topic=st.none() | texts,
    correlation=st.none() | st.binary(max_size=200),
    expiry=st.none() | st.integers(0, 2**32 - 1),
)
FIELDS = {
    "ContentType": "content_type",
    "ResponseTopic": "response_topic",
    "CorrelationData": "correlation",
    "MessageExpiryInterval": "expiry",
}


def expected(packet: Packet) -> dict[str, Any]:
    """Return the properties that a packet has."""
    values = {field: getattr(packet, field) for field in FIELDS.values()}
    return {field: value for field, value in values.items() if value is not None}


def named(packet: Packet) -> dict[str, Any]:
    """Name a packet's properties as MQTT does."""
    values = {name: getattr(packet, field) for name, field in FIELDS.items()}
    return {name: value for name, value in values.items() if value is not None}


def packed_by_paho(values: dict[str, Any]) -> bytes:
    """Pack properties with paho."""
    paho: Any = Properties
    theirs = paho(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(theirs, name, value)
    packed: bytes = theirs.pack()
    return packed


@given(packets)
def test_packed_properties_are_read_by_paho(packet: Packet) -> None:
    """What we write, the library we write it through would have written."""
    assert sorted(pack(packet)) == sorted(packed_by_paho(named(packet)))


@given(packets, st.binary(max_size=10))
def test_properties_come_back_with_where_they_end(packet: Packet, payload: bytes) -> None:
    """Packed and unpacked they are the same, and the payload begins behind them."""
    packed = pack(packet)
    assert unpack(packed + payload) == (expected(packet), len(packed))


@given(packets, texts)
def test_properties_that_we_do_not_use_are_skipped(packet: Packet, text: str) -> None:
    """User properties, aliases, subscription numbers and formats are ignored."""
    others = {
        "UserProperty": [("a", "b"), ("", text)],
        "SubscriptionIdentifier": 300,
        "TopicAlias": 1,
        "PayloadFormatIndicator": 1,
    }
    packed = packed_by_paho(others | named(packet))
    assert unpack(packed) == (expected(packet), len(packed))


@given(st.binary(max_size=60))
def test_noise_is_read_or_refused_but_never_reads_beyond_its_end(noise: bytes) -> None:
    """Only a length that cannot be is an error."""
    with contextlib.suppress(ValueError):
        assert unpack(noise)[1] <= len(noise)


@pytest.mark.parametrize("buffer", [b"", b"\x02\x01", b"\xff\xff\xff\xff\x01"])
def test_properties_longer_than_the_packet_are_refused(buffer: bytes) -> None:
    """Then nothing behind them can be believed."""
    with pytest.raises(ValueError, match=r"length|announced"):
        unpack(buffer)


@pytest.mark.parametrize(("number", "size"), [(0, 1), (127, 1), (128, 2), (16_384, 3), (2**21, 4)])
def test_length_takes_seven_bits_a_byte(number: int, size: int) -> None:
    """The boundaries of MQTT 5, table 1-1."""
    assert len(variable_length(number)) == size


def test_property_longer_than_mqtt_allows_is_refused() -> None:
    """Sixteen bits say a string's length."""
    with pytest.raises(ValueError, match="at most 65535"):
        pack(Packet("t", b"", content_type="x" * 65_536))


def test_pure_files_of_the_bus_load_no_client_library() -> None:
    """Settings read addresses without loading MQTT."""
    modules = "fedbus.mqtt.bus, fedbus.mqtt.packet_stream, fedbus.mqtt.mosquitto_config"
    script = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert not {"aiomqtt", "paho"} & set(loaded.stdout.split())
