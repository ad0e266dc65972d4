"""Interface of every bus: publish, subscribe, and packets in the order they arrived."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from fedbus.errors import SettingsError

EXAMPLE = "mqtt://user:password@host:port"
PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Packet:
    """What crosses the bus: a topic, bytes, and the few MQTT 5 properties we use.

    `payload` arrives as bytes, or on request as a memoryview that is lent until `release`; a
    bytearray or memoryview may be published too. `expiry` is in seconds. A packet with a `receipt`
    is kept by the broker until `Bus.acknowledge` names it; `redelivered`: the broker has sent it
    before, over an earlier connection.
    """

    topic: str
    payload: bytes
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry: int | None = None
    receipt: int | None = None
    redelivered: bool = False

    def release(self) -> None:
        """Return a lent payload to its connection, which receives into that memory again.

        The payload cannot be read any more; a view that was taken of it keeps its bytes, and the
        memory, until it is gone.
        """
        if isinstance(self.payload, memoryview):
            with suppress(BufferError):  # an array lies over it
                self.payload.release()


class Bus(Protocol):
    """One connection. Once it breaks, every call raises BusError, and a new one is needed."""

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this broker cannot do and fedbus does without: a sentence for each."""
        ...

    async def publish(self, *packets: Packet) -> None:
        """Hand packets over to the network, in order; wait while the network takes no more.

        It is not confirmed: a broker may lose, refuse or drop it without a word.

        Raises:
            BusError: the connection is lost, or the packet can never be sent.
        """
        ...

    def publish_now(self, *packets: Packet) -> bool:
        """Hand packets over as `publish` does, unless that had to wait; return whether it did.

        Raises:
            BusError: the connection is lost, or a packet can never be sent.
        """
        ...

    async def deliver(self, packet: Packet) -> bool:
        """Publish with QoS 1: return once the broker has taken the packet over.

        False: no client subscribes to its topic, so the broker has dropped it.

        Raises:
            BusError: refused, unanswered, or the connection is lost.
        """
        ...

    async def acknowledge(self, receipt: int) -> None:
        """Acknowledge a packet that the broker keeps for us: it has been processed.

        Raises:
            BusError: the connection is lost; the broker delivers the packet again.
        """
        ...

    async def subscribe(self, topic: str) -> None:
        """Receive what is published here from now on, and what is retained.

        A broker also grants what its access rules then never deliver: this is no authorisation.

        Raises:
            BusError: refused, unanswered, or the connection is lost.
        """
        ...

    async def unsubscribe(self, topic: str) -> None:
        """Receive no more of it; what is on its way still arrives.

        Raises:
            BusError: unanswered, or the connection is lost.
        """
        ...

    async def receive(self) -> list[Packet]:
        """Wait for a packet, then take all that have arrived: one wake-up for many.

        Raises:
            BusError: the connection is lost and all that came before is taken.
        """
        ...

    def batches(self) -> AsyncIterator[list[Packet]]:
        """Yield what has arrived, again and again, until BusError."""
        ...

    def __aiter__(self) -> AsyncIterator[Packet]:
        """Yield one packet at a time, until BusError."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class BrokerAddress:
    """Where a broker is and who we are there. Its `repr` and `str` hide the password."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "BrokerAddress":
        """Read `mqtt://user:password@host:port`, or `mqtts://…?ca_file=path`.

        Special characters in the user's name and password are percent-encoded. The port is 1883, or
        8883 with TLS, unless given.

        Raises:
            SettingsError: it is not such an address.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise _bad(
                text, f"{error}; is a character of the password not percent-encoded?"
            ) from None
        if parts.scheme not in PORTS:
            raise _bad(text, f"it starts with {parts.scheme!r}, not mqtt:// or mqtts://")
        if not parts.hostname:
            raise _bad(text, "it names no host")
        if port == 0:
            raise _bad(text, "expected a port from 1 to 65535, got 0")
        try:
            parts.hostname.encode("idna")  # as looking it up does
        except UnicodeError:
            raise _bad(text, f"{parts.hostname[:80]!r} cannot be the name of a host") from None
        if parts.path not in ("", "/") or parts.fragment:
            raise _bad(
                text, "nothing may follow the port; is a / or # of the password not encoded?"
            )
        return cls(
            host=parts.hostname,
            port=PORTS[parts.scheme] if port is None else port,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            tls=parts.scheme == "mqtts",
            ca_file=_ca_file(text, parts),
        )

    def with_password(self, password: str) -> "BrokerAddress":
        """The same, with this password."""
        return replace(self, password=password)

    @property
    def where(self) -> str:
        """`host:port`, as errors name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What `parse` reads, the password in the clear: for the environment, never for a log."""
        return self._url(None if self.password is None else quote(self.password, safe=""))

    def __repr__(self) -> str:
        return f"BrokerAddress({str(self)!r})"

    def __str__(self) -> str:
        return self._url(None if self.password is None else "***")

    def _url(self, password: str | None) -> str:
        user = "" if self.username is None else quote(self.username, safe="")
        login = user + ("" if password is None else f":{password}")
        query = "" if self.ca_file is None else f"?ca_file={quote(str(self.ca_file))}"
        return f"mqtt{'s' if self.tls else ''}://{login}{'@' if login else ''}{self.where}{query}"


def _ca_file(text: str, parts: SplitResult) -> Path | None:
    try:
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _bad(text, str(error)) from None
    if not query:
        return None
    if query.keys() != {"ca_file"} or parts.scheme != "mqtts":
        raise _bad(text, "behind the ? only ca_file=path is known, and only with mqtts://")
    return Path(query["ca_file"][-1])


def _bad(text: str, why: str) -> SettingsError:
    shown = re.sub(r"//.*@", "//…@", text)
    return SettingsError(f"broker address {shown!r}: {why}; write {EXAMPLE}")
