"""Broker addresses: read, written, and shown without their password."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import SettingsError
from fedbus.mqtt.bus import BrokerAddress

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


def test_address_is_read() -> None:
    """User and password are percent-decoded."""
    assert BrokerAddress.parse("mqtt://agent.pi-7:p%40ss%2F@broker.example:1884") == BrokerAddress(
        "broker.example", 1884, "agent.pi-7", "p@ss/"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://localhost", BrokerAddress("localhost", 1883)),
        ("mqtts://localhost/", BrokerAddress("localhost", 8883, tls=True)),
        ("mqtt://[::1]:1", BrokerAddress("::1", 1)),
        ("mqtt://me@h", BrokerAddress("h", username="me")),
        ("mqtts://h?ca_file=/a%20b", BrokerAddress("h", 8883, tls=True, ca_file=Path("/a b"))),
    ],
)
def test_what_is_not_said_has_defaults(text: str, expected: BrokerAddress) -> None:
    """Port, user, password and authority may be left out."""
    assert BrokerAddress.parse(text) == expected


@given(user=words, password=words, tls=st.booleans())
def test_url_is_read_back(user: str, password: str, *, tls: bool) -> None:
    """Whatever stands in them, `url` carries user and password."""
    ca_file = Path("/etc/ca file") if tls else None
    address = BrokerAddress("::1", 8883, user, password, tls=tls, ca_file=ca_file)
    assert BrokerAddress.parse(address.url) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost:1883", "it starts with 'localhost', not mqtt://"),
        ("http://h", "it starts with 'http'"),
        ("mqtt://", "it names no host"),
        ("mqtt://u:hidden@h:port", "not percent-encoded"),
        ("mqtt://u:hidden@h:99999", "range"),
        ("mqtt://u:hidden@h:0", "expected a port from 1 to 65535, got 0"),
        ("mqtt://u:hidden@a..b", "'a..b' cannot be the name of a host"),
        ("mqtt://u:hidden@" + "a" * 64, "cannot be the name of a host"),
        ("mqtt://u:hidden@\ud800", "cannot be the name of a host"),
        ("mqtt://u:hidden@h/path", "nothing may follow the port"),
        ("mqtt://h?ca_file=x", "only with mqtts://"),
        ("mqtts://h?what=x", "only ca_file=path is known"),
        ("mqtts://h?what", "bad query field"),
    ],
)
def test_bad_address_is_explained_without_its_password(text: str, why: str) -> None:
    """The error says what is wrong and what is right."""
    with pytest.raises(SettingsError) as caught:
        BrokerAddress.parse(text)
    said = str(caught.value)
    assert why in said
    assert "mqtt://user:password@host:port" in said
    assert "hidden" not in said


def test_password_is_hidden_where_an_address_is_shown() -> None:
    """Logs and tracebacks show everything else."""
    address = BrokerAddress("h", 1883, "me").with_password("hidden")
    assert str(address) == "mqtt://me:***@h:1883"
    assert repr(address) == "BrokerAddress('mqtt://me:***@h:1883')"
    assert address.url == "mqtt://me:hidden@h:1883"
