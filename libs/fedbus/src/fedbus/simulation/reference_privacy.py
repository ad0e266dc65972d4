"""Privacy mechanisms a second time, on whole arrays: what the oracle expects of a version. Pure.

Written from the papers, and without `strategies`, so that one mistake is not made twice. Only the
random numbers come from the code of the collectors: `fedbus.privacy.noise` draws them again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbus.training.params import PluginChoice

Vector = NDArray[np.float64]
Updates = NDArray[np.float64]
"""The trained numbers of all updates, shape (agents, numbers)."""
Parameters = Mapping[str, float]
"""A mechanism's parameters, defaults included; a flag is 0 or 1."""

MARGIN: Final = 1e-6
"""By which share of the clipping norm a clipped vector is shorter."""
GRID: Final = 2.0**-20
"""A noised number is a multiple of the greatest power of two up to this times the deviation."""
CLOSE: Final = 1e-9
"""Relative difference up to which a number of the state is the expected one."""
_SMALLEST_LIMIT: Final = 1e-12
_GREATEST_LIMIT: Final = 1e6
_ALIKE: Final = 1e-6


class DrawnAgain(Protocol):
    """Noise of one round, drawn again from a test's key; `KeyedNoise` fits."""

    step: int

    def normals(self, start: int, count: int, /, back: int = 0) -> Vector:
        """Return normal numbers of this round, or of one that many ledger entries ago."""
        ...

    def normal(self, name: str, /) -> float:
        """Return one further number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateRound:
    """What a mechanism turns into the update of the model.

    Attributes:
        combined: The combined update, shape (numbers,).
        updates: Those that are used.
        tensors: The number of numbers of each trained tensor.
        bits: The norm bit of each update.
        numbers: Those of the strategy's state with the base; none in the first round.
        cohort: The number of agents wanted.
        noise: None if the agents draw the noise.
    """

    combined: Vector
    updates: Updates
    tensors: tuple[int, ...]
    bits: Sequence[float]
    numbers: Mapping[str, float]
    cohort: int
    noise: DrawnAgain | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """An update with its noise.

    Attributes:
        update: Shape (numbers,).
        deviation: That of the noise in each number; 0 if the collector adds none.
        limit: The greatest norm that an update may have; None if the agents add noise to it.
        numbers: Those of the strategy's state after the round.
    """

    update: Vector
    deviation: float = 0.0
    limit: float | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


def reference_protection(choice: PluginChoice, made: PrivateRound) -> Protected | None:
    """Return what a mechanism makes of a combined update; None if it is not one of fedbus's."""
    reference = REFERENCE_MECHANISMS.get(choice.id)
    if reference is None:
        return None
    own = {k: float(v) for k, v in choice.parameters.items() if isinstance(v, bool | int | float)}
    if choice.parameters.get("bounded_by") == "norm":
        own["clips"] = 1.0
    return reference(own, made)


def _noised(
    own: Parameters, made: PrivateRound, norm: float, sigma: float, normals: Vector
) -> Protected:
    """Add noise with the deviation sigma * norm to the sum of `cohort` updates."""
    update, deviation = made.combined, sigma * norm / made.cohort
    length = float(np.linalg.norm(update))
    if own.get("clips") and length > norm * (1 - MARGIN):
        update = update * (norm * (1 - MARGIN) / length)
    step = 2.0 ** math.floor(math.log2(deviation)) * GRID
    rounded = np.rint((update + deviation * normals) / step) * step
    return Protected(update=rounded, deviation=deviation, limit=norm)


def _drawn(made: PrivateRound) -> DrawnAgain:
    assert made.noise is not None  # noqa: S101 - the caller gives it if the collector draws noise
    return made.noise


def _now(made: PrivateRound) -> Vector:
    return _drawn(made).normals(0, len(made.combined))


def _fixed(own: Parameters, made: PrivateRound) -> Protected:
    """McMahan et al. 2018, arXiv 1710.06963, with a fixed denominator."""
    if not own["server_side_noising"]:
        return Protected(update=made.combined)
    return _noised(own, made, own["clipping_norm"], own["noise_multiplier"], _now(made))


def _adaptive(own: Parameters, made: PrivateRound) -> Protected:
    """Andrew et al. 2021, arXiv 1905.03871, algorithm 1, with bits less a half."""
    norm = made.numbers.get("clipping_norm", own["init_clip_norm"])
    sigma, of_bits = own["noise_multiplier"], own["clip_count_stddev"]
    central, count = bool(own["server_side_noising"]), sum(bit - 0.5 for bit in made.bits)
    if central:
        step = 2.0 ** math.floor(math.log2(of_bits)) * GRID
        count = round((count + of_bits * _drawn(made).normal("norm bits")) / step) * step
    share = 0.5 + count / made.cohort
    grown = norm * math.exp(-own["clip_norm_lr"] * (share - own["clip_norm_target_quantile"]))
    following = min(max(grown, _SMALLEST_LIMIT), _GREATEST_LIMIT)
    numbers = {"clipping_norm": following, "used_clipping_norm": norm}
    if not central:
        return Protected(update=made.combined, numbers=numbers)
    of_updates = 1 / math.sqrt(1 / sigma**2 - 1 / (2 * of_bits) ** 2)
    noised = _noised(own, made, norm, of_updates, _now(made))
    return Protected(update=noised.update, deviation=noised.deviation, limit=norm, numbers=numbers)


def _banded(own: Parameters, made: PrivateRound) -> Protected:
    """Kalinin and Lampert 2024, arXiv 2405.13763: C x = z for all steps, and the last of x."""
    noise, bands = _drawn(made), int(own["bands"])
    steps, size = noise.step + 1, len(made.combined)
    column = [math.comb(2 * k, k) / 4.0**k for k in range(bands)]
    root = np.zeros((steps, steps))
    for row in range(steps):
        for k in range(min(bands, row + 1)):
            root[row, row - k] = column[k]
    drawn = np.array([noise.normals(0, size, back=steps - 1 - at) for at in range(steps)])
    correlated = np.linalg.solve(root, drawn)[-1]
    sensitivity = math.sqrt(own["max_participations"] * sum(c * c for c in column))
    sigma = own["noise_multiplier"] * sensitivity
    return _noised(own, made, own["clipping_norm"], sigma, correlated)


def _metric(own: Parameters, made: PrivateRound) -> Protected:
    """Sáinz-Pardo Díaz et al. 2025, arXiv 2502.01352, with a distance of 1 for equal updates."""
    norm, distance = own["clipping_norm"], 0.0
    ends = np.cumsum(made.tensors)[:-1]
    for one, other in combinations(made.updates, 2):
        parts = np.split(one - other, ends)
        distance = max(distance, float(np.mean([np.linalg.norm(part) for part in parts])))
    if distance < _ALIKE * norm:
        distance = 1.0
    return _noised(own, made, norm, own["noise_multiplier"] / distance, _now(made))


def _by_agents(_own: Parameters, made: PrivateRound) -> Protected:
    """Each agent protects its own update: the collector adds nothing."""
    return Protected(update=made.combined)


REFERENCE_MECHANISMS: Final[Mapping[str, Callable[[Parameters, PrivateRound], Protected]]] = {
    "dp-adaptive": _adaptive,
    "dp-banded": _banded,
    "dp-fixed": _fixed,
    "ldp-gaussian": _by_agents,
    "ldp-laplace": _by_agents,
    "ldp-randomized-response": _by_agents,
    "metric-privacy": _metric,
}
"""By the id of the update transform."""
