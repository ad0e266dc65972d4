"""FedAdam: Adam with the combined update in place of the gradient. Pure.

S. Reddi et al., Adaptive Federated Optimization, 2021, arXiv 2003.00295, algorithm 2. As there, the
second moment begins at tau squared and neither moment is corrected for its first value.
"""

from collections.abc import Mapping

import numpy as np

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import decay, positive


class Adam:
    """A step of server_learning_rate * m / (sqrt(v) + tau), with moments m and v of the update.

    A number whose updates are alike, and much larger than `tau`, moves by about
    `server_learning_rate`.

    Args:
        server_learning_rate: The size of a step; tune it together with `tau`.
        beta_1: The share of m, the mean update, that is kept in a round.
        beta_2: The share of v, the mean squared update, that is kept in a round.
        tau: How far steps adapt: a number with smaller updates moves by at most
            server_learning_rate / tau times its mean update. v begins at tau squared.
    """

    state = ("first_moment", "second_moment")

    def __init__(
        self,
        *,
        server_learning_rate: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        tau: float = 1e-3,
    ) -> None:
        self._rate = positive("server_learning_rate", server_learning_rate)
        self._beta_1 = decay("beta_1", beta_1)
        self._beta_2 = decay("beta_2", beta_2)
        self._tau = positive("tau", tau)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return base + rate * m / (sqrt(v) + tau)."""
        delta, m, v = combined.update, state["first_moment"], state["second_moment"]
        if combined.round == 1:
            v[:] = self._tau**2
        m[:] = self._beta_1 * m + (1 - self._beta_1) * delta
        self._change_second_moment(v, delta)
        return base + self._rate * m / (np.sqrt(v) + self._tau)

    def _change_second_moment(self, v: Block, delta: Block) -> None:
        v[:] = self._beta_2 * v + (1 - self._beta_2) * delta**2
