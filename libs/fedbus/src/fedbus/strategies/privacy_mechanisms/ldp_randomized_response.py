"""Local differential privacy: one random bit for each number of an update. Pure.

S. L. Warner, Randomized Response, 1965; J. C. Duchi, M. I. Jordan, M. J. Wainwright, Minimax
Optimal Procedures for Locally Private Estimation, 2018, arXiv 1604.02390, section 4.2, for each
number x by itself. With the range c:

    x ← min(max(x, -c), c)
    bit:       B = +1 with probability (1 + x / c) / 2, else -1          (stochastic rounding)
    response:  R = B with probability e^ε / (e^ε + 1), else -B           (randomized response)
    update:    R · c · (e^ε + 1) / (e^ε - 1),   whose mean is x

B and R take one random number: R = +1 with probability 1/2 + x / (2c) · tanh(ε / 2).

ε is that of one bit. An update has as many bits as the model has trained numbers, and all of them
come from the same data: for the whole update the accountant counts every bit, so ε is useful for
small models only.
"""

from math import expm1, tanh
from typing import Final

import numpy as np

from fedbus.model.layout import Array, Weights
from fedbus.plugins import PrivateTraining, PrivateUpdate, SecretNoise
from fedbus.strategies.privacy_mechanisms.mechanism_parameters import (
    agents_wanted,
    checked_epsilon,
    clipping_norm_of,
)
from fedbus.strategies.privacy_mechanisms.update_clipping import clipped, flat_blocks

MOST_BIT_EPSILON: Final = 16.0
"""The greatest ε of one bit: a uniform number of 53 bits gives its probabilities to 8 digits."""
LEAST_BIT_EPSILON: Final = 1e-6
"""The least: the update that leaves an agent is 2,000,000 times the range."""


class LocalRandomizedResponse:
    """Replaces each number of an update by one of two values, at random, at the agent.

    Args:
        epsilon: ε of one bit; a model has as many bits as trained numbers.
        clipping_norm: The greatest absolute value of one number; others are set to it.
        num_sampled_clients: Number of agents wanted in a round.

    Attributes:
        noise_multiplier: The probability with which a bit is drawn at random, 2 / (e^ε + 1).
    """

    def __init__(self, *, epsilon: float, clipping_norm: float, num_sampled_clients: int) -> None:
        checked = checked_epsilon(epsilon, most=MOST_BIT_EPSILON)
        if checked < LEAST_BIT_EPSILON:
            raise ValueError(f"epsilon: expected at least {LEAST_BIT_EPSILON:g}, got {epsilon!r}")
        self._range: Final = clipping_norm_of(clipping_norm)
        agents_wanted(num_sampled_clients)
        self._lean: Final = tanh(checked / 2)
        """(e^ε - 1) / (e^ε + 1): how much likelier the true bit is than the other one."""
        self.noise_multiplier = 2 / (expm1(checked) + 2)

    def protect(self, update: Weights, training: PrivateTraining, /) -> PrivateUpdate:
        """Return an update of numbers ±c (e^ε + 1) / (e^ε - 1)."""
        clipped(
            update, float(np.finfo(np.float64).max)
        )  # raises TrainingError unless all are finite
        return PrivateUpdate(
            update={name: self._responses(array, training.noise) for name, array in update.items()}
        )

    def _responses(self, array: Array, noise: SecretNoise) -> Array:
        made = np.empty(array.size, array.dtype)
        for target, block in zip(flat_blocks(made), flat_blocks(array), strict=True):
            share = np.clip(block.astype(np.float64) / self._range, -1, 1)
            positive = noise.uniforms(block.size) < 0.5 + 0.5 * self._lean * share
            with np.errstate(over="ignore"):  # the agent refuses an update that is not finite
                target[:] = np.where(positive, 1.0, -1.0) * (self._range / self._lean)
        return made.reshape(array.shape)
