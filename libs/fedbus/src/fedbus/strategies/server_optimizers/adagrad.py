"""FedAdagrad: Adagrad with the combined update in place of the gradient. Pure.

S. Reddi et al., Adaptive Federated Optimization, 2021, arXiv 2003.00295, algorithm 2. As there, the
sum of squares begins at tau squared.
"""

from collections.abc import Mapping

import numpy as np

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import decay, positive


class Adagrad:
    """A step of server_learning_rate * m / (sqrt(v) + tau), with the sum v of squared updates.

    Steps become smaller from round to round, those of numbers with small updates more slowly.

    Args:
        server_learning_rate: The size of the first steps; tune it together with `tau`.
        beta_1: The share of m, the mean update, that is kept in a round. With 0 m is the round's
            update, and the server keeps one array less.
        tau: How far steps adapt: a number with smaller updates moves by at most
            server_learning_rate / tau times its update. v begins at tau squared.
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
