"""Differential privacy with a fixed clipping norm (DP-FedAvg). Pure.

H. B. McMahan, D. Ramage, K. Talwar, L. Zhang, Learning Differentially Private Recurrent Language
Models, 2018, arXiv 1710.06963, algorithm 1 with flat clipping and the estimator of a fixed
denominator. With the clipping norm C, the noise multiplier z and n agents wanted:

    agent:      Δ_i ← Δ_i · min(1, C / ||Δ_i||)
    collector:  Δ ← (Σ_i Δ_i + N(0, (z C)² I)) / n

The sum runs over the updates that came. If agents draw the noise, each adds N(0, (z C)² / n · I) to
its own update, so that the sum has the same noise when all n come.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Final

from fedbus.model.layout import Weights
from fedbus.plugins import Block, Combined, PrivateTraining, PrivateUpdate, RoundNoise
from fedbus.privacy.noise_numbers import USUAL_DEVIATIONS
from fedbus.strategies.number_parameters import flag
from fedbus.strategies.privacy_mechanisms.fixed_norm import FixedNorm
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    BoundedBy,
    accounted_multiplier,
    agents_wanted,
    checked_noise_multiplier,
    clips_combined,
)
from fedbus.strategies.privacy_mechanisms.noised_update import (
    given_noise,
    noised_block,
    noised_update,
)


class FixedClipping(FixedNorm):
    """Clips each update to a fixed norm and adds Gaussian noise to the mean.

    Args:
        noise_multiplier: Standard deviation of the noise in the sum of the updates, divided by the
            clipping norm.
        clipping_norm: The greatest L2 norm of an update; longer ones are scaled down to it.
        num_sampled_clients: Number of agents wanted in a round: the divisor of the mean.
        server_side_noising: Whether the collector adds the noise; else each agent adds its share.
        bounded_by: Set by the controller, not by a job; see `BoundedBy`.

    Attributes:
        noise_multiplier: The one that protects an agent; see `BoundedBy`.
    """

    def __init__(
        self,
        *,
        noise_multiplier: float,
        clipping_norm: float,
        num_sampled_clients: int,
        server_side_noising: bool = True,
        bounded_by: BoundedBy = "mean",
    ) -> None:
        super().__init__(clipping_norm)
        self._multiplier: Final = checked_noise_multiplier(noise_multiplier)
        self._agents: Final = agents_wanted(num_sampled_clients)
        at_collector = flag("server_side_noising", server_side_noising)
        self.collector_draws_noise = self.needs_norm = at_collector
        self.needs_combined_norm = clips_combined(bounded_by, server_side_noising=at_collector)
        self.noise_multiplier = accounted_multiplier(
            self._multiplier, self._agents, clips=self.needs_combined_norm
        )

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return the clipped update, with this agent's share of the noise if agents draw it."""
        bounded = super().protect(update, training)
        if self.collector_draws_noise:
            return bounded
        noised = noised_update(bounded.update, self._share_of_noise, training.noise.normals)
        return PrivateUpdate(update=noised)

    @property
    def _share_of_noise(self) -> float:
        """The standard deviation of the noise that an agent adds; 0 if the collector draws it."""
        if self.collector_draws_noise:
            return 0.0
        return self._multiplier * self._norm / sqrt(self._agents)

    def public_bound(self, _numbers: Mapping[str, float], /) -> float:
        """Return the clipping norm and six standard deviations of an agent's noise."""
        return self._norm + USUAL_DEVIATIONS * self._share_of_noise

    def add_noise(self, combined: Combined, noise: RoundNoise | None, /) -> Block:
        """Return the mean with noise; as it is if agents have drawn the noise."""
        if not self.collector_draws_noise:
            return combined.update
        update = self._bounded(combined)
        std = self._multiplier * self._norm / self._agents
        return noised_block(update, std, given_noise(noise).normals(combined.position, len(update)))
