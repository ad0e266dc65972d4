"""SCAFFOLD, the server's half: a step along the mean update, and the mean control variate. Pure.

S. P. Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, 2020,
arXiv 1910.06378, algorithm 1, lines 16 and 17. The agents' half is `objectives.scaffold_objective`.
"""

from collections.abc import Mapping

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import positive


class ScaffoldServer:
    """A step along the mean update, and c, the mean of all agents' control variates.

    c grows by |S| / N times the mean change of the agents' variates, for |S| agents of a population
    of N. Both means are unweighted in the paper: else c is not the mean of the N variates.

    Args:
        server_learning_rate: The size of the step, eta_g in the paper.
    """

    state = ("control",)
    sections = ("control",)
    needs_population = True

    def __init__(self, *, server_learning_rate: float = 1.0) -> None:
        self._rate = positive("server_learning_rate", server_learning_rate)

    def apply(self, base: Block, combined: Combined, state: Mapping[str, Block]) -> Block:
        """Return the new weights, and move `control` to the mean of the agents' variates."""
        share = combined.agents / combined.population
        state["control"][:] += share * combined.sections["control"]
        return base + self._rate * combined.update
