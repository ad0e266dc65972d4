"""Published states of a simulated job, and whether the job has ended."""

import json
from collections.abc import Callable, Sequence

from fedbus.errors import FedbusError
from fedbus.jobs import read_refusal
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES, JobFault, JobState, RoundState

WAITING_SECONDS = 300.0
"""Simulated time that a job may wait for agents; in a simulation no agent joins later."""


class SimulationFailed(FedbusError):  # noqa: N818 - the job failed, not the code
    """The job was refused, or could not end."""

    def __init__(self, why: str, faults: Sequence[JobFault] = ()) -> None:
        super().__init__(why)
        self.faults = faults


class SimulationStuck(SimulationFailed):
    """The job waits for agents that do not exist; the message is the reason in its state."""


class PublishedJob:
    """The published states of one job; `watch` is called once with each round that has ended.

    Attributes:
        state: The last state of the job; None before the first.
        refusal: Why the job, or its model, was refused; empty if it was not.
        faults: The faults of a refused job file.
    """

    def __init__(self, watch: Callable[[RoundState], None]) -> None:
        self.state: JobState | None = None
        self.refusal = ""
        self.faults: Sequence[JobFault] = ()
        self._watch = watch
        self._rounds: dict[int, RoundState] = {}
        self._waiting_since = 0.0

    @property
    def rounds(self) -> tuple[RoundState, ...]:
        """The rounds that have ended, in their order."""
        return tuple(self._rounds[number] for number in sorted(self._rounds))

    def receive(self, packet: Packet) -> None:
        """Read a state of the job or of a round, or the reply to the job file."""
        if "/replies/" in packet.topic:
            self.faults = read_refusal(json.loads(packet.payload))
            self.refusal = "\n".join(map(str, self.faults))
        elif packet.topic.endswith("/state") and packet.payload:
            self.state = codec.from_json(JobState, packet.payload)
        elif "/rounds/" in packet.topic and packet.payload:
            finished = codec.from_json(RoundState, packet.payload)
            if finished.round not in self._rounds:
                self._rounds[finished.round] = finished
                self._watch(finished)

    def has_ended(self, now: float) -> bool:
        """Return whether the job was refused, or has ended.

        Raises:
            SimulationStuck: It has waited for agents for WAITING_SECONDS of simulated time.
        """
        state = self.state
        ended = state is not None and state.phase in ENDED_PHASES
        if state is None or not state.reason or state.agents or ended:
            self._waiting_since = now
        elif now > self._waiting_since + WAITING_SECONDS:
            raise SimulationStuck(f"job {state.job} cannot go on: {state.reason}")
        return bool(self.refusal) or ended
