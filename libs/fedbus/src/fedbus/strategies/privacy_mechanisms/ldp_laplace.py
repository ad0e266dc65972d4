"""Local differential privacy: Laplace noise in each update, before it leaves its agent. Pure.

C. Dwork, F. McSherry, K. Nissim, A. Smith, Calibrating Noise to Sensitivity in Private Data
Analysis, 2006, applied by each agent to its own update. With the clipping norm C:

    Δ_i ← Δ_i · min(1, C / ||Δ_i||_1) + Laplace(2 C / ε) in each number

Two updates of L1 norm C differ by at most 2C in that norm, whatever data they come from: one update
is ε-differentially private, as a whole, from everyone, the collector included. That is for true
Laplace noise, with which δ is 0; the noise that is drawn ends at 53 times its scale, so δ is about
2^-76 for each number of the model (see `noise_numbers.laplace_of`), far below any that a job gives.
A long model has a great L1 norm, so C must be chosen for it.
"""

from typing import Final

from fedbus.model.layout import Weights
from fedbus.plugins import Block, PrivateTraining, PrivateUpdate
from fedbus.privacy.noise_numbers import laplace_of
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    agents_wanted,
    checked_epsilon,
    clipping_norm_of,
)
from fedbus.strategies.privacy_mechanisms.noised_update import noised_update
from fedbus.strategies.privacy_mechanisms.update_clipping import clipped, l1_norm


class LocalLaplace:
    """Clips an update to an L1 norm and adds Laplace noise, at the agent.

    Args:
        epsilon: ε of one update.
        clipping_norm: The greatest sum of the absolute values of an update; others are scaled down.
        num_sampled_clients: Number of agents wanted in a round.

    Attributes:
        noise_multiplier: The scale of the noise divided by what one agent can change: 1 / ε.
    """

    def __init__(self, *, epsilon: float, clipping_norm: float, num_sampled_clients: int) -> None:
        self.noise_multiplier = 1 / checked_epsilon(epsilon)
        self._norm: Final = clipping_norm_of(clipping_norm)
        agents_wanted(num_sampled_clients)

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return the clipped update with noise."""

        def laplace(count: int) -> Block:
            return laplace_of(training.noise.normals(4 * count))

        bounded = clipped(update, self._norm, l1_norm).update
        scale = self.noise_multiplier * 2 * self._norm
        return PrivateUpdate(update=noised_update(bounded, scale, laplace))
