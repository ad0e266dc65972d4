"""FedAdagrad: Adagrad with the combined update in place of the gradient. Pure.

S. Reddi et al., Adaptive Federated Optimization, 2021, arXiv 2003.00295, algorithm 2. As there, the
sum of squares begins at tau squared.
"""

from collections.abc import Mapping

import numpy as np

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import decay, positive


class Adagrad:
    """Scales each number's step by the size of all its updates so far.

    Without momentum, `beta_1` 0, there is no first moment to keep.
    """

    def __init__(
        self, *, server_learning_rate: float = 0.1, beta_1: float = 0.0, tau: float = 1e-3
    ) -> None:
        self._rate = positive("server_learning_rate", server_learning_rate)
        self._beta_1 = decay("beta_1", beta_1)
        self._tau = positive("tau", tau)
        self.state = ("first_moment", "sum_of_squares") if beta_1 else ("sum_of_squares",)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return base + rate * m / (sqrt(v) + tau)."""
        m, v = combined.update, state["sum_of_squares"]
        if combined.round == 1:
            v[:] = self._tau**2
        if self._beta_1:
            m = state["first_moment"]
            m[:] = self._beta_1 * m + (1 - self._beta_1) * combined.update
        v += combined.update**2
        return base + self._rate * m / (np.sqrt(v) + self._tau)
