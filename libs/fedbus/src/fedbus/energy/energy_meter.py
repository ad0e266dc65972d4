"""Meter of the energy that one process uses, split by what it works on.

Between two readings of the process's energy, all of it belongs to the tasks that were at work, in
equal parts, and if none was, to `idle`. So nothing is counted twice. Energy between two measured
tasks goes to the later one.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from fedbus.energy.carbon_intensity import WORLD, grams_of
from fedbus.wire.energy import EnergyUsed

JOULES_PER_BYTE: Final = 6.75e-6
"""Energy of networks for a byte, sent or received: 0.06 kWh for a gigabyte in 2015 in fixed
networks, halved every two years since, to 2025 (Aslan et al. 2018, doi 10.1111/jiec.12630)."""


@dataclass(slots=True, eq=False)
class MeasuredWork:
    """A task at work, and the joules of the process that belong to it; see `EnergyMeter`."""

    meter: "EnergyMeter"
    phase: str
    measured: bool
    joules: float = field(default=0.0, init=False)

    def used(self, transferred: int) -> EnergyUsed | None:
        """Return what the task has used so far; None if it is not measured.

        Args:
            transferred: Bytes that were received and will be sent for it.
        """
        return self.meter.used_by(self, transferred) if self.measured else None


class EnergyMeter:
    """Splits the energy of a process by task; may be used by several threads.

    Args:
        read_joules: Returns the joules that the process has used since any moment; never less than
            before.
        intensity: Grams of CO2 equivalent for a kilowatt-hour.
    """

    def __init__(self, read_joules: Callable[[], float], intensity: float = WORLD) -> None:
        self._read, self._intensity = read_joules, intensity
        self._lock = threading.Lock()
        self._working: list[MeasuredWork] = []
        self._before: float | None = None
        self._idle = 0.0

    @contextmanager
    def working(self, phase: str, *, measured: bool) -> Iterator[MeasuredWork]:
        """Count what the process uses inside as a task's; one that is not measured hides its own.

        Nothing is read as long as no task was measured: there is no idle time before the first one.
        """
        work = MeasuredWork(self, phase, measured)
        with self._lock:
            if measured or self._before is not None:
                self._split()
            self._working.append(work)
        try:
            yield work
        finally:
            with self._lock:
                if self._before is not None:
                    self._split()
                self._working.remove(work)

    def used_by(self, work: MeasuredWork, transferred: int) -> EnergyUsed:
        """Return what a measured task has used so far, with the idle time before it."""
        with self._lock:
            self._split()
            parts = {
                work.phase: work.joules,
                "transfer": transferred * JOULES_PER_BYTE,
                "idle": self._idle,
            }
            self._idle = 0.0
        joules = {phase: value for phase, value in parts.items() if value}
        return EnergyUsed(joules=joules, grams=grams_of(sum(joules.values()), self._intensity))

    def _split(self) -> None:
        now = self._read()
        spent = 0.0 if self._before is None else max(0.0, now - self._before)
        self._before = now
        for work in self._working:
            work.joules += spent / len(self._working)
        if not self._working:
            self._idle += spent
