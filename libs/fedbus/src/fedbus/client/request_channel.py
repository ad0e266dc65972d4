"""Requests of a client to services, with response topics as any MQTT client may have them."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, TypeVar

from fedbus.client.address import BrokerLogin
from fedbus.client.answer_times import AnswerTimes
from fedbus.client.failures import Unreachable
from fedbus.client.missing_services import describe_missing
from fedbus.core import clock
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import NODE_STATE, REPLIES

REPEAT_SECONDS = 2.0
REPORT_SECONDS = 3.0
"""Without an answer after this time, `tell` is called with what the request is waiting for."""
MAX_MEASURED_MODELS = 64
KEPT = "; nothing is lost: the broker keeps the request for it, once, whenever it leads again"

R = TypeVar("R")


class RequestConnection(Protocol):
    """What a request needs of a client's connection."""

    login: BrokerLogin
    tell: Callable[[str], None]
    answer_seconds: float

    async def open(self) -> Bus:
        """Log in, unless we are."""

    async def retained(self, *filters: str) -> list[Packet]:
        """Collect what is retained under these topics."""

    async def persistently(self, work: Callable[[], Awaitable[R]]) -> R:
        """Run `work`, and again where the connection broke while the broker is online."""


class RequestChannel:
    """One response topic for all requests of a connection, which correlation data tell apart."""

    def __init__(self, connection: RequestConnection) -> None:
        login = connection.login
        self._connection = connection
        self._answers: dict[bytes, asyncio.Future[Packet]] = {}
        self._topic = login.topic(REPLIES, name=f"{login.node}-{secrets.token_hex(6)}")
        self._subscribed = False
        self._times: dict[str, AnswerTimes] = {}

    def times_of(self, model: str) -> AnswerTimes:
        """Return how long requests to a model take; of models asked long ago it is forgotten."""
        times = self._times.pop(model, None) or AnswerTimes()
        self._times[model] = times
        if len(self._times) > MAX_MEASURED_MODELS:
            del self._times[next(iter(self._times))]
        return times

    def filters(self) -> Iterator[str]:
        """Yield the response topic, once it is subscribed to."""
        if self._subscribed:
            yield self._topic

    def take(self, packet: Packet) -> None:
        """Hand an answer to its request; ignore all other packets."""
        if packet.topic == self._topic:
            answer = self._answers.get(packet.correlation or b"")
            if answer is not None and not answer.done():
                answer.set_result(packet)

    def lost(self, error: Exception) -> None:
        """End every request with an error."""
        self._subscribed = False
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)

    async def send(  # noqa: PLR0913 - a request, and what is known of its service
        self,
        topic: str,
        payload: bytes,
        *,
        of: str,
        content_type: str | None = "application/json",
        kept: bool = False,
        times: AnswerTimes | None = None,
    ) -> Packet:
        """Publish a request, and again every two seconds, until its answer arrives.

        With `times`, it is published again after as long as answers take by measurement.

        A broker may lose any message, so a request must be one that a service may receive twice.
        One that is `kept` is published with QoS 1 the first time: the broker has it then, even if
        this client ends.

        Args:
            topic: Where the service listens.
            payload: The request.
            of: The service, for the error message.
            content_type: Of the payload.
            kept: Whether the broker holds requests on this topic until a service acknowledges them.
            times: How long this service takes, which this request adds to.

        Raises:
            BusError: the broker is unreachable, or refuses the message.
            Unreachable: no answer arrived in time; says whether the broker keeps the request.
        """
        until = clock.monotonic() + self._connection.answer_seconds
        question = Packet(
            topic,
            payload,
            content_type=content_type,
            response_topic=self._topic,
            correlation=secrets.token_bytes(8),
        )
        answer, has_it = await self._connection.persistently(
            lambda: self._ask(question, of, until, kept=kept, times=times)
        )
        if answer is not None:
            return answer
        seconds, where = self._connection.answer_seconds, self._connection.login.broker.where
        raise Unreachable(
            f"{of} did not answer in {seconds:g} s at {where}"
            + (KEPT if has_it else "; no broker keeps it: send it again" if kept else "")
            + "; is it running? `fedbus agents --all` lists who is online"
        )

    async def _ask(
        self,
        question: Packet,
        of: str,
        until: float,
        *,
        kept: bool,
        times: AnswerTimes | None = None,
    ) -> tuple[Packet | None, bool]:
        """Publish until an answer arrives; return it, if any, and whether the broker kept it."""
        bus = await self._connection.open()
        if not self._subscribed:
            await bus.subscribe(self._topic)
            self._subscribed = True
        assert question.correlation is not None  # noqa: S101 - `send` has set it
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers[question.correlation] = answer
        told, has_it = not kept, kept
        publish = bus.deliver if kept else bus.publish
        begun, attempt = clock.monotonic(), 0
        try:
            while (left := until - clock.monotonic()) > 0:
                has_it = await publish(question) is not False and has_it
                publish = bus.publish
                pause = times.repeat_after(attempt) if times else REPEAT_SECONDS
                attempt += 1
                if (await asyncio.wait({answer}, timeout=min(pause, left)))[0]:
                    if times and attempt == 1:  # a repeated request has two possible causes
                        times.measured(clock.monotonic() - begun)
                    return answer.result(), has_it
                if not told and clock.monotonic() - begun > REPORT_SECONDS:
                    told = True
                    packets = await self._connection.retained(
                        self._connection.login.topic(NODE_STATE, node="+")
                    )
                    if not answer.done():
                        self._connection.tell(f"waiting for {of}: {describe_missing(packets)}")
        finally:
            del self._answers[question.correlation]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # asyncio logs one that is not retrieved; publishing raised it
        return None, has_it
