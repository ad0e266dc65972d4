"""Publications of QoS 1 that wait for the broker's acknowledgement."""

import asyncio

from fedbus.mqtt.frames import Frame
from fedbus.mqtt.publications import read_acknowledgement

MAX_IDENTIFIER = 65_535
MAX_UNACKNOWLEDGED = 20
"""Deliveries at once; a broker may allow fewer (its Receive Maximum)."""


class Deliveries:
    """Their packet identifiers, and a future of the reason code for each.

    paho counts the identifiers of its subscriptions up from 1, so these count down from the
    highest. The broker answers the two with different packets: should they ever meet, after
    thousands of subscriptions over one connection, neither is taken for the other.
    """

    def __init__(self, limit: int = MAX_UNACKNOWLEDGED) -> None:
        self.slots = asyncio.Semaphore(min(limit, MAX_UNACKNOWLEDGED))
        self._next = MAX_IDENTIFIER
        self._waiting: dict[int, asyncio.Future[int]] = {}

    def start(self) -> tuple[int, "asyncio.Future[int]"]:
        """Return an unused packet identifier and the future that its acknowledgement sets."""
        while self._next in self._waiting:
            self._step()
        identifier = self._next
        self._step()
        future = self._waiting[identifier] = asyncio.get_running_loop().create_future()
        return identifier, future

    def forget(self, identifier: int) -> None:
        """Free a packet identifier."""
        self._waiting.pop(identifier, None)

    def acknowledged(self, frame: Frame) -> None:
        """Take a PUBACK; one that no delivery waits for any more is dropped.

        Raises:
            ValueError: it is no PUBACK.
        """
        identifier, code = read_acknowledgement(frame)
        future = self._waiting.get(identifier)
        if future is not None and not future.done():
            future.set_result(code)

    def _step(self) -> None:
        self._next = self._next - 1 or MAX_IDENTIFIER
