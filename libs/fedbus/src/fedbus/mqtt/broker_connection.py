"""One MQTT connection, from the login to its loss.

aiomqtt logs in, subscribes and keeps the connection alive; packets go through `pipe.py`.
"""

import asyncio
import socket
from collections.abc import Awaitable
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from fedbus.errors import BusError
from fedbus.mqtt import login
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.deliveries import Deliveries
from fedbus.mqtt.frames import CONNACK, PUBACK, Frame
from fedbus.mqtt.packet_stream import Pipe
from fedbus.mqtt.paho_internals import hand_over, paho_client
from fedbus.mqtt.publications import MAX_PACKET_BYTES

ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 2.0
KEPT_ON_HEAP_BYTES = 8 * 2**20

PROTOCOL_ERROR = 0x82
PINGRESP = Frame(0xD0, memoryview(b""))

_CALLBACKS = (
    *("on_connect", "on_disconnect", "on_message", "on_publish", "on_subscribe", "on_unsubscribe"),
    *("on_socket_close", "on_socket_register_write", "on_socket_unregister_write"),
)

T = TypeVar("T")


class Connection:
    """A login, what the broker announced with it, and the first reason why it ended."""

    def __init__(
        self, address: BrokerAddress, client: aiomqtt.Client, *, lend: bool, keep: bool
    ) -> None:
        self.client = client
        self.features = login.BrokerFeatures()
        self.lacks: list[str] = []
        self.deliveries = Deliveries()
        self.who = address.username or "an anonymous client (no user name was given)"
        self._address = address
        self._keep = keep
        self._paho = paho_client(client)
        self.pipe = Pipe(
            self._paho,
            on_fault=self._on_fault,
            on_control=self._on_control,
            on_bytes=self._on_bytes,
            on_first=self._check_first,
            lend=lend,
        )
        self._loop = asyncio.get_running_loop()
        self._in = False
        self._alive_again = 0.0
        self._lost: BusError | None = None
        self._closed = asyncio.Event()
        self._waiting: set[asyncio.Timeout] = set()

    async def login(self) -> None:
        """Connect; then the pipe takes over from aiomqtt what carries packets.

        Raises:
            BusError: refused, unreachable, or lost.
        """
        _keep_chunks_on_heap()
        answered: Any = self._paho.on_connect
        opened: Any = self._paho.on_socket_open

        def on_connect(client: Client, data: object, flags: object, code: Any, more: Any) -> None:  # noqa: ANN401
            self.features = login.BrokerFeatures.of(more)
            if code.is_failure:
                self._lose(login.refused(self.who, code.value, str(code)), code.value)
            elif self.features.unfit:
                self._lose(self.features.unfit)
            self.lacks += self.features.lacks(keeps=self._keep)
            self.pipe.limit = self.features.longest or MAX_PACKET_BYTES
            self.deliveries = Deliveries(self.features.unacknowledged)
            answered(client, data, flags, code, more)

        def on_socket_open(client: Client, data: object, sock: object) -> None:
            # In the thread that connects. aiomqtt has its reader installed first, then ours.
            opened(client, data, sock)
            self._loop.call_soon_threadsafe(self.pipe.listen)

        self._paho.on_connect = on_connect
        self._paho.on_socket_open = on_socket_open
        self._paho.on_disconnect = self._on_disconnect
        try:
            await self.answer(self.client.__aenter__(), "the login")
        except BaseException:
            self._hang_up()
            raise
        if self._lost is not None:
            self._hang_up()
            raise self._lost
        self.pipe.open()
        self._in = True

    async def leave(self, *, say_will: bool) -> None:
        """Send DISCONNECT, so that the broker drops or publishes the will; close in any case."""
        try:
            if self._lost is None:
                self._lose("this connection was left")
                will = ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message")
                self._paho.disconnect(will if say_will else None)
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._closed.wait()
        except TimeoutError:
            pass  # the network takes no more; the broker will notice
        finally:
            self._hang_up()
            await self.client.__aexit__(None, None, None)
            self._untie()

    async def answer(self, call: Awaitable[T], what: str) -> T:
        """Await the broker's answer, but no longer than the connection lasts.

        Raises:
            BusError: no answer, or the connection ended.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as patience:
                self._waiting.add(patience)
                try:
                    return await call
                finally:
                    self._waiting.discard(patience)
        except TimeoutError:
            late = (
                f"no answer to {what} in {ANSWER_SECONDS:g} s; is the broker overloaded?"
                if self._in
                else login.unanswered(ANSWER_SECONDS)
            )
            raise self._lost or self.error(late) from None
        except aiomqtt.MqttError as error:
            why = (
                f"{error}; {what}"
                if self._in
                else login.unreachable(str(error), tls=self._address.tls)
            )
            raise self._lost or self.error(why) from error

    def error(self, why: str, code: int | None = None) -> BusError:
        """Return an error that names the broker."""
        return BusError(f"{self._address.where}: {why}", code)

    # ── what the pipe and paho report ────────────────────────────────────────────────────────────

    def _check_first(self, first: memoryview) -> None:
        """Reject the first bytes of a server that is no MQTT broker."""
        if why := login.stranger(bytes(first[:16]), tls=self._address.tls):
            raise ValueError(why)

    def _on_control(self, frame: Frame) -> None:
        if frame.head == PUBACK:
            self.deliveries.acknowledged(frame)
            return
        if frame.head == CONNACK and (why := login.old_answer(bytes(frame.body), self.who)):
            raise ValueError(why)
        hand_over(self._paho, frame)

    def _on_bytes(self) -> None:
        """Answer paho's ping ourselves while bytes arrive: the broker's may wait behind chunks."""
        now = self._loop.time()
        if self._in and now >= self._alive_again:
            self._alive_again = now + self._paho.keepalive / 4
            hand_over(self._paho, PINGRESP)

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        flags: Any,  # noqa: ANN401 - two kinds, as paho sees fit
        code: Any,  # noqa: ANN401 - as above
        more: object,
    ) -> None:
        said = None
        if flags.is_disconnect_packet_from_server:
            said = code.value
            why = login.ended(said, str(getattr(more, "ReasonString", code)))
        elif code.value == PROTOCOL_ERROR:
            why = "the broker sent a packet that MQTT does not allow there; see the broker's log"
        elif self._in:
            why = f"connection lost ({code}); is the broker still running?"
        else:
            why = login.closed(tls=self._address.tls)
        self._closed.set()
        self._lose(why, said)

    def _on_fault(self, error: Exception) -> None:
        """End over bytes that cannot be read."""
        self._lose(str(error) if isinstance(error, ValueError) else repr(error))

    def _lose(self, why: str, code: int | None = None) -> None:
        self._lost = self._lost or self.error(why, code)
        self.pipe.end(self._lost)
        for patience in self._waiting:
            if not patience.expired():  # in the moment it expires it cannot be rescheduled
                patience.reschedule(self._loop.time())

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _hang_up(self) -> None:
        """Close without a goodbye, also if a thread is still about to connect."""
        self._paho.on_socket_open = _close
        sock = self._paho.socket()
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            self._paho.disconnect()  # cannot be written any more: so paho closes, and reports it
            self._paho.loop_write()

    def _untie(self) -> None:
        """Drop every reference that leads back to this connection, so that its memory is free."""
        lost = self._lost or self.error("this connection was left")
        self._lost = BusError(str(lost), lost.code)  # without its traceback, which leads back here
        self.pipe.close(self._lost)
        if self._paho.socket() is None:  # else paho has yet to report that it closes it
            for name in _CALLBACKS:
                setattr(self._paho, name, None)


def _close(_client: object, _data: object, sock: Any) -> None:  # noqa: ANN401 - paho's socket
    """Close a connection that was opened after its login had been abandoned."""
    sock.close()
    raise ConnectionAbortedError


@cache
def _keep_chunks_on_heap() -> None:
    """Free one large block, after which glibc keeps smaller ones for the next chunk.

    Until it has seen a larger one freed, it gives every block above 128 KiB back to the kernel, and
    each copy of a chunk costs 64 page faults: twice the time for a publication. Elsewhere this does
    nothing. A second block would come from the heap, and stay there as 8 MB of resident memory.
    """
    bytearray(KEPT_ON_HEAP_BYTES)
