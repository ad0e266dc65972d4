"""FedProx: a proximal term keeps agents near the base version. Pure.

T. Li et al., Federated Optimization in Heterogeneous Networks, 2020, arXiv 1812.06127, algorithm 2.
"""

from fedbus.plugins.objective_protocols import LocalStart
from fedbus.strategies.number_parameters import not_negative
from fedbus.training.local_terms import LocalTerms


class Proximal:
    """Adds proximal_mu / 2 * ||w - base||^2 to the loss.

    Args:
        proximal_mu: How strongly agents are held near the base version; 0 adds nothing.
    """

    def __init__(self, *, proximal_mu: float = 0.01) -> None:
        self._mu = not_negative("proximal_mu", proximal_mu)

    def terms(self, _start: LocalStart) -> LocalTerms:
        """Return the proximal term."""
        return LocalTerms(proximal=self._mu)
