"""FedAvgOpt: a mean whose weights bring it close to every agent's model. Pure.

Strategy of the AI4OS federated server (github.com/ai4os/ai4os-federated-server): the new weights
are w = sum n_i * alpha_i * w_i / sum n_i, of the agents' weights w_i and their numbers of examples
n_i. The factors alpha, 1 at first, minimize by Nelder-Mead

    sum over agents j of ||r_j||,  r_j[t] = ||w[t] - w_j[t]|| / ||w[t] + w_j[t]|| for each tensor t

They need not add up to a mean, so the base has a coefficient of its own. A tensor of zeros on both
sides counts 0. The search is the original's, scipy's with its defaults: at most 200 evaluations for
each agent, so that it ends before the minimum if there are many. Where it ends depends on the order
of the agents; it is that of their names.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.example_shares import example_shares
from fedbus.strategies.aggregation.gram_matrix import Floats


class FedAvgOpt:
    """The mean with optimized weights; it needs scipy, which the collector brings."""

    gram = "tensors"

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return n_i * alpha_i / sum n_i for each update, and their sum for the base."""
        from scipy.optimize import minimize  # noqa: PLC0415 - only this rule needs it

        assert gram is not None  # noqa: S101 - `gram` asks for it
        order = sorted(range(len(facts)), key=lambda i: facts[i].agent)
        rows = [0, *(i + 1 for i in order)]
        spread = _Spread(gram[:, rows][:, :, rows])
        shares = example_shares(facts)
        found = minimize(
            lambda alpha: spread(shares[order] * alpha), np.ones(len(facts)), method="Nelder-Mead"
        )
        updates = np.empty(len(facts))
        updates[order] = shares[order] * found.x
        return Coefficients([float(c) for c in updates], base=float(updates.sum()))


class _Spread:
    """The function to minimize, from inner products of each tensor.

    With x = (sum of the coefficients, coefficients), w is x times the rows of base and updates, and
    w_j is e_j = (1, 0 … 1 … 0) times them: ||w ± w_j||^2 = x'Gx ± 2 x'Ge_j + e_j'Ge_j.
    """

    def __init__(self, gram: Array) -> None:
        self._gram = gram
        updates = np.diagonal(gram, axis1=1, axis2=2)[:, 1:]
        self._squares = gram[:, :1, 0] + 2 * gram[:, 0, 1:] + updates  # e_j'Ge_j

    def __call__(self, coefficients: Floats) -> float:
        """Return the sum over agents; shapes are (tensors, agents)."""
        x = np.array([coefficients.sum(), *coefficients])
        products = self._gram @ x
        squares = (products @ x)[:, None] + self._squares
        mixed = 2 * (products[:, :1] + products[:, 1:])
        apart, together = np.maximum(squares - mixed, 0), np.maximum(squares + mixed, 0)
        ratios = np.divide(apart, together, out=np.zeros_like(apart), where=together > 0)
        return float(np.sqrt(ratios.sum(axis=0)).sum())
