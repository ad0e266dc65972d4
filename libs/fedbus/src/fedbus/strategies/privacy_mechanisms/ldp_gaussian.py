"""Local differential privacy: Gaussian noise in each update, before it leaves its agent. Pure.

C. Dwork, A. Roth, The Algorithmic Foundations of Differential Privacy, 2014, appendix A: the
Gaussian mechanism, applied by each agent to its own update. With the clipping norm C and the noise
multiplier z:

    Δ_i ← Δ_i · min(1, C / ||Δ_i||_2) + N(0, (z C)² I)

Two updates of norm C differ by at most 2C, whatever data they come from: an agent's data are
protected, by the noise multiplier z / 2, from everyone, the collector included.
"""

from typing import Final

from fedbus.model.layout import Weights
from fedbus.plugins import PrivateTraining, PrivateUpdate
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    agents_wanted,
    checked_noise_multiplier,
    clipping_norm_of,
)
from fedbus.strategies.privacy_mechanisms.noised_update import noised_update
from fedbus.strategies.privacy_mechanisms.update_clipping import clipped


class LocalGaussian:
    """Clips an update to an L2 norm and adds Gaussian noise, at the agent.

    Args:
        noise_multiplier: Standard deviation of the noise in each number, divided by the clipping
            norm.
        clipping_norm: The greatest L2 norm of an update; longer ones are scaled down to it.
        num_sampled_clients: Number of agents wanted in a round.

    Attributes:
        noise_multiplier: The one that protects an agent: half of the given one.
    """

    def __init__(
        self, *, noise_multiplier: float, clipping_norm: float, num_sampled_clients: int
    ) -> None:
        self._norm: Final = clipping_norm_of(clipping_norm)
        self._std: Final = checked_noise_multiplier(noise_multiplier) * self._norm
        self.noise_multiplier = self._std / (2 * self._norm)
        agents_wanted(num_sampled_clients)

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return the clipped update with noise."""
        bounded = clipped(update, self._norm).update
        return PrivateUpdate(update=noised_update(bounded, self._std, training.noise.normals))
