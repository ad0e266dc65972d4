"""Noise of agents in sums of hidden updates: what a job must say so that all of it is there. Pure.

Each agent clips its noisy numbers to ranges and rounds them. `model.private_rounding` has what an
agent declines because of that; these rules refuse a job before its agents would.
"""

import math
from collections.abc import Iterator
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.jobs.privacy_options import DpAdaptive
from fedbus.model.fixed_point import half
from fedbus.model.private_rounding import ROOM
from fedbus.privacy.noise_numbers import USUAL_DEVIATIONS
from fedbus.strategies.protection_terms import AgentNoise, first_exponent, noise_of_agent
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.wire.encryption import FixedPoint

_NOISE_OF_SHARE: Final = 0.35
"""How far noise may move the share of clipped updates that dp-adaptive counts."""
_ROOM_OF_DISTANCES: Final = 8.0
"""Encrypted numbers are distances from the anchor: they may be this many times one update."""


def hidden_noise_faults(job: JobFile, resolved: ResolvedStrategy, key: str) -> Iterator[JobFault]:
    """Yield faults of ranges and bits that do not let the noise of agents reach the sum whole."""
    strategy = resolved.strategy
    fixed_point, noise = strategy.fixed_point, noise_of_agent(strategy, job)
    if fixed_point is None or noise is None:
        return
    encryption, adaptive = strategy.encryption, job.privacy_mechanisms.dp_adaptive
    if encryption is not None and not fixed_point.adaptive:
        yield JobFault(
            key=f"{key}.adaptive_ranges",
            problem="false, but the distance from the anchor grows from round to round, and a fixed"
            " range would cut off the noise that agents add",
            hint="leave it out: with this mechanism the ranges follow from public numbers",
        )
    if adaptive is not None:
        yield from _growth_of_norm(adaptive)
    if encryption is None or encryption.scheme == "bfv":  # ckks rounds nothing
        room = ROOM if encryption is None else _ROOM_OF_DISTANCES
        yield from _steps_of_numbers(fixed_point, noise, key, room)


def _growth_of_norm(mechanism: DpAdaptive) -> Iterator[JobFault]:
    quantile = mechanism.clip_norm_target_quantile
    most = math.log(ROOM) / (max(quantile, 1 - quantile) + _NOISE_OF_SHARE)
    if mechanism.clip_norm_lr > most:
        yield JobFault(
            key=f"{PRIVACY}.dp-adaptive.clip_norm_lr",
            problem=f"{mechanism.clip_norm_lr:g}, so that the norm may become more than {ROOM:g} "
            "times as great in a round, and ranges would cut off the noise that agents add",
            hint=f"give {math.floor(100 * most) / 100:g} or less",
        )


def _steps_of_numbers(
    fixed_point: FixedPoint, noise: AgentNoise, key: str, room: float
) -> Iterator[JobFault]:
    later = first_exponent(room * (noise.norm + USUAL_DEVIATIONS * noise.deviation))
    first = fixed_point.first_range
    widest = max(first, later) if fixed_point.adaptive else first
    step = 2.0**widest / half(fixed_point.bits)
    if step > noise.deviation:
        yield JobFault(
            key=f"{key}.bits",
            problem=f"{fixed_point.bits}, so that numbers have steps of {step:.3g}, greater than "
            f"the noise that each agent adds, {noise.deviation:.3g}: the sum would have less noise "
            "than ε is computed for",
            hint="give more bits, or a smaller first_range",
        )
