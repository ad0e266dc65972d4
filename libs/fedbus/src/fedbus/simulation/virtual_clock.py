"""Simulated clock: scheduled calls, performed in the order of their times."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from fedbus.errors import FedbusError

MAX_SIMULATION_STEPS = 2_000_000


class RingError(FedbusError):
    """The ring did not reach the expected state; the message names the seed that replays it."""


@dataclass(slots=True)
class VirtualClock:
    """Discrete-event clock. `now` is in seconds and moves from one scheduled call to the next."""

    seed: int = 0
    now: float = 0.0
    _queue: list[tuple[float, int, Callable[[], None]]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Schedule a call; calls of one time are performed in the order of scheduling."""
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, call))

    def run(
        self,
        until: Callable[[], bool],
        seconds: float = 600.0,
        *,
        steps: int | None = MAX_SIMULATION_STEPS,
    ) -> None:
        """Perform scheduled calls until a condition holds.

        Args:
            until: The condition, evaluated before each call.
            seconds: Limit of simulated time from now on.
            steps: Limit of calls; None: no limit.

        Raises:
            RingError: the condition did not hold within these limits.
        """
        end = self.now + seconds
        for _ in count() if steps is None else range(steps):
            if until():
                return
            if not self._queue or self._queue[0][0] > end:
                raise RingError(
                    f"seed {self.seed}: the expected state was not reached within {seconds:g} s"
                )
            time, _, call = heapq.heappop(self._queue)
            self.now = max(self.now, time)
            call()
        raise RingError(f"seed {self.seed}: the expected state was not reached in {steps} steps")
