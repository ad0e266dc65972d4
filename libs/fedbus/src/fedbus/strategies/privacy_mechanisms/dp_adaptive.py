"""Differential privacy with a clipping norm that follows a quantile of the updates' norms. Pure.

G. Andrew, O. Thakkar, H. B. McMahan, S. Ramaswamy, Differentially Private Learning with Adaptive
Clipping, 2021, arXiv 1905.03871, algorithm 1. With the norm C of this round, the noise multiplier
z, the deviation sigma_b of the noise in the count of bits, and n agents wanted:

    agent:      b_i ← 1 if ||Δ_i|| ≤ C, else 0;   Δ_i ← Δ_i · min(1, C / ||Δ_i||)
    collector:  z_Δ ← (z⁻² - (2 sigma_b)⁻²)^(-1/2)
                Δ ← (Σ_i Δ_i + N(0, (z_Δ C)² I)) / n
                b̃ ← 1/2 + (Σ_i (b_i - 1/2) + N(0, sigma_b²)) / n
                C ← C · exp(-η (b̃ - gamma))

One agent changes the sum of the bits less 1/2 by at most 1/2, whether or not it takes part: both
releases together protect as much as the noise multiplier z does. For that the 1/2 is taken off each
bit that came, as in TensorFlow Privacy (`QuantileEstimatorQuery`). When all n come, it makes no
difference, and b̃ is Σ b_i / n plus the noise.
"""

from collections.abc import Mapping, Sequence
from math import exp, isfinite, sqrt
from typing import Final

from fedbus.model.layout import Weights
from fedbus.plugins import Block, Combined, PrivateTraining, PrivateUpdate, RoundNoise, UpdateFacts
from fedbus.privacy.noise_numbers import MOST_DEVIATIONS, USUAL_DEVIATIONS, number_on_grid
from fedbus.strategies.number_parameters import flag, not_negative, positive
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    LEAST_NORM,
    MOST_NORM,
    BoundedBy,
    accounted_multiplier,
    agents_wanted,
    checked_noise_multiplier,
    clipping_norm_of,
    clips_combined,
    norm_fault,
)
from fedbus.strategies.privacy_mechanisms.noised_update import (
    given_noise,
    noised_block,
    noised_update,
)
from fedbus.strategies.privacy_mechanisms.update_clipping import clipped, clipped_block
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE

NEXT: Final = "clipping_norm"
USED: Final = "used_clipping_norm"
_COUNT: Final = "norm bits"
"""Name of the noise in the count of bits."""


class AdaptiveClipping:
    """Clips each update to a norm that follows a quantile, and adds Gaussian noise to the mean.

    The norm of the next round is kept as `clipping_norm`, that of this round as
    `used_clipping_norm`.

    Args:
        num_sampled_clients: Number of agents wanted in a round: the divisor of the mean.
        init_clip_norm: The clipping norm of the first round.
        noise_multiplier: What both releases, of the updates and of the bits, protect together.
        server_side_noising: Whether the collector adds the noise; else each agent adds its share.
        clip_count_stddev: Standard deviation of the noise in the count of bits; by default
            num_sampled_clients / 20. Half of the noise multiplier is too little.
        clip_norm_target_quantile: The share of updates that should not be longer than the norm.
        clip_norm_lr: How fast the norm follows.
        bounded_by: Set by the controller, not by a job; see `BoundedBy`.

    Attributes:
        noise_multiplier: The one that protects an agent; see `BoundedBy`.
    """

    facts = ("norm_bit",)

    def __init__(  # noqa: PLR0913 - the parameters that a job gives
        self,
        *,
        num_sampled_clients: int,
        init_clip_norm: float = 0.1,
        noise_multiplier: float = 1.0,
        server_side_noising: bool = True,
        clip_count_stddev: float | None = None,
        clip_norm_target_quantile: float = 0.5,
        clip_norm_lr: float = 0.2,
        bounded_by: BoundedBy = "mean",
    ) -> None:
        self._agents: Final = agents_wanted(num_sampled_clients)
        self._first_norm: Final = clipping_norm_of(init_clip_norm, "init_clip_norm")
        multiplier = checked_noise_multiplier(noise_multiplier)
        self._count_std: Final = _count_deviation(clip_count_stddev, self._agents, multiplier)
        self._quantile: Final = not_negative(
            "clip_norm_target_quantile", clip_norm_target_quantile, most=1.0
        )
        self._rate: Final = positive("clip_norm_lr", clip_norm_lr, most=10.0)
        self._update_multiplier: Final = (multiplier**-2 - (2 * self._count_std) ** -2) ** -0.5
        at_collector = flag("server_side_noising", server_side_noising)
        self.collector_draws_noise = self.needs_norm = at_collector
        self.needs_combined_norm = clips_combined(bounded_by, server_side_noising=at_collector)
        # With "norm" only the noise of the updates protects 2n times less, that of the bits does
        # not: the figure is below the true one, so the ε that is accounted is above it.
        self.noise_multiplier = accounted_multiplier(
            multiplier, self._agents, clips=self.needs_combined_norm
        )

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return the clipped update and its bit, both with noise if agents draw it."""
        limit = self._norm_of(training.numbers)
        bounded = clipped(update, limit)
        bit = 1.0 if bounded.norm <= limit else 0.0
        if self.collector_draws_noise:
            return PrivateUpdate(update=bounded.update, norm_bit=bit)
        std = self._share_of_noise(limit)
        bit_std = self._count_std / sqrt(self._agents)
        noisy_bit = bit + bit_std * float(training.noise.normals(1)[0])
        return PrivateUpdate(
            update=noised_update(bounded.update, std, training.noise.normals),
            norm_bit=number_on_grid(noisy_bit, bit_std),
        )

    def _share_of_noise(self, norm: float) -> float:
        """Return the standard deviation of the noise that an agent adds; 0 if it adds none."""
        if self.collector_draws_noise:
            return 0.0
        std: float = self._update_multiplier * norm / sqrt(self._agents)
        return std

    def public_bound(self, numbers: Mapping[str, float], /) -> float:
        """Return this round's norm and six standard deviations of an agent's noise."""
        norm = self._norm_of(numbers)
        return norm + USUAL_DEVIATIONS * self._share_of_noise(norm)

    def refuses_update(self, facts: UpdateFacts, numbers: Mapping[str, float], /) -> str:
        """Return why an update is longer than the norm, or why its bit is none, or ""."""
        bit = facts.norm_bit
        if bit is None or not isfinite(bit):
            return f"it has no bit that says whether the update was clipped: norm_bit is {bit}"
        if not self.needs_norm:
            most = 0.5 + MOST_DEVIATIONS * self._count_std / sqrt(self._agents)
            if abs(bit - 0.5) <= most:
                return ""
            return (
                f"norm_bit: expected 0 or 1 with noise, from {0.5 - most:.4g} to {0.5 + most:.4g}, "
                f"got {bit!r}"
            )
        if bit not in {0, 1}:
            return f"norm_bit: expected 0 or 1, got {bit!r}"
        return norm_fault(facts, self._norm_of(numbers))

    def next_private_numbers(
        self,
        numbers: Mapping[str, float],
        facts: Sequence[UpdateFacts],
        noise: RoundNoise | None,
        /,
    ) -> Mapping[str, float]:
        """Return the clipping norms of the next round and of this one."""
        norm = self._norm_of(numbers)
        total = sum(_bit_of(each) - 0.5 for each in facts)
        if self.collector_draws_noise:
            total += self._count_std * given_noise(noise).normal(_COUNT)
            total = number_on_grid(total, self._count_std)
        share = 0.5 + total / self._agents
        # Beyond e^±20 the norm reaches one of its bounds, and exp could overflow.
        exponent = min(max(-self._rate * (share - self._quantile), -20.0), 20.0)
        return {NEXT: min(max(norm * exp(exponent), LEAST_NORM), MOST_NORM), USED: norm}

    def add_noise(self, combined: Combined, noise: RoundNoise | None, /) -> Block:
        """Return the mean with noise; as it is if agents have drawn the noise."""
        if not self.collector_draws_noise:
            return combined.update
        norm, update = combined.numbers[USED], combined.update
        if self.needs_combined_norm:
            update = clipped_block(update, combined.norm, norm)
        std = self._update_multiplier * norm / self._agents
        return noised_block(update, std, given_noise(noise).normals(combined.position, len(update)))

    def _norm_of(self, numbers: Mapping[str, float]) -> float:
        """Return the norm that applies in the round that begins with these numbers."""
        return numbers.get(NEXT, self._first_norm)


def _count_deviation(given: float | None, agents: int, multiplier: float) -> float:
    deviation = agents * DEFAULT_STDDEV_SHARE
    if given is not None:
        deviation = positive("clip_count_stddev", given)
    if multiplier < 2 * deviation:
        return deviation
    name = "num_sampled_clients / 10" if given is None else "2 * clip_count_stddev"
    raise ValueError(
        f"noise_multiplier: expected a number below {name} = {2 * deviation:g}, got "
        f"{multiplier:g}: the noise in the count of bits alone would use up what both releases may "
        f"use. A clip_count_stddev above {multiplier / 2:g} allows it"
    )


def _bit_of(facts: UpdateFacts) -> float:
    if facts.norm_bit is None:
        raise ValueError(f"the update of {facts.agent} has no norm_bit")
    return facts.norm_bit
