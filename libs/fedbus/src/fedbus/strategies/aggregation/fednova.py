"""FedNova: a mean of updates that are normalized by their numbers of local steps. Pure.

J. Wang, Q. Liu, H. Liang, G. Joshi, H. V. Poor, Tackling the Objective Inconsistency Problem in
Heterogeneous Federated Optimization, 2020, arXiv 2007.07481.

An agent that makes more steps moves further, so that a plain mean minimizes another function than
the one asked for. Update i is -eta * G_i a_i: the columns of G_i are the gradients of its steps,
and a_i are the factors with which the local optimizer adds them up. FedNova divides each update by
||a_i||, the sum of the factors (1-norm), and multiplies all by tau_eff = sum p_i * ||a_i||, where
p_i is the agent's share of the examples: the coefficients are tau_eff * p_i / ||a_i||.

For plain SGD, ||a_i|| is the number of steps. With the proximal term, the authors' code takes the
mean number of steps as tau_eff; here it is the sum above, as in the paper's equation.
"""

from collections.abc import Sequence

import numpy as np

from fedbus.model.layout import Array
from fedbus.plugins import Coefficients, UpdateFacts
from fedbus.strategies.aggregation.example_shares import example_shares
from fedbus.strategies.number_parameters import decay, not_negative, positive


class FedNova:
    """The normalized mean; its parameters describe the agents' training, and come from the job.

    Args:
        momentum: The momentum of the agents' SGD.
        proximal_mu: The factor of FedProx's term in the agents' loss.
        learning_rate: The agents' constant learning rate; it matters with `proximal_mu` only.
    """

    facts = ("steps",)
    needs_sgd = True
    of_training = ("momentum", "proximal_mu", "learning_rate")

    def __init__(
        self, *, momentum: float = 0.0, proximal_mu: float = 0.0, learning_rate: float | None = None
    ) -> None:
        self._momentum = decay("momentum", momentum)
        self._alpha = not_negative("proximal_mu", proximal_mu)
        if self._alpha:
            if learning_rate is None:
                raise ValueError("learning_rate: expected with proximal_mu, got none")
            self._alpha *= positive("learning_rate", learning_rate)
            if self._alpha >= 1:
                raise ValueError(
                    f"proximal_mu * learning_rate: expected less than 1, got {self._alpha:g}"
                )

    def weigh(self, facts: Sequence[UpdateFacts], _gram: Array | None, /) -> Coefficients:
        """Return tau_eff * p_i / ||a_i|| for each update."""
        shares = example_shares(facts)
        factors = np.array([self.steps_factor(_steps(each)) for each in facts])
        effective = shares @ factors
        return Coefficients([float(c) for c in effective * shares / factors])

    def steps_factor(self, steps: int) -> float:
        """Return ||a|| of an agent: how far its steps would go, if each gradient were 1.

        With momentum rho and alpha = learning_rate * proximal_mu, a step takes the distance s from
        the base and the velocity v to v' = rho * v + 1 - alpha * s and s' = s + v'. With only one
        of the two, this gives the paper's sums: (steps - rho (1 - rho^steps) / (1 - rho)) /
        (1 - rho), and (1 - (1 - alpha)^steps) / alpha.
        """
        rho, alpha = self._momentum, self._alpha
        step = np.array([[1 - alpha, rho, 1], [-alpha, rho, 1], [0, 0, 1]])
        return float(np.linalg.matrix_power(step, steps)[0, 2])


def _steps(facts: UpdateFacts) -> int:
    if not facts.steps:
        raise ValueError(f"{facts.agent}: expected its number of local steps, got {facts.steps}")
    return facts.steps
