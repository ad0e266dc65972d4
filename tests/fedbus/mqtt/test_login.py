"""Every way in which a broker can be the wrong one has a sentence of its own."""

import asyncio
from dataclasses import replace

import pytest

from fedbus.errors import BusError
from fedbus.mqtt import broker_connection, login
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Packet
from tests.fedbus.mqtt.fakes import CONNACK, Handler, listening


def answering(answer: bytes) -> Handler:
    """Answer the login with these bytes, then wait until the other end is gone."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return handle


def connack(code: int, properties: bytes = b"") -> bytes:
    """Write an answer of MQTT 5."""
    return bytes((0x20, 3 + len(properties), 0, code, len(properties))) + properties


async def refusal(handler: Handler) -> str:
    """Log in there, and return what is said of it."""
    async with listening(handler) as address, asyncio.timeout(5):
        known = replace(address, username="agent.a", password="x")
        with pytest.raises(BusError) as refused:
            async with mqtt.connect(known, name="agent.a", listen=["t"]):
                pass
    return str(refused.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x20\x02\x00\x01", ["does not support MQTT 5", "Mosquitto since 1.6"]),
        (b"\x20\x02\x00\x00", ["answers as MQTT 3.1.1 does", "Mosquitto since 1.6"]),
        (b"\x20\x02\x00\x04", ["bad user name or password"]),
        (b"\x20\x02\x00\x05", ["not authorized", "check user name and password"]),
        (b"\x20\x02\x00\x03", ["not available just now"]),
        (b"\x20\x02\x00\x09", ["code 9 of an older MQTT"]),
        (connack(0x84), ["Unsupported protocol version", "Mosquitto since 1.6"]),
        (connack(0x86), ["login of agent.a refused", "check user name and password"]),
        (connack(0x87), ["Not authorized", "check user name and password"]),
        (connack(0x85), ["this client id, which is the node's name"]),
        (connack(0x88), ["starting, stopping"]),
        (connack(0x89), ["too much to do"]),
        (connack(0x8A), ["banned"]),
        (connack(0x97), ["as many connections or messages"]),
        (connack(0x9A), ["allow them at the broker"]),
        (connack(0x9F), ["too many logins at once"]),
        (connack(0x80), ["Unspecified error", "see the broker's log"]),
        (b"\x15\x03\x03\x00\x02\x02\x46", ["wants TLS", "mqtts://"]),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ["a web server", "websockets", "1883"]),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ["no MQTT broker", "SSH-2.0"]),
        (b"220 mail.example ESMTP\r\n", ["no MQTT broker", "220 mail"]),
        (connack(0, b"\x25\x00"), ["keeps no retained messages"]),
        (connack(0, b"\x28\x00"), ["takes no wildcards"]),
        (connack(0, b"\x27\x00\x00\x10\x00"), ["at most 4096 bytes", "max_packet_size"]),
    ],
)
async def test_an_answer_to_the_login_is_explained(answer: bytes, words: list[str]) -> None:
    """At once, with what to do about it."""
    said = await refusal(answering(answer))
    assert all(word in said for word in words), said


async def test_a_broker_that_closes_may_want_tls_or_be_too_old() -> None:
    """Nothing tells the two apart."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    said = await refusal(close)
    assert "does the broker want TLS" in said
    assert "does it support MQTT 5" in said


async def test_a_silent_broker_may_be_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for something else."""
    monkeypatch.setattr(broker_connection, "ANSWER_SECONDS", 0.3)
    said = await refusal(answering(b""))
    assert "no answer to the login in 0.3 s" in said
    assert "support MQTT 5" in said


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "write mqtt://"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid", "authority"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "ca_file"),
        ("certificate verify failed: certificate has expired", "renew"),
        ("[Errno 110] Connection timed out", "firewall"),
        ("[Errno -2] Name or service not known", "spelled right"),
        ("[Errno 111] Connection refused", "is the broker running there?"),
    ],
)
def test_no_connection_is_explained(said: str, hint: str) -> None:
    """By the word that the system, or OpenSSL, has for it."""
    if "Hostname" in said:
        said = f"[SSL: CERTIFICATE_VERIFY_FAILED] {said}"
    assert hint in login.unreachable(said, tls=False)


def test_the_words_for_a_wrong_name_and_a_wrong_date_come_before_the_general_one() -> None:
    """All three are failures of the same verification."""
    general = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: hostname mismatch"
    assert "is for another name" in login.unreachable(general, tls=True)


def test_a_reset_connection_means_something_else_with_tls() -> None:
    """A plain port takes the handshake for garbage, and Mosquitto resets."""
    said = "[Errno 104] Connection reset by peer"
    assert "does this port use TLS" in login.unreachable(said, tls=True)
    assert "is the broker running there" in login.unreachable(said, tls=False)


def test_every_end_is_said_by_its_reason() -> None:
    """Older brokers give none."""
    assert "another process has logged in" in login.ended(login.TAKEN_OVER, "Session taken over")
    assert login.ended(0x80, "so") == "the broker ended the connection: so"


def subscribing(codes: dict[bytes, int], answer: bytes = CONNACK) -> Handler:
    """Answer logins, and each subscription by a code for what it names."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        while packet := await reader.read(4096):
            if packet[0] == 0x82:
                code = next((code for word, code in codes.items() if word in packet), 0)
                writer.write(b"\x90\x04" + packet[2:4] + b"\0" + bytes((code,)))

    return handle


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (CONNACK, {b"$share": 0x9E}),
        (CONNACK, {b"$share": 0x87}),
        (CONNACK, {b"$share": 0x80}),
        (connack(0, b"\x2a\x00"), {b"$share": 0x9E}),
    ],
    ids=["none", "denied", "failed", "announced"],
)
async def test_without_shares_all_of_a_topic_is_followed(
    answer: bytes, codes: dict[bytes, int]
) -> None:
    """And said: one service of the kind should run."""
    async with (
        listening(subscribing(codes, answer)) as address,
        asyncio.timeout(5),
        mqtt.connect(address, name="i", listen=["$share/g/a/+"]) as bus,
    ):
        assert bus.lacks == (login.NO_SHARED,)


@pytest.mark.parametrize(
    ("answer", "granted"),
    [(connack(0, b"\x24\x00"), 0), (connack(0, b"\x11\0\0\0\0"), 1), (CONNACK, 0)],
    ids=["no QoS 1 announced", "no sessions", "QoS 0 granted"],
)
async def test_a_broker_that_keeps_nothing_is_said(answer: bytes, granted: int) -> None:
    """Jobs are lost while no controller is there: the retained form is the way."""
    async with (
        listening(subscribing({b"submit": granted}, answer)) as address,
        asyncio.timeout(5),
        mqtt.connect(address, name="c", keep=["submit"]) as bus,
    ):
        assert bus.lacks == (login.NOT_KEPT,)


async def test_without_qos_1_a_delivery_is_a_publication() -> None:
    """It is not confirmed, so there is nothing to wait for."""
    async with (
        listening(subscribing({}, connack(0, b"\x24\x00"))) as address,
        asyncio.timeout(5),
        mqtt.connect(address, name="u") as bus,
    ):
        assert await bus.deliver(Packet("t", b"x"))


async def test_a_broker_that_allows_little_is_worked_with() -> None:
    """No aliases, one packet at a time, another keep-alive: none of it is needed."""
    little = b"\x21\x00\x01\x22\x00\x00\x13\x00\x05\x27\x00\x10\x00\x00"
    async with (
        listening(subscribing({}, connack(0, little))) as address,
        asyncio.timeout(5),
        mqtt.connect(address, name="a", listen=["t"]) as bus,
    ):
        await bus.publish(Packet("t", b"x"))
        assert bus.lacks == ()
