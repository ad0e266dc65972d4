"""q-FedAvg: agents whose loss is high count more. Pure.

T. Li, M. Sanjabi, A. Beirami, V. Smith, Fair Resource Allocation in Federated Learning, 2020, arXiv
1905.10497, algorithm 2. With F the loss of the base version on the agent's data, L = 1 / learning
rate and dw = L * (base - its weights) = -L * update:

    Delta = F^q * dw,  h = q * F^(q-1) * ||dw||^2 + L * F^q,  new = base - sum Delta / sum h

so that the coefficient of an update is L * F^q / sum h. As in the authors' code, F + 1e-10 stands
for F, since F^(q-1) has no value at 0. Flower 1.13 takes the server's loss for all agents; with
equal losses both are the same.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.gram_matrix import norms
from fedbus.strategies.number_parameters import not_negative, positive

_LOSS_OFFSET = 1e-10

MAX_Q: Final = 1e3
"""With it, an agent counts next to nothing whose loss is 1 % less than the greatest."""


class QFedAvg:
    """A mean in which agents with a high loss count more: not at all with q = 0, more with each q.

    Numbers of examples do not count, as in the paper, which draws agents by them instead.

    Args:
        q_param: q in the paper, at most 1,000.
        qffl_learning_rate: 1 / L in the paper, which takes the agents' learning rate that is best
            for q = 0.
    """

    facts = ("base_loss",)
    gram = "model"

    def __init__(self, *, q_param: float = 0.2, qffl_learning_rate: float = 0.1) -> None:
        self._q = not_negative("q_param", q_param, most=MAX_Q)
        self._lipschitz = 1 / positive("qffl_learning_rate", qffl_learning_rate)

    def refuses(self, facts: UpdateFacts, /) -> str:
        """Refuse an update whose loss is negative, as that of a log-likelihood may be."""
        loss = facts.base_loss
        if loss is not None and isfinite(loss) and loss >= 0:
            return ""
        return f"expected the base's loss on its data, a number of at least 0, got {loss}"

    def weigh(self, facts: Sequence[UpdateFacts], gram: Array | None, /) -> Coefficients:
        """Return L * F^q / sum h for each update."""
        assert gram is not None  # noqa: S101 - `gram` asks for it
        if refused := [each for each in facts if self.refuses(each)]:
            raise ValueError(f"{refused[0].agent}: {self.refuses(refused[0])}")
        losses = np.array([each.base_loss for each in facts], np.float64) + _LOSS_OFFSET
        q, lipschitz = self._q, self._lipschitz
        steps = (lipschitz * norms(gram)) ** 2  # ||dw||^2
        powers = (losses / losses.max()) ** q  # divided by a factor of all, against overflow
        h = q * powers / losses * steps + lipschitz * powers
        return Coefficients([float(c) for c in lipschitz * powers / h.sum()])
