"""Metric privacy: noise in proportion to how alike the updates are. Pure.

J. Sáinz-Pardo Díaz, A. Athanasiou, K. Jung, C. Palamidessi, Á. López García, Metric Privacy in
Federated Learning for Medical Imaging, 2025, arXiv 2502.01352. With the clipping norm C, the noise
multiplier z, the greatest distance d of two updates, and n agents wanted:

    agent:      Δ_i ← Δ_i · min(1, C / ||Δ_i||)
    collector:  Δ ← (Σ_i Δ_i + N(0, (z C / d)² I)) / n

The noise depends on the updates, so no ε of differential privacy follows from it, as the authors
state, and none is accounted.

The distance of two updates is the mean of the L2 distances of their tensors, not that of the whole
updates; d is the greatest of any two.

One update has no distance, and the distance of equal ones is 0: then d counts as 1, and the noise
has the deviation of that of `dp-fixed`. The same holds for a distance below C / 10^6, where only
the rounding of float32 tells updates apart; the noise would destroy the model. No ε follows from
that either: which noise is drawn depends on the updates.
"""

from math import isfinite
from typing import Final

from fedbus.plugins import Block, Combined, RoundNoise
from fedbus.strategies.privacy_mechanisms.fixed_norm import FixedNorm
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    BoundedBy,
    agents_wanted,
    checked_noise_multiplier,
    clips_combined,
)
from fedbus.strategies.privacy_mechanisms.noised_update import given_noise, noised_block

_LEAST_SHARE: Final = 1e-6


class MetricNoise(FixedNorm):
    """Clips each update to a fixed norm; adds more noise the closer the updates are.

    Args:
        noise_multiplier: Standard deviation of the noise in the sum of the updates, divided by the
            clipping norm, when two updates have at most the distance 1.
        clipping_norm: The greatest L2 norm of an update; longer ones are scaled down to it.
        num_sampled_clients: Number of agents wanted in a round: the divisor of the mean.
        bounded_by: Set by the controller, not by a job; see `BoundedBy`.

    Attributes:
        noise_multiplier: 0, since none is accounted.
    """

    collector_draws_noise = True
    needs_distance = True
    noise_multiplier = 0.0

    def __init__(
        self,
        *,
        noise_multiplier: float,
        clipping_norm: float,
        num_sampled_clients: int,
        bounded_by: BoundedBy = "mean",
    ) -> None:
        super().__init__(clipping_norm)
        self._multiplier: Final = checked_noise_multiplier(noise_multiplier)
        self._agents: Final = agents_wanted(num_sampled_clients)
        self.needs_combined_norm = clips_combined(bounded_by, server_side_noising=True)

    def add_noise(self, combined: Combined, noise: RoundNoise | None, /) -> Block:
        """Return the mean with noise in inverse proportion to the distance."""
        update = self._bounded(combined)
        std = self._multiplier / self._distance(combined) * self._norm / self._agents
        return noised_block(update, std, given_noise(noise).normals(combined.position, len(update)))

    def _distance(self, combined: Combined) -> float:
        distance = combined.distance
        if distance is None or not isfinite(distance):
            raise ValueError(
                f"the greatest distance of two updates is {distance}: expected a number"
            )
        alike = combined.agents < 2 or distance < _LEAST_SHARE * self._norm  # noqa: PLR2004 - a pair
        return 1.0 if alike else distance
