"""Check of whether the broker delivers this node's messages: after each connect, and every minute.

Two tests, as each misses what the other finds: a probe to the node itself, which a broker drops
without notice if the login may not write or read the node's links; and the node's state with QoS 1,
which an MQTT 5 broker answers with a reason code if its rules forbid it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from fedbus.errors import BusError
from fedbus.mqtt.bus import Bus, Packet
from fedbus.runtime.loopback import ANSWER_SECONDS, LoopbackProbe
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()


class LoopbackCheck:
    """Check of one node, over any number of connections."""

    def __init__(
        self, probe: LoopbackProbe, state_packet: Callable[[], Packet], counts: dict[str, int]
    ) -> None:
        self._probe = probe
        self._state_packet = state_packet
        self._counts = counts
        self._back = asyncio.Event()

    @property
    def healthy(self) -> bool:
        """Whether the broker delivers this node's messages, as far as is known."""
        return not self._probe.unheard

    def without_probes(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Return packets that have arrived without the probes among them."""
        probes = [packet for packet in packets if self._probe.is_probe(packet)]
        if not probes:
            return packets
        if any(map(self._probe.is_own, probes)):
            self._back.set()
        return [packet for packet in packets if not self._probe.is_probe(packet)]

    async def run(self, bus: Bus) -> None:
        """Repeat the check as long as the connection lasts."""
        while True:
            denied = await self._denied(bus)
            if not denied and await self._delivered(bus):
                if self._probe.received():
                    log.info("node_heard_again")
            elif self._probe.missed():
                self._counts["node_unheard"] = self._counts.get("node_unheard", 0) + 1
                log.error("node_unheard", reason=denied or self._probe.sentence())
            await asyncio.sleep(self._probe.pause)

    async def _delivered(self, bus: Bus) -> bool:
        self._back.clear()
        await bus.publish(self._probe.packet())
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._back.wait()
        return self._back.is_set()

    async def _denied(self, bus: Bus) -> str:
        """Publish the node's state, and return the broker's refusal; empty: none."""
        try:
            await bus.deliver(self._state_packet())
        except BusError as error:  # a lost connection, without a code, is reported elsewhere
            return "" if error.code is None else f"the broker does not deliver: {error}"
        return ""
