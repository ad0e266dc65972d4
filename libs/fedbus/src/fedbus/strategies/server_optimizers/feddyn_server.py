"""FedDyn, the server's half: the mean model less the mean of the agents' gradients. Pure.

D. A. E. Acar et al., Federated Learning Based on Dynamic Regularization, 2021, arXiv 2111.04263,
algorithm 1. The agents' half is `objectives.feddyn_objective`, with the same `alpha`.
"""

from collections.abc import Mapping

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import positive


class FedDynServer:
    """The mean of the agents' models, less h / alpha.

    h, the mean of the gradients that all agents keep, falls by alpha * |P| / m times the mean
    update, for |P| agents of a population of m. Both means are unweighted in the paper.

    Args:
        alpha: The strength of the regularization; the objective has the same.
    """

    state = ("mean_gradient",)
    needs_population = True

    def __init__(self, *, alpha: float = 0.1) -> None:
        self._alpha = positive("alpha", alpha)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return base + update - h / alpha."""
        h = state["mean_gradient"]
        h -= self._alpha * combined.agents / combined.population * combined.update
        return base + combined.update - h / self._alpha
