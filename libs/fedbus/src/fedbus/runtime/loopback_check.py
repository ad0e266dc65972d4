"""Does the broker deliver what this node says? Asked after each connect, and every minute.

Two ways, since either misses what the other finds: a word to ourselves, which a broker drops in
silence where the login may not write or read our links; and our state with QoS 1, which an MQTT 5
broker answers with a reason code where its rules forbid it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from fedbus.errors import BusError
from fedbus.mqtt.bus import Bus, Packet
from fedbus.runtime.loopback import ANSWER_SECONDS, LoopbackProbe

log = structlog.get_logger()


class LoopbackCheck:
    """Of one node, over as many connections as it takes.

    Args:
        echo: Decides what to say, and what silence means.
        presence: Makes what the node says of itself.
        counts: Where events are counted.
    """

    def __init__(
        self, echo: LoopbackProbe, presence: Callable[[], Packet], counts: dict[str, int]
    ) -> None:
        self._echo = echo
        self._presence = presence
        self._counts = counts
        self._back = asyncio.Event()

    @property
    def healthy(self) -> bool:
        """Whether others hear us, as far as we know."""
        return not self._echo.unheard

    def without_echoes(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Take our own words out of what has arrived."""
        echoes = [packet for packet in packets if self._echo.is_echo(packet)]
        if not echoes:
            return packets
        if any(map(self._echo.is_ours, echoes)):
            self._back.set()
        return [packet for packet in packets if not self._echo.is_echo(packet)]

    async def run(self, bus: Bus) -> None:
        """Ask again and again, as long as the connection lasts."""
        while True:
            denied = await self._denied(bus)
            if not denied and await self._heard(bus):
                if self._echo.heard():
                    log.info("node_heard_again")
            elif self._echo.missed():
                self._counts["node_unheard"] = self._counts.get("node_unheard", 0) + 1
                log.error("node_unheard", reason=denied or self._echo.sentence())
            await asyncio.sleep(self._echo.pause)

    async def _heard(self, bus: Bus) -> bool:
        self._back.clear()
        await bus.publish(self._echo.word())
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._back.wait()
        return self._back.is_set()

    async def _denied(self, bus: Bus) -> str:
        """Say our state, and return the broker's refusal; a lost connection is others' to tell."""
        try:
            await bus.deliver(self._presence())
        except BusError as error:
            return "" if error.code is None else f"nobody hears this node: {error}"
        return ""
