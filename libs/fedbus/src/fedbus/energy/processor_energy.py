"""Energy of this process: its processor time, times watts for each core or its share of RAPL.

RAPL counts the joules of the processor's packages, for all processes together: this process has
used its share of the busy processor time of the machine.
"""

import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

WATTS_PER_CORE: Final = 12.0
"""Watts of a busy core of a processor that is not known (Lannelongue et al. 2021, Green
Algorithms, doi 10.1002/advs.202100707). A Raspberry Pi 4 has about 1."""

POWERCAP: Final = Path("/sys/class/powercap")
STAT: Final = Path("/proc/stat")
_BUSY: Final = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat: user, nice, system, irq, softirq, steal."""
_TICKS_PER_SECOND: Final = 100


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in times)


class ConstantPower:
    """Joules of a process with constant watts for each core that it keeps busy."""

    def __init__(
        self, watts: float = WATTS_PER_CORE, read_seconds: Callable[[], float] = processor_seconds
    ) -> None:
        self._watts, self._read_seconds = watts, read_seconds

    def __call__(self) -> float:
        """Return the joules since the process began."""
        return self._watts * self._read_seconds()


class RaplShare:
    """Joules of a process as its share of what RAPL counts.

    Args:
        packages: The folders of the packages' counters.
        stat: The file with the processor times of the machine.
        read_seconds: Returns the processor time of the process.
    """

    def __init__(
        self,
        packages: Sequence[Path],
        stat: Path = STAT,
        read_seconds: Callable[[], float] = processor_seconds,
    ) -> None:
        self._packages, self._stat, self._read_seconds = packages, stat, read_seconds
        self._ranges = [_number(folder / "max_energy_range_uj") for folder in packages]
        self._before = self._readings()
        self._joules = 0.0

    def __call__(self) -> float:
        """Return the joules since the meter was made."""
        counters, busy, own = self._readings()
        before, busy_before, own_before = self._before
        spent = sum(
            (now - then) % (limit + 1)  # a counter begins again at 0 after its greatest value
            for now, then, limit in zip(counters, before, self._ranges, strict=True)
        )
        machine = busy - busy_before
        if machine > 0:  # else less than a tick has passed: the next call counts it
            self._joules += spent / 1e6 * min(1.0, (own - own_before) / machine)
            self._before = counters, busy, own
        return self._joules

    def _readings(self) -> tuple[list[int], float, float]:
        counters = [_number(folder / "energy_uj") for folder in self._packages]
        return counters, busy_seconds(self._stat.read_text()), self._read_seconds()


def busy_seconds(stat: str) -> float:
    """Return the processor time of all processes, out of the text of /proc/stat."""
    columns = stat.split("\n", 1)[0].split()[1:]
    return sum(int(columns[at]) for at in _BUSY) / _TICKS_PER_SECOND


def read_joules_of(
    watts: float | None, powercap: Path = POWERCAP, stat: Path = STAT
) -> Callable[[], float]:
    """Return what reads the joules of this process.

    `watts` for each core are taken if they are given; else RAPL where it can be read, which needs
    the rights of root on most systems, else `WATTS_PER_CORE`.
    """
    if watts is not None:
        return ConstantPower(watts)
    packages = sorted(
        folder for folder in powercap.glob("intel-rapl:*") if folder.name.count(":") == 1
    )
    try:
        return RaplShare(packages, stat) if packages else ConstantPower()
    except (OSError, ValueError, IndexError):
        return ConstantPower()


def _number(path: Path) -> int:
    return int(path.read_text())
