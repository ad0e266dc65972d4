"""Network faults of simulated packets: loss, duplication, reordering, damage. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from fedbus.mqtt.bus import Packet


@dataclass(frozen=True, slots=True)
class NetworkFaults:
    """Probabilities, each from 0 to 1 for every delivered packet; delays in seconds.

    A reordered packet is delayed by up to `long_delay`, so later packets overtake it.
    """

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    damage: float = 0.0
    delay: float = 0.001
    long_delay: float = 1.0

    def deliveries(self, packet: Packet, rng: Random) -> list[tuple[float, Packet]]:
        """Draw a packet's deliveries: (delay in seconds, packet) for each, none if it is lost."""
        arrivals = [] if rng.random() < self.loss else [packet]
        if rng.random() < self.duplication:
            arrivals.append(packet)
        return [(self._delay(rng), self._damaged(one, rng)) for one in arrivals]

    def _delay(self, rng: Random) -> float:
        if rng.random() < self.reordering:
            return rng.uniform(0, self.long_delay)
        return self.delay

    def _damaged(self, packet: Packet, rng: Random) -> Packet:
        if not packet.payload or rng.random() >= self.damage:
            return packet
        payload = bytearray(packet.payload)
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
        return Packet(packet.topic, bytes(payload), retain=packet.retain)


@dataclass(slots=True)
class MessageCounts:
    """Counts of delivered packets."""

    sent: int = 0
    lost: int = 0
    repeated: int = 0
    delayed: int = 0

    def count(self, delays: Sequence[float], usual: float) -> None:
        """Count a packet by the delays of its deliveries: none is lost, two is repeated."""
        self.sent += 1
        self.lost += not delays
        self.repeated += len(delays) > 1
        self.delayed += any(delay > usual for delay in delays)


NO_FAULTS = NetworkFaults()
ROUGH_LINKS = NetworkFaults(loss=0.03, duplication=0.03, reordering=0.05)
"""About the faults of a fleet on bad links: every tenth packet is affected."""
