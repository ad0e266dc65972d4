"""FedOpt with SGD: the combined update times a learning rate. Pure.

S. Reddi et al., Adaptive Federated Optimization, 2021, arXiv 2003.00295, algorithm 1 with SGD as
the server's optimizer.
"""

from collections.abc import Mapping

from fedbus.plugins.strategy_protocols import Block, Combined
from fedbus.strategies.number_parameters import positive


class Sgd:
    """A step of server_learning_rate * update.

    Args:
        server_learning_rate: The size of the step; 1 is federated averaging.
    """

    def __init__(self, *, server_learning_rate: float = 1.0) -> None:
        self._rate = positive("server_learning_rate", server_learning_rate)

    def apply(self, base: Block, combined: Combined, _state: Mapping[str, Block]) -> Block:
        """Return base + rate * update."""
        return base + self._rate * combined.update
